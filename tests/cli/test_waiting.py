"""Idle threads spin briefly, unless the user has said how they wait."""

from __future__ import annotations

import os
import sys

import pytest
import torch  # noqa: F401  as all tests of the command line have it

from rheobase.cli.waiting import ROUNDS, spin_briefly


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # what the test sets is undone
        monkeypatch.delenv(name)


def test_it_is_set_before_torch_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    spin_briefly()
    assert os.environ["GOMP_SPINCOUNT"] == str(ROUNDS)


def test_too_late_is_left_alone() -> None:
    assert "torch" in sys.modules
    spin_briefly()
    assert "GOMP_SPINCOUNT" not in os.environ


@pytest.mark.parametrize("name", ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_what_the_user_says_stands(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setenv(name, "active")
    spin_briefly()
    assert os.environ[name] == "active"
    assert os.environ.get("GOMP_SPINCOUNT", "active") == "active"
