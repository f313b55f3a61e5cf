"""Kernels are compiled once per machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rheobase.kernels import cache

PROGRAM = """
import torch
from rheobase.kernels.cache import Kernel
from rheobase.kernels.sequence import sequence
from rheobase.neurons.leaky_integrator import LeakyIntegrator

x = torch.ones(3, 1, 2, requires_grad=True)
run = sequence(LeakyIntegrator(tau_m=7.0), x, backend="numba")
run.output.sum().backward()
print(run.output.sum().item(), x.grad.sum().item())
"""


def start(folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "RHEOBASE_CACHE": str(folder)}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    first = start(tmp_path)
    assert first.stderr.splitlines() == [
        "rheobase: compiling the leaky_integrator forward kernel (once)",
        "rheobase: compiling the leaky_integrator backward kernel (once)",
    ]
    second = start(tmp_path)
    assert second.stderr == ""
    assert second.stdout == first.stdout
    sources = sorted((tmp_path / "kernels").glob("*.py"))
    assert [path.name.rsplit("_", 1)[0] for path in sources] == [
        "leaky_integrator_backward",
        "leaky_integrator_forward",
    ]
    for path in sources:
        compile(path.read_text(), str(path), "exec")


def test_a_folder_that_cannot_be_written_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("RHEOBASE_CACHE", str(blocked))
    with pytest.warns(RuntimeWarning, match=r"kernel cache .*file.kernels cannot be written.*RHEOBASE_CACHE"):
        folder = cache.kernel_folder.__wrapped__()
    assert folder.is_dir()
    assert tmp_path not in folder.parents
    folder.rmdir()
