"""Wires with resistance: what reaches the outputs of a crossbar, exactly, with its exact derivative.

Inputs are on the left, outputs are grounded at the bottom; a word line has a segment of `r_word` ohm in front
of each cell, a bit line one of `r_bit` behind each. The network is linear, so that all it does is one matrix,

    I = V^T T,   T [m, n] = `transfer(g)`,

the conductance from each input to each output. `currents` and `transfer` are differentiable by conductances
and voltages: the adjoint is the transposed solve with the same factorisation (see `block_solver`). A batch of
inputs shares one factorisation. Inside it is float64, whatever comes in.

`approximate` is faster and has the error that `approximation_error` measures: it solves the lines by
relaxation for one typical input, and takes what share of it each cell sees for the share that it sees of any
input.

Not modelled: capacitance and delay of the wires, drivers and sense amplifiers with resistance of their own,
cells whose current is not proportional to the voltage, temperature (resistances are those given).

Reference values are in the tests: badcrossbar (Joksas & Mehonic, SoftwareX 12, 2020) against a circuit
simulator.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rheobase.crossbar.block_solver import Factor, factorise, flipped

Floats = npt.NDArray[np.float64]


class Wires(NamedTuple):
    """Resistances in ohm of one segment of a word line and of a bit line.

    >>> Wires(1.0, 2.0).check().r_bit
    2.0
    """

    r_word: float = 0.0
    r_bit: float = 0.0

    def check(self) -> Wires:
        """Itself; `ValueError` for resistances that are negative or not finite."""
        for name, value in zip(self._fields, self, strict=True):
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name}: got {value} ohm, wanted a finite resistance of at least 0 ohm")
        return self

    @property
    def ideal(self) -> bool:
        """Whether there is no resistance at all."""
        return self.r_word == 0 and self.r_bit == 0


def transfer(conductance: Tensor, wires: Wires) -> Tensor:
    """The conductance in S from each input to each output, `[m, n]`, of cells `[m, n]` in S.

    Raises:
        ValueError: On conductances or resistances that are negative or not finite.

    >>> cells = torch.tensor([[0.1]], dtype=torch.float64)
    >>> round(float(transfer(cells, Wires(1.0, 2.0))) * 13, 12)
    1.0
    """
    wires.check()
    check_conductance(conductance)
    if wires.ideal:
        return conductance
    result: Tensor = _Transfer.apply(conductance, wires)  # type: ignore[no-untyped-call]
    return result


def currents(conductance: Tensor, voltages: Tensor, wires: Wires) -> Tensor:
    """Output currents in A, `[..., n]`, of cells `[m, n]` in S for input voltages `[..., m]` in V.

    Raises:
        ValueError: On shapes that do not fit, or conductances or resistances that are negative or not finite.

    >>> cells = torch.full((2, 2), 1e-3, dtype=torch.float64)
    >>> currents(cells, torch.ones(2, dtype=torch.float64), Wires()).tolist()
    [0.002, 0.002]
    """
    wires.check()
    check_conductance(conductance)
    if voltages.shape[-1] != len(conductance):
        raise ValueError(
            f"voltages: got {voltages.shape[-1]} values, wanted one for each of {len(conductance)} word lines"
        )
    batch = voltages.reshape(-1, len(conductance))
    if wires.ideal or len(batch) >= min(conductance.shape):
        result = batch @ transfer(conductance, wires)
    else:
        result = _Currents.apply(conductance, batch, wires)  # type: ignore[no-untyped-call]
    return result.reshape(*voltages.shape[:-1], conductance.shape[1])


def node_voltages(conductance: Tensor, voltages: Tensor, wires: Wires) -> tuple[Tensor, Tensor]:
    """Voltages of the word nodes and of the bit nodes, float64 `[m, n]` each, for inputs `[m]` in V.

    >>> word, bit = node_voltages(torch.full((1, 1), 0.1), torch.ones(1), Wires(1.0, 2.0))
    >>> round(float(word - bit) * 13, 6)
    10.0
    """
    wires.check()
    check_conductance(conductance)
    network = _Network.of(_numpy(conductance), wires)
    word, bit = network.nodes(_numpy(voltages)[:, None])
    return torch.from_numpy(word[..., 0].copy()), torch.from_numpy(bit[..., 0].copy())


def approximate(conductance: Tensor, wires: Wires, sweeps: int = 4) -> Tensor:
    """About `transfer(conductance, wires)`, in a fraction of the time.

    Lines are relaxed in turn (`sweeps` times: word lines given the bit lines, then the other way round) with
    1 V at every input; T is then g times the share of its input that each cell sees. The derivative takes
    this share as fixed. Small where inputs are alike, and for g r m n well below 1; see
    `approximation_error`.
    """
    wires.check()
    check_conductance(conductance)
    if wires.ideal:
        return conductance
    share = torch.from_numpy(_shares(_numpy(conductance), wires, sweeps))
    return conductance * share.to(conductance.dtype)


def approximation_error(conductance: Tensor, wires: Wires, sweeps: int = 4) -> float:
    """The error of `approximate`: Frobenius norm of the difference from the exact matrix, over that of the
    latter."""
    exact = transfer(conductance.detach().double(), wires)
    near = approximate(conductance.detach().double(), wires, sweeps)
    return float((near - exact).norm() / exact.norm())


class _Network(NamedTuple):
    """A factorised network, perhaps with inputs and outputs exchanged (so that its blocks are small)."""

    factor: Factor
    exchanged: bool

    @classmethod
    def of(cls, g: Floats, wires: Wires) -> _Network:
        if g.shape[1] <= g.shape[0]:
            return cls(factorise(g, wires.r_word, wires.r_bit), False)
        return cls(factorise(flipped(g), wires.r_bit, wires.r_word), True)

    def nodes(self, driven: Floats) -> tuple[Floats, Floats]:
        """Word and bit nodes `[m, n, K]` for inputs `[m, K]`, outputs grounded."""
        if not self.exchanged:
            bit = self.factor.inputs(driven)
            return _filled(self.factor, driven, bit)
        bit, word = _filled(self.factor, None, self.factor.outputs(driven[::-1]))
        return _back(word), _back(bit)

    def answers(self, wanted: Floats) -> tuple[Floats, Floats]:
        """Word and bit nodes `[m, n, K]` for voltages at the outputs `[n, K]`, inputs grounded."""
        if not self.exchanged:
            return _filled(self.factor, None, self.factor.outputs(wanted))
        flip = wanted[::-1]
        bit, word = _filled(self.factor, flip, self.factor.inputs(flip))
        return _back(word), _back(bit)


class _Transfer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, conductance: Tensor, wires: Wires) -> Tensor:
        network = _Network.of(_numpy(conductance), wires)
        factor = network.factor
        fields = factor.outputs(np.eye(factor.g.shape[1]))
        matrix = np.stack([factor.collected(i) @ fields[i] for i in range(len(fields))])
        ctx.network, ctx.fields, ctx.dtype = network, fields, conductance.dtype
        result = flipped(matrix) if network.exchanged else matrix
        return torch.from_numpy(result).to(conductance.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        network, fields = ctx.network, ctx.fields
        factor = network.factor
        driven = _numpy(gradients[0])
        driven = flipped(driven) if network.exchanged else driven
        bit = factor.inputs(driven)
        result = np.empty_like(factor.g)
        for i in range(len(result)):  # a row at a time: the product of both fields is never whole
            u = fields[i] - factor.word(i, None, fields[i])
            v = factor.word(i, driven[i], None if bit is None else bit[i])
            v = v if bit is None else v - bit[i]
            result[i] = np.einsum("jk,jk->j", u, v)
        result = flipped(result) if network.exchanged else result
        return torch.from_numpy(result).to(ctx.dtype), None


class _Currents(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, conductance: Tensor, voltages: Tensor, wires: Wires) -> Tensor:
        g, driven = _numpy(conductance), np.ascontiguousarray(_numpy(voltages).T)
        network = _Network.of(g, wires)
        word, bit = network.nodes(driven)
        across = word - bit
        ctx.network, ctx.across, ctx.wires, ctx.g = network, across, wires, g
        ctx.dtypes = conductance.dtype, voltages.dtype
        out = bit[-1] / wires.r_bit if wires.r_bit else np.einsum("ij,ijk->jk", g, across)
        dtype = torch.promote_types(conductance.dtype, voltages.dtype)
        return torch.from_numpy(np.ascontiguousarray(out.T)).to(dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        wires: Wires = ctx.wires
        word, bit = ctx.network.answers(np.ascontiguousarray(_numpy(gradients[0]).T))
        across = bit - word
        by_cells = np.einsum("ijk,ijk->ij", across, ctx.across)
        back = word[:, 0] / wires.r_word if wires.r_word else np.einsum("ij,ijk->ik", ctx.g, across)
        cells, inputs = ctx.dtypes
        return (
            torch.from_numpy(by_cells).to(cells),
            torch.from_numpy(np.ascontiguousarray(back.T)).to(inputs),
            None,
        )


def _filled(factor: Factor, driven: Floats | None, bit: Floats | None) -> tuple[Floats, Floats]:
    """Word nodes beside the bit nodes."""
    rows = range(len(factor.g))
    word = np.stack([factor.word(i, _row(driven, i), _row(bit, i)) for i in rows])
    return word, np.zeros_like(word) if bit is None else bit


def _row(values: Floats | None, i: int) -> Floats | None:
    return None if values is None else values[i]


def _back(field: Floats) -> Floats:
    """Nodes of the exchanged network in the order of the original one."""
    nodes: Floats = field[::-1, ::-1].transpose(1, 0, 2)
    return nodes


def _shares(g: Floats, wires: Wires, sweeps: int) -> Floats:
    """Voltage across each cell for 1 V at every input, by relaxation."""
    word, bit = np.ones_like(g), np.zeros_like(g)
    for _ in range(sweeps):
        if wires.r_word:
            word = _line(g, bit, wires.r_word, 1.0)
        if wires.r_bit:
            bit = _line(flipped(g), flipped(word), wires.r_bit, 0.0)
            bit = flipped(bit)
    share: Floats = np.clip(word - bit, 0.0, 1.0)
    return share


def _line(g: Floats, beyond: Floats, resistance: float, driven: float) -> Floats:
    """Voltages on lines `[lines, nodes]` fed at their first node, given those on the other side of their
    cells."""
    c, n = 1 / resistance, g.shape[1]
    pivot, push = np.empty_like(g), np.empty_like(g)
    pivot[:, 0], push[:, 0] = (2 if n > 1 else 1) * c + g[:, 0], g[:, 0] * beyond[:, 0] + c * driven
    for j in range(1, n):
        factor = c / pivot[:, j - 1]
        pivot[:, j] = (2 if j + 1 < n else 1) * c + g[:, j] - c * factor
        push[:, j] = g[:, j] * beyond[:, j] + factor * push[:, j - 1]
    nodes = np.empty_like(g)
    nodes[:, -1] = push[:, -1] / pivot[:, -1]
    for j in range(n - 2, -1, -1):
        nodes[:, j] = (push[:, j] + c * nodes[:, j + 1]) / pivot[:, j]
    return nodes


def _numpy(values: Tensor) -> Floats:
    return values.detach().to("cpu", torch.float64).contiguous().numpy()


def check_conductance(conductance: Tensor) -> None:
    """Raise `ValueError` unless these are conductances `[m, n]`."""
    if conductance.dim() != 2 or 0 in conductance.shape:
        raise ValueError(
            f"conductance: got shape {tuple(conductance.shape)}, wanted word lines by bit lines, [m, n]"
        )
    low, high = torch.aminmax(conductance.detach())
    if not (float(low) >= 0 and math.isfinite(float(high))):
        raise ValueError(
            f"conductance: got values from {float(low):g} to {float(high):g} S, wanted finite ones of at "
            "least 0 S (0 for a cell that is missing)"
        )
