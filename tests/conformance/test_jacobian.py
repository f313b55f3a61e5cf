"""Every model's derivatives of a step, as nodes on its tape, against autograd through its equations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from neuron_cases import factors
from pairwise import Case, pairwise
from torch import Tensor

from rheobase.kernels.jacobian import EMITTED, INPUT, linearised
from rheobase.kernels.plan import apply
from rheobase.neurons.base import Neuron, State
from rheobase.registry import catalogue, find

SIZE = 40
#: What is about running a sequence, not about a step.
APART = ("dtype", "parameters", "input", "record", "start", "every")
COVER = pairwise(
    [
        {name: levels for name, levels in factors(neuron).items() if name not in APART}
        for neuron in catalogue(Neuron)
    ]
)
each = pytest.mark.parametrize("case", COVER, ids=lambda case: "-".join(str(v) for v in case.values()))


def model(case: Case) -> Neuron:
    cls = find(Neuron, str(case["neuron"]))
    options: dict[str, Any] = {name: value for name, value in case.items() if name != "neuron"}
    return cls(**options)


def around_threshold(neuron: Neuron) -> tuple[State, dict[str, Tensor]]:
    """States and inputs of many neurons, some of which are mute, and some of which fire."""
    generator = torch.Generator().manual_seed(3)

    def uniform(scale: float) -> Tensor:
        return scale * torch.rand(SIZE, generator=generator, dtype=torch.float64)

    state = {}
    for name, rest in neuron.initial().items():
        level = float(getattr(neuron, "threshold", 1.0)) - float(getattr(neuron, "v_rest", 0.0))
        value = float(rest) + uniform(1.4 * level if name == "v" else 1.0)
        whole = name in ("refractory", "z")
        state[name] = (value.round() if whole else value).requires_grad_()
    return State(state), {name: uniform(1.0).requires_grad_() for name in neuron.inputs}


@each
def test_the_derivatives_are_those_of_autograd(case: Case) -> None:
    neuron = model(case)
    state, inputs = around_threshold(neuron)
    after, emitted = neuron.step(state, neuron.gather(list(inputs.values())))
    results = {**after, EMITTED: emitted}
    causes = {**state, **{f"{INPUT}{name}": x for name, x in inputs.items()}}

    t, jacobian = linearised(neuron)
    values: dict[int, Any] = {n: state[name].detach() for name, n in t.states.items()}
    values |= {n: inputs[name].detach() for name, n in t.inputs.items()}
    for n in t.live(jacobian.nodes()):
        node = t.tape.nodes[n]
        if node.op in ("param", "const"):
            number = getattr(neuron, node.value) if node.op == "param" else node.value
            values[n] = torch.tensor(number, dtype=torch.float64)
        elif n not in values:
            values[n] = apply(node.op, [values[a] for a in node.args], node.value)

    for result, value in results.items():
        leaves = list(causes.values())
        found: Any = [None] * len(leaves)
        if isinstance(value, Tensor) and value.requires_grad:
            found = torch.autograd.grad(value.sum(), leaves, retain_graph=True, allow_unused=True)
        for cause, by in zip(causes, found, strict=True):
            wanted = torch.zeros(SIZE, dtype=torch.float64) if by is None else by
            n = jacobian.by.get((result, cause))
            got = torch.as_tensor(0.0 if n is None else values[n], dtype=torch.float64).expand(SIZE)
            torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-14, msg=f"{result} by {cause}")
