"""A layer of neurons of one model."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from rheobase.config import fields_of
from rheobase.kernels.constant import Constant
from rheobase.kernels.pair import FEW, LONG, SMALL
from rheobase.kernels.plan import Plan, make_plan
from rheobase.kernels.sequence import Backend, Run, check_input, run, run_into_dense, uses_kernel
from rheobase.kernels.trace import trace
from rheobase.layers.dense import Dense
from rheobase.neurons.base import Neuron
from rheobase.registry import unknown


class Neurons(nn.Module):
    """Neurons of one model, run over whole sequences.

    Args:
        neuron: The model. Parameters may be one number or one value per neuron.
        trainable: Names of parameters to train. Before each use they are put back within the model's
            bounds, should a step of the optimizer have left them (projected gradient descent); an open
            bound is kept at a thousandth of the initial distance.
        size: Number of neurons; with it, trainable parameters are one per neuron, else one number.
        backend: "auto", "numba" (fused kernel) or "torch" (step-by-step reference).
        checkpoint_every: See `rheobase.kernels.sequence.sequence`.

    Shape: `[T, B, N] -> [T, B, N]`; see `Run` for what comes with it.

    >>> from rheobase.neurons.lif import LIF
    >>> layer = Neurons(LIF(), trainable=["tau_m"], size=3)
    >>> output, state, traces = layer(torch.ones(10, 2, 3), record=["v"])
    >>> output.shape, sorted(state), layer.tau_m.shape
    (torch.Size([10, 2, 3]), ['v'], torch.Size([3]))
    """

    def __init__(
        self,
        neuron: Neuron,
        *,
        trainable: Collection[str] = (),
        size: int | None = None,
        backend: Backend = "auto",
        checkpoint_every: int | None = None,
    ) -> None:
        super().__init__()
        names = neuron.parameter_names()
        for name in trainable:
            if name not in names:
                raise ValueError(unknown(f"parameter of {type(neuron).__name__}", name, names))
        self.neuron = neuron
        self.trainable = tuple(name for name in names if name in trainable)
        self.backend = backend
        self.checkpoint_every = checkpoint_every
        for name in names:
            value = getattr(neuron, name)
            if name in self.trainable:
                tensor = torch.as_tensor(value, dtype=torch.get_default_dtype()).detach().clone()
                tensor = tensor.expand(size).clone() if size and not tensor.dim() else tensor
                setattr(self, name, nn.Parameter(tensor))
            elif isinstance(value, Tensor):
                self.register_buffer(name, value)
        self._bounds = {name: _bounds(neuron, name, getattr(self, name)) for name in self.trainable}
        self._tensors = tuple(n for n in names if isinstance(getattr(self, n, None), Tensor))
        self._states = tuple(neuron.initial())
        self._plans: dict[tuple[bool, tuple[str, ...]], Plan] = {}
        self.spiking = is_spiking(neuron)

    @property
    def states(self) -> tuple[str, ...]:
        """The names of the state variables, which can be recorded."""
        return self._states

    def tensors(self) -> dict[str, Tensor]:
        """The parameters that are tensors: the trained ones, and those with a value per neuron."""
        values: dict[str, Tensor] = {name: getattr(self, name) for name in self._tensors}
        for name, (low, high) in self._bounds.items():
            if torch.compiler.is_compiling():  # which does not take a change of a parameter
                value = values[name]
                values[name] = value + (value.clamp(low, high) - value).detach()
            else:
                inside = values[name].detach().clamp(low, high)
                # Written only where it differs: autograd refuses what was changed since an earlier call.
                if not torch.equal(inside, values[name]):
                    with torch.no_grad():
                        values[name].copy_(inside)
        return values

    def bound(self) -> Neuron:
        """The model with this layer's own (trained, moved, cast) parameters in it."""
        return self.neuron.bind(self.tensors())

    # torch.compile then runs it while it traces, and takes its result for a constant.
    @torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
    def _plan(self, constant: bool, record: tuple[str, ...]) -> Plan:
        if (constant, record) not in self._plans:
            self._plans[constant, record] = make_plan(
                self.neuron, self._tensors, constant=constant, record=record
            )
        return self._plans[constant, record]

    def forward(
        self,
        x: Tensor | Constant,
        state: Mapping[str, Tensor] | None = None,
        record: Sequence[str] = (),
    ) -> Run:
        """Run the neurons over all time steps, from `state` (at rest if None)."""
        check_input(x, self.checkpoint_every)
        plan = self._plan(isinstance(x, Constant), tuple(record))
        return run(
            self.neuron,
            plan,
            x,
            state,
            self.tensors(),
            record=record,
            backend=self.backend,
            checkpoint_every=self.checkpoint_every,
        )

    def into(
        self, dense: Dense, x: Tensor | Constant, state: Mapping[str, Tensor] | None = None
    ) -> Run | None:
        """Run the neurons and the dense connection behind them in one, where that saves memory and time.

        The output is the connection's; what the neurons emitted is not kept (see
        `rheobase.kernels.pair`). None for what is small anyway, or where the fused kernel cannot serve.
        """
        if (
            torch.compiler.is_compiling()
            or math.prod(x.shape) < SMALL
            or dense.weight.dtype != x.dtype
            or dense.outputs > FEW
            or x.shape[0] > LONG
            or self.checkpoint_every is not None
            or math.prod(x.shape[2:]) != dense.inputs
            or not uses_kernel(self.backend, x)
        ):
            return None
        check_input(x, None)
        plan = self._plan(isinstance(x, Constant), ())
        return run_into_dense(plan, x, state, self.tensors(), dense.weight, dense.bias)

    def extra_repr(self) -> str:
        trained = f", trainable={', '.join(self.trainable)}" if self.trainable else ""
        return f"{self.neuron}{trained}"


def _bounds(neuron: Neuron, name: str, initial: Tensor) -> tuple[float, float]:
    """The closed interval in which a trained parameter stays."""
    metadata = next(f.metadata for f in fields_of(type(neuron)) if f.name == name)
    low, high = metadata["at_least"], metadata["at_most"]
    if metadata["above"] is not None:
        low = metadata["above"] + 1e-3 * float((initial.detach() - metadata["above"]).min())
    return (-math.inf if low is None else low, math.inf if high is None else high)


def is_spiking(neuron: Neuron) -> bool:
    """Whether what the model emits are spikes (and not, say, a read-out's membrane).

    >>> from rheobase.neurons.leaky_integrator import LeakyIntegrator
    >>> from rheobase.neurons.lif import LIF
    >>> is_spiking(LIF(refractory=2.0, timing="late")), is_spiking(LeakyIntegrator())
    (True, False)
    """
    t = trace(neuron)
    nodes = t.tape.nodes

    def binary(n: int) -> bool:  # a spike that is kept as a state variable is emitted all the same
        op, args = nodes[n].op, nodes[n].args
        if op == "where":
            return binary(args[1]) and binary(args[2])
        return op == "spike" or (op == "const" and nodes[n].value in (0.0, 1.0))

    fires = any(nodes[n].op == "spike" for n in t.live([t.emitted]))
    return fires and (t.emitted not in t.new_states.values() or binary(t.emitted))
