"""Backpropagation through time, with surrogate derivatives for the spikes.

Whole: the exact adjoint of the network (in the surrogates' sense) over all T steps.

Truncated to K steps: no derivative passes from one window of K steps to the one before. The loss may
be any function of the recorded signals over all time (a maximum, a count, ...): a first pass without
gradients finds the derivative of the loss by each signal, a second goes through the windows one at a
time and pulls these back. Windows before the first step that the loss asks for (as where the output
counts at the end of a sequence) have nothing to pull back, and are run through at once. Memory is that
of K steps, for one more forward pass. With K = 1 this is backpropagation through layers alone; neurons of the
timing "late", which fire from the voltage of the step before, are first reached with K = 2.

Werbos, "Backpropagation through time: what it does and how to do it", Proc. IEEE 78 (1990);
Williams & Peng, Neural Computation 2 (1990) for truncation.
"""

from __future__ import annotations

from typing import ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from rheobase.config import option
from rheobase.kernels.constant import Constant
from rheobase.layers.network import Network, NetworkState, Record
from rheobase.layers.replay import Steps
from rheobase.rules.base import Kind, LearningRule, Lesson, Memory, Outcome

#: What was recorded of networks (see `rheobase.layers.replay`): it saves time and changes nothing else.
_STEPS: WeakKeyDictionary[Network, Steps] = WeakKeyDictionary()


class BPTT(LearningRule):
    """Backpropagation through time; exact, or truncated to windows.

    >>> BPTT().kind, BPTT(truncation=20).kind
    ('exact', 'truncated')
    """

    trains: ClassVar[str] = "every parameter of any network"
    cost: ClassVar[str] = "about three forward passes; keeps every step (or a window, if truncated)"

    truncation: int | None = option(
        default=None, at_least=1, unit="steps", help="cut the gradient between windows this long"
    )

    @property
    def kind(self) -> Kind:
        return "exact" if self.truncation is None else "truncated"

    def accumulate(self, network: Network, lesson: Lesson, memory: Memory) -> Outcome:
        inputs, objective, record = lesson.inputs, lesson.objective, lesson.record
        steps = inputs.shape[0]
        if self.truncation is None or self.truncation >= steps:
            if lesson.judge is not None:
                steps_of = _STEPS.setdefault(network, Steps())
                return Outcome(*steps_of.run(network, lesson.judge, inputs, lesson.judged_with, record))
            seen = network(inputs, record=record)
            loss = objective(seen)
            torch.autograd.backward(loss)
            return Outcome(loss.detach(), seen.detached())
        with torch.no_grad():
            seen = network(inputs, record=record)
        leaves = {name: signal.requires_grad_() for name, signal in seen.signals.items()}
        output = seen.output.detach().requires_grad_()
        loss = objective(Record(output, leaves, seen.state))
        torch.autograd.backward(loss)
        targets = [(name, leaf.grad) for name, leaf in leaves.items() if leaf.grad is not None]
        asked = [gradient for _, gradient in targets] + ([] if output.grad is None else [output.grad])
        first = _first_asked(asked, steps) // self.truncation * self.truncation
        state: NetworkState = {}
        if first:
            with torch.no_grad():
                state = network(_window(inputs, 0, first)).state
        for start in range(first, steps, self.truncation):
            end = min(start + self.truncation, steps)
            part = network(_window(inputs, start, end), state=state, record=record)
            ends = [part[name] for name, _ in targets]
            pulls = [gradient[start:end] for _, gradient in targets]
            if output.grad is not None:
                ends.append(part.output)
                pulls.append(output.grad[start:end])
            torch.autograd.backward(ends, pulls)
            state = part.detached().state
        return Outcome(loss.detach(), seen.detached())


def _first_asked(gradients: list[Tensor], steps: int) -> int:
    """The first step at which one of these, `[T, ...]`, is not zero; the last if none is."""
    found = [g.flatten(1).any(1).nonzero() for g in gradients]
    return min((int(at[0]) for at in found if len(at)), default=steps - 1)


def _window(inputs: Tensor | Constant, start: int, end: int) -> Tensor | Constant:
    return Constant(inputs.value, end - start) if isinstance(inputs, Constant) else inputs[start:end]
