"""Numba source for neurons and the small dense connection behind them, in one: what both kernels share.

The layer's whole-sequence tensors (what it emitted, what its adjoint needs, the derivative by what it
emitted) never exist. A block of neurons of one sample, side by side in vectors, is run over all steps with
its states in registers and the rest in the first-level cache.

The kernels are in `rheobase.kernels.fused_forward` and `rheobase.kernels.fused_backward`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rheobase.kernels import vectors
from rheobase.kernels.lane_body import LaneBody, beginning, emits_spikes
from rheobase.kernels.saved import node_later
from rheobase.kernels.source import Layout, explain
from rheobase.kernels.trace import Trace

#: Vectors of neurons of a block: a neuron's steps wait for each other, several neurons' do not.
VECTORS = 4


@dataclass(frozen=True)
class Pair:
    """Neurons (their traced step, how coefficients and input come) and the outputs behind them."""

    trace: Trace
    layout: Layout
    outputs: int

    @property
    def lanes(self) -> int:
        """Neurons of a vector."""
        return vectors.lanes(np.dtype(self.layout.dtype).itemsize)

    @property
    def spikes(self) -> bool:
        """Whether the neurons emit 0 or 1."""
        return emits_spikes(self.trace)

    @property
    def width(self) -> int:
        """Neurons of a block."""
        return VECTORS * self.lanes

    def blocks(self, columns: int) -> int:
        return -(-columns // self.width)

    @property
    def sums(self) -> int:
        """Vectors of one sample's outputs."""
        return -(-self.outputs // self.lanes)

    @property
    def coefficients(self) -> list[str]:
        """Arguments: one number, or one for each neuron."""
        return [f"c{j}_all" if kind == "v" else f"c{j}" for j, kind in enumerate(self.layout.kinds)]

    def header(self, title: str) -> str:
        lanes = self.lanes
        names = ", ".join(
            f"{name}{lanes} as {name}" for name in ("everywhere", "fetch", "kept_mask", "within")
        )
        names = f"{names},\n    add_total, keep_mask, pattern, prefetch, put"
        return beginning(title, explain(self.trace), self.layout.dtype, lanes, "lane_rows", names)

    @functools.cached_property
    def carried(self) -> dict[int, int]:
        """Spikes of the old state, and which of the step before are the same: those of the new one."""
        t = self.trace
        live = t.live([*t.new_states.values(), t.emitted])
        spikes = [n for n in live if t.tape.nodes[n].op == "spike"]
        return {n: m for n in spikes if (m := node_later(t, n)) in spikes}

    @property
    def numbered(self) -> list[tuple[int, str]]:
        """The states' names, and which is the how manieth."""
        return list(enumerate(self.trace.states))

    @property
    def starts(self) -> list[str]:
        """Arguments: initial states, what they are where there is none, and a bit for each that there is."""
        names = list(self.trace.states)
        return [*(f"s_{name}_init" for name in names), *(f"s_{name}_number" for name in names), "held"]

    @property
    def rests(self) -> list[str]:
        """What states are where none is given, in vectors."""
        return [f"s_{name}_rest = splat(s_{name}_number)" for name in self.trace.states]

    def own_coefficients(self, i: int | str) -> list[str]:
        """Coefficients of the neurons in vector i of the block that begins with neuron `base`."""
        place = f"base + {self.lanes} * {i}"
        return [
            f"c{j}_{i} = fetch(c{j}_all, {place}, columns - ({place}))"
            for j, kind in enumerate(self.layout.kinds)
            if kind == "v"
        ]

    def body(self, i: int | str) -> LaneBody:
        """Statements on vector i, in which coefficients have names."""
        body = LaneBody(self.trace, self.layout)
        for j, kind in enumerate(self.layout.kinds):
            if kind == "v":
                body.names[self.trace.coefficients[j]] = f"c{j}_{i}"
        return body

    def begin(self) -> list[str]:
        """States of a block before the first step, and its input, if that does not change; of sample r."""
        names = {f"s_{name}": f"s_{name}_init" for name in self.trace.states}
        names |= {"current": "current_all"} if self.layout.constant else {}
        at_rest = {f"s_{name}": f" if held & {1 << k} else s_{name}_rest" for k, name in self.numbered}
        places = [(i, self.lanes * i) for i in range(VECTORS)]
        fetched = [
            f"{name}_{i} = fetch({array}, a + {by}, left - {by}){at_rest.get(name, '')}"
            for i, by in places
            for name, array in names.items()
        ]
        for i in range(VECTORS):
            body = self.body(i)
            body.names |= {n: f"s_{name}_{i}" for name, n in self.trace.states.items()}
            body.emit(self.trace.live(list(self.carried)))
            fetched += [*body.lines, *(f"m{n}_{i} = m{n}" for n in self.carried)]
        # A block's rows are too far apart for the processor to foresee.
        for name, array in names.items():
            ahead = [f"prefetch({array}, a + columns + {by})" for _, by in places]
            held = at_rest.get(name, "").removesuffix(f" else {name}_rest").strip()
            fetched += [f"{held}:", *deeper(ahead)] if held else ahead
        return fetched

    def step(self, i: int, saved: Sequence[int]) -> list[str]:
        """One step of vector i: from `s_<state>_i`, `current_i` to these, `fired_i` or `out_i`, `kept<k>`."""
        t, body = self.trace, self.body(i)
        if not self.layout.constant:
            by = self.lanes * i
            body.lines.append(f"current_{i} = fetch(current_all, t * rows * columns + a + {by}, left - {by})")
            body.lines.append(f"prefetch(current_all, (t * rows + 1) * columns + a + {by})")
        body.names |= {n: f"s_{name}_{i}" for name, n in t.states.items()}
        body.names |= dict.fromkeys(t.inputs.values(), f"current_{i}")
        for n in self.carried:
            body.load(n, f"x{n}", f"where(m{n}_{i}, ONE, ZERO)")
            body.lines.append(f"m{n} = m{n}_{i}")
            body.masks.add(n)
        body.emit(t.live([*t.new_states.values(), t.emitted, *saved]))
        for k, n in enumerate(saved):
            keep = f"keep_mask({body.ref(n)}" if t.tape.is_boolean(n) else f"store({body.vector(n)}"
            body.lines.append(f"{keep}, kept{k}, t * {VECTORS} + {i})")
        emitted = (
            f"fired_{i} = {body.fired(t.emitted)}" if self.spikes else f"out_{i} = {body.vector(t.emitted)}"
        )
        body.lines.append(emitted)
        body.lines += [f"new_{name} = {body.vector(n)}" for name, n in t.new_states.items()]
        body.lines += [f"s_{name}_{i} = new_{name}" for name in t.new_states]
        body.lines += [f"m{n}_{i} = m{m}" for n, m in self.carried.items()]
        return body.lines


def deeper(lines: Sequence[str], by: int = 1) -> list[str]:
    return [f"{'    ' * by}{line}" for line in lines]
