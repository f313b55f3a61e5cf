"""Machine code of kernels, loaded and called without Numba.

Numba's own cache needs Numba: its types and its code generator, some 50 MiB and most of a second. An
object file needs only LLVM's linker, which `llvmlite` holds. Arguments go to a kernel in a table of 64-bit
slots, which is also what its threads share:

    0  threads that have begun     1  number of shares
    2  first index of the range    3  size of a part    4  end of the range
    5  size of a share             6  slot of the first counter
    7  address of the function that tells a thread its number; 0: they are numbered as they come
    8  the arguments: an integer; a number as a double; an array's address
    then the shapes of the arrays, and a counter per share: how many of its parts were taken

A thread takes the parts of its own share of the range, then those that others have left, and has the same
number in each call. So it mostly works on the same samples or columns in each kernel, and in the same
memory: what one core has written, another gets ten times later.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import struct
from array import array
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numpy as np
import torch
from torch import Tensor

HEAD = 8
NUMBERING = 7

#: Slots from one counter to the next: two cache lines, which no two threads should share.
APART = 16

#: Numbers of a tensor's type, as kernels take them.
NUMBER: dict[torch.dtype, Any] = {torch.float32: np.float32, torch.float64: np.float64}

Entry = Any  # a ctypes function of one address; it lets go of the GIL while it runs

_NAMES = {
    torch.float32: "f4",
    torch.float64: "f8",
    torch.int32: "i4",
    torch.int64: "i8",
    torch.uint8: "u1",
    torch.bool: "b1",
}
_INTEGER, _DOUBLE = struct.Struct("q"), struct.Struct("d")
_PROTOTYPE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@functools.cache
def target_key() -> str:
    """A text that is equal where machine code can be shared: processor, and who compiled it."""
    llvm.initialize_native_target()
    features = llvm.get_host_cpu_features().flatten()
    parts = (
        llvm.get_default_triple(),
        llvm.get_host_cpu_name(),
        features,
        version("numba"),
        version("llvmlite"),
        f"{HEAD} {APART} shapes behind",
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def machine() -> llvm.TargetMachine:
    """This processor, as LLVM's target."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        codemodel="jitdefault",
        jit=True,
    )


@functools.cache
def _engine() -> llvm.ExecutionEngine:
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine())


def load(code: bytes, symbol: str) -> Entry:
    """The entry of an object file."""
    if b"NRT_" in code:
        _provide_numba_runtime()
    engine = _engine()
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return _PROTOTYPE(engine.get_function_address(symbol))


@functools.cache
def _provide_numba_runtime() -> None:
    """What a kernel needs that makes arrays of its own, or may raise."""
    registry = import_module("numba.core.registry")
    import_module("numba.core.runtime").rtsys.initialize(registry.cpu_target.target_context)
    helpers_of = {
        "NRT_": import_module("numba.core.runtime._nrt_python").c_helpers,
        "numba_": import_module("numba._helperlib").c_helpers,
    }
    for prefix, helpers in helpers_of.items():
        for name, address in helpers.items():
            llvm.add_symbol(name if name.startswith(prefix) else prefix + name, address)


class Call(NamedTuple):
    """The arguments of a kernel, as its entry takes them.

    Attributes:
        types: The type of each, as `rheobase.kernels.compiler.compile_object` takes them.
        values: The slot of each.
        shapes: The slots of their shapes.
    """

    types: tuple[str, ...]
    values: list[int]
    shapes: list[int]

    def slots(self, first: int, part: int, end: int, shares: int = 1) -> array[int]:
        """All slots, for `range(first, end)` in parts, of which each share has as many."""
        share = -(-(end - first) // (part * shares)) * part
        counters = HEAD + len(self.values) + len(self.shapes) + APART
        head = (0, shares, first, part, end, share, counters, 0)
        return array("q", (*head, *self.values, *self.shapes, *[0] * (APART * (shares + 2))))


def pack(args: Sequence[Any]) -> Call:
    """Tensors and arrays by their addresses and shapes, typed numbers by their bits, all else as integers.

    The caller keeps the arguments alive while the kernel runs.

    Raises:
        ValueError: If a tensor or an array is not contiguous.

    >>> pack([torch.zeros(2, 3), np.float32(1), 7]).types
    ('f4 2', 'f4 0', 'i')
    """
    types: list[str] = []
    values: list[int] = []
    shapes: list[int] = []
    for x in args:
        if isinstance(x, Tensor):
            if not x.is_contiguous():
                raise ValueError(f"got a tensor with strides {x.stride()}, wanted a contiguous one")
            types.append(type_name(x.dtype, x.dim()))
            values.append(x.data_ptr())
            shapes.extend(x.shape)
        elif isinstance(x, np.ndarray):
            if not x.flags.c_contiguous:
                raise ValueError(f"got an array with strides {x.strides}, wanted a contiguous one")
            types.append(type_name(x.dtype, x.ndim))
            values.append(x.__array_interface__["data"][0])
            shapes.extend(x.shape)
        elif isinstance(x, np.floating):
            types.append(type_name(x.dtype, 0))
            values.append(_INTEGER.unpack(_DOUBLE.pack(x))[0])
        else:
            types.append("i")
            values.append(int(x))
    return Call(tuple(types), values, shapes)


@functools.cache
def type_name(dtype: Any, dimensions: int) -> str:
    """An array's type, or a number's, as `Call.types` has it."""
    name = _NAMES[dtype] if isinstance(dtype, torch.dtype) else dtype.str[1:]
    return f"{name} {dimensions}"
