from __future__ import annotations

from pathlib import Path

import pytest
from small_runs import noisy, small

from rheobase.training.fit import fit


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of `small()`; do not change it."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    fit(small(), folder, recipe="default", progress=False)
    return folder


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of `noisy()`; do not change it."""
    folder = tmp_path_factory.mktemp("runs") / "noisy"
    fit(noisy(), folder, progress=False)
    return folder
