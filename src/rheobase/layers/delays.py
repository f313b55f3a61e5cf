"""Delays of connections: from a spike to its effect, in ms, whole multiples of the time step."""

from __future__ import annotations

import torch
from torch import Tensor

#: One delay in ms for all connections, the ends of a range (inclusive) from which each is drawn, or one per
#: connection, a tensor [to, from].
Delays = float | tuple[float, float] | Tensor


def delay_steps(delays: Delays, shape: tuple[int, int], dt: float, least: int) -> Tensor:
    """The delay of each connection in time steps, int64 `[to, from]`.

    Ranges are drawn from torch's global generator, each whole number of steps being as likely as the others.

    Args:
        delays: See `Delays`.
        shape: Number of postsynaptic and of presynaptic units.
        dt: Duration of a time step in ms.
        least: The shortest delay that there can be, in steps.

    Raises:
        ValueError: On delays that are too short, not whole multiples of `dt`, or of another shape.

    >>> delay_steps(4.0, (1, 2), dt=2.0, least=1)
    tensor([[2, 2]])
    """
    if isinstance(delays, tuple):
        low, high = (int(_whole(torch.tensor(end, dtype=torch.float64), dt, least)) for end in delays)
        if high < low:
            raise ValueError(f"delays: got the range {delays} ms, wanted the shorter end first")
        return torch.randint(low, high + 1, shape)
    values = torch.as_tensor(delays, dtype=torch.float64)
    if values.dim() and tuple(values.shape) != shape:
        raise ValueError(
            f"delays: got shape {tuple(values.shape)}, wanted {shape}: to each neuron (first) from each "
            "neuron (last)"
        )
    return _whole(values, dt, least).expand(shape).clone()


def _whole(delays: Tensor, dt: float, least: int) -> Tensor:
    steps = delays / dt
    if bool(((steps - steps.round()).abs() > 1e-6).any()):
        off = delays.flatten()[int((steps - steps.round()).abs().argmax())]
        raise ValueError(
            f"delays: got {float(off):g} ms, wanted whole multiples of the time step of {dt:g} ms; choose "
            "others, or another dt"
        )
    if bool((steps.round() < least).any()):
        shortest = float(delays.min())
        raise ValueError(
            f"delays: got {shortest:g} ms, wanted at least {least * dt:g} ms"
            + (", one time step: a spike takes effect in a later step" if least else "")
        )
    return steps.round().to(torch.int64)
