"""Products of rows, mostly zeros, with large weights: a batch of images, say, and a wide first layer.

`events` multiplies by rows of the transposed weights, and to transpose them all costs more than a small batch
brings back. Here blocks of a panel of the weights, some outputs wide and about as deep as the first-level
cache has room for, are turned over (`rheobase.kernels.squares`), and all rows of x are multiplied with one
before the next (`rheobase.kernels.panel_sums`). The weight gradient goes the other way: for each input, rows
of a panel of the gradient are summed over the samples that are not zero, and the sums are turned over on
their way out. What is not zero is listed once for all panels.

Sums are made as in `events`, in ascending order, whatever the panels. Threads share panels, or groups of rows
(of inputs, for the gradient) where panels are few.

Measured on one core of an AMD Zen 4 (ms of processor time; 128 x 784 by 784 x 1000, and its weight gradient
with the gradient's sum over rows). Most of it is loads: five for every four vectors that are added.

    density        0.01  0.05  0.19  0.3   0.5   0.7
    x W^T, here    0.17  0.26  0.58  0.89  1.3   1.9    (oneDNN 1.9)
    g^T x, here    0.21  0.30  0.65  1.0   1.4   1.9    (oneDNN 1.9)

Likewise with 16 to 512 rows, 128 to 2000 outputs and in double precision: a dense product is as fast from
about 0.6 on; `events` and `outer` take one to six times as long. 128 x 784 by 784 x 100, at 0.19: 0.11 and
0.13 (MKL 0.23 and 0.21). More rows are taken in chunks:

    3200 x 1000 by 1000 x 1000   x W^T  here  events  oneDNN   g^T x  here  outer  oneDNN
    0.1                                 19    21      62              23    28     65
    0.2                                 27    39      64              32    48     67
    0.4                                 50    74      64              57    60     65
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import NamedTuple

import torch
from torch import Tensor

from rheobase.kernels import events
from rheobase.kernels.bound import Bound, Form, Room
from rheobase.kernels.cache import Kernel
from rheobase.kernels.vectors import lanes, padded, version
from rheobase.kernels.workspace import apart, empty

DENSEST = 0.5  # share of values that are not zero, above which a dense product may be as fast
ROWS = 16  # of x: fewer do not pay for turning the weights
LARGE = 1 << 22  # multiplications below which a dense product takes too little time to be worth a look
FEWEST = 96  # outputs below which a dense product may be as fast
CHUNK = 512  # rows at a time, whose lists and sums a second-level cache has room for
BROAD = 512  # outputs from which more rows are taken as well, in chunks (fewer are `events`' work),
THINNEST = 0.1  # and the share of values that are not zero from which they are
SAMPLED = 8  # rows of a chunk looked at to estimate the density; of more, as many as `events` does
TASKS = 8  # of a product, for threads to share: where panels are fewer, rows are taken in groups
GROUP = 64  # rows of a group at least
WIDEST = 4  # vectors of outputs of a panel, of which a sum's stay in registers (`panel_sums`)
DEPTH = 160  # rows of a panel at the most: it then lies mostly in the first-level cache


def worth_listing(x: Tensor, outputs: int, known: events.Shares | None = None) -> bool:
    """Whether the product of x `[M, K]` with `[outputs, K]` weights, and their gradient, are faster here."""
    if x.device.type != "cpu" or x.dtype not in events.BITS:
        return False
    (rows, inputs), many = x.shape, x.shape[0] > CHUNK
    if rows < ROWS or outputs < (BROAD if many else FEWEST) or rows * inputs * outputs < LARGE:
        return False
    share = events.share_of_events(x, events.SAMPLED if many else SAMPLED, known)
    return (THINNEST if many else 0.0) <= share < DENSEST


def multiply(x: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor) -> Tensor:
    """x W^T + b into the contiguous `out`, for x `[M, K]`, `weight` `[N, K]`.

    >>> multiply(torch.eye(2), torch.tensor([[1.0, 2.0]]), None, torch.empty(2, 1)).tolist()
    [[1.0], [2.0]]
    """
    if not out.is_contiguous():
        raise ValueError(f"got a tensor with strides {out.stride()} for the product, wanted a contiguous one")
    x, weight = x.contiguous(), weight.contiguous()
    (rows, inputs), outputs, size = x.shape, weight.shape[0], x.element_size()
    start = x.new_zeros(outputs) if bias is None else bias.contiguous()
    for first, some in _chunks(rows):
        calls = _multiplication(_Shape(x.dtype, some, inputs, outputs, torch.get_num_threads()))
        memory = calls.room.empty()
        listed, counts, *work = calls.room.addresses(memory)
        calls.listing.run([x.data_ptr() + first * inputs * size, listed, counts])
        given = [weight.data_ptr(), start.data_ptr(), out.data_ptr() + first * outputs * size]
        calls.adding.run([listed, counts, *given, *work, calls.groups])
    return out


def weight_gradient(gradient: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """gradient^T x for `gradient` `[M, N]`, x `[M, K]`: `[N, K]`; and the gradient's sum over rows, `[N]`.

    >>> [y.tolist() for y in weight_gradient(torch.ones(3, 1), torch.eye(3, 2))]
    [[[1.0, 1.0]], [3.0]]
    """
    x, gradient = x.contiguous(), gradient.contiguous()
    parts = (_part_of_gradient(gradient, x, first, some) for first, some in _chunks(x.shape[0]))
    out, total = next(parts)
    for more, more_total in parts:
        out += more
        total += more_total
    return out, total


def _part_of_gradient(gradient: Tensor, x: Tensor, first: int, rows: int) -> tuple[Tensor, Tensor]:
    """`weight_gradient` of some rows."""
    inputs, outputs, size = x.shape[1], gradient.shape[1], x.element_size()
    calls = _gradient(_Shape(x.dtype, rows, inputs, outputs, torch.get_num_threads()))
    out, total = empty((outputs, inputs), x.dtype), torch.empty(outputs, dtype=x.dtype)
    memory = calls.room.empty()
    listed, counts, square, *work = calls.room.addresses(memory)
    calls.listing.run([x.data_ptr() + first * inputs * size, listed, counts, square])
    given = [gradient.data_ptr() + first * outputs * size, out.data_ptr(), total.data_ptr()]
    calls.adding.run([listed, counts, *given, *work, calls.groups])
    return out, total


def _chunks(rows: int) -> Iterator[tuple[int, int]]:
    """Where each chunk of rows begins, and how many it has: about as many as the others."""
    chunks = -(-rows // CHUNK)
    for i in range(chunks):
        first = i * rows // chunks
        yield first, (i + 1) * rows // chunks - first


class _Shape(NamedTuple):
    """What settles a call: x is `[rows, inputs]`, its product with the weights `[rows, outputs]`."""

    dtype: torch.dtype
    rows: int
    inputs: int
    outputs: int
    threads: int

    @property
    def lanes(self) -> int:
        return lanes(self.dtype.itemsize)

    @property
    def width(self) -> int:
        """Columns of a panel of the outputs: all panels are about as wide."""
        vectors = -(-self.outputs // self.lanes)
        panels = -(-vectors // WIDEST)
        return -(-vectors // panels) * self.lanes

    @property
    def panels(self) -> int:
        return -(-self.outputs // self.width)

    def groups(self, lists: int) -> int:
        """Of lists, all of which a panel is used for."""
        return max(min(-(-TASKS // self.panels), lists // GROUP), 1)

    def bind(self, function: str, forms: Sequence[Form], groups: int) -> Bound:
        """What adds up: lists, arrays, what a thread works in, and the number of groups."""
        tasks = self.panels * groups
        return Bound(_kernel(function), [*forms, None], tasks, self.rows * self.inputs * tasks)

    def form(self, *shape: int) -> Form:
        return Form(self.dtype, shape)

    def for_threads(self, *shape: int) -> Form:
        return self.form(self.threads, *apart(shape, self.dtype.itemsize))

    def lists(self, count: int, size: int) -> tuple[int, list[Form]]:
        """Of `count` lists of `size` numbers, in blocks: their depth; entries and how many there are."""
        blocks = -(-size // DEPTH)
        depth = padded(-(-size // blocks), self.dtype.itemsize)
        blocks = -(-size // depth)
        words = depth * self.dtype.itemsize // 4  # see `entries`
        return depth, [Form(torch.int64, (blocks, count, words)), Form(torch.int64, (blocks, count))]


class _Calls(NamedTuple):
    """The kernels of a product, and what both work in: lists, then what each thread has for itself."""

    room: Room
    listing: Bound
    adding: Bound
    groups: int


@functools.lru_cache(maxsize=256)
def _multiplication(s: _Shape) -> _Calls:
    depth, lists = s.lists(s.rows, s.inputs)
    groups = s.groups(s.rows)
    kept = -(-s.rows // groups) + 1
    work = [s.for_threads(depth, s.width), s.for_threads(kept, s.width)]
    given = [s.form(s.outputs, s.inputs), s.form(s.outputs), s.form(s.rows, s.outputs)]
    listing = Bound(_kernel("list_rows"), [s.form(s.rows, s.inputs), *lists], s.rows, s.rows * s.inputs)
    adding = s.bind("multiply", [*lists, *given, *work], groups)
    return _Calls(Room([*lists, *work], s.dtype), listing, adding, groups)


@functools.lru_cache(maxsize=256)
def _gradient(s: _Shape) -> _Calls:
    depth, lists = s.lists(s.inputs, s.rows)
    groups = s.groups(s.inputs)
    vectors = -(-s.inputs // s.lanes)
    square = s.for_threads(s.lanes, s.rows)
    kept = (1 if depth >= s.rows else vectors) * s.lanes + 1
    work = [s.for_threads(depth, s.width), s.for_threads(kept, s.width)]
    given = [s.form(s.rows, s.outputs), s.form(s.outputs, s.inputs), s.form(s.outputs)]
    forms = [s.form(s.rows, s.inputs), *lists, square]
    listing = Bound(_kernel("list_columns"), forms, vectors, s.rows * s.inputs)
    adding = s.bind("weight_gradient", [*lists, *given, *work], groups)
    return _Calls(Room([*lists, square, *work], s.dtype), listing, adding, groups)


@functools.cache
def _kernel(function: str) -> Kernel:
    # As text: importing it would import Numba, which only compiling needs.
    source = files("rheobase.kernels").joinpath("panel_loops.py").read_text("utf-8")
    return Kernel(f"{source}\n# {version('panel_loops')}\n", function, f"panels {function}")
