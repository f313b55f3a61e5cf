"""Any crossbar network by its nodal equations: lines that float, sneak paths, and what half-selected cells
see.

    A v = b,   A the conductance matrix of all nodes whose voltage is not given

Each line is held at a voltage at its first (word) or last (bit) end, or floats. Wires without resistance make
one node of what they join, missing cells (0 S) join nothing; so both are exact. The matrix is sparse and is
solved by SuperLU; for the driven array of a connection `rheobase.crossbar.wires` is several times as fast and
differentiable.

A cell is selected by its row and column, and read by the current of its bit line; what flows there besides
the current through the cell itself is the sneak current. Schemes for the other lines, with V on the selected
word line and the selected bit line grounded:

    ground      all others at 0
    float       all others float
    half        all others at V/2                     (cells in the selected row or column see V/2)
    third       word lines at V/3, bit lines at 2V/3  (all cells but the selected one see V/3)

Chen, "A comprehensive crossbar array model with solutions for line resistance and nonlinear device
characteristics", IEEE Trans. Electron Devices 60 (2013). Not modelled: nonlinear cells and selectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import coo_matrix, csc_matrix
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu
from torch import Tensor

from rheobase.crossbar.wires import Wires, check_conductance

Scheme = Literal["ground", "float", "half", "third"]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Solution:
    """Voltages of all nodes, and what flows.

    Attributes:
        word, bit: Voltages of the nodes of word and bit lines, float64 `[m, n]`.
        cells: Current through each cell from word to bit line, in A, `[m, n]`.
    """

    word: Tensor
    bit: Tensor
    cells: Tensor

    @property
    def outputs(self) -> Tensor:
        """The current that each bit line collects, in A, `[n]`."""
        return self.cells.sum(0)


def solve(
    conductance: Tensor, word: Sequence[float | None], bit: Sequence[float | None], wires: Wires
) -> Solution:
    """The network with each line held at a voltage (V), or floating (None).

    Args:
        conductance: Cells in S, `[m, n]`; 0 for a missing cell.
        word, bit: One value for each of m word lines and n bit lines.
        wires: Resistances of the segments.

    Raises:
        ValueError: On values that do not fit, or a line that floats without any way to a line that is held.

    >>> cells = torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    >>> solve(cells, [1.0, None], [0.0, 0.0], Wires()).word.tolist()  # a line between two grounds
    [[1.0, 1.0], [0.0, 0.0]]
    """
    wires.check()
    check_conductance(conductance)
    g = conductance.detach().double().numpy()
    m, n = g.shape
    if (len(word), len(bit)) != (m, n):
        raise ValueError(
            f"got voltages of {len(word)} word lines and {len(bit)} bit lines, wanted {m} and {n}"
        )
    # Nodes: word (i, j) is i n + j, bit (i, j) is m n + i n + j, then one for the end of each line.
    nodes = np.arange(2 * m * n).reshape(2, m, n)
    ends = 2 * m * n + np.arange(m + n)
    left = np.concatenate([ends[:m, None], nodes[0]], axis=1)
    down = np.concatenate([nodes[1], ends[None, m:]], axis=0)
    segments = [(left[:, :-1], left[:, 1:], wires.r_word), (down[:-1], down[1:], wires.r_bit)]
    size = 2 * m * n + m + n
    name = _merged(size, [(a, b) for a, b, r in segments if r == 0])
    edges = [(nodes[0].ravel(), nodes[1].ravel(), g.ravel())]
    edges += [(a.ravel(), b.ravel(), np.full(a.size, 1 / r)) for a, b, r in segments if r]
    start, end, value = (np.concatenate(parts) for parts in zip(*edges, strict=True))
    there = value > 0
    start, end, value = name[start[there]], name[end[there]], value[there]
    held = {name[e]: v for e, v in zip(ends, (*word, *bit), strict=True) if v is not None}
    voltage = _voltages(int(name.max()) + 1, start, end, value, held, name, m, n)
    v_word, v_bit = voltage[name[nodes[0]]], voltage[name[nodes[1]]]
    return Solution(torch.from_numpy(v_word), torch.from_numpy(v_bit), torch.from_numpy(g * (v_word - v_bit)))


def _merged(
    size: int, pairs: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]
) -> npt.NDArray[np.int64]:
    """A number for each node, the same for nodes that are joined without resistance."""
    if not pairs:
        return np.arange(size)
    a = np.concatenate([x.ravel() for x, _ in pairs])
    b = np.concatenate([y.ravel() for _, y in pairs])
    graph = coo_matrix((np.ones(len(a)), (a, b)), shape=(size, size))
    names: npt.NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return names


def _voltages(
    size: int,
    start: npt.NDArray[np.int64],
    end: npt.NDArray[np.int64],
    value: Floats,
    held: dict[int, float],
    name: npt.NDArray[np.int64],
    m: int,
    n: int,
) -> Floats:
    graph = coo_matrix((value, (start, end)), shape=(size, size))
    parts = connected_components(graph, directed=False)[1]
    alive = np.isin(parts, parts[list(held)]) if held else np.zeros(size, bool)
    if not alive.all():
        lost = int(np.isin(name, np.nonzero(~alive)[0])[2 * m * n :].argmax())
        line = f"word line {lost}" if lost < m else f"bit line {lost - m}"
        raise ValueError(
            f"singular network: {line} floats, and no cell or wire leads from it to a line that is held; "
            "hold it at a voltage, or take it out of the array"
        )
    voltage = np.zeros(size)
    voltage[list(held)] = list(held.values())
    free = np.ones(size, bool)
    free[list(held)] = False
    if not free.any():
        return voltage
    both = np.concatenate([start, end]), np.concatenate([end, start])
    weight = np.concatenate([value, value])
    degree = np.bincount(both[0], weight, size)
    matrix = csc_matrix((weight, both), shape=(size, size))
    inner = -matrix[free][:, free]
    inner.setdiag(degree[free] + inner.diagonal())
    voltage[free] = splu(inner.tocsc(), permc_spec="MMD_AT_PLUS_A").solve(
        matrix[free][:, ~free] @ voltage[~free]
    )
    return voltage


@dataclass(frozen=True)
class Selection:
    """What reading (or writing) one cell does.

    Attributes:
        wanted: Current through the selected cell, in A.
        sneak: What its bit line collects besides, in A.
        disturbed: Voltage across each cell, in V, `[m, n]`.
    """

    wanted: float
    sneak: float
    disturbed: Tensor

    @property
    def worst(self) -> float:
        """The largest voltage across a cell other than the one selected, in V (the selected one is the
        largest)."""
        return float(self.disturbed.abs().flatten().sort().values[-2])


def select(
    conductance: Tensor,
    row: int,
    column: int,
    wires: Wires,
    *,
    volts: float = 1.0,
    scheme: Scheme = "half",
) -> Selection:
    """Select one cell, with the other lines as `scheme` says.

    Raises:
        ValueError: On a cell or a scheme that does not exist, or as `solve`.

    >>> chosen = select(torch.full((3, 3), 1e-3), 0, 0, Wires(), scheme="third")
    >>> round(chosen.wanted, 6), round(chosen.worst, 6)
    (0.001, 0.333333)
    """
    m, n = conductance.shape
    if not (0 <= row < m and 0 <= column < n):
        raise ValueError(f"got the cell ({row}, {column}), wanted one of an array of {m} x {n}")
    others: dict[str, tuple[float | None, float | None]] = {
        "ground": (0.0, 0.0),
        "float": (None, None),
        "half": (volts / 2, volts / 2),
        "third": (volts / 3, 2 * volts / 3),
    }
    if scheme not in others:
        raise ValueError(f"scheme: got {scheme!r}, wanted one of {', '.join(others)}")
    word, bit = ([value] * size for value, size in zip(others[scheme], (m, n), strict=True))
    word[row], bit[column] = volts, 0.0
    found = solve(conductance, word, bit, wires)
    wanted = float(found.cells[row, column])
    return Selection(wanted, float(found.outputs[column]) - wanted, found.word - found.bit)
