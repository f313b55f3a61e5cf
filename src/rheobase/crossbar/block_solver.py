"""Exact node voltages of a crossbar by block elimination, with everything that its derivatives take.

Word line i is driven from the left and bit line j is grounded at the bottom, each through one more segment of
wire; m rows, n columns, cells g `[m, n]`, wire conductances c = 1/r per segment:

    word node (i, j):   c_w (v_w[i,j] - v_w[i,j-1]) + c_w (v_w[i,j] - v_w[i,j+1]) + g (v_w - v_b) = 0
    bit node (i, j):    c_b (v_b[i,j] - v_b[i-1,j]) + c_b (v_b[i,j] - v_b[i+1,j]) + g (v_b - v_w) = 0

The word nodes of a row are a chain, whose inverse X_i `[n, n]` is known in closed form. Without them a row
leaves D_i = G - G X_i G on its bit nodes, and rows couple through the bit lines alone:

    S_0 = D_0 + c_b,   S_i = D_i + 2 c_b - c_b^2 P_{i-1},   P_i = S_i^-1        (n x n, symmetric)

So 2mn unknowns cost m inverses of n x n matrices, about 3 m n^3 operations in dense algebra, where a general
sparse factorisation of the same network takes several times as long. Two sets of fields follow from the P_i
by products:

    U_i, the bit nodes of row i for 1 V at each output in turn:   U_i = c_b P_i U_{i+1},  U_m = 1
    V for given inputs: forward elimination, then back substitution

By reciprocity the conductance from input i to output j is a_i . U_i[:, j], with a_i = c_w G X_i e_0; and its
derivative by a cell is (v_w - v_b) for input i times (u_b - u_w) for output j, there. The nodal matrix is
symmetric, so that these are the exact adjoint, with the same factorisation.

Wires without resistance merge nodes: r_w = 0 makes all word nodes of a row its input, r_b = 0 all bit nodes
ground. No conductance is formed as a small difference of large ones where that can be helped (chains are
summed as series and parallel conductances); float64 throughout.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg.lapack import dpotrf, dpotri

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Factor:
    """A factorised network.

    Attributes:
        g: Cells `[m, n]`.
        chain: X_i `[m, n, n]`, voltages of a row's word nodes by currents into them; None for r_w = 0.
        feed: Voltages of the word nodes by the input alone (bit nodes grounded), `[m, n]`.
        inverse: P_i `[m, n, n]`; None for r_b = 0.
        c_b: Conductance of a bit line's segment (0 for none).
    """

    g: Array
    chain: Array | None
    feed: Array
    inverse: Array | None
    c_b: float

    def word(self, i: int, driven: Array | None, bit: Array | None) -> Array:
        """Voltages of the word nodes of row i, `[n, K]`, by its input `[K]` and its bit nodes `[n, K]`."""
        total = None if driven is None else np.outer(self.feed[i], driven)
        if bit is not None and self.chain is not None:
            coupled = self.chain[i] @ (self.g[i][:, None] * bit)
            total = coupled if total is None else total + coupled
        if total is None:
            assert bit is not None
            return np.zeros_like(bit)
        return total

    def collected(self, i: int) -> Array:
        """What a volt on each bit node of row i sends to the row's (grounded) input, in A, `[n]`."""
        result: Array = self.g[i] * self.feed[i]
        return result

    def outputs(self, wanted: Array) -> Array:
        """Bit nodes `[m, n, K]` for voltages `[n, K]` at the outputs, inputs grounded."""
        m, n = self.g.shape
        if self.inverse is None:
            return np.broadcast_to(wanted, (m, n, wanted.shape[1]))
        fields = np.empty((m, n, wanted.shape[1]))
        below = wanted
        for i in range(m - 1, -1, -1):
            np.matmul(self.inverse[i], below, out=fields[i])
            fields[i] *= self.c_b
            below = fields[i]
        return fields

    def inputs(self, driven: Array) -> Array | None:
        """Bit nodes `[m, n, K]` for voltages `[m, K]` at the inputs, outputs grounded; None where all are
        0."""
        if self.inverse is None:
            return None
        m, n = self.g.shape
        fields = np.empty((m, n, driven.shape[1]))
        above = np.zeros((n, driven.shape[1]))
        for i in range(m):
            np.multiply.outer(self.collected(i), driven[i], out=fields[i])
            if i:
                fields[i] += above
            if i + 1 < m:
                above = self.inverse[i] @ fields[i]
                above *= self.c_b
        below = None
        for i in range(m - 1, -1, -1):
            if below is not None:
                fields[i] += self.c_b * below
            fields[i] = self.inverse[i] @ fields[i]
            below = fields[i]
        return fields


def factorise(g: Array, r_word: float, r_bit: float) -> Factor:
    """Eliminate all nodes of a network of cells `[m, n]` in S and wire segments in ohm."""
    m, n = g.shape
    if r_word:
        chain, feed, own = _chains(g, 1 / r_word)
    else:
        chain, feed, own = None, np.ones_like(g), np.ones_like(g)
    if not r_bit:
        return Factor(g, chain, feed, None, 0.0)
    c = 1 / r_bit
    inverse = np.empty((m, n, n))
    diagonal = np.arange(n)
    above: Array | None = None
    for i in range(m):
        matrix = np.zeros((n, n)) if chain is None else chain[i] * -np.outer(g[i], g[i])
        matrix[diagonal, diagonal] = g[i] * own[i] + (c if i == 0 else 2 * c)
        if above is not None:
            matrix -= (c * c) * above
        inverse[i] = _inverse(matrix)
        above = inverse[i]
    return Factor(g, chain, feed, inverse, c)


def _chains(g: Array, c: float) -> tuple[Array, Array, Array]:
    """X `[m, n, n]`, the voltages that the inputs alone bring about `[m, n]`, and 1 - g X_jj `[m, n]`."""
    m, n = g.shape
    left, right = np.empty_like(g), np.zeros_like(g)  # conductance to ground on either side of a node
    left[:, 0] = c
    for j in range(1, n):
        there = left[:, j - 1] + g[:, j - 1]
        left[:, j] = c * there / (c + there)
    for j in range(n - 2, -1, -1):
        there = right[:, j + 1] + g[:, j + 1]
        right[:, j] = c * there / (c + there)
    total = left + right + g
    onwards = c / (c + right + g)  # of a voltage one node before, what is left here
    chain = np.zeros((m, n, n))
    chain[:, np.arange(n), np.arange(n)] = 1 / total
    for j in range(1, n):
        chain[:, :j, j] = chain[:, :j, j - 1] * onwards[:, j : j + 1]
        chain[:, j, :j] = chain[:, :j, j]
    return chain, chain[:, 0] * c, (left + right) / total


def _inverse(matrix: Array) -> Array:
    """The inverse of a symmetric positive definite matrix."""
    lower, failed = dpotrf(matrix, lower=1, overwrite_a=0)
    if not failed:
        half, failed = dpotri(lower, lower=1, overwrite_c=1)
    if failed:
        raise ValueError(
            "crossbar: the network of wires and cells is singular to working precision; conductances and "
            "wire resistances differ too much (look for cells far above the others)"
        )
    below = np.tril(half, -1)
    result: Array = below + below.T
    np.fill_diagonal(result, half.diagonal())
    return result


def flipped(g: Array) -> Array:
    """The same network with inputs and outputs exchanged: cells `[n, m]`, r_word and r_bit exchanged too."""
    return np.ascontiguousarray(g[::-1, ::-1].T)
