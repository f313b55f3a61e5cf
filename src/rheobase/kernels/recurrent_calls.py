"""What of a recurrent layer's passes is settled by shapes alone: kernels, and where their arguments lie.

A pass has much to settle (which kernel, the types and shapes of some thirty arguments, what its threads work
in), all of which is the same the next time. So it is worked out once for each `Setting`. Order of arguments:
see `rheobase.kernels.recurrent_source`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from rheobase.kernels.attached import PARTS
from rheobase.kernels.bound import Bound, Form, Room
from rheobase.kernels.cache import Kernel
from rheobase.kernels.connections import Way
from rheobase.kernels.moves import Move, Moves
from rheobase.kernels.program import PROGRAMS, Program
from rheobase.kernels.recurrent_around import Around, Sizes, working_memory
from rheobase.kernels.recurrent_forms import backward_kernel, forward_kernel, kept_arrays
from rheobase.kernels.recurrent_source import samples_per_block
from rheobase.kernels.vectors import padded, spaced
from rheobase.kernels.workspace import apart

_ENDS = 6  # integers behind the working memory (`ENDS`, without thread and part)
_KINDS = {"int32": torch.int32, "int64": torch.int64}


class Setting(NamedTuple):
    """What the passes of a layer over a sequence depend on, besides numbers in tensors.

    Attributes:
        forms: The groups' (`Population.form`), as if all were kept.
        dtype: Of the computation.
        batch, steps: B and T; in chunks of recomputation, the steps of one.
        depth: Steps of history before the first.
        total: All steps.
        moving: Whether the input changes in time.
        size, columns: Neurons, and inputs that they have together.
        longest: The longest delay in steps.
        inputs, outputs: Of the connection before and of the one behind; 0 if there is none.
        biased: Whether these have biases.
        masked: Whether some recurrent weights do not count.
        threads: How many there may be.
    """

    forms: tuple[tuple[Any, ...], ...]
    dtype: torch.dtype
    batch: int
    steps: int
    depth: int
    total: int
    moving: bool
    size: int
    columns: int
    longest: int
    inputs: int
    outputs: int
    biased: tuple[bool, bool]
    masked: bool
    threads: int

    def width(self, columns: int) -> int:
        """Numbers of a row of so many columns, which ends with a whole vector."""
        return padded(columns, self.dtype.itemsize)

    def blocks(self, way: Way) -> int:
        """Into how many blocks the samples fall."""
        return -(-self.batch // samples_per_block(way, self.dtype.itemsize))

    def from_each(self, inputs: int, outputs: int, biased: bool | None, masked: bool = False) -> Array:
        """Weights from each input, `[inputs, padded outputs]`; with a bias or a place for one behind them."""
        width = self.width(outputs)
        form = Form(self.dtype, (inputs + (biased is not None), width))
        moves = [(Move(outputs, inputs, inputs, width, transposed=True, masked=int(masked)), 0)]
        moves += [(Move(1, outputs, outputs, width), inputs)] if biased else []
        return Array(form, tuple(moves))

    def to_each(self, inputs: int, outputs: int, masked: bool = False) -> Array:
        """Weights to each output, `[outputs, padded inputs]`."""
        width = self.width(inputs)
        form = Form(self.dtype, (outputs, width))
        return Array(form, ((Move(outputs, inputs, inputs, width, masked=int(masked)), 0),))

    def sums_behind(self, parts: int, narrow: bool) -> Array:
        """Those of the connection behind; to each output, `[parts, outputs + 1, padded N]`, if `narrow`."""
        if not narrow:
            return self.sums(parts, self.size, self.outputs, self.biased[1])
        width = self.width(max(self.size, self.outputs))
        shared = (False, parts, (self.outputs + 1) * width)
        moves = [(Move(self.outputs, self.size, width, self.size, *shared), 0)]
        moves += (
            [(Move(1, self.outputs, width, self.outputs, *shared), self.outputs)] if self.biased[1] else []
        )
        return Array(Form(self.dtype, (parts, self.outputs + 1, width)), tuple(moves))

    def sums(self, parts: int, inputs: int, outputs: int, biased: bool, masked: bool = False) -> Array:
        """Sums of the gradient by weights from each input, `[parts, inputs + 1, padded outputs]`."""
        width = self.width(outputs)
        shared = (parts, (inputs + 1) * width)
        moves = [(Move(inputs, outputs, width, inputs, True, *shared, 2 * masked), 0)]
        moves += [(Move(1, outputs, width, outputs, False, *shared), inputs)] if biased else []
        return Array(Form(self.dtype, (parts, inputs + 1, width)), tuple(moves))


class Array(NamedTuple):
    """An array of a call's own memory.

    Attributes:
        form: Its type and shape.
        moves: What is brought into it before the call, or out of it after: matrices, and from which row on.
    """

    form: Form
    moves: tuple[tuple[Move, int], ...] = ()


class Ready:
    """A kernel with all that shapes settle of a call.

    Attributes:
        parts: Into how many parts the samples fall.
        room: What the call needs for itself alone: weights in the kernel's form, sums of their gradients, and
            what threads work in.
        places: Arrays of the room by name, in order: "weights", "before" and "behind", the connections';
            "tally", "tally_before" and "tally_behind", sums of their gradients.
    """

    def __init__(
        self,
        kernel: Kernel,
        given: Sequence[Form | None],
        arrays: Mapping[str, Array],
        work: Sequence[Form],
        parts: int,
        updates: int,
        dtype: torch.dtype,
    ) -> None:
        self.parts = parts
        self.room = Room([*(a.form for a in arrays.values()), *work], dtype)
        self.places = {name: i for i, name in enumerate(arrays)}
        self._bound = Bound(kernel, [*given, *work, *[None] * _ENDS], parts, updates)
        self._in, self._out = (
            _Transfer({n: a for n, a in arrays.items() if n.startswith("tally") == out}, self.places, dtype)
            for out in (False, True)
        )

    def pack(self, addresses: Sequence[int], sources: Sequence[int], mask: int) -> None:
        """Bring weights and biases into the room, in its arrays' order; recurrent ones within the mask."""
        self._in.moves.run(sources, [addresses[i] + by for i, by in self._in.ends], mask)

    def unpack(self, addresses: Sequence[int], targets: Sequence[int], mask: int) -> None:
        """Bring sums of gradients by weights and biases out of it, in the same order."""
        self._out.moves.run([addresses[i] + by for i, by in self._out.ends], targets, mask)

    def run(self, addresses: Sequence[int], values: Sequence[int], ends: Sequence[int]) -> None:
        """Call the kernel, with the room at these addresses.

        Args:
            addresses: Where the room's arrays are.
            values: The arguments in front of the working memory.
            ends: Those behind it.
        """
        self._bound.run([*values, *addresses[len(self.places) :], *ends])


class _Transfer:
    """What is moved, and where in the room its end is: which array, and how many bytes behind its start."""

    def __init__(self, arrays: Mapping[str, Array], places: Mapping[str, int], dtype: torch.dtype) -> None:
        moves, self.ends = [], []
        for name, (form, own) in arrays.items():
            for move, row in own:
                moves.append(move)
                self.ends.append((places[name], row * form.shape[-1] * dtype.itemsize))
        self.moves = Moves(moves, dtype)


def program_of(form: tuple[Any, ...]) -> Program:
    return PROGRAMS[form[0]]


@functools.lru_cache(maxsize=256)
def forward_call(s: Setting, way: Way, around: Around, save: bool) -> Ready:
    """The forward pass; `save`: whether it keeps what the adjoint reads."""
    arrays: dict[str, Array] = {}
    given: list[Form | None] = [
        Form(s.dtype, (s.total if s.moving else 1, s.batch, s.inputs or s.columns)),
        Form(s.dtype, (s.depth + s.total, s.batch, s.size)),
    ]
    if around.before:
        arrays["before"] = s.from_each(s.inputs, s.columns, s.biased[0])
        given += [arrays["before"].form]
    if around.behind:
        arrays["behind"] = s.from_each(s.size, s.outputs, s.biased[1])
        given += [arrays["behind"].form, Form(s.dtype, (s.total, s.batch, s.outputs))]
    for form in s.forms:
        given += [*_states(s, form), *_coefficients(s, form), *_over_time(s, form, save)]
    if way == "dense":
        arrays["weights"] = s.from_each(s.size, s.columns, None, s.masked)
        given += [arrays["weights"].form, None]
    kernel = forward_kernel(way, tuple((*f[:3], f[3] if save else (), f[4]) for f in s.forms), around)
    return _ready(s, way, around, "forward", kernel, given, arrays, s.blocks(way))


@functools.lru_cache(maxsize=256)
def backward_call(
    s: Setting, way: Way, around: Around, traces: tuple[tuple[str, ...], ...], window: int, pitch: int
) -> Ready:
    """The backward pass.

    Args:
        s, way, around: The layer, and what runs along.
        traces: Of which recorded states derivatives come in, group by group.
        window: For how many steps derivatives by the currents are kept.
        pitch: Numbers from one of their rows to the next.
    """
    summed = around.before or around.behind or around.tally
    parts = min(PARTS, s.blocks(way)) if summed else s.blocks(way)
    spikes = Form(s.dtype, (s.depth + s.total, s.batch, s.size))
    arrays: dict[str, Array] = {}
    given: list[Form | None] = [spikes, Form(s.dtype, (window, s.batch, pitch))]
    given += [Form(s.dtype, (s.total, s.batch, s.size))] if around.given else []
    if around.before:
        arrays["tally_before"] = s.sums(parts, s.inputs, s.columns, s.biased[0])
        given += [Form(s.dtype, (s.total, s.batch, s.inputs)), arrays["tally_before"].form]
    if around.behind:
        arrays["behind"] = s.to_each(s.size, s.outputs)
        arrays["tally_behind"] = s.sums_behind(parts, around.narrow)
        given += [Form(s.dtype, (s.total, s.batch, s.outputs)), arrays["behind"].form]
        given += [arrays["tally_behind"].form]
    if around.tally:
        arrays["tally"] = s.sums(parts, s.size, s.columns, False, s.masked)
        given += [arrays["tally"].form]
    for form, wanted in zip(s.forms, traces, strict=True):
        one = Form(s.dtype, (s.batch, form[4][1] - form[4][0]))
        given += [*_states(s, form), *_coefficients(s, form), *_over_time(s, form, True)]
        given += [Form(s.dtype, (s.total, *one.shape)) for _ in wanted]
        given += [one for _ in program_of(form).tensors]
    if way == "dense":
        arrays["weights"] = s.to_each(s.size, s.columns, s.masked)
        given += [arrays["weights"].form, None]
    kernel = backward_kernel(way, s.forms, traces, around)
    return _ready(s, way, around, "backward", kernel, given, arrays, parts)


def _states(s: Setting, form: tuple[Any, ...]) -> list[Form]:
    low, high, _ = form[4]
    return [Form(s.dtype, (s.batch, high - low)) for _ in program_of(form).states]


def _coefficients(s: Setting, form: tuple[Any, ...]) -> list[Form]:
    low, high, _ = form[4]
    return [Form(s.dtype, (high - low,) if kind == "v" else ()) for kind in form[2]]


def _over_time(s: Setting, form: tuple[Any, ...], save: bool) -> list[Form]:
    """Recorded states, and what is kept."""
    p, (low, high, _) = program_of(form), form[4]
    return [
        *(Form(s.dtype, (s.total, s.batch, high - low)) for _ in p.record),
        *(
            Form(dtype, (s.steps + more, s.batch, spaced(high - low, dtype.itemsize)))
            for more, dtype in kept_arrays(p.key, form[3] if save else (), s.dtype)
        ),
    ]


def _ready(
    s: Setting,
    way: Way,
    around: Around,
    direction: str,
    kernel: Kernel,
    given: Sequence[Form | None],
    arrays: Mapping[str, Array],
    parts: int,
) -> Ready:
    sizes = Sizes(s.size, s.columns, s.longest, s.dtype.itemsize, s.inputs, s.outputs)
    memory = working_memory(direction, way, around, sizes).values()
    work = [_for_threads(s.threads, shape, _KINDS.get(kind, s.dtype)) for kind, shape in memory]
    taps = [] if way == "dense" else [*_taps(s.dtype), None]
    return Ready(kernel, [*given, *taps], arrays, work, parts, s.steps * s.batch * s.size, s.dtype)


def _taps(dtype: torch.dtype) -> list[Form]:
    """Weights, offsets and ranges of taps. Kernels go by the ranges: how many there are is not looked at."""
    return [Form(dtype, (0,)), Form(torch.int32, (0,)), Form(torch.int64, (0,))]


def _for_threads(threads: int, shape: tuple[int, ...], dtype: torch.dtype) -> Form:
    return Form(dtype, (threads, *apart(shape, dtype.itemsize)))
