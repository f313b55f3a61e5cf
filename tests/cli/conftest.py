"""Running commands in this process, and one small trained run that the tests share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from small_words import SMALL

from rheobase import report
from rheobase.cli.main import main


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


Cli = Callable[..., Result]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """`cli("train", "digits", ...)`: exit code, stdout and stderr of a command run in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def run(*words: object) -> Result:
        capsys.readouterr()
        code = main([str(word) for word in words])
        seen = capsys.readouterr()
        return Result(code, seen.out, seen.err)

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small run on `digits`."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    with pytest.MonkeyPatch.context() as patch:  # drawing takes seconds, and no test looks at this report
        patch.setattr(report, "write_report", lambda folder: folder / "report.html")
        code = main(["train", "digits", *SMALL, "--out", str(folder), "--no-progress", "--validation", "0.1"])
    assert code == 0
    return folder
