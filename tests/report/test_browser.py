"""The report as a browser sees it: nothing in the console, every figure painted."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from rheobase.report import write_report

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--v=0",
)


@pytest.fixture(scope="module")
def chromium() -> str:
    if os.environ.get("RHEOBASE_NO_BROWSER") == "1":
        pytest.skip("RHEOBASE_NO_BROWSER=1 says that there is no browser here")
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.fail(
            "no Chromium found: install it (apt install chromium), or set RHEOBASE_NO_BROWSER=1 to skip"
        )
    return found


def browse(chromium: str, page: Path, profile: Path, *flags: str) -> tuple[str, list[str]]:
    """What the browser prints for a page, and the lines of its console."""
    command = [chromium, *_FLAGS, f"--user-data-dir={profile}", *flags, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_report_in_chromium(chromium: str, run_folder: Path, tmp_path: Path) -> None:
    page = write_report(run_folder)
    picture = tmp_path / "page.png"
    dom, console = browse(chromium, page, tmp_path / "profile", "--dump-dom")
    assert console == []
    figures = re.findall(r'<figure id="figure-\w+">.*?</figure>', dom, re.DOTALL)
    assert len(figures) == 11
    for figure in figures:
        assert re.search(r"<svg[^>]*viewBox", figure)
        assert figure.count("<path") + figure.count("<use") > 5

    _, console = browse(
        chromium, page, tmp_path / "profile", f"--screenshot={picture}", "--window-size=1280,4000"
    )
    assert console == []
    pixels = np.round(imread(picture)[..., :3] * 255).astype(int)
    for colour in ((0x00, 0x67, 0xA3), (0xB8, 0x47, 0x00)):  # the first two colours of the curves
        assert (np.abs(pixels - colour).max(axis=-1) <= 2).sum() > 500


def test_the_console_is_heard(chromium: str, small_folder: Path, tmp_path: Path) -> None:
    page = write_report(small_folder)
    text = page.read_text(encoding="utf-8").replace("</main>", '<img src="missing.png" alt=""></main>')
    page.write_text(text, encoding="utf-8")
    _, console = browse(chromium, page, tmp_path / "profile", "--dump-dom")
    assert any("Content Security Policy" in line for line in console)
