"""Synthetic run folders, and the report of one."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_run import small_tensors, tensors, write_run

from rheobase.report import write_report


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A finished run with everything in it."""
    return write_run(tmp_path / "digits-bptt-3", tensors())


@pytest.fixture
def small_folder(tmp_path: Path) -> Path:
    """A finished run with little to draw, for tests that write many reports."""
    return write_run(tmp_path / "digits-bptt-3", small_tensors())


@pytest.fixture(scope="session")
def full_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of a finished run, written once for the tests that only read it."""
    folder = write_run(tmp_path_factory.mktemp("full") / "digits-bptt-3", tensors())
    return write_report(folder).read_text(encoding="utf-8")
