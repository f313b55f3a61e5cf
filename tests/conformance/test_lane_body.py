"""A step on vectors of samples, its statements run by NumPy: the neuron's own equations, to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from neuron_cases import spiking_neurons

from rheobase.kernels.lane_body import LaneBody, emits_spikes
from rheobase.kernels.plan import carry_out, make_plan
from rheobase.kernels.program import PROGRAMS
from rheobase.kernels.source import Layout
from rheobase.neurons.base import Neuron, State
from rheobase.registry import name_of

STEPS, SAMPLES = 60, 64


def one_by_one(function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Any], Any]:
    return lambda x: function(torch.as_tensor(x)).numpy()


MEANINGS: dict[str, Any] = {
    "ZERO": np.float32(0), "ONE": np.float32(1), "F": np.float32, "where": np.where, "add": np.add,
    "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative, "lt": np.less,
    "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
    "both": np.logical_and, "either": np.logical_or, "invert": np.logical_not, "absolute": np.abs,
    "splat": lambda x: np.full(SAMPLES, x, np.float32), "exp": one_by_one(torch.exp), "sqrt": np.sqrt,
}  # fmt: skip


@pytest.mark.parametrize("cls", spiking_neurons(), ids=name_of)
@pytest.mark.parametrize("reset", ["subtract", "value", "none"])
@pytest.mark.parametrize("timing", ["immediate", "delayed", "old", "late"])
@pytest.mark.parametrize("refractory", [0.0, 2.0])
def test_the_statements_are_the_equations(
    cls: type[Neuron], reset: str, timing: str, refractory: float
) -> None:
    options: dict[str, Any] = {"reset": reset, "timing": timing, "refractory": refractory}
    neuron = cls(**options)
    plan = make_plan(neuron, (), constant=False, record=())
    slots, t = carry_out(plan, {}), PROGRAMS[plan.key].trace
    body = LaneBody(t, Layout("float32", "s" * len(t.coefficients), False, ()))
    body.names |= {n: f"old_{name}" for name, n in t.states.items()}
    body.names |= {n: f"in_{name}" for name, n in t.inputs.items()}
    body.emit(t.live([*t.new_states.values(), t.emitted]))
    body.lines += [f"new_{name} = {body.vector(n)}" for name, n in t.new_states.items()]
    body.lines += [f"out = {body.vector(t.emitted)}", f"fired = {body.fired(t.emitted)}"]
    code = compile("\n".join(body.lines), "<step>", "exec")

    names = dict(MEANINGS) | {f"c{j}": np.float32(slots[n]) for j, n in enumerate(plan.coefficients)}
    state = State({name: torch.full((SAMPLES,), float(x)) for name, x in neuron.initial().items()})
    names |= {f"old_{name}": x.numpy() for name, x in state.items()}
    g = torch.Generator().manual_seed(1)
    scale, spikes = max(abs(float(neuron.threshold) - float(neuron.v_rest)), 0.1), 0.0  # type: ignore[attr-defined]
    for _ in range(STEPS):
        given = [scale * torch.rand(SAMPLES, generator=g) * k for k in range(2, 2 + len(t.inputs))]
        names |= {f"in_{name}": x.numpy() for name, x in zip(t.inputs, given, strict=True)}
        exec(code, names)
        state, emitted = neuron.step(state, neuron.gather(given))
        assert np.array_equal(names["out"], emitted.numpy())
        for name, x in state.items():
            assert np.array_equal(names[f"new_{name}"], x.numpy()), name
            names[f"old_{name}"] = names[f"new_{name}"]
        if emits_spikes(t):
            assert np.array_equal(names["fired"], emitted.numpy() != 0)
        spikes += float(emitted.sum())
    assert 0.01 < spikes / (STEPS * SAMPLES) <= 1.0, "the case tells nothing"
