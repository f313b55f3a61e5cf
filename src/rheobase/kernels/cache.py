"""Generated kernels on disk: written whole, compiled by Numba once per machine, then only loaded.

The folder is `$RHEOBASE_CACHE/kernels` or the user's cache folder; the machine code, an object file for each
processor and version of Numba, is kept beside the source, so that a second process starts without compiling.
"""

from __future__ import annotations

import functools
import hashlib
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rheobase.files import cache_root, write_bytes, write_text
from rheobase.kernels.native import load, pack, target_key
from rheobase.kernels.settled import refuse
from rheobase.kernels.threads import part_size, run_team, threads_for


@functools.cache
def kernel_folder() -> Path:
    """Where generated sources are kept; a temporary folder (with a warning) if that fails."""
    folder = cache_root() / "kernels"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=folder):
            return folder
    except OSError as error:
        warnings.warn(
            f"the kernel cache {folder} cannot be written ({error.strerror}); kernels will be compiled "
            "anew in each process. Set RHEOBASE_CACHE to a folder that can be written.",
            RuntimeWarning,
            stacklevel=2,
        )
        return Path(tempfile.mkdtemp(prefix="rheobase-"))


class Kernel:
    """A generated function, compiled at its first call (announced on stderr if not cached).

    Args:
        source: A module's text, with `function` in it, decorated with `numba.njit`. Its last two arguments
            are a part of a range, which may be any part. One called `thread` before them is the number of
            the thread that calls: arrays of working memory have a row for each.
        function: Its name.
        label: What it is called on stderr and on disk.
    """

    seconds: float = 0.0  # spent compiling, by all kernels of this process

    def __init__(self, source: str, function: str, label: str) -> None:
        self.source = source
        self.label = label
        self._function = function
        self._digest = hashlib.sha256(f"{source}|{function}".encode()).hexdigest()[:16]
        self.path = kernel_folder() / f"{label.replace(' ', '_')}_{self._digest}.py"
        if not self.path.exists():
            write_text(self.path, source)
        self._entries: dict[tuple[str, ...], Any] = {}

    def run(self, args: Sequence[Any], size: int, work: int) -> None:
        """Call the function with `args` on all of `range(size)`, on as many threads as are worth it.

        Args:
            args: Contiguous tensors and arrays, typed numbers and integers, without thread and part.
            size: Length of the range.
            work: Updates (columns x steps), by which the number of threads is chosen.
        """
        refuse(f"the {self.label} kernel is not bound to shapes")
        call = pack(args)
        entry = self.entry(call.types)
        threads = threads_for(size, work)
        slots = call.slots(0, part_size(size, threads), size, threads)
        run_team(entry, slots, threads)

    def prepare(self, *args: Any) -> Callable[..., None]:
        """The function of all its arguments, compiled for arguments of these types."""
        entry = self.entry(pack(args[:-2]).types)

        def call(*args: Any) -> None:
            refuse(f"the {self.label} kernel is not bound to shapes")
            low, high = args[-2:]
            slots = pack(args[:-2]).slots(low, max(high - low, 1), high)
            entry(slots.buffer_info()[0])

        return call

    def entry(self, types: tuple[str, ...]) -> Any:
        """The compiled function for arguments of these types (see `rheobase.kernels.native.Call`)."""
        if types not in self._entries:
            start = time.perf_counter()
            signature = hashlib.sha256("|".join(types).encode()).hexdigest()[:8]
            symbol = f"rheobase_{self._digest}_{signature}"
            path = self.path.with_name(f"{self.path.stem}.{signature}.{target_key()}.o")
            code = _read(path)
            if code is None:
                code = self._compile(types, symbol)
                write_bytes(path, code + hashlib.sha256(code).digest())
            self._entries[types] = load(code, symbol)
            Kernel.seconds += time.perf_counter() - start
        return self._entries[types]

    def _compile(self, types: tuple[str, ...], symbol: str) -> bytes:
        print(f"rheobase: compiling the {self.label} kernel (once)", file=sys.stderr, flush=True)
        # Imported here: it takes half a second and much memory, and only compiling needs it.
        from rheobase.kernels.compiler import compile_object

        return compile_object(self.source, self._function, types, symbol, str(self.path))


def _read(path: Path) -> bytes | None:
    """The machine code in a file, which its SHA-256 follows; None if there is none or it is damaged."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    code, digest = data[:-32], data[-32:]
    return code if hashlib.sha256(code).digest() == digest else None
