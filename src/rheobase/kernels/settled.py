"""What code says that looks at values, or works on memory of its own, so that it can be recorded.

    settled(function, ...)    a choice; when played, it is made again, and if it comes out otherwise, the tape
                              stops
    host(function)            arithmetic in Python, done again each time
    declare(memory)           memory that torch did not make
    refuse(why)               what cannot be recorded

Without a recording (`rheobase.kernels.tape`) the first two only call the function.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor

from rheobase.kernels.tape import recording

R = TypeVar("R")


def settled(function: Callable[..., R], *args: Any, **known: Any) -> R:
    """function(*args, **known), a choice on which depends what is done next.

    Args:
        function: It only looks. Its results can be compared.
        args: What it looks at.
        known: What is known about that already; not there when the choice is made again.

    >>> import torch
    >>> from rheobase.kernels.tape import Recording
    >>> x = torch.tensor([1.0, 2.0])
    >>> with Recording([x]) as recording:
    ...     y = x * 2 if settled(lambda x: bool(x[0] > 0), x) else x * 3
    >>> _ = x.fill_(-1.0)
    >>> recording.tape.play()
    False
    """
    open_ = recording()
    if open_ is None:
        return function(*args, **known)
    with open_.paused():
        found = function(*args, **known)
    open_.check(function, args, found)
    return found


def host(function: Callable[[], object], *memory: Tensor | array[Any]) -> None:
    """function(), arithmetic in Python on `memory` that is read or written."""
    open_ = recording()
    if open_ is None:
        function()
        return
    for m in memory:
        open_.keep(m)
    with open_.paused():
        function()
    open_.do(function)


def declare(memory: Tensor | array[Any]) -> None:
    """Say that this is memory to work on, which is not made of numbers that are to stay."""
    open_ = recording()
    if open_ is not None:
        open_.lend(memory)


def refuse(what: str) -> None:
    """Say that what runs now cannot be written down."""
    open_ = recording()
    if open_ is not None and open_.notes:
        open_.refuse(what)
