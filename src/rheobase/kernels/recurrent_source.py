"""Numba source for recurrently connected neurons: the whole sequence forward, and its adjoint.

Rows are samples. Two ways to bring what was emitted to where it goes, each with its own kernels:

    dense   all connections have the same delay. A step takes the rows of the weights of the neurons that
            fired, in each sample or in any of four (see `CACHE`): the same bits; the adjoint takes all rows
    taps    delays differ, or few neurons are connected. Each connection is a tap that reads what its
            source emitted `delay` steps ago, for a vector of samples at a time: what was emitted is
            kept, samples innermost, for as many steps as the longest delay

The neurons' own equations are those of `rheobase.kernels.source`, one loop per group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rheobase.kernels import vectors
from rheobase.kernels.adjoint import Adjoint
from rheobase.kernels.source import (
    HEADER,
    Incoming,
    Layout,
    adjoint_body,
    explain,
    forward_body,
    indent,
    slices_of,
)
from rheobase.kernels.trace import Trace

#: Bytes of weights that stay in the first-level cache. There, each sample's own rows are added, unless the
#: samples have so many in common that rows of all of them are fewer than this share of their events.
CACHE, SHARED = 40_000, 0.4

#: Steps that a window of past values moves before it is copied back to the start of its buffer.
SLACK = 64


@dataclass(frozen=True)
class Part:
    """A group of neurons within the kernel: its traced step, and its place.

    Its neurons are those from `low` to `high`; their inputs take the current's columns from `column` on.
    `saved` are the nodes kept at every step in arrays of their own; `adjoint` and `incoming` are
    needed for the backward kernel only.
    """

    trace: Trace
    layout: Layout
    saved: tuple[int, ...]
    low: int
    high: int
    column: int
    adjoint: Adjoint | None = None
    incoming: Incoming | None = None

    def coefficients(self, g: int) -> list[str]:
        """Arguments: a number, or one value per neuron."""
        return [f"c{g}_{j}" for j in range(len(self.layout.kinds))]

    def bind(self, g: int) -> list[str]:
        """What `forward_body` and `adjoint_body` call the coefficients."""
        return [f"c{j} = c{g}_{j}" for j in range(len(self.layout.kinds))]

    def currents(self, prefix: str, row: str) -> list[str]:
        """Slices of each input's columns from `row`, which has all groups' inputs."""
        n, pieces = self.high - self.low, slices_of(self.trace).values()
        starts = range(self.column, self.column + n * len(pieces), n)
        return [f"{prefix}{name} = {row}[{a}:{a + n}]" for name, a in zip(pieces, starts, strict=True)]

    def states(self, g: int, prefix: str) -> list[str]:
        return [f"{prefix}{g}_{name}" for name in self.trace.states]

    def records(self, g: int) -> list[str]:
        return [f"r{g}_{name}" for name in self.layout.record]

    def kept(self, g: int) -> list[str]:
        return [f"kept{g}_{i}" for i in range(len(self.saved))]


def _header(parts: Sequence[Part], title: str, flags: str) -> str:
    texts = [f"Group {g}, neurons {p.low} to {p.high - 1}. {explain(p.trace)}" for g, p in enumerate(parts)]
    text = HEADER.format(
        title=title, explanation="\n\n".join(texts), dtype=parts[0].layout.dtype, flags=flags
    )
    constants, decorator = text.rsplit("\n@numba", 1)
    names = "add_rows, add_taps, find, multiply"
    return (
        f"{constants.rstrip()}\n\nfrom rheobase.kernels.microkernels import {names}\n\n"
        f"LANES = {vectors.BYTES} // np.dtype(F).itemsize\n"
        f"# Calls version {vectors.version()}: machine code is kept by this text.\n\n\n"
        f"@numba{decorator}"
    )


def forward_step(parts: Sequence[Part], by: int) -> str:
    """Currents `y` (a row over all inputs) to the groups' emissions and states at step t of sample r."""
    text = ""
    for g, p in enumerate(parts):
        slices = [
            *p.bind(g),
            *p.currents("", "y"),
            f"out = out_all[depth + t, r, {p.low}:{p.high}]",
            *(f"s_{n} = {s}[r]" for n, s in zip(p.trace.states, p.states(g, "s"), strict=True)),
            *(f"r_{n} = {r}[t, r]" for n, r in zip(p.layout.record, p.records(g), strict=True)),
            *(f"kept{i} = {k}[t - low_step, r]" for i, k in enumerate(p.kept(g))),
            f"for k in range({p.high - p.low}):",
        ]
        text += indent(slices, by) + indent(forward_body(p.trace, p.layout, p.saved), by + 1)
    return text


def _adjoint_step(parts: Sequence[Part], by: int) -> str:
    """Derivatives by what was emitted, `g_all` (a row), to those by the currents at step t of sample r."""
    text = ""
    for g, p in enumerate(parts):
        assert p.adjoint is not None
        assert p.incoming is not None
        body, _ = adjoint_body(p.trace, p.adjoint, p.layout, p.saved, p.incoming)
        slices = [
            *p.bind(g),
            f"g_out = g_all[{p.low}:{p.high}]",
            "by = by_all[t, r]",
            *p.currents("by_", "by"),
            f"out = out_all[depth + t, r, {p.low}:{p.high}]",
            *(f"lam_{n} = {s}[r]" for n, s in zip(p.trace.states, p.states(g, "lam"), strict=True)),
            *(f"r_{n} = {r}[t, r]" for n, r in zip(p.layout.record, p.records(g), strict=True)),
            *(f"g_{n} = g{g}_{n}[t, r]" for n in p.incoming.traces),
            *(f"kept{i} = {k}[t - low_step, r]" for i, k in enumerate(p.kept(g))),
            *(f"by_c{j} = by{g}_{j}[r]" for j in p.incoming.coefficients),
            f"for k in range({p.high - p.low}):",
        ]
        text += indent(slices, by) + indent(body or ["pass"], by + 1)
    return text


def _forward_arguments(parts: Sequence[Part]) -> list[str]:
    args = ["current_all", "out_all"]
    for g, p in enumerate(parts):
        args += [*p.states(g, "s"), *p.coefficients(g), *p.records(g), *p.kept(g)]
    return args


def _backward_arguments(parts: Sequence[Part]) -> list[str]:
    args = ["out_all", "g_out_all", "by_all"]
    for g, p in enumerate(parts):
        assert p.incoming is not None
        args += [*p.states(g, "lam"), *p.coefficients(g), *p.records(g), *p.kept(g)]
        args += [f"g{g}_{name}" for name in p.incoming.traces]
        args += [f"by{g}_{j}" for j in p.incoming.coefficients]
    return args


#: `moving` is 0 where the input does not change in time.
ENDS = ["depth", "moving", "low_step", "high_step", "batch", "thread", "low_block", "high_block"]
CONNECTIONS = {"dense": ["weights", "delay"], "taps": ["weights", "offsets", "starts", "longest"]}


def working_memory(
    direction: str, way: str, *, size: int, columns: int, longest: int, itemsize: int
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Names of the arrays that a kernel works in, with their kind and their shape for each thread.

    "F" is the computation's own dtype. `size` neurons have `columns` inputs; `longest` is the longest delay.
    """
    lanes, window = vectors.lanes(itemsize), longest + max(SLACK, longest)
    reach = size + 64  # read in whole vectors, beyond the end
    if way == "taps":
        here, there = (columns, size) if direction == "forward" else (size, columns)
        return {
            "past_all": ("F", (window * there * lanes,)),
            "pulled_all": ("F", (here * lanes,)),
            "row_all": ("F", (here,)),
        }
    if direction == "forward":
        return {
            "y_rows": ("F", (4, vectors.padded(columns, itemsize))),
            "z_rows": ("F", (4, reach)),
            "either_all": ("F", (reach,)),
            "found_rows": ("int32", (5, reach)),
            "counts_all": ("int64", (4,)),
        }
    return {
        "g_rows": ("F", (4, vectors.padded(size, itemsize))),
        "everyone_all": ("int32", (columns,)),
    }


def _work_names(direction: str, way: str) -> list[str]:
    return list(working_memory(direction, way, size=1, columns=1, longest=1, itemsize=4))


def samples_per_block(way: str, itemsize: int) -> int:
    """How many samples a block has: they are run through all steps together."""
    return vectors.ROWS if way == "dense" else vectors.lanes(itemsize)


def forward_source(parts: Sequence[Part], title: str, way: str) -> str:
    """The forward kernel, "dense" or "taps".

    Arguments: currents `[T or 1, B, M]`; the emissions `[depth + T, B, N]`, of which the first are given;
    per group: states `[B, n]` (changed in place), coefficients, recorded states `[T, B, n]`, saved values
    (from `low_step` on). Then the connections: dense, the weights `[N, padded M]` from each neuron, and
    their delay; taps, weights, offsets and ranges of the taps to each neuron (see
    `rheobase.kernels.connections`) and the longest delay. Then working memory (`working_memory`) and `ENDS`.
    """
    work = _work_names("forward", way)
    args = ", ".join([*_forward_arguments(parts), *CONNECTIONS[way], *work, *ENDS])
    body = _FORWARD[way].format(step=forward_step(parts, 4), cache=CACHE, shared=SHARED)
    return f"{_header(parts, title, '')}def forward({args}):\n{body}"


def backward_source(parts: Sequence[Part], title: str, way: str) -> str:
    """The backward kernel, "dense" or "taps".

    Arguments: the emissions; the derivatives by them `[T, B, N]`; those by the currents `[T, B, M]`, to be
    filled; per group: derivatives by the states (changed in place), coefficients, recorded states, saved
    values, derivatives by recorded states, sums per coefficient `[B, n]`. Then the connections: dense, the
    weights `[M, padded N]` to each input; taps, those from each neuron. Then `ENDS`.
    """
    work = _work_names("backward", way)
    args = ", ".join([*_backward_arguments(parts), *CONNECTIONS[way], *work, *ENDS])
    body = _BACKWARD[way].format(step=_adjoint_step(parts, 4))
    flags = ', fastmath={"contract", "reassoc", "nsz"}'
    return f"{_header(parts, title, flags)}def backward({args}):\n{body}"


_FORWARD = {
    "dense": """\
    size, columns = out_all.shape[2], current_all.shape[2]
    y_all, z_all, either = y_rows[thread], z_rows[thread], either_all[thread]
    found, together, counts = found_rows[thread], found_rows[thread, 4], counts_all[thread]
    low, high = low_block * 4, min(high_block * 4, batch)
    for t in range(low_step, high_step):
        for first in range(low, high, 4):
            last = min(first + 4, high)
            for i in range(last - first, 4):
                for k in range(size):
                    z_all[i, k] = ZERO
            for r in range(first, last):
                x = current_all[t * moving, r]
                z = out_all[depth + t - delay, r]
                y = y_all[r - first]
                row = z_all[r - first]
                for k in range(columns):
                    y[k] = x[k]
                for k in range(size):
                    row[k] = z[k]
            for k in range(size):
                either[k] = abs(z_all[0, k]) + abs(z_all[1, k]) + abs(z_all[2, k]) + abs(z_all[3, k])
            rows = find(either, size, together)
            alone = False
            if weights.size * weights.itemsize <= {cache}:
                events = 0
                for i in range(last - first):
                    counts[i] = find(z_all[i], size, found[i])
                    events += counts[i]
                alone = rows > {shared} * events
            if alone:
                for i in range(last - first):
                    add_rows(found[i], counts[i], z_all[i], weights, y_all[i])
            else:
                multiply(z_all, 0, last - first, together, rows, weights, y_all)
            for r in range(first, last):
                y = y_all[r - first]
{step}""",
    "taps": """\
    size, columns = out_all.shape[2], current_all.shape[2]
    past, pulled, y = past_all[thread], pulled_all[thread], row_all[thread]
    move = past.shape[0] // (size * LANES) - longest
    low, high = low_block * LANES, min(high_block * LANES, batch)
    for first in range(low, high, LANES):
        last = min(first + LANES, high)
        for d in range(longest):
            for r in range(first, last):
                z = out_all[depth + low_step - longest + d, r]
                for k in range(size):
                    past[(d * size + k) * LANES + r - first] = z[k]
        at = longest
        for t in range(low_step, high_step):
            if at == longest + move:
                for k in range(longest * size * LANES):
                    past[k] = past[move * size * LANES + k]
                at = longest
            for i in range(columns):
                add_taps(
                    weights, offsets, starts[i], starts[i + 1], past, at * size * LANES, pulled, i * LANES
                )
            for r in range(first, last):
                x = current_all[t * moving, r]
                for k in range(columns):
                    y[k] = x[k] + pulled[k * LANES + r - first]
{step}
                z = out_all[depth + t, r]
                for k in range(size):
                    past[(at * size + k) * LANES + r - first] = z[k]
            at += 1
""",
}

_BACKWARD = {
    "dense": """\
    steps, size, columns = g_out_all.shape[0], g_out_all.shape[2], by_all.shape[2]
    rows, everyone = g_rows[thread], everyone_all[thread]
    for k in range(columns):
        everyone[k] = k
    low, high = low_block * 4, min(high_block * 4, batch)
    for step in range(high_step - low_step):
        t = high_step - 1 - step
        for first in range(low, high, 4):
            last = min(first + 4, high)
            for r in range(first, last):
                g_all = rows[r - first]
                given = g_out_all[t, r]
                for k in range(size):
                    g_all[k] = given[k]
            if t + delay < steps:
                multiply(by_all[t + delay], first, last, everyone, columns, weights, rows)
            for r in range(first, last):
                g_all = rows[r - first]
{step}""",
    "taps": """\
    steps, size, columns = g_out_all.shape[0], g_out_all.shape[2], by_all.shape[2]
    past, pulled, g_all = past_all[thread], pulled_all[thread], row_all[thread]
    move = past.shape[0] // (columns * LANES) - longest
    low, high = low_block * LANES, min(high_block * LANES, batch)
    for first in range(low, high, LANES):
        last = min(first + LANES, high)
        for d in range(longest):
            t = high_step + longest - 1 - d
            for r in range(first, last):
                for k in range(columns):
                    past[(d * columns + k) * LANES + r - first] = by_all[t, r, k] if t < steps else ZERO
        at = longest
        for step in range(high_step - low_step):
            t = high_step - 1 - step
            if at == longest + move:
                for k in range(longest * columns * LANES):
                    past[k] = past[move * columns * LANES + k]
                at = longest
            for j in range(size):
                add_taps(
                    weights, offsets, starts[j], starts[j + 1], past, at * columns * LANES, pulled, j * LANES
                )
            for r in range(first, last):
                given = g_out_all[t, r]
                for k in range(size):
                    g_all[k] = given[k] + pulled[k * LANES + r - first]
{step}
                by = by_all[t, r]
                for k in range(columns):
                    past[(at * columns + k) * LANES + r - first] = by[k]
            at += 1
""",
}
