"""The examples and the code in the documentation run, at small size."""

import contextlib
import io
import re
from pathlib import Path

import pytest
import torch

import convolution
import experiment
import own_neuron
import recurrent
import rheobase as rb
import torch_loop

HERE = Path(__file__).parent
PAGES = ["README.md", *(f"docs/{page.name}" for page in sorted((HERE.parent / "docs").glob("*.md")))]


def test_torch_loop_learns() -> None:
    assert torch_loop.main(epochs=2) > 0.8


def test_convolution_learns() -> None:
    assert convolution.main(epochs=2) > 0.6


def test_recurrent_learns() -> None:
    assert recurrent.main(epochs=5) > 0.6


def test_experiment_writes_a_run(tmp_path: Path) -> None:
    value = experiment.main(tmp_path / "run", epochs=2)
    assert value > 0.3
    assert (tmp_path / "run" / "summary.json").is_file()


def test_own_neuron_learns_its_threshold() -> None:
    counts = own_neuron.main()
    assert counts[0] == 6
    assert counts[-1] == 10


def test_own_neuron_kernel_matches_the_equations() -> None:
    current = 0.2 * torch.rand(50, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fused, plain = (
        rb.sequence(own_neuron.Adaptive(), current, record=["w"], backend=b) for b in ("numba", "torch")
    )
    assert plain.output.sum() > 0
    assert torch.equal(fused.output, plain.output)
    torch.testing.assert_close(fused.traces["w"], plain.traces["w"], rtol=1e-12, atol=0)


@pytest.mark.parametrize("page", PAGES)
def test_code_in_the_documentation_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (HERE.parent / page).read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    assert blocks, f"{page} has no Python in it"
    names: dict[str, object] = {"__name__": "documentation"}
    with contextlib.redirect_stdout(io.StringIO()):
        for block in blocks:  # one after another, as a reader would
            exec(compile(block, page, "exec"), names)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs"])
def test_links_lead_somewhere(page: str) -> None:
    start = HERE.parent / page
    for file in sorted(start.glob("*.md")) if start.is_dir() else [start]:
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", file.read_text("utf-8")):
            if not link.startswith("https://"):
                assert (file.parent / link).exists(), f"{file.name} links to {link}, which does not exist"
