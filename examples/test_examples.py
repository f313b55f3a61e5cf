"""The examples, and the one in the README, at small size."""

import contextlib
import io
import re
from pathlib import Path

import convolution
import experiment
import own_neuron
import pytest
import torch
import torch_loop

import rheobase as rb

HERE = Path(__file__).parent


def test_torch_loop_learns() -> None:
    assert torch_loop.main(epochs=2) > 0.8


def test_convolution_learns() -> None:
    assert convolution.main(epochs=2) > 0.6


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


@pytest.mark.parametrize("name", ["README.md", "docs/neurons.md", "docs/conventions.md", "docs/run-folders.md"])
def test_code_in_the_documentation_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (HERE.parent / name).read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    assert blocks, f"{name} has no Python in it"
    names: dict[str, object] = {"__name__": "documentation"}
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        for block in blocks:  # one after another, as a reader would
            exec(compile(block, name, "exec"), names)
    promised = [line.removeprefix("# prints ") for line in text.splitlines() if line.startswith("# prints ")]
    assert said.getvalue().splitlines()[: len(promised)] == promised


def test_examples_are_short() -> None:
    lengths = {p.name: len(p.read_text("utf-8").splitlines()) for p in HERE.glob("*.py") if p != Path(__file__)}
    assert {name: n for name, n in lengths.items() if n > 45} == {}
