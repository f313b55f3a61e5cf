"""What a call does to memory, written down once and done again, without the Python that settled it.

A training step on a small network is a few kernels of some hundred microseconds, and as long again of Python
that works out which, on what. The next step has the same shapes and does the same. A `Recording` notes every
operation of torch and every bound kernel that runs while it is open; `Tape.play` does them again, on the same
memory, which the tape keeps: results appear where they did before.

Only what can be written down so is: operations whose course depends on no value. Where it does, the code that
looks says so (`rheobase.kernels.settled`). Whatever else looks at a value (`item`, a shape that depends on
values), draws a random number, changes what was given, or runs a kernel on memory that nobody declared, is
refused: the recording goes on as an ordinary run, says why (`Recording.refused`) and makes no tape. Numbers
in Python are taken as they are.

The idea is that of CUDA graphs, for a CPU: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from __future__ import annotations

import functools
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from rheobase.kernels.threads import run_team

_aten = torch.ops.aten
_UNSET = {  # what makes memory and sets nothing
    _aten.empty.memory_format,
    _aten.empty_strided.default,
    _aten.empty_like.default,
    _aten.new_empty.default,
    _aten.new_empty_strided.default,
}
_CONSTANT = {_aten.lift_fresh.default, _aten.ones_like.default}  # what makes numbers that stay
_TAKEN_OUT = {Tensor.numpy, Tensor.__array__, Tensor.tolist}  # values that Python gets by no operation
_FREE = {  # operations that look at a value, or whose results are not the same each time
    torch.Tag.data_dependent_output: "looks at a value",
    torch.Tag.dynamic_output_shape: "has a result whose shape depends on values",
    torch.Tag.nondeterministic_seeded: "draws random numbers",
}


class Tape:
    """What was recorded.

    Attributes:
        bytes: The memory that it keeps.
    """

    def __init__(self) -> None:
        self._steps: list[Callable[[], object]] = []
        self._kept: list[Any] = []
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._steps)

    def play(self) -> bool:
        """Do it all again; False, and no further, where a choice comes out otherwise."""
        with torch.no_grad():
            return not any(step() is False for step in self._steps)


class Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes on a tape what runs within.

    Args:
        given: What is there before, which the tape reads where it lies: inputs, parameters, buffers.
        most: Bytes that it may keep.

    Attributes:
        tape: The tape.
        refused: Why there is none; empty if there is.

    >>> x = torch.tensor([1.0, 2.0])
    >>> with Recording([x]) as recording:
    ...     y = (x * 2).sum()
    >>> x.fill_(4.0), recording.tape.play(), y.item()
    (tensor([4., 4.]), True, 16.0)
    >>> with Recording([x]) as recording:
    ...     y = x * x[0].item()
    >>> recording.refused
    'aten._local_scalar_dense.default looks at a value'
    """

    def __init__(self, given: Sequence[Tensor], most: int = 1 << 62) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tape = Tape()
        self.refused = ""
        self._most = most
        self._paused = False
        self._given = [_extent(t) for t in given]
        self._own: dict[int, int] = {}  # extents of the memory that the tape keeps
        self._checked: list[list[object]] = []  # what was looked at of what was given
        self._constants: set[int] = set()  # where those lie that were made of Python's numbers

        self._takings = _Takings(self)

    def __enter__(self) -> Recording:
        self._token = _current.set(self)
        self._takings.__enter__()  # type: ignore[no-untyped-call]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._takings.__exit__(*error)  # type: ignore[no-untyped-call]
        _current.reset(self._token)

    def refuse(self, why: str) -> None:
        """Make no tape; the first reason is kept."""
        self.refused = self.refused or why
        self.tape = Tape()

    @property
    def notes(self) -> bool:
        """Whether it notes what runs now."""
        return not self._paused and not self.refused

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Note nothing of what runs within."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    def add(self, step: Callable[[], object]) -> None:
        """Do this when played; if it returns False, the tape stops."""
        if self.notes:
            self.tape._steps.append(step)

    def do(self, function: Callable[[], object]) -> None:
        """Do this when played, whatever it returns."""
        self.add(functools.partial(_ignoring, function, (), {}))

    def lend(self, memory: Tensor | array[Any]) -> None:
        """Keep memory to work on, which is not made of numbers that are to stay."""
        self.keep(memory)
        self._constants.discard(_extent(memory)[0])

    def keep(self, memory: Tensor | array[Any]) -> None:
        """Keep memory that kernels write to or read from."""
        if not self.notes:
            return
        start, end = _extent(memory)
        if start not in self._own:
            self._own[start] = end
            self.tape.bytes += end - start
        # Not the tensor itself: who else holds that is counted where it is a result.
        self.tape._kept.append(memory.detach() if isinstance(memory, Tensor) else memory)
        if self.tape.bytes > self._most:
            self.refuse(f"it takes more than {self._most >> 20} MiB")

    def check(self, function: Callable[..., object], args: tuple[Any, ...], found: object) -> None:
        """Note that function(*args), which was `found`, must come out so again.

        Once is enough where all that it looks at is what was given, which the tape does not change.
        """
        again = tree_map_only(Tensor, Tensor.detach, args)
        looked = _tensors(args)
        if all(_extent(t) in self._given for t in looked):
            places = [(t.data_ptr(), t.shape, t.stride()) for t in looked]
            others = [x for x in tree_leaves(args) if not isinstance(x, Tensor)]
            if [function, places, others] in self._checked:
                return
            self._checked.append([function, places, others])
        self.add(lambda: function(*again) == found)

    def kernel(self, entry: Any, slots: array[int], threads: int, addresses: Sequence[int]) -> None:
        """Note a kernel that is about to be called with these slots, of which these are addresses."""
        if not self.notes:
            return
        extents = [*self._given, *self._own.items()]
        if not all(any(low <= a < high for low, high in extents) for a in addresses if a):
            self.refuse("a kernel works on memory that was not declared")
            return
        fresh, own = slots[:], slots[:]

        def again() -> None:
            own[:] = fresh  # threads count in it
            run_team(entry, own, threads)

        self.add(again)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if self.notes:
            self._operation(func, args, kwargs, out)
        return out

    def _operation(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        results = [x for x in tree_leaves(out) if x is not None]
        why = next((text for tag, text in _FREE.items() if tag in func.tags), "")
        if any(not _plain(x) for x in (*results, *_tensors((args, kwargs)))):
            why = why or "has what is no ordinary tensor in memory"
        written = [args[i] for i, a in enumerate(func._schema.arguments[: len(args)]) if _is_written(a)]
        written += [kwargs[a.name] for a in func._schema.arguments if a.name in kwargs and _is_written(a)]
        for t in _tensors(written):
            if _extent(t) in self._given or _extent(t)[0] in self._constants:
                why = why or "changes what was given"
        if why:
            self.refuse(f"{func} {why}")
            return
        results = [r.detach() for r in results]
        for r in results:
            if _extent(r) not in self._given:
                if func in _CONSTANT and _extent(r)[0] not in self._own:
                    self._constants.add(_extent(r)[0])
                self.keep(r)
        # Detached: what derivatives do is on the tape itself.
        args, kwargs = tree_map_only(Tensor, Tensor.detach, (args, kwargs))
        if written:
            self.add(functools.partial(_ignoring, func, args, kwargs))
        elif not any(r.alias_info for r in func._schema.returns) and func not in _UNSET | _CONSTANT:
            self.add(_repeating(func, args, kwargs, results))


class _Takings(TorchFunctionMode):
    """Refuses what brings values to Python by no operation that could be noted."""

    def __init__(self, recording: Recording) -> None:
        super().__init__()
        self._recording = recording

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _TAKEN_OUT and self._recording.notes:
            self._recording.refuse(f"Tensor.{func.__name__} looks at a value")
        return func(*args, **(kwargs or {}))


_current: ContextVar[Recording | None] = ContextVar("recording", default=None)


def recording() -> Recording | None:
    """The recording that is open."""
    return _current.get()


def _ignoring(function: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    function(*args, **kwargs)


def _repeating(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], results: list[Tensor]
) -> Callable[[], None]:
    """The operation, its results brought to where they were first."""
    if func in (_aten.zeros.default, _aten.new_zeros.default):
        return functools.partial(_ignoring, results[0].zero_, (), {})
    if func is _aten.full.default:
        return functools.partial(_ignoring, results[0].fill_, args[1:], {})

    def again() -> None:
        for result, new in zip(results, tree_leaves(func(*args, **kwargs)), strict=True):
            result.copy_(new)

    return again


def _tensors(tree: Any) -> list[Tensor]:
    return [x for x in tree_leaves(tree) if isinstance(x, Tensor)]


def _plain(x: Any) -> bool:
    return isinstance(x, Tensor) and x.layout == torch.strided and x.device.type == "cpu"


def _is_written(argument: Any) -> bool:
    return argument.alias_info is not None and argument.alias_info.is_write


def _extent(memory: Tensor | array[Any]) -> tuple[int, int]:
    """Where memory starts and ends."""
    if isinstance(memory, Tensor):
        storage = memory.untyped_storage()
        return storage.data_ptr(), storage.data_ptr() + storage.nbytes()
    start, length = memory.buffer_info()
    return start, start + length * memory.itemsize
