"""Exact node voltages of a crossbar by block elimination, with everything that its derivatives take.

Word line i is driven from the left and bit line j is grounded at the bottom, each through one more segment of
wire; m rows, n columns, cells g `[m, n]`, wire conductances c = 1/r per segment:

    word node (i, j):   c_w (v_w[i,j] - v_w[i,j-1]) + c_w (v_w[i,j] - v_w[i,j+1]) + g (v_w - v_b) = 0
    bit node (i, j):    c_b (v_b[i,j] - v_b[i-1,j]) + c_b (v_b[i,j] - v_b[i+1,j]) + g (v_b - v_w) = 0

The word nodes of a row are a chain, whose inverse X_i `[n, n]` is known in closed form. Without them a row
leaves D_i = G - G X_i G on its bit nodes, and rows couple through the bit lines alone:

    Q_0 = (r_b D_0 + 1)^-1,   Q_i = (r_b D_i + 2 - Q_{i-1})^-1        (n x n, symmetric)

So 2mn unknowns cost m inverses of n x n matrices, about 3 m n^3 operations in dense algebra, where a general
sparse factorisation of the same network takes several times as long. Two sets of fields follow from the P_i
by products:

    U_i, the bit nodes of row i for 1 V at each output in turn:   U_i = Q_i U_{i+1},  U_m = 1
    V for given inputs: forward elimination, then back substitution

By reciprocity the conductance from input i to output j is a_i . U_i[:, j], with a_i = c_w G X_i e_0; and its
derivative by a cell is (v_w - v_b) for input i times (u_b - u_w) for output j, there. The nodal matrix is
symmetric, so that these are the exact adjoint, with the same factorisation.

Wires without resistance merge nodes: r_w = 0 makes all word nodes of a row its input, r_b = 0 all bit nodes
ground. No conductance is formed as a small difference of large ones where that can be helped (chains are
summed as series and parallel conductances); float64 throughout.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
from scipy.linalg.lapack import dpotrf, dpotri

Array = npt.NDArray[np.float64]


class Factor:
    """A factorised network.

    Attributes:
        g: Cells `[m, n]`.
        feed: Voltages of the word nodes by the input alone (bit nodes grounded), `[m, n]`.
        inverse: Q_i `[m, n, n]`; None for r_b = 0.
        r_b: Resistance of a bit line's segment.
    """

    def __init__(self, g: Array, feed: Array, chain: Array | None, inverse: Array | None, r_b: float) -> None:
        self.g, self.feed, self.inverse, self.r_b = g, feed, inverse, r_b
        self._lower = chain

    @functools.cached_property
    def chain(self) -> Array | None:
        """X_i `[m, n, n]`, voltages of a row's word nodes by currents into them; None for r_w = 0."""
        if self._lower is None:
            return None
        places = np.arange(self.g.shape[1])
        self._lower[:, places, places] *= 0.5
        whole: Array = self._lower + self._lower.transpose(0, 2, 1)
        self._lower = None
        return whole

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
            below = fields[i]
        return fields

    def inputs(self, driven: Array) -> Array | None:
        """Bit nodes `[m, n, K]` for voltages `[m, K]` at the inputs, outputs grounded; None where all are
        0."""
        if self.inverse is None:
            return None
        m, n = self.g.shape
        fields = np.empty((m, n, driven.shape[1]))
        for i in range(m):
            np.multiply.outer(self.r_b * self.collected(i), driven[i], out=fields[i])
            if i:
                fields[i] += self.inverse[i - 1] @ fields[i - 1]
        below = self.inverse[-1] @ fields[-1]
        fields[-1] = below
        for i in range(m - 2, -1, -1):
            fields[i] += below
            below = self.inverse[i] @ fields[i]
            fields[i] = below
        return fields


def factorise(g: Array, r_word: float, r_bit: float) -> Factor:
    """Eliminate all nodes of a network of cells `[m, n]` in S and wire segments in ohm."""
    m, n = g.shape
    if r_word:
        chain, feed, own = _chains(g, 1 / r_word)
    else:
        chain, feed, own = None, np.ones_like(g), np.ones_like(g)
    if not r_bit:
        return Factor(g, feed, chain, None, 0.0)
    inverse = np.zeros((m, n, n))
    places = np.arange(n)
    for i in range(m):
        matrix = inverse[i]  # what is wanted is made in place; only the lower half of it is read
        if chain is not None:
            np.multiply(chain[i], g[i], out=matrix)
            matrix *= (-r_bit * g[i])[:, None]
        matrix[places, places] = r_bit * g[i] * own[i] + (2 if i else 1)
        if i:
            matrix -= inverse[i - 1]
        inverse[i] = _inverse(matrix)
    return Factor(g, feed, chain, inverse, r_bit)


def _chains(g: Array, c: float) -> tuple[Array, Array, Array]:
    """The lower halves of X `[m, n, n]`, `feed`, and 1 - g X_jj `[m, n]`."""
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
        np.multiply(chain[:, j - 1, :j], onwards[:, j : j + 1], out=chain[:, j, :j])
    return chain, chain[:, :, 0] * c, (left + right) / total


def _inverse(matrix: Array) -> Array:
    """The inverse of a symmetric positive definite matrix, of which the lower half is given; it is used
    up."""
    # LAPACK counts columns first: what it is given is the transpose, and its upper half.
    half, failed = dpotrf(matrix.T, lower=0, clean=1, overwrite_a=1)
    if not failed:
        half, failed = dpotri(half, lower=0, overwrite_c=1)
    if failed:
        raise ValueError(
            "crossbar: the network of wires and cells is singular to working precision; conductances and "
            "wire resistances differ too much (look for cells far above the others)"
        )
    whole: Array = half + half.T
    places = np.arange(len(whole))
    whole[places, places] *= 0.5
    return whole


def flipped(g: Array) -> Array:
    """The same network with inputs and outputs exchanged: cells `[n, m]`, r_word and r_bit exchanged too."""
    return np.ascontiguousarray(g[::-1, ::-1].T)
