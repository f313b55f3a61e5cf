"""A neuron over a whole sequence: the one function through which every layer runs its neurons."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from rheobase.kernels.constant import Constant
from rheobase.kernels.operator import dispatch
from rheobase.kernels.pair import NeuronsThenDense
from rheobase.kernels.passes import NAMES
from rheobase.kernels.plan import Plan, make_plan
from rheobase.kernels.program import PROGRAMS
from rheobase.neurons.base import Neuron, State
from rheobase.registry import unknown

Backend = Literal["auto", "numba", "torch"]

NO_CHECKPOINTS = (
    "checkpoint_every is a feature of the fused kernel; with backend='torch' wrap the layer in "
    "torch.utils.checkpoint instead"
)


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
        current: Input current `[T, B, N]` (or `[T, B, ...]`), or one `Constant` value for all steps. For a
            model with P inputs `[T, B, P * N]`: the values of the first input for all neurons, then those
            of the second (`Neuron.inputs`).
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
    check_input(current, checkpoint_every, neuron.inputs)
    tensors = {
        name: value for name in neuron.parameter_names() if isinstance(value := getattr(neuron, name), Tensor)
    }
    plan = make_plan(neuron, tensors, constant=isinstance(current, Constant), record=tuple(record))
    return run(
        neuron,
        plan,
        current,
        state,
        tensors,
        record=record,
        backend=backend,
        checkpoint_every=checkpoint_every,
    )


def kernel_source(neuron: Neuron, *, record: Sequence[str] = (), dtype: str = "float32") -> str:
    """The generated Numba source for `neuron`: its forward and its backward pass.

    Raises:
        TraceError: If the equations cannot be traced.

    >>> from rheobase.neurons.leaky_integrator import LeakyIntegrator
    >>> print(kernel_source(LeakyIntegrator()).split("def ")[1].split("(")[0])
    forward
    """
    tensors = [n for n in neuron.parameter_names() if isinstance(getattr(neuron, n), Tensor)]
    plan = make_plan(neuron, tensors, constant=False, record=tuple(record))
    return PROGRAMS[plan.key].source(dtype)


def check_input(
    current: Tensor | Constant, checkpoint_every: int | None, inputs: Sequence[str] = ("current",)
) -> None:
    """Refuse what neurons with these inputs cannot run on."""
    shape = tuple(current.shape)
    if len(shape) < 3:
        raise ValueError(f"current: got shape {shape}, wanted [T, B, N] (time, batch, neurons)")
    if shape[0] == 0:
        raise ValueError(f"current: got no time steps (shape {shape}), wanted T of at least 1")
    if shape[2] % len(inputs):
        raise ValueError(
            f"current: got {shape[2]} values (shape {shape}), wanted a multiple of {len(inputs)}: one per "
            f"neuron for each of the inputs {', '.join(inputs)}, one input after the other"
        )
    if checkpoint_every is not None and checkpoint_every < 1:
        raise ValueError(f"checkpoint_every: got {checkpoint_every}, wanted at least 1 step")


def run(
    neuron: Neuron,
    plan: Plan,
    current: Tensor | Constant,
    state: Mapping[str, Tensor] | None,
    tensors: Mapping[str, Tensor],
    *,
    record: Sequence[str],
    backend: Backend,
    checkpoint_every: int | None,
) -> Run:
    """`sequence` with its plan made beforehand, and the parameters that are tensors beside it."""
    for name in record:
        if name not in plan.states:
            raise ValueError(unknown("state variable", name, plan.states))
    shape = neurons_shape(current, len(neuron.inputs))
    shaped = shaped_parameters(tensors, shape[1:])
    call = _Call.prepare(plan, shaped, state, current, shape)
    if not uses_kernel(backend, current):
        start = dict(zip(plan.states, call.filled(shape), strict=True))
        return _reference(neuron.bind(shaped), current, start, record, checkpoint_every)
    results = dispatch(
        call.value,
        call.filled(shape),
        call.tensors,
        call.numbers,
        plan.key,
        call.steps,
        checkpoint_every or 0,
    )
    n = len(plan.states)
    last = dict(zip(plan.states, results[1 : 1 + n], strict=True))
    return Run(results[0], last, dict(zip(record, results[1 + n :], strict=True)))


def run_into_dense(
    plan: Plan,
    current: Tensor | Constant,
    state: Mapping[str, Tensor] | None,
    tensors: Mapping[str, Tensor],
    weight: Tensor,
    bias: Tensor | None,
) -> Run:
    """Neurons and the dense connection behind them in one; the output is the connection's.

    See `rheobase.kernels.pair`. It is for neurons with one input, where `uses_kernel` says yes.
    """
    shaped = shaped_parameters(tensors, tuple(current.shape[2:]))
    call = _Call.prepare(plan, shaped, state, current, tuple(current.shape[1:]))
    rest = (call.numbers, plan.key, call.steps)
    results = NeuronsThenDense.apply(  # type: ignore[no-untyped-call]
        rest, call.value, weight, bias, *call.states, *call.tensors
    )
    return Run(results[0], dict(zip(plan.states, results[1:], strict=True)), {})


class _Call(NamedTuple):
    """What a kernel is called with; states are tensors, or numbers for all neurons."""

    value: Tensor
    steps: int
    states: list[Tensor | float]
    tensors: list[Tensor]
    numbers: Sequence[float]

    @classmethod
    def prepare(
        cls,
        plan: Plan,
        shaped: Mapping[str, Tensor],
        state: Mapping[str, Tensor] | None,
        current: Tensor | Constant,
        shape: tuple[int, ...],
    ) -> _Call:
        tensors, initial = plan.settle(shaped)
        states: list[Tensor | float]
        if state is None:
            states = [
                x.to(current.dtype).expand(shape).contiguous() if isinstance(x, Tensor) else x
                for x in initial
            ]
        else:
            _check_state(plan, state, shape)
            states = [state[name].contiguous() for name in plan.states]
        if isinstance(current, Constant):
            return cls(current.value.contiguous(), current.steps, states, tensors, plan.fixed)
        return cls(current.contiguous(), current.shape[0], states, tensors, plan.fixed)

    def filled(self, shape: tuple[int, ...]) -> list[Tensor]:
        """The states, in tensors of this shape."""
        dtype, device = self.value.dtype, self.value.device
        return [
            x if isinstance(x, Tensor) else torch.full(shape, x, dtype=dtype, device=device)
            for x in self.states
        ]


def neurons_shape(current: Tensor | Constant, ports: int) -> tuple[int, ...]:
    """The shape `[B, N]` (or `[B, ...]`) of the neurons that take this input.

    >>> neurons_shape(torch.zeros(10, 4, 6), ports=2)
    (4, 3)
    """
    batch, first, *rest = current.shape[1:]
    return (batch, first // ports, *rest)


def uses_kernel(backend: Backend, current: Tensor | Constant) -> bool:
    """Whether the fused kernel serves; `ValueError` if it was asked for and cannot."""
    able = current.device.type == "cpu" and current.dtype in NAMES
    if backend == "numba" and not able:
        raise ValueError(
            f"backend 'numba' runs on the CPU in float32 or float64; got {current.dtype} on "
            f"{current.device}. Use backend='torch' or 'auto'"
        )
    if backend not in ("auto", "numba", "torch"):
        raise ValueError(f"backend: got {backend!r}, wanted 'auto', 'numba' or 'torch'")
    return able and backend != "torch"


def shaped_parameters(tensors: Mapping[str, Tensor], shape: tuple[int, ...]) -> dict[str, Tensor]:
    """Per-neuron parameters in the shape of one sample."""
    size = math.prod(shape)
    for name, value in tensors.items():
        if value.dim() and value.numel() != size:
            raise ValueError(
                f"{name}: got {value.numel()} values for neurons of shape {shape}, wanted one number or "
                f"one per neuron ({size})"
            )
    return {name: v.reshape(shape) if v.dim() else v for name, v in tensors.items()}


def _check_state(plan: Plan, state: Mapping[str, Tensor], shape: tuple[int, ...]) -> None:
    """Refuse a state that does not fit the neurons."""
    if set(state) != set(plan.states):
        raise ValueError(f"state: got the variables {sorted(state)}, wanted {sorted(plan.states)}")
    for name in plan.states:
        if tuple(state[name].shape) != shape:
            raise ValueError(
                f"state '{name}': got shape {tuple(state[name].shape)}, wanted {shape}, as the input"
            )


def _reference(
    neuron: Neuron,
    current: Tensor | Constant,
    state: dict[str, Tensor],
    record: Sequence[str],
    checkpoint_every: int | None,
) -> Run:
    """The equations themselves, one step after another."""
    if checkpoint_every is not None:
        raise ValueError(NO_CHECKPOINTS)
    if isinstance(current, Constant):
        inputs: Sequence[Tensor] = [current.value] * current.steps
    else:
        inputs = current.unbind(0)
    emitted: list[Tensor] = []
    traces: dict[str, list[Tensor]] = {name: [] for name in record}
    now = State(state)
    ports = len(neuron.inputs)
    for value in inputs:
        now, out = neuron.step(now, neuron.gather(value.chunk(ports, 1) if ports > 1 else [value]))
        emitted.append(out)
        for name, values in traces.items():
            values.append(now[name])
    return Run(torch.stack(emitted), dict(now), {n: torch.stack(v) for n, v in traces.items()})
