"""Rooms are walked; plug-ins join them through entry points."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rheobase.config import Config, fields_of
from rheobase.networks.base import Architecture
from rheobase.neurons.base import Neuron
from rheobase.registry import build, catalogue, find, name_of, room_of, unknown
from rheobase.rules.base import LearningRule
from rheobase.surrogate import Arctan, Surrogate
from rheobase.training.summary import Summary

ROOMS: list[type[Config]] = [Neuron, Surrogate, Architecture, LearningRule]
each_room = pytest.mark.parametrize("base", ROOMS)


@each_room
def test_everything_registered_can_be_built_from_its_name(base: type[Config]) -> None:
    known = catalogue(base)
    assert known
    assert list(known) == sorted(known)
    for name, cls in known.items():
        assert name == name_of(cls)
        assert not inspect.isabstract(cls)
        assert find(base, name) is cls
        assert build(base, {"name": name}) == cls()
        assert build(base, cls().to_dict()) == cls()


@each_room
def test_everything_registered_has_a_docstring_of_its_own(base: type[Config]) -> None:
    for cls in catalogue(base).values():
        assert cls.__dict__.get("__doc__"), cls
        assert not str(cls.__doc__).startswith(f"{cls.__name__}("), f"{cls} has the dataclass's text"


def test_a_catalogue_is_a_copy() -> None:
    catalogue(Surrogate).clear()
    assert catalogue(Surrogate)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("LIF", "lif"),
        ("SynapticLIF", "synaptic_lif"),
        ("FashionMNIST", "fashion_mnist"),
        ("MNIST", "mnist"),
        ("IntegrateAndFire", "integrate_and_fire"),
        ("BPTT", "bptt"),
        ("L1Activity", "l1_activity"),
    ],
)
def test_names(name: str, expected: str) -> None:
    assert name_of(type(name, (), {})) == expected


def test_names_may_be_written_with_hyphens_and_capitals() -> None:
    assert find(Neuron, "Synaptic-LIF") is find(Neuron, "synaptic_lif")


def test_errors_name_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown neuron 'lift'; did you mean 'lif'"):
        find(Neuron, "lift")
    with pytest.raises(ValueError, match=r"unknown learning rule 'xyz'\. Known: bptt"):
        find(LearningRule, "xyz")
    with pytest.raises(ValueError, match=r"unknown option of lif 'tau'; did you mean 'tau_m'"):
        build(Neuron, {"name": "lif", "tau": 3})
    with pytest.raises(ValueError, match=r"unknown preset of lif 'snn'"):
        build(Neuron, {"name": "lif", "preset": "snn"})
    with pytest.raises(ValueError, match=r"a Neuron needs a 'name'"):
        build(Neuron, {"tau_m": 3})
    with pytest.raises(TypeError, match="heads no room"):
        room_of(Config)
    assert unknown("thing", "q", ["abc"]) == "unknown thing 'q'. Known: abc"


def test_presets_lie_beneath_other_options() -> None:
    neuron = build(Neuron, {"name": "lif", "preset": "snntorch", "reset": "value"})
    assert neuron.to_dict()["timing"] == "delayed"
    assert neuron.to_dict()["reset"] == "value"
    assert neuron.to_dict()["surrogate"] == Arctan().to_dict()


PLUGIN = '''
from typing import Any

from rheobase.config import option, parameter
from rheobase.neurons.base import Neuron, State
from rheobase.operators import spike
from rheobase.surrogate import Surrogate, Triangular


class QuadraticIntegrator(Neuron):
    """v' = v + dt (a v^2 + I)/tau; fires at the threshold."""

    tau: Any = parameter(default=10.0, unit="ms", above=0, help="time constant")
    a: Any = parameter(default=0.5, help="curvature")
    surrogate: Surrogate = option(default=Triangular(), help="stand-in for the spike's derivative")

    def initial(self):
        return State(v=0.0)

    def step(self, state, current):
        v = state.v + self.dt / self.tau * (self.a * state.v * state.v + current)
        z = spike(v - 1.0, self.surrogate)
        return State(v=(1.0 - z) * v), z
'''

USE = """
import torch
from rheobase.kernels.sequence import sequence
from rheobase.neurons.base import Neuron
from rheobase.registry import build, catalogue

assert "quadratic_integrator" in catalogue(Neuron), list(catalogue(Neuron))
assert "lif" in catalogue(Neuron)
neuron = build(Neuron, {"name": "quadratic-integrator", "tau": 5.0})
x = torch.linspace(0.0, 3.0, 60, dtype=torch.float64).reshape(10, 2, 3).requires_grad_()
runs = [sequence(neuron, x, record=["v"], backend=b) for b in ("torch", "numba")]
assert torch.equal(runs[0].output, runs[1].output) and runs[0].output.any()
assert torch.equal(runs[0].traces["v"], runs[1].traces["v"])
a, b = (torch.autograd.grad((r.output + r.traces["v"]).sum(), x)[0] for r in runs)
torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
"""

COMMAND = """
from rheobase.cli.main import main

raise SystemExit(main(["list", "neurons"]))
"""

TRAIN = """
import sys
from rheobase.cli.main import main

words = "train digits --neuron quadratic-integrator --neuron.tau 2 --epochs 1 --hidden 8 --learning-rate 0.03"
raise SystemExit(main([*words.split(), "--threads", "1", "--no-progress", "--out", sys.argv[1]]))
"""

LOOK = """
from rheobase.neurons.base import Neuron
from rheobase.registry import catalogue

catalogue(Neuron)
"""


def install(folder: Path, source: str, target: str) -> dict[str, str]:
    """A distribution with one neuron, as an installer would lay it out; the environment that sees it."""
    (folder / "quadratic").mkdir()
    (folder / "quadratic" / "__init__.py").write_text("")
    (folder / "quadratic" / "neuron.py").write_text(source)
    info = folder / "quadratic-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: quadratic\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[rheobase.neurons]\nquadratic = {target}\n")
    paths = [str(folder), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "RHEOBASE_CACHE": str(folder / "cache"),
    }


def python(program: str, environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *words], env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.mark.slow  # the next trains one from the command line, in its kernel
def test_a_plugin_is_at_once_a_neuron_with_a_kernel(tmp_path: Path) -> None:
    environment = install(tmp_path, PLUGIN, "quadratic.neuron:QuadraticIntegrator")
    done = python(USE, environment)
    assert done.returncode == 0, done.stderr
    listed = python(COMMAND, environment)
    assert listed.returncode == 0, listed.stderr
    assert "quadratic-integrator" in listed.stdout


def test_a_plugin_trains_from_the_command_line(tmp_path: Path) -> None:
    environment = install(tmp_path, PLUGIN, "quadratic.neuron:QuadraticIntegrator")
    folder = tmp_path / "run"
    done = python(TRAIN, environment, str(folder))
    assert done.returncode == 0, done.stderr
    summary = Summary.load(folder)
    assert (summary.task, summary.neuron) == ("digits", "quadratic_integrator")
    assert summary.value > 2 * summary.chance
    neuron = (folder / "experiment.toml").read_text().partition("[neuron]")[2].partition("[")[0]
    assert 'name = "quadratic_integrator"' in neuron
    assert "tau = 2.0" in neuron


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("quadratic.neuron:Missing", "plug-in 'quadratic' (quadratic.neuron:Missing) for rheobase.neurons"),
        ("quadratic.absent:Neuron", "mend or uninstall it"),
        ("quadratic.neuron:Surrogate", "plug-in 'quadratic' (quadratic.neuron:Surrogate) is not a Neuron"),
    ],
)
def test_a_broken_plugin_is_named(tmp_path: Path, target: str, message: str) -> None:
    done = python(LOOK, install(tmp_path, PLUGIN, target))
    assert done.returncode != 0
    assert message in done.stderr


def test_options_of_neurons_have_units_where_they_are_times() -> None:
    for cls in catalogue(Neuron).values():
        for field in fields_of(cls):
            if field.name.startswith("tau") or field.name in ("dt", "refractory"):
                assert field.metadata["unit"] == "ms", f"{cls.__name__}.{field.name}"
