"""Machine code of kernels, loaded and called without Numba.

Numba's own cache needs Numba: its types and its code generator, some 50 MiB and most of a second. An
object file needs only LLVM's linker, which `llvmlite` holds. Arguments go to a kernel in a table of 64-bit
slots, which is also what its threads share:

    0  threads that have begun     1  parts that were taken
    2  first index of the range    3  size of a part    4  end of the range
    5  the arguments: an integer; a number as a double; an array as its address and shape
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Any

import llvmlite.binding as llvm
import numpy as np

HEAD = 5

Slots = np.ndarray[Any, np.dtype[np.int64]]
Entry = Any  # a ctypes function of one address; it lets go of the GIL while it runs

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


def types_of(args: Sequence[Any]) -> tuple[str, ...]:
    """The type of each argument, as `rheobase.kernels.compiler.compile_object` takes them.

    >>> types_of([np.zeros((2, 3), np.float32), np.float32(1), 7])
    ('f4 2', 'f4 0', 'i')
    """
    return tuple(
        f"{x.dtype.str[1:]} {x.ndim}" if isinstance(x, (np.ndarray, np.floating)) else "i" for x in args
    )


def table(args: Sequence[Any], first: int, part: int, end: int) -> Slots:
    """The slots for these arguments and `range(first, end)` in parts.

    Raises:
        ValueError: If an array is not contiguous.
    """
    values: list[int] = [0, 0, first, part, end]
    for x in args:
        if isinstance(x, np.ndarray):
            if not x.flags.c_contiguous:
                raise ValueError(f"got an array with strides {x.strides}, wanted a contiguous one")
            values.append(x.__array_interface__["data"][0])
            values.extend(x.shape)
        elif isinstance(x, np.floating):
            values.append(int(np.float64(x).view(np.int64)))
        else:
            values.append(int(x))
    return np.array(values, np.int64)
