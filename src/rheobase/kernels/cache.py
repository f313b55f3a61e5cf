"""Generated kernels on disk: written whole, imported, compiled by Numba once per machine.

The folder is `$RHEOBASE_CACHE/kernels` or the user's cache folder; Numba keeps its machine code
beside the source, so that a second process starts without compiling.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

from rheobase.files import cache_root, write_text


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
    """A generated function, compiled at its first call (announced on stderr if not cached)."""

    seconds: float = 0.0  # spent compiling, by all kernels of this process

    def __init__(self, source: str, function: str, label: str) -> None:
        self.source = source
        self.label = label
        digest = hashlib.sha256(source.encode()).hexdigest()[:16]
        self.path = kernel_folder() / f"{label.replace(' ', '_')}_{digest}.py"
        if not self.path.exists():
            write_text(self.path, source)
        spec = importlib.util.spec_from_file_location(f"rheobase_kernel_{digest}", self.path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module.__name__] = module  # Numba looks the function's module up when it caches
        spec.loader.exec_module(module)
        self._function: Any = getattr(module, function)
        self._ready = False

    def prepare(self, *args: Any) -> Callable[..., None]:
        """The function, compiled for arguments of these types."""
        if not self._ready:
            known = any(self.path.parent.glob(f"__pycache__/{self.path.stem}.*.nbi"))
            if not known:
                print(f"rheobase: compiling the {self.label} kernel (once)", file=sys.stderr, flush=True)
            start = time.perf_counter()
            self._function.compile(tuple(map(_type_of, args)))
            Kernel.seconds += time.perf_counter() - start
            self._ready = True
        function: Callable[..., None] = self._function
        return function


_type_of: Callable[[Any], Any] = numba.typeof
