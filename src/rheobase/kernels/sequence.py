"""A neuron over a whole sequence: the one function through which every layer runs its neurons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from rheobase.kernels import operator as _operator  # noqa: F401 - registers rheobase::scan
from rheobase.kernels.constant import Constant
from rheobase.kernels.passes import NAMES
from rheobase.kernels.program import Program, program
from rheobase.kernels.trace import evaluate_invariants, structural
from rheobase.neurons.base import Neuron, State

Backend = Literal["auto", "numba", "torch"]


class Run(NamedTuple):
    """What a neuron did over a sequence.

    Attributes:
        output: What was emitted at each step (spikes, or a read-out's membrane), `[T, B, N]`.
        state: The final state, a tensor `[B, N]` per variable; pass it back in to go on.
        traces: The recorded state variables after each step, `[T, B, N]` each.
    """

    output: Tensor
    state: dict[str, Tensor]
    traces: dict[str, Tensor]


def sequence(
    neuron: Neuron,
    current: Tensor | Constant,
    state: Mapping[str, Tensor] | None = None,
    *,
    record: Sequence[str] = (),
    backend: Backend = "auto",
    checkpoint_every: int | None = None,
) -> Run:
    """Run `neuron` over all time steps of `current`, differentiably.

    Args:
        neuron: The model. Parameters that are tensors (one number, or one per neuron) get gradients.
        current: Input current `[T, B, N]` (or `[T, B, ...]`), or one `Constant` value for all steps.
        state: The state before the first step, `[B, N]` per variable; at rest if None.
        record: Names of state variables to record after every step.
        backend: "numba" is the fused kernel (CPU, float32 or float64), "torch" the step-by-step
            reference on any device, "auto" the kernel wherever it can serve.
        checkpoint_every: Keep the state only every so many steps and recompute the rest in the
            backward pass. Same results; memory for T steps falls to about sqrt(T) at the best choice.

    Raises:
        ValueError: On shapes that do not fit, no time steps, an unknown state variable, or a
            backend that cannot serve.
        TraceError: If the kernel is asked for and the equations cannot be traced.

    >>> from rheobase.neurons.lif import LIF
    >>> run = sequence(LIF(tau_m=20.0), torch.full((10, 1, 3), 0.4), record=["v"])
    >>> run.output.sum().item(), tuple(run.traces["v"].shape)
    (9.0, (10, 1, 3))
    """
    shape = tuple(current.shape)
    if len(shape) < 3:
        raise ValueError(f"current: got shape {shape}, wanted [T, B, N] (time, batch, neurons)")
    if shape[0] == 0:
        raise ValueError(f"current: got no time steps (shape {shape}), wanted T of at least 1")
    if checkpoint_every is not None and checkpoint_every < 1:
        raise ValueError(f"checkpoint_every: got {checkpoint_every}, wanted at least 1 step")
    bound = _shaped(neuron, shape)
    start = _start(bound, state, current, shape[1:])
    for name in record:
        if name not in start:
            raise ValueError(
                f"record: {type(neuron).__name__} has no state variable '{name}'; it has "
                f"{', '.join(start)}"
            )
    if _use_kernel(backend, current):
        return _fused(bound, current, start, record, checkpoint_every or 0)
    return _reference(bound, current, start, record, checkpoint_every)


def _use_kernel(backend: Backend, current: Tensor | Constant) -> bool:
    able = current.device.type == "cpu" and current.dtype in NAMES
    if backend == "numba" and not able:
        raise ValueError(
            f"backend 'numba' runs on the CPU in float32 or float64; got {current.dtype} on "
            f"{current.device}. Use backend='torch' or 'auto'"
        )
    if backend not in ("auto", "numba", "torch"):
        raise ValueError(f"backend: got {backend!r}, wanted 'auto', 'numba' or 'torch'")
    return able and backend != "torch"


def _shaped(neuron: Neuron, shape: tuple[int, ...]) -> Neuron:
    """The neuron with per-neuron parameters in the shape of one sample."""
    values = {}
    for name in neuron.parameter_names():
        value = getattr(neuron, name)
        if isinstance(value, Tensor) and value.dim():
            if value.numel() != torch.Size(shape[2:]).numel():
                raise ValueError(
                    f"{type(neuron).__name__}.{name}: got {value.numel()} values for "
                    f"{tuple(shape[2:])} neurons, wanted one number or one per neuron"
                )
            values[name] = value.reshape(shape[2:])
    return neuron.bind(values) if values else neuron


def _start(
    neuron: Neuron, state: Mapping[str, Tensor] | None, current: Tensor | Constant, shape: tuple[int, ...]
) -> dict[str, Tensor]:
    start: dict[str, Tensor] = {}
    initial = neuron.initial()
    like = {"dtype": current.dtype, "device": current.device}
    if state is not None and set(state) != set(initial):
        raise ValueError(
            f"state: got the variables {sorted(state)}, wanted those of {type(neuron).__name__}: "
            f"{sorted(initial)}"
        )
    for name, value in initial.items():
        if state is not None:
            if tuple(state[name].shape) != shape:
                raise ValueError(
                    f"state['{name}']: got shape {tuple(state[name].shape)}, wanted {shape} as the input"
                )
            start[name] = state[name]
        elif isinstance(value, Tensor):
            start[name] = value.to(current.dtype).expand(shape)
        else:
            start[name] = torch.full(shape, float(value), **like)
    return start


def _reference(
    neuron: Neuron,
    current: Tensor | Constant,
    state: dict[str, Tensor],
    record: Sequence[str],
    checkpoint_every: int | None,
) -> Run:
    """The equations themselves, one step after another."""
    if checkpoint_every is not None:
        raise ValueError(
            "checkpoint_every is a feature of the fused kernel; with backend='torch' wrap the layer in "
            "torch.utils.checkpoint instead"
        )
    if isinstance(current, Constant):
        inputs: Sequence[Tensor] = [current.value] * current.steps
    else:
        inputs = current.unbind(0)
    emitted: list[Tensor] = []
    traces: dict[str, list[Tensor]] = {name: [] for name in record}
    now = State(state)
    for value in inputs:
        now, out = neuron.step(now, value)
        emitted.append(out)
        for name, values in traces.items():
            values.append(now[name])
    return Run(torch.stack(emitted), dict(now), {n: torch.stack(v) for n, v in traces.items()})


def _parameters(neuron: Neuron) -> dict[str, Any]:
    return {name: getattr(neuron, name) for name in neuron.parameter_names()}


def prepare(neuron: Neuron, constant: bool, record: Sequence[str]) -> tuple[Program, list[Any]]:
    """The program of a neuron, and the values of its coefficients (numbers or tensors)."""
    parameters = _parameters(neuron)
    fixed = {n: v for n, v in parameters.items() if structural(v)}
    base = neuron.bind({n: 2.0 for n in parameters if n not in fixed})
    blank = program(base, constant=constant, record=record, tensors=())
    values = evaluate_invariants(blank.trace, parameters)
    tensors = [j for j, v in enumerate(values) if isinstance(v, Tensor)]
    return program(base, constant=constant, record=record, tensors=tensors), values


def _fused(
    neuron: Neuron, current: Tensor | Constant, state: dict[str, Tensor], record: Sequence[str], every: int
) -> Run:
    constant = isinstance(current, Constant)
    value = current.value if isinstance(current, Constant) else current
    p, coefficients = prepare(neuron, constant, record)
    tensors = [c for c in coefficients if isinstance(c, Tensor)]
    numbers = [float(c) for c in coefficients if not isinstance(c, Tensor)]
    states = [state[name] for name in p.states]
    save = torch.is_grad_enabled() and any(x.requires_grad for x in (value, *states, *tensors))
    results = torch.ops.rheobase.scan(
        value.contiguous(), [s.contiguous() for s in states], tensors, numbers, p.key, current.shape[0],
        every, save,
    )  # fmt: skip
    n, m = len(p.states), len(record)
    last = dict(zip(p.states, results[1 : 1 + n], strict=True))
    return Run(results[0], last, dict(zip(record, results[1 + n : 1 + n + m], strict=True)))
