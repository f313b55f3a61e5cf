"""Neurons whose inputs' weights change at every spike, over a whole sequence.

    current of neuron i at step t:  I[t, i] + sum_j w[i, j] s[t, j] + sum_k lateral[i, k] z[t-1, k]
    w changes by the spikes of step t, and acts from step t+1 on

Each sample of a batch has its own copy of the weights. Neurons, weights and traces are carried through in
one pass forward in time; memory does not grow with T beyond inputs and outputs, and a sequence can be cut
anywhere. There are no gradients.

The rule is a `Timing` (see `rheobase.kernels.timing`). Not modelled: weights among the neurons that change.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rheobase.kernels.cache import Kernel
from rheobase.kernels.constant import Constant
from rheobase.kernels.passes import NAMES
from rheobase.kernels.plan import carry_out, make_plan
from rheobase.kernels.plastic_reference import run_steps
from rheobase.kernels.plastic_source import NUMBERS, Form, plastic_source
from rheobase.kernels.program import PROGRAMS
from rheobase.kernels.recurrent_forms import Population
from rheobase.kernels.recurrent_source import Part
from rheobase.kernels.sequence import Backend, shaped_parameters, uses_kernel
from rheobase.kernels.source import Layout
from rheobase.kernels.timing import TRACES, Timing
from rheobase.kernels.workspace import for_threads
from rheobase.neurons.base import Neuron
from rheobase.registry import name_of


class PlasticRun(NamedTuple):
    """What plastic neurons did over a sequence.

    Attributes:
        output: What was emitted at each step, `[T, B, N]`.
        state: The neurons' final state, `[B, N]` per variable.
        traces: The recorded state variables, `[T, B, N]` each.
        weight: The weights of each sample at the end, `[B, N, P]`.
        memory: The traces of spikes, by the names of `TRACES`, and "before", what was emitted last. Pass
            state, weight and memory back in to go on.
    """

    output: Tensor
    state: dict[str, Tensor]
    traces: dict[str, Tensor]
    weight: Tensor
    memory: dict[str, Tensor]


def plastic(
    neuron: Neuron,
    inputs: Tensor | Constant,
    weight: Tensor,
    timing: Timing,
    *,
    given: Tensor | Constant | None = None,
    lateral: Tensor | None = None,
    state: Mapping[str, Tensor] | None = None,
    memory: Mapping[str, Tensor] | None = None,
    record: Sequence[str] = (),
    backend: Backend = "auto",
) -> PlasticRun:
    """Run neurons over all time steps of `inputs`, their weights changing as they go.

    Args:
        neuron: The model; parameters may be one number, or a tensor with one per neuron.
        inputs: `[T, B, P]`, spikes or other values, or one `Constant` value for all steps.
        weight: `[N, P]`, or `[B, N, P]` with those of each sample. Not changed.
        timing: How weights change.
        given: Further current into the neurons `[T, B, N]` (a bias, a teacher's), or none.
        lateral: Weights among the neurons `[N, N]`, to each (first) from each (last), one step late.
        state: The neurons' state before the first step; at rest if None.
        memory: The traces before the first step, as in `PlasticRun.memory`; no spikes yet if None.
        record: Names of state variables to record after every step.
        backend: "numba" is the fused kernel, "torch" the step-by-step reference, "auto" the kernel
            wherever it can serve.

    Raises:
        ValueError: On shapes that do not fit, a model with several inputs, or a backend that cannot serve.

    >>> from rheobase.kernels.timing import Window
    >>> from rheobase.neurons.lif import LIF
    >>> window = Window.exponential(20.0, dt=1.0)
    >>> spikes = torch.zeros(12, 1, 2)
    >>> spikes[0, 0, 0], spikes[10, 0, 1] = 1.0, 1.0  # the second one makes the neuron fire
    >>> run = plastic(LIF(), spikes, torch.tensor([[0.5, 1.5]]), Timing(window, window, 0.01, 0.0, high=2.0))
    >>> round(run.weight[0, 0, 0].item(), 7)  # 0.5 + 2 x 0.01 exp(-10/20)
    0.5121306
    """
    _check(neuron, inputs, weight)
    steps, batch, size = inputs.shape[0], inputs.shape[1], weight.shape[-2]
    own = weight.detach().expand(batch, -1, -1)
    extra = given if given is not None else Constant(own.new_zeros(batch, size), steps)
    tensors = {n: v.detach() for n in neuron.parameter_names() if isinstance(v := getattr(neuron, n), Tensor)}
    start = _start(neuron, state, own)
    seen = _memory(memory, own)
    if not uses_kernel(backend, inputs):
        spikes, current = (x.expand() if isinstance(x, Constant) else x for x in (inputs, extra))
        bound = neuron.bind(shaped_parameters(tensors, (size,)))
        before = seen.pop("before")
        results = run_steps(bound, spikes, current, own, lateral, timing, start, before, seen, record)
        return PlasticRun(*results[:4], {**results[4], "before": results[0][-1]})
    plan = make_plan(neuron, tensors, constant=False, record=tuple(record))
    slots = carry_out(plan, shaped_parameters(tensors, (size,)))
    coefficients = tuple(slots[n] for n in plan.coefficients)
    population = Population(PROGRAMS[plan.key], 0, size, 0, coefficients)
    return _run(population, inputs, extra, own, timing, lateral, start, seen, record)


def _run(
    population: Population,
    inputs: Tensor | Constant,
    given: Tensor | Constant,
    weight: Tensor,
    timing: Timing,
    lateral: Tensor | None,
    start: dict[str, Tensor],
    memory: dict[str, Tensor],
    record: Sequence[str],
) -> PlasticRun:
    """The fused kernel, on all samples."""
    steps, batch, size, dtype = inputs.shape[0], inputs.shape[1], weight.shape[1], inputs.dtype
    states = {n: start[n].detach().to(dtype).clone().contiguous() for n in population.program.states}
    seen = {n: memory[n].detach().to(dtype).clone().contiguous() for n in TRACES}
    out = torch.empty(steps + 1, batch, size, dtype=dtype)
    out[0] = memory["before"]
    recorded = {n: torch.empty(steps, batch, size, dtype=dtype) for n in population.program.record}
    by_input = torch.empty(batch, weight.shape[2], size, dtype=dtype)
    # Weights that samples share are turned round once, and then copied.
    shared = weight.stride(0) == 0
    by_input.copy_(weight[0].t().contiguous() if shared else weight.transpose(1, 2))
    number = out.numpy().dtype.type
    among = torch.zeros(1, size, dtype=dtype) if lateral is None else lateral.detach().to(dtype).t()
    values = {**timing._asdict(), "bottom": timing.low, "top": timing.high}
    kernel = _kernel(population.form(dtype, False), Form.of(timing, lateral=lateral is not None))
    kernel.run(
        [
            _array(inputs),
            _array(given),
            out.numpy(),
            *(s.numpy() for s in states.values()),
            *population.arguments(dtype),
            *(r.numpy() for r in recorded.values()),
            by_input.numpy(),
            *(seen[n].numpy() for n in TRACES),
            among.contiguous().numpy(),
            np.array(timing.windows, number),
            np.array([values[n] for n in NUMBERS], number),
            for_threads((size,), number),
            int(not isinstance(inputs, Constant)),
            int(not isinstance(given, Constant)),
            steps,
        ],
        batch,
        steps * batch * size,
    )
    kept = {name: recorded[name] for name in record}
    return PlasticRun(out[1:], states, kept, by_input.transpose(1, 2), {**seen, "before": out[-1]})


@functools.cache
def _kernel(neurons: tuple[Any, ...], form: Form) -> Kernel:
    key, dtype, kinds, _, place = neurons
    program = PROGRAMS[key]
    part = Part(program.trace, Layout(dtype, kinds, False, program.record), (), *place)
    name = f"plastic {name_of(type(program.neuron))}"
    source = plastic_source(part, form, f"Forward pass of {name} neurons, with plasticity of their inputs.")
    return Kernel(source, "plastic", name)


def _array(values: Tensor | Constant) -> Any:
    """`[T, B, ...]`, or `[1, B, ...]` of what does not change."""
    tensor = values.value[None] if isinstance(values, Constant) else values
    return tensor.detach().contiguous().numpy()


def _check(neuron: Neuron, inputs: Tensor | Constant, weight: Tensor) -> None:
    if len(neuron.inputs) > 1:
        raise ValueError(
            f"plastic: got a model with the inputs {', '.join(neuron.inputs)}, wanted one with a single input"
        )
    shape = tuple(inputs.shape)
    if len(shape) != 3 or shape[0] == 0:
        raise ValueError(f"inputs: got shape {shape}, wanted [T, B, P] (time, batch, inputs) with T above 0")
    if weight.dim() not in (2, 3) or weight.shape[-1] != shape[2]:
        raise ValueError(
            f"weight: got shape {tuple(weight.shape)}, wanted [N, {shape[2]}] or [B, N, {shape[2]}]: to each "
            "neuron from each input"
        )
    if weight.dim() == 3 and weight.shape[0] != shape[1]:
        raise ValueError(f"weight: got those of {weight.shape[0]} samples, wanted {shape[1]}, as the inputs")
    if weight.dtype != inputs.dtype or inputs.dtype not in NAMES:
        raise ValueError(
            f"plastic: got inputs of {inputs.dtype} and weights of {weight.dtype}, wanted float32 or float64 "
            "for both"
        )


def _start(neuron: Neuron, state: Mapping[str, Tensor] | None, weight: Tensor) -> dict[str, Tensor]:
    """The given state, checked, or the state at rest."""
    shape = tuple(weight.shape[:2])
    if state is None:
        return {
            name: torch.as_tensor(value, dtype=weight.dtype).detach().expand(shape)
            for name, value in neuron.initial().items()
        }
    if set(state) != set(neuron.initial()):
        raise ValueError(f"state: got the variables {sorted(state)}, wanted {sorted(neuron.initial())}")
    return _shaped("state", state, dict.fromkeys(state, shape))


def _memory(memory: Mapping[str, Tensor] | None, weight: Tensor) -> dict[str, Tensor]:
    """The given traces, checked, or those of silence."""
    batch, size, inputs = weight.shape
    shapes = dict(zip(TRACES, [(batch, inputs)] * 2 + [(batch, size)] * 2, strict=True))
    shapes["before"] = (batch, size)
    if memory is None:
        return {name: weight.new_zeros(shape) for name, shape in shapes.items()}
    if set(memory) != set(shapes):
        raise ValueError(f"memory: got {sorted(memory)}, wanted {sorted(shapes)}")
    return _shaped("memory", memory, shapes)


def _shaped(
    what: str, values: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, Tensor]:
    for name, shape in shapes.items():
        if tuple(values[name].shape) != shape:
            raise ValueError(f"{what} '{name}': got shape {tuple(values[name].shape)}, wanted {shape}")
    return dict(values)
