"""From a kernel's Python to an object file: the one place that runs Numba, and only where none is kept yet.

Numba compiles the function for its argument types, with an entry behind it that takes one pointer, as an
OpenMP team wants it. The entry finds the arguments in a table of 64-bit slots (see `HEAD`), and calls the
function on one part of its thread's share of the range after another, then on what others have left. All
but the entry is then made internal and optimised again, after which nothing of Numba's run-time library is
left in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from rheobase.kernels.native import APART, HEAD, NUMBERING, machine

# LLVM leaves a loop alone that needs more checks of whether its arrays overlap; eight is what it takes
# unless told, and a step with three states and a few records has more.
llvm.set_option("rheobase", "-runtime-memory-check-threshold=128")


def compile_object(source: str, function: str, types_: Sequence[str], symbol: str, path: str) -> bytes:
    """The object file of `function` in `source`, its entry called `symbol`.

    Args:
        source: A module's text.
        function: A function in it, decorated with `numba.njit`. Its last arguments are the part of its range,
            `low` and `high`; one called `thread` before them is the number of the thread.
        types_: A type for each other argument: "i" for an integer, or a NumPy dtype's text and a number of
            dimensions ("f4 2"; 0 for a number).
        symbol: The entry's name.
        path: The file in which `source` is, for messages.
    """
    scope: dict[str, Any] = {"__name__": symbol}
    exec(compile(source, path, "exec"), scope)
    threaded = "thread" in scope[function].py_func.__code__.co_varnames
    text = entry_source(types_, threaded=threaded)
    names = {"kernel": scope[function], "np": np, "carray": vars(numba)["carray"]}
    names |= {"pointer": pointer, "fetch_add": _fetch_add, "answer": _answer}
    exec(compile(text, f"<entry of {path}>", "exec"), names)
    entry: Any = numba.cfunc("void(voidptr)")(names["entry"])
    return _emit(str(entry._library._final_module), entry.native_name, symbol)


def entry_source(types_: Sequence[str], *, threaded: bool) -> str:
    """The entry's Python.

    >>> print(entry_source(["f4 1", "i"], threaded=False))
    def entry(data):
        slots = carray(data, (11,), np.int64)
        numbers = carray(data, (11,), np.float64)
        thread = answer(slots[7]) if slots[7] else fetch_add(slots, 0)
        x0 = carray(pointer(slots[8]), (slots[10],), np.dtype("f4"))
        x1 = slots[9]
        for i in range(slots[1]):
            share = thread + i if thread + i < slots[1] else thread + i - slots[1]
            start = slots[2] + slots[5] * share
            end = min(start + slots[5], slots[4])
            low = start + slots[3] * fetch_add(slots, slots[6] + 16 * share)
            while low < end:
                kernel(x0, x1, low, min(low + slots[3], end))
                low = start + slots[3] * fetch_add(slots, slots[6] + 16 * share)
    <BLANKLINE>
    """
    names, lines = [], []
    at = HEAD + len(types_)  # of the next shape
    for i, kind in enumerate(types_):
        names.append(f"x{i}")
        if kind == "i":
            lines.append(f"x{i} = slots[{HEAD + i}]")
            continue
        dtype, dimensions = kind.split()
        size = int(dimensions)
        if size == 0:
            lines.append(f'x{i} = np.dtype("{dtype}").type(numbers[{HEAD + i}])')
            continue
        shape = "".join(f"slots[{at + d}]," for d in range(size))
        shape = shape.rstrip(",") if size > 1 else shape
        lines.append(f'x{i} = carray(pointer(slots[{HEAD + i}]), ({shape}), np.dtype("{dtype}"))')
        at += size
    if threaded:
        names.append("thread")
    next_part = f"low = start + slots[3] * fetch_add(slots, slots[6] + {APART} * share)"
    body = [
        f"slots = carray(data, ({at},), np.int64)",
        f"numbers = carray(data, ({at},), np.float64)",
        f"thread = answer(slots[{NUMBERING}]) if slots[{NUMBERING}] else fetch_add(slots, 0)",
        *lines,
        "for i in range(slots[1]):",
        # Not by a remainder: it may raise, for which an object file would need Numba.
        "    share = thread + i if thread + i < slots[1] else thread + i - slots[1]",
        "    start = slots[2] + slots[5] * share",
        "    end = min(start + slots[5], slots[4])",
        f"    {next_part}",
        "    while low < end:",
        f"        kernel({', '.join(names)}, low, min(low + slots[3], end))",
        f"        {next_part}",
    ]
    return "def entry(data):\n" + "".join(f"    {line}\n" for line in body)


def _emit(text: str, entry: str, symbol: str) -> bytes:
    module = llvm.parse_assembly(text)
    for function in module.functions:
        if not function.is_declaration and function.name != entry:
            function.linkage = "internal"
    for variable in module.global_variables:
        if not variable.is_declaration:
            variable.linkage = "internal"
    module.get_function(entry).name = symbol
    target = machine()
    tuning = llvm.create_pipeline_tuning_options(speed_level=3)
    tuning.loop_vectorization = tuning.slp_vectorization = tuning.loop_unrolling = False  # Numba did that
    builder = llvm.create_pass_builder(target, tuning)
    builder.getModulePassManager().run(module, builder)
    return bytes(target.emit_object(module))


@intrinsic
def pointer(_: Any, address: Any) -> Any:
    """The pointer to an address."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), generate


@intrinsic
def _answer(_: Any, address: Any) -> Any:
    """What the function at an address says, which takes nothing and gives a C `int`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(32), ()).as_pointer()
        return builder.sext(builder.call(builder.inttoptr(args[0], kind), ()), ir.IntType(64))

    return types.int64(types.int64), generate


@intrinsic
def _fetch_add(_: Any, array: Any, index: Any) -> Any:
    """What `array[index]` was before it was raised by 1, in one step for all threads."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        one = context.get_constant(types.int64, 1)
        return builder.atomic_rmw("add", builder.gep(data, [args[1]]), one, "monotonic")

    return types.int64(array, index), generate
