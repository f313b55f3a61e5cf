"""Feedback alignment: the error goes back along fixed random weights, not along the transposed forward ones.

    layerwise    dE/dz_l = B_{l+1}^T delta_{l+1},    delta_l = dE/d(input current of layer l)
    direct       dE/dz_l = B_l^T delta_readout

with z_l what layer l emitted. Within a layer, time and recurrent connections are differentiated exactly
(backpropagation through time); with B equal to the forward weights, "layerwise" is BPTT. The read-out gets
its exact gradient. Forward weights come to agree with the feedback in training, to the extent that the error
is then useful.

Lillicrap, Cownden, Tweed & Akerman, "Random synaptic feedback weights support error backpropagation for deep
learning", Nature Communications 7, 13276 (2016); Noekland, "Direct feedback alignment provides learning in
deep neural networks", NeurIPS 2016. For spiking networks: Samadi, Lillicrap & Tweed, Neural Computation 29
(2017). Not modelled: feedback weights that learn (see eprop, "adaptive"), or that go from a recurrent layer
to itself.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch

from rheobase.config import option
from rheobase.layers.delayed import Delayed
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network
from rheobase.layers.over_time import OverTime
from rheobase.rules.base import Kind, LearningRule, Lesson, Memory, Outcome
from rheobase.rules.feedback import direct, draw_direct, draw_layerwise, through
from rheobase.rules.stages import Stage, stages
from rheobase.rules.windows import forward, judge, pulls_of, seen


class FeedbackAlignment(LearningRule):
    """Backpropagation through time within layers, fixed random feedback between them.

    >>> FeedbackAlignment().kind, FeedbackAlignment(feedback="direct").cost.split(";")[0]
    ('local', 'as backpropagation through time')
    """

    trains: ClassVar[str] = (
        "every parameter of any network of stages; direct feedback: of dense or delayed ones"
    )
    cost: ClassVar[str] = "as backpropagation through time; memory grows with T"

    feedback: Literal["layerwise", "direct"] = option(
        default="layerwise", help="from layer to layer, or from the read-out to each layer"
    )
    feedback_scale: float = option(default=1.0, above=0, help="factor on the feedback weights")

    @property
    def kind(self) -> Kind:
        return "local"

    def begin(self, network: Network, generator: torch.Generator) -> Memory:
        parts = self._stages(network)
        if self.feedback == "direct":
            return draw_direct(parts, self.feedback_scale, generator, "feedback_alignment")
        return draw_layerwise(parts, self.feedback_scale, generator, "feedback_alignment")

    def accumulate(self, network: Network, lesson: Lesson, memory: Memory) -> Outcome:
        windows = forward(self._stages(network), lesson.inputs, None, lesson.record, alone=False, pull=False)
        record = seen(windows, lesson.record)
        loss, pulls = judge(lesson, record)
        readout = windows[-1]
        readout.learn(None, pulls_of(readout, pulls))
        for window, behind in zip(windows[-2::-1], windows[:0:-1], strict=True):
            if self.feedback == "direct":
                signal = direct(readout.error, window.stage, memory)
            else:
                signal = through(behind, memory)
            window.learn(signal, pulls_of(window, pulls))
        return Outcome(loss, record, memory)

    def _stages(self, network: Network) -> tuple[Stage, ...]:
        return stages(network, "feedback_alignment", (Dense, Delayed, OverTime))
