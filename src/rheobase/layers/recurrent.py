"""A layer of neurons that are connected among themselves.

    current of neuron i at step t:  I[t, i] + sum_j weight[i, j] z[t - delay[i, j], j]

The neurons may be of several models (a mixed population), side by side in one layer. Delays belong to
connections, refractoriness to neurons, signs to the neurons that connections come from. There are no biases:
the connection in front of the layer has them.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence

from torch import Tensor, nn

from rheobase.kernels.attached import FEW, Attached, few_events, fits, worth_it
from rheobase.kernels.constant import Constant
from rheobase.kernels.groups import Group, state_names
from rheobase.kernels.recurrent import (
    Attachment,
    LayerPlan,
    plan_layer,
    run_attached,
    run_recurrent,
)
from rheobase.kernels.recurrent_checks import check_connections
from rheobase.kernels.recurrent_reference import Read
from rheobase.kernels.sequence import Backend, Run, check_input, uses_kernel
from rheobase.kernels.settled import settled
from rheobase.layers.connection import Rewiring, Signs, Weights, make_weight, masked_weight
from rheobase.layers.delays import ConnectionDelays, Delays, make_delays
from rheobase.layers.dense import Dense
from rheobase.layers.groups import groups_of
from rheobase.layers.population import Population
from rheobase.layers.stateful import SPIKES, Joint, NeuronLayer, joins, signals_of
from rheobase.neurons.base import Neuron
from rheobase.registry import unknown

ALONE = "all"  # name of the module that holds a layer's only, unnamed group


class Recurrent(NeuronLayer):
    """Neurons of one or several models with connections among them, run over whole sequences.

    Args:
        neuron: The model, or for a mixed population, model and number of neurons by name.
        size: Number of neurons (of a single model).
        delays: Time from a spike to its effect in ms: one number, a range (shortest, longest) from which
            that of each connection is drawn, or a tensor `[size, size]`. One time step if None.
        learn_delays, longest_delay, delay_speed: Whether delays are trained, how long they may become, and
            how fast they move: see `rheobase.layers.delays.LearntDelays`.
        self_connections: Whether a neuron may excite itself.
        signs: +1 or -1 per presynaptic neuron, or the share of excitatory neurons, drawn at random.
        density: Share of the possible connections that exist, drawn at random.
        rewiring: Whether and how connections are rewired in training: see `rheobase.layers.rewire`.
        balanced: Whether initial weights of the rarer sign are larger, so that both signs cancel on average.
        trainable: Names of neuron parameters to train, one value per neuron; in a mixed population, in
            each group that has them.
        gain, weights: Scale and distribution of the initial weights: uniform in +-gain/sqrt(n), or normal
            with that standard deviation, for n connections to each neuron.
        backend: "auto", "numba" (fused kernel) or "torch" (step-by-step reference).
        checkpoint_every: See `rheobase.kernels.recurrent.recurrent`.

    Shape: `[T, B, size] -> [T, B, size]` (from `[T, B, columns]`, with models that have several inputs).
    State: that of the neurons ("v", or "name.v" in a mixed population), and "history" `[D, B, size]`, what
    was emitted in the last D steps, D the longest delay.

    Raises:
        ValueError: On groups that differ in `dt` or of which only some spike, or options that do not fit.

    >>> import torch
    >>> from rheobase.neurons.lif import LIF
    >>> from rheobase.neurons.synaptic_lif import SynapticLIF
    >>> layer = Recurrent({"fast": (LIF(), 3), "slow": (SynapticLIF(), 2)}, delays=(1.0, 4.0))
    >>> run = layer(torch.ones(10, 6, 5), record=["slow.i"])
    >>> run.output.shape, run.traces["slow.i"].shape
    (torch.Size([10, 6, 5]), torch.Size([10, 6, 2]))
    >>> layer.states
    ('fast.v', 'slow.v', 'slow.i')
    """

    weight: Tensor

    def __init__(
        self,
        neuron: Neuron | Mapping[str, tuple[Neuron, int]],
        size: int | None = None,
        *,
        delays: Delays | None = None,
        learn_delays: bool = False,
        longest_delay: float | None = None,
        delay_speed: float = 1.0,
        self_connections: bool = False,
        signs: Signs | None = None,
        density: float = 1.0,
        rewiring: Rewiring | None = None,
        balanced: bool = False,
        trainable: Collection[str] = (),
        gain: float = 1.0,
        weights: Weights = "uniform",
        backend: Backend = "auto",
        checkpoint_every: int | None = None,
    ) -> None:
        super().__init__()
        groups = groups_of(neuron, size)
        known = {name for group in groups for name in group.neuron.parameter_names()}
        for name in trainable:
            if name not in known:
                raise ValueError(unknown("parameter of these neurons", name, known))
        self.populations = nn.ModuleDict(
            {
                group.name or ALONE: Population(
                    group.neuron,
                    trainable=[n for n in trainable if n in group.neuron.parameter_names()],
                    size=group.size,
                )
                for group in groups
            }
        )
        self.sizes = {group.name: group.size for group in groups}
        self.size = sum(self.sizes.values())
        self._states = state_names(groups)
        self._plans: dict[tuple[str, ...], LayerPlan] = {}
        self.backend: Backend = backend
        self.checkpoint_every = checkpoint_every
        self._read: Read | None = None
        make_weight(
            self,
            self.size,
            self.size,
            gain=gain,
            weights=weights,
            signs=signs,
            density=density,
            self_connections=self_connections,
            rewiring=rewiring,
            balanced=balanced,
            sole=False,
        )
        self.delays: ConnectionDelays | None = None
        if delays is not None:
            self.delays = make_delays(
                delays,
                (self.size, self.size),
                dt=self.dt,
                least=1,
                learnt=learn_delays,
                longest=longest_delay,
                speed=delay_speed,
            )
        elif learn_delays:
            raise ValueError("Recurrent: got learn_delays without delays, wanted those to start from")

    @property
    def columns(self) -> int:
        """The number of input values per time step: one per neuron, or per input of each neuron."""
        return sum(group.columns for group in self.groups())

    @property
    def states(self) -> tuple[str, ...]:
        """The names of the state variables that can be recorded: all but "history"."""
        return self._states

    @property
    def spiking(self) -> bool:
        """Whether the neurons emit spikes."""
        return self._population(next(iter(self.sizes))).spiking

    @property
    def dt(self) -> float:
        """Duration of one time step in ms."""
        return self._population(next(iter(self.sizes))).dt

    def groups(self) -> tuple[Group, ...]:
        """The groups of neurons, with this layer's own (trained, moved, cast) parameters in them."""
        return tuple(Group(name, self._population(name).bound(), size) for name, size in self.sizes.items())

    def models(self) -> tuple[tuple[Neuron, slice], ...]:
        """The models as they were given, and which of the neurons are of each."""
        ends = itertools.accumulate(self.sizes.values())
        return tuple(
            (self._population(name).neuron, slice(end - size, end))
            for (name, size), end in zip(self.sizes.items(), ends, strict=True)
        )

    def _population(self, name: str) -> Population:
        population = self.populations[name or ALONE]
        assert isinstance(population, Population)
        return population

    def forward(
        self,
        x: Tensor | Constant,
        state: Mapping[str, Tensor] | None = None,
        record: Sequence[str] = (),
    ) -> Run:
        """Run the neurons over all time steps, from `state` (at rest and silent if None)."""
        return self._run(x, state, record, cut=False)

    def alone(
        self,
        x: Tensor | Constant,
        state: Mapping[str, Tensor] | None = None,
        record: Sequence[str] = (),
    ) -> Run:
        """`forward`, but no derivative passes along the layer's connections."""
        return self._run(x, state, record, cut=True)

    @property
    def read_apart(self) -> bool:
        """Whether its connections are read in a way of their own (see `read_by`)."""
        return self._read is not None

    def read_by(self, read: Read) -> None:
        """Let the connections of each delay be read by `read`, step by step, on the backend "torch".

        Raises:
            ValueError: If the layer asks for the fused kernel, which knows weighted sums alone.
        """
        if self.backend == "numba" or self.checkpoint_every is not None:
            raise ValueError(
                f"Recurrent: got backend '{self.backend}' and checkpoint_every={self.checkpoint_every} with "
                "sums that are read in a way of their own, which only the step-by-step reference can do; "
                "wanted backend 'auto' or 'torch' and no checkpoints"
            )
        self.backend, self._read = "torch", read

    def _run(
        self, x: Tensor | Constant, state: Mapping[str, Tensor] | None, record: Sequence[str], *, cut: bool
    ) -> Run:
        groups = self.groups()
        weight, delay = self._taps()
        return run_recurrent(
            groups,
            self._plan(groups, record),
            x,
            weight,
            delay,
            state,
            record=record,
            backend=self.backend,
            checkpoint_every=self.checkpoint_every,
            cut=cut,
            read=self._read,
        )

    def join(
        self,
        before: Dense | None,
        x: Tensor | Constant,
        behind: Dense | None,
        state: Mapping[str, Tensor] | None = None,
        record: Sequence[str] = (),
    ) -> Joint:
        """Run the layer, and in its kernel those of the connections around it that are worth it there."""
        if before is not None and not self._takes(before, x):
            x = before(x)
            before = None
        if behind is not None and not self._leads(behind, x):
            behind = None
        if before is None and behind is None:
            return super().join(None, x, None, state, record)
        groups = self.groups()
        simple = self.delays is None and all(len(g.neuron.inputs) == 1 for g in groups)
        mask = delay = None
        if simple:
            weight, mask = masked_weight(self)
        else:
            weight, delay = self._taps()
        check_input(x, self.checkpoint_every)
        width = x.shape[2] if before is None else before.outputs
        check_connections(groups, (*x.shape[:2], width), weight, delay, given=state is not None)
        traced = [name for name in record if name != SPIKES]
        run, sums = run_attached(
            groups,
            self._plan(groups, traced),
            x,
            weight,
            delay,
            state,
            Attachment(_attached(before), _attached(behind)),
            record=traced,
            checkpoint_every=self.checkpoint_every,
            mask=mask,
        )
        output = run.output if sums is None else sums
        return Joint(output, joined=sums is not None, state=run.state, signals=signals_of(run, record))

    def _takes(self, before: Dense, x: Tensor | Constant) -> bool:
        """Whether the connection in front is run along: few inputs, or few that are not zero."""
        return (
            not isinstance(x, Constant)
            and x.dim() == 3
            and x.shape[2] == before.inputs
            and worth_it(x.shape[0], x.shape[1], self.size)
            and not x.requires_grad
            and joins(before, x)
            and uses_kernel(self.backend, x)
            and fits(before.inputs, before.outputs, x.dtype.itemsize)
            and settled(few_events, x)
        )

    def _leads(self, behind: Dense, x: Tensor | Constant) -> bool:
        """Whether the connection behind is run along."""
        return (
            behind.outputs <= FEW
            and behind.inputs == self.size
            and worth_it(x.shape[0], x.shape[1], self.size)
            and joins(behind, x)
            and uses_kernel(self.backend, x)
            and fits(behind.inputs, behind.outputs, x.dtype.itemsize)
        )

    def _plan(self, groups: Sequence[Group], record: Sequence[str]) -> LayerPlan:
        key = tuple(record)
        if key not in self._plans:
            self._plans[key] = plan_layer(groups, key)
        return self._plans[key]

    def _taps(self) -> tuple[Tensor, Tensor | None]:
        """Weights and delays, as the kernels take them."""
        return (self.weight, None) if self.delays is None else self.delays.taps(self.weight)

    def extra_repr(self) -> str:
        return f"{self.size}"


def _attached(dense: Dense | None) -> Attached | None:
    return None if dense is None else Attached(dense.weight, dense.bias)
