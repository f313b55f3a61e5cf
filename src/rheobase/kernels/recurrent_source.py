"""Numba source for recurrently connected neurons: the whole sequence forward, and its adjoint.

Rows are samples. Two ways to bring what was emitted to where it goes, each with its own kernels:

    dense   all connections have the same delay. A step takes the rows of the weights of the neurons that
            fired, in each sample or in any of four (see `CACHE`): the same bits; the adjoint takes all rows
    taps    delays differ, or few neurons are connected. Each connection is a tap that reads what its
            source emitted `delay` steps ago, for a vector of samples at a time: what was emitted is
            kept, samples innermost, for as many steps as the longest delay

The neurons' own equations are those of `rheobase.kernels.source`, one loop per group. Dense connections
around the neurons may run along with them (see `rheobase.kernels.attached`), and gradients of weights may be
summed event by event (`Around`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rheobase.kernels import vectors
from rheobase.kernels.adjoint import Adjoint
from rheobase.kernels.gates import gates
from rheobase.kernels.recurrent_around import Around, work_names
from rheobase.kernels.recurrent_frames import BACKWARD, FORWARD
from rheobase.kernels.recurrent_text import (
    BEHIND,
    CONNECTIONS,
    CURRENT,
    CURRENT_BEFORE,
    ENDS,
    EVERYONE,
    PUT_BACK,
    SOME,
    behind_lagging,
    given,
    indented,
    prologue,
    reached,
    tallies,
    tied,
)
from rheobase.kernels.source import (
    HEADER,
    Incoming,
    Layout,
    adjoint_body,
    explain,
    forward_body,
    gate_body,
    indent,
    slices_of,
    start_body,
)
from rheobase.kernels.trace import Trace

#: Bytes of weights that stay in the first-level cache. There, each sample's own rows are added, unless the
#: samples have so many in common that rows of all of them are fewer than this share of their events.
CACHE, SHARED = 48_000, 0.4


@dataclass(frozen=True)
class Part:
    """A group of neurons within the kernel: its traced step, and its place.

    Its neurons are those from `low` to `high`; their inputs take the current's columns from `column` on.
    `saved` are the nodes kept at every step, in arrays at `places` (see `rheobase.kernels.saved.places`);
    `adjoint` and `incoming` are needed for the backward kernel only.
    """

    trace: Trace
    layout: Layout
    saved: tuple[int, ...]
    low: int
    high: int
    column: int
    adjoint: Adjoint | None = None
    incoming: Incoming | None = None
    places: tuple[tuple[int, int], ...] = ()

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
        """Arguments: the arrays of what is kept."""
        return [f"kept{g}_{i}" for i in range(len({array for array, _ in self.places}))]

    def kept_rows(self, g: int) -> list[str]:
        """What `forward_body` and `adjoint_body` call a step's rows of them."""
        return [
            f"kept{i} = kept{g}_{array}[t - low_step{f' + {later}' if later else ''}, r]"
            for i, (array, later) in enumerate(self.places)
        ]

    @property
    def there(self) -> tuple[int, ...]:
        """Saved nodes that the step before has kept already, as what it made of its new states."""
        shared = {array for array, later in self.places if later}
        places = zip(self.saved, self.places, strict=True)
        return tuple(n for n, (array, later) in places if array in shared and not later)


def _header(parts: Sequence[Part], title: str, flags: str) -> str:
    texts = [f"Group {g}, neurons {p.low} to {p.high - 1}. {explain(p.trace)}" for g, p in enumerate(parts)]
    text = HEADER.format(
        title=title, explanation="\n\n".join(texts), dtype=parts[0].layout.dtype, flags=flags
    )
    constants, decorator = text.rsplit("\n@numba", 1)
    version = vectors.version("microkernels", "picks", "searches", "spread", "sheaves")
    return (
        f"{constants.rstrip()}\n\nfrom rheobase.kernels.microkernels import add_rows, add_taps, multiply\n"
        "from rheobase.kernels.picks import pick_out, put_back\n"
        "from rheobase.kernels.searches import find, find_any\n"
        "from rheobase.kernels.sheaves import spread_sheaf\n"
        "from rheobase.kernels.spread import spread_rows\n\n"
        f"LANES = {vectors.BYTES} // np.dtype(F).itemsize\n"
        f"# Calls version {version}: machine code is kept by this text.\n\n\n"
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
            *p.kept_rows(g),
            f"for k in range({p.high - p.low}):",
        ]
        text += indent(slices, by) + indent(forward_body(p.trace, p.layout, p.saved, p.there), by + 1)
    return text


def _forward_start(parts: Sequence[Part]) -> list[str]:
    """Before the first step of a block: what of it no step before has kept."""
    lines = []
    for g, p in enumerate(parts):
        if p.there:
            lines += [
                "for r in range(first, last):",
                *indented(p.bind(g)),
                *(f"    s_{n} = {s}[r]" for n, s in zip(p.trace.states, p.states(g, "s"), strict=True)),
                *indented(
                    [
                        f"kept{i} = kept{g}_{array}[0, r]"
                        for i, (array, _) in enumerate(p.places)
                        if p.saved[i] in p.there
                    ]
                ),
                f"    for k in range({p.high - p.low}):",
                *indented(indented(start_body(p.trace, p.layout, p.saved, p.there))),
            ]
    return lines


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
            "by = by_all[t % window, r]",
            *p.currents("by_", "by"),
            f"out = out_all[depth + t, r, {p.low}:{p.high}]",
            *(f"lam_{n} = {s}[r]" for n, s in zip(p.trace.states, p.states(g, "lam"), strict=True)),
            *(f"r_{n} = {r}[t, r]" for n, r in zip(p.layout.record, p.records(g), strict=True)),
            *(f"g_{n} = g{g}_{n}[t, r]" for n in p.incoming.traces),
            *p.kept_rows(g),
            *(f"by_c{j} = by{g}_{j}[r]" for j in p.incoming.coefficients),
            f"for k in range({p.high - p.low}):",
        ]
        text += indent(slices, by) + indent(body or ["pass"], by + 1)
    return text


def _open_gates(parts: Sequence[Part]) -> tuple[list[str], list[str], list[str]]:
    """Statements that mark the neurons that derivatives get into, and list their columns (see `reached`)."""
    opened: list[str] = []
    ends: list[str] = []
    columns: list[str] = []
    for g, p in enumerate(parts):
        assert p.adjoint is not None
        assert p.incoming is not None
        n = p.high - p.low
        loop, starts = f"for k in range({n}):", [p.column + i * n for i in range(len(p.trace.inputs))]
        ends.append(f"mark = marks[{p.low}:{p.high}]")
        found = () if p.incoming.traces else gates(p.trace, p.adjoint)
        if found:
            opened += [
                *p.bind(g),
                f"mark, out = marks[{p.low}:{p.high}], out_all[depth + t, r, {p.low}:{p.high}]",
                *(f"r_{name} = {r}[t, r]" for name, r in zip(p.layout.record, p.records(g), strict=True)),
                *p.kept_rows(g),
                loop,
                *indented(gate_body(p.trace, found, p.layout, p.saved)),
            ]
            for state in p.states(g, "lam"):
                ends += [f"lam = {state}[r]", loop, "    mark[k] = ONE if lam[k] != ZERO else mark[k]"]
            ends.append("for t in range(high_step, min(high_step + delay, steps)):")
            for a in starts:
                own = [f"by = by_all[t % window, r, {a}:{a + n}]", loop]
                ends += indented([*own, "    mark[k] = ONE if by[k] != ZERO else mark[k]"])
        else:
            ends += [loop, "    mark[k] = ONE"]
        for a in starts:
            columns += [loop, f"    if marks[{p.low} + k] != ZERO:"]
            columns += [f"        listed[many] = {a} + k", "        many += 1"]
    return opened or ["pass"], ends, columns


def _forward_arguments(parts: Sequence[Part], around: Around) -> list[str]:
    args = ["current_all", "out_all"]
    args += ["weights_before"] if around.before else []
    args += ["weights_behind", "sums_all"] if around.behind else []
    for g, p in enumerate(parts):
        args += [*p.states(g, "s"), *p.coefficients(g), *p.records(g), *p.kept(g)]
    return args


def _backward_arguments(parts: Sequence[Part], around: Around) -> list[str]:
    args = ["out_all", "by_all"]
    args += ["g_out_all"] if around.given else []
    args += ["current_all", "tally_before"] if around.before else []
    args += ["g_sums_all", "weights_behind", "tally_behind"] if around.behind else []
    args += ["tally_weights"] if around.tally else []
    for g, p in enumerate(parts):
        assert p.incoming is not None
        args += [*p.states(g, "lam"), *p.coefficients(g), *p.records(g), *p.kept(g)]
        args += [f"g{g}_{name}" for name in p.incoming.traces]
        args += [f"by{g}_{j}" for j in p.incoming.coefficients]
    return args


def samples_per_block(way: str, itemsize: int) -> int:
    """How many samples a block has: they are run through all steps together."""
    return vectors.ROWS if way == "dense" else vectors.lanes(itemsize)


def _columns(parts: Sequence[Part]) -> int:
    """Inputs of all neurons together."""
    return sum((p.high - p.low) * len(p.trace.inputs) for p in parts)


def forward_source(parts: Sequence[Part], title: str, way: str, around: Around) -> str:
    """The forward kernel, "dense" or "taps".

    Arguments: currents `[T or 1, B, M]`, or with a connection before, its inputs `[T, B, K]`; the emissions
    `[depth + T, B, N]`, of which the first are given; the weights before `[K + 1, padded M]`; those behind
    `[N + 1, padded O]`, and where their sums go, `[T, B, O]`;
    per group: states `[B, n]` (changed in place), coefficients, recorded states `[T, B, n]`, saved values
    (from `low_step` on). Then the connections: dense, the weights `[N, padded M]` from each neuron, and
    their delay; taps, weights, offsets and ranges of the taps to each neuron (see
    `rheobase.kernels.connections`) and the longest delay. Then working memory (`working_memory`) and `ENDS`.
    """
    work = work_names("forward", way, around)
    args = ", ".join([*_forward_arguments(parts, around), *CONNECTIONS[way], *work, *ENDS])
    behind = behind_lagging(around) if way == "dense" else (BEHIND if around.behind else [], [])
    body = FORWARD[way].format(
        step=forward_step(parts, 5),
        current=indent(CURRENT_BEFORE if around.before else CURRENT, 5),
        behind=indent(behind[0], 4 if way == "dense" else 5),
        behind_last=indent(behind[1], 3),
        start=indent(_forward_start(parts), 3),
        columns=_columns(parts),
        cache=CACHE,
        shared=SHARED,
    )
    start = indent(prologue(way, around, forward=True), 1)
    return f"{_header(parts, title, '')}def forward({args}):\n{start}{body}"


def backward_source(parts: Sequence[Part], title: str, way: str, around: Around) -> str:
    """The backward kernel, "dense" or "taps".

    Arguments: the emissions; the derivatives by the currents `[T, B, M]`, to be filled, or a window of them
    (step t is in row t % window, rows of whole vectors) for at least as many steps as the longest delay and
    one; those by the
    emissions `[T, B, N]`; of the connection before, its inputs `[T, B, K]` and sums of the gradient
    `[parts, K + 1, padded M]`; of the one behind, the derivatives by its sums `[T, B, O]`, its weights
    `[O, padded N]`, and sums of the gradient `[parts, N + 1, padded O]`; sums of the gradient of the
    recurrent weights `[parts, N + 1, padded M]`; per group: derivatives by the states (changed in place),
    coefficients, recorded states, saved values, derivatives by recorded states, sums per coefficient
    `[B, n]`. Then the connections: dense, the weights `[M, padded N]` to each input; taps, those from each
    neuron. Then working memory and `ENDS`.
    """
    work = work_names("backward", way, around)
    args = ", ".join([*_backward_arguments(parts, around), *CONNECTIONS[way], *work, *ENDS])
    body = BACKWARD[way].format(
        step=_adjoint_step(parts, 5),
        given=indent(given(way, around), 5),
        reached=indent(reached(*_open_gates(parts), around) if around.gated else [], 2),
        columns=_columns(parts),
        everyone=indent(SOME if around.gated else EVERYONE, 1),
        put_back=indent(PUT_BACK if around.gated else [], 5),
        tally=indent(tallies(around), 5),
        tied=indent(tied(around), 3),
    )
    start = indent(prologue(way, around, forward=False), 1)
    flags = ', fastmath={"contract", "reassoc", "nsz"}'
    return f"{_header(parts, title, flags)}def backward({args}):\n{start}{body}"
