"""A layer of neurons of one model, each on its own."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from torch import Tensor

from rheobase.kernels.constant import Constant
from rheobase.kernels.pair import FEW, LONG, SMALL
from rheobase.kernels.plan import Plan, make_plan
from rheobase.kernels.sequence import Backend, Run, check_input, run, run_into_dense, uses_kernel
from rheobase.layers.dense import Dense
from rheobase.layers.population import Population
from rheobase.layers.stateful import Joint, NeuronLayer, joins
from rheobase.neurons.base import Neuron


class Neurons(Population, NeuronLayer):
    """Neurons of one model, run over whole sequences.

    Args:
        neuron, trainable, size: The model, and which of its parameters are trained: see `Population`.
        backend: "auto", "numba" (fused kernel) or "torch" (step-by-step reference).
        checkpoint_every: See `rheobase.kernels.sequence.sequence`.

    Shape: `[T, B, N] -> [T, B, N]`; see `Run` for what comes with it. Models with P inputs take
    `[T, B, P * N]`, one input after the other (see `rheobase.neurons.base.Neuron.inputs`).

    >>> import torch
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
        super().__init__(neuron, trainable=trainable, size=size)
        self.backend = backend
        self.checkpoint_every = checkpoint_every
        self._plans: dict[tuple[bool, tuple[str, ...]], Plan] = {}

    def _plan(self, constant: bool, record: tuple[str, ...]) -> Plan:
        if (constant, record) not in self._plans:
            self._plans[constant, record] = make_plan(
                self.neuron, self._tensors, constant=constant, record=record
            )
        return self._plans[constant, record]

    # torch.compile then runs it while it traces, and takes its result for a constant. This is all that
    # `torch.compiler.assume_constant_result` does, besides importing the compiler, which takes 1.5 s.
    _plan._dynamo_marked_constant = True  # type: ignore[attr-defined]

    def forward(
        self,
        x: Tensor | Constant,
        state: Mapping[str, Tensor] | None = None,
        record: Sequence[str] = (),
    ) -> Run:
        """Run the neurons over all time steps, from `state` (at rest if None)."""
        check_input(x, self.checkpoint_every, self.neuron.inputs)
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

    def join(
        self,
        before: Dense | None,
        x: Tensor | Constant,
        behind: Dense | None,
        state: Mapping[str, Tensor] | None = None,
        record: Sequence[str] = (),
    ) -> Joint:
        """Run the layer; with the connection behind where nothing of the layer is recorded (see `into`)."""
        current = x if before is None else before(x)
        if behind is not None and not record:
            run = self.into(behind, current, state)
            if run is not None:
                return Joint(run.output, joined=True, state=run.state, signals={})
        return super().join(None, current, behind, state, record)

    def into(
        self, dense: Dense, x: Tensor | Constant, state: Mapping[str, Tensor] | None = None
    ) -> Run | None:
        """Run the neurons and the dense connection behind them in one, where that saves memory and time.

        The output is the connection's; what the neurons emitted is not kept (see
        `rheobase.kernels.pair`). None for what is small anyway, or where the fused kernel cannot serve.
        """
        if (
            not joins(dense, x)
            or len(self.neuron.inputs) > 1
            or math.prod(x.shape) < SMALL
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
