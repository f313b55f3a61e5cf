"""DECOLLE: each layer learns from an error of its own, at every time step, through a fixed random read-out.

    y_l(t)  = G_l z_l(t)                            a local read-out of what layer l emits, G_l fixed
    E_l     = mean_t loss(y_l(t), target(t))        cross-entropy for classes, squared error for values
    dE_l/dw = sum_t (G_l^T dE_l/dy_l(t))_j e_ji(t),     e_ji = dz_j/dw_ji within neuron j alone

No gradient crosses from layer to layer, and none passes between neurons through recurrent connections. Within
a neuron, e = phi'(v_j) P_i with the presynaptic trace P_i that the membrane (and the synapse, if there is
one) makes of what arrived: the neuron's own equations say how, for every model; resets pass nothing on where
the model detaches them (`detach`, the default), as in the paper. In the paper P and Q are traces at the
synapse and the weights come behind them; filters and weights being linear, that is the same.

The network's read-out is trained by the task's loss, with its exact gradient; hidden layers see that loss
only where it reads their own signals (regularisers).

Kaiser, Mostafa & Neftci, "Synaptic plasticity dynamics for deep continuous local learning (DECOLLE)",
Frontiers in Neuroscience 14, 424 (2020). Not modelled: its regularisers (use those of the experiment), and
images between layers (convolutions), whose local read-outs need their size.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from rheobase.config import option
from rheobase.layers.delayed import Delayed
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network
from rheobase.rules.base import Kind, LearningRule, Lesson, Memory, Outcome
from rheobase.rules.feedback import columns, emitted_size
from rheobase.rules.stages import Stage, stages
from rheobase.rules.windows import forward, judge, pulls_of, seen

_READS = "reads."


class Decolle(LearningRule):
    """Deep continuous local learning: a random read-out and an error of its own for each layer.

    >>> Decolle().kind, Decolle(scale=2.0).scale
    ('local', 2.0)
    """

    trains: ClassVar[str] = "every parameter of dense, delayed and recurrent networks of any neurons"
    cost: ClassVar[str] = (
        "as e-prop over whole sequences, and a product with a matrix of outputs x neurons per layer; memory "
        "grows with T"
    )

    scale: float = option(
        default=10.0,
        above=0,
        help="factor on the local read-outs' weights (normal, 1/sqrt(neurons)); a step has few spikes",
    )

    @property
    def kind(self) -> Kind:
        return "local"

    def begin(self, network: Network, generator: torch.Generator) -> Memory:
        parts = _stages(network)
        outputs = columns(parts[-1], "decolle") // _inputs(parts[-1])
        kept = {}
        for i, stage in enumerate(parts[:-1]):
            size = emitted_size(parts, i, "decolle")
            drawn = torch.randn(outputs, size, generator=generator, dtype=torch.float64)
            kept[f"{_READS}{stage.name}"] = (drawn * self.scale / size**0.5).to(torch.get_default_dtype())
        return kept

    def accumulate(self, network: Network, lesson: Lesson, memory: Memory) -> Outcome:
        parts = _stages(network)
        if lesson.targets is None:
            raise ValueError(
                "decolle: got a lesson without targets, wanted those that each layer's read-out is to reach"
            )
        windows = forward(parts, lesson.inputs, None, lesson.record, alone=True, pull=False)
        record = seen(windows, lesson.record)
        loss, pulls = judge(lesson, record)
        windows[-1].learn(None, pulls_of(windows[-1], pulls))
        for window in windows[:-1]:
            emitted = window.run.output.detach().requires_grad_()
            error = local_error(
                emitted @ memory[f"{_READS}{window.stage.name}"].to(emitted).t(), lesson.targets
            )
            (signal,) = torch.autograd.grad(error, emitted)
            window.learn(signal, pulls_of(window, pulls))
        return Outcome(loss, record, memory)


def local_error(read: Tensor, targets: Tensor) -> Tensor:
    """The error of a local read-out `[T, B, K]`, mean over steps and samples.

    Targets are classes `[B]` or `[T, B]`, or values `[B, K]` or `[T, B, K]`.

    >>> local_error(torch.zeros(5, 1, 10), torch.tensor([3]))  # ln 10
    tensor(2.3026)
    """
    if targets.is_floating_point():
        return (read - targets).square().mean()
    return functional.cross_entropy(read.flatten(0, 1), targets.expand(read.shape[:2]).flatten())


def _inputs(readout: Stage) -> int:
    """The number of inputs of each of the read-out's neurons."""
    ((neuron, _),) = readout.neurons.models()
    return len(neuron.inputs)


def _stages(network: Network) -> tuple[Stage, ...]:
    return stages(network, "decolle", (Dense, Delayed))
