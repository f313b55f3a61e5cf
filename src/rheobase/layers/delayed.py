"""The all-to-all connection with a delay per connection.

    y[t, i] = sum_j weight[i, j] x[t - delay[i, j], j] + b[i]

What came in during the last D steps, D being the longest delay, is the layer's state, "history"
[D, B, inputs], oldest first; before the start, nothing came in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from rheobase.kernels.constant import Constant
from rheobase.kernels.groups import HISTORY
from rheobase.kernels.products import linear
from rheobase.kernels.recurrent_reference import Read, by_delay
from rheobase.kernels.sequence import Run
from rheobase.layers.connection import Rewiring, Signs, Weights, make_weight
from rheobase.layers.delays import Delays, make_delays
from rheobase.layers.stateful import Stateful
from rheobase.registry import unknown


class Delayed(Stateful):
    """`Dense` with a delay per connection; without delay, an input acts within its own step, as in `Dense`.

    Each delay that occurs costs a product of the size of `Dense`'s.

    Args:
        inputs: Number of presynaptic units.
        outputs: Number of postsynaptic units.
        delays: Time from an input to its effect in ms: one number, a range (shortest, longest) from which
            that of each connection is drawn, or a tensor `[outputs, inputs]`. Whole multiples of `dt`.
        dt: Duration of a time step in ms.
        learn_delays: Whether delays are trained; they may then lie between two steps (see `LearntDelays`).
        longest_delay: Longest delay in ms that may be learnt; by default the longest at the start.
        delay_speed: How many ms a learnt delay moves where a weight would move by 1.
        bias, gain, weights, signs, density, rewiring, balanced: As in `Dense`.

    Shape: `[T, B, inputs] -> [T, B, outputs]` (or `[T, B, ...]` with `inputs` values per sample).

    Raises:
        ValueError: On delays that do not fit, or that are longer than the sequence where no state is given.

    >>> layer = Delayed(1, 1, delays=3.0, bias=False)
    >>> x = torch.zeros(6, 1, 1)
    >>> x[1] = 1.0
    >>> layer(x).output.flatten().nonzero().tolist()
    [[4]]
    """

    weight: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        delays: Delays,
        dt: float = 1.0,
        learn_delays: bool = False,
        longest_delay: float | None = None,
        delay_speed: float = 1.0,
        bias: bool = True,
        gain: float = 1.0,
        weights: Weights = "uniform",
        signs: Signs | None = None,
        density: float = 1.0,
        rewiring: Rewiring | None = None,
        balanced: bool = False,
    ) -> None:
        super().__init__()
        if inputs < 1 or outputs < 1:
            raise ValueError(f"Delayed: got {inputs} inputs and {outputs} outputs, wanted at least 1 each")
        self.inputs, self.outputs = inputs, outputs
        self._read: Read | None = None
        make_weight(
            self,
            outputs,
            inputs,
            gain=gain,
            weights=weights,
            signs=signs,
            density=density,
            rewiring=rewiring,
            balanced=balanced,
        )
        bound = 1.0 / math.sqrt(inputs)
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound)) if bias else None
        self.delays = make_delays(
            delays,
            (outputs, inputs),
            dt=dt,
            least=0,
            learnt=learn_delays,
            longest=longest_delay,
            speed=delay_speed,
        )

    def read_by(self, read: Read) -> None:
        """Let the connections of each delay be read by `read`."""
        self._read = read

    @property
    def states(self) -> tuple[str, ...]:
        """None that can be recorded: what came in is at hand already."""
        return ()

    def forward(
        self, x: Tensor | Constant, state: Mapping[str, Tensor] | None = None, record: Sequence[str] = ()
    ) -> Run:
        """The weighted sums at each time step, and the last inputs to go on from."""
        for name in record:
            raise ValueError(unknown("state variable", name, self.states))
        x = (x.expand() if isinstance(x, Constant) else x).flatten(2)
        steps, batch, size = x.shape
        if size != self.inputs:
            raise ValueError(
                f"Delayed: got samples of {size} values, wanted {self.inputs}; inputs are time-major, "
                "[T, B, ...]"
            )
        seen = torch.cat([self._history(x, state), x])
        weight, delay = self.delays.taps(self.weight)
        total: Tensor | None = None
        for d, w in by_delay(weight, delay).items():
            start = len(seen) - steps - d
            given, bias = seen[start : start + steps].flatten(0, 1), self.bias if total is None else None
            if self._read is None:
                part = linear(given, w, bias)
            else:
                part = self._read(given, w) if bias is None else self._read(given, w) + bias
            total = part if total is None else total + part
        assert total is not None  # there is at least one connection
        history = seen[len(seen) - self.delays.longest :]
        return Run(total.reshape(steps, batch, self.outputs), {HISTORY: history}, {})

    def _history(self, x: Tensor, state: Mapping[str, Tensor] | None) -> Tensor:
        """The inputs of before, `[D, B, inputs]`: as given, checked, or zeros."""
        longest = self.delays.longest
        shape = (longest, *x.shape[1:])
        if state is None:
            if longest > len(x):
                raise ValueError(
                    f"delay: got {longest} steps, longer than the sequence of {len(x)}: no such input could "
                    "arrive; use shorter delays or a longer sequence, or give a state"
                )
            return x.new_zeros(shape)
        if set(state) != {HISTORY}:
            raise ValueError(f"state: got the variables {sorted(state)}, wanted ['{HISTORY}']")
        if tuple(state[HISTORY].shape) != shape:
            raise ValueError(f"state '{HISTORY}': got shape {tuple(state[HISTORY].shape)}, wanted {shape}")
        return state[HISTORY]

    def extra_repr(self) -> str:
        return f"{self.inputs}, {self.outputs}, bias={self.bias is not None}"
