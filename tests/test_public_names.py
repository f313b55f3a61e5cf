"""`import rheobase as rb`: the names, where they come from, and that importing them is lazy."""

import ast
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

import rheobase as rb

TREE = ast.parse(Path(rb.__file__).read_text("utf-8"))
HOMES: dict[str, str] = rb._HOMES


def test_type_checkers_see_the_same_names_from_the_same_places() -> None:
    seen = {
        alias.asname: node.module
        for block in TREE.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name == alias.asname
    }
    assert seen == HOMES


@pytest.mark.parametrize("name", sorted(HOMES))
def test_each_name_is_there(name: str) -> None:
    value = getattr(rb, name)
    home = import_module(HOMES[name])
    assert value is (home if HOMES[name] == f"rheobase.{name}" else getattr(home, name))
    assert isinstance(value, ModuleType) or value.__module__ == HOMES[name]
    assert name in dir(rb)


def test_version_is_that_of_the_distribution() -> None:
    assert rb.__version__ == version("rheobase")


@pytest.mark.parametrize("room", ["coding", "networks", "neurons", "rules", "tasks"])
def test_a_room_has_its_modules(room: str) -> None:
    script = (
        f"import rheobase as rb; room = rb.{room}; print(*room.__all__)\n"
        f"print(*(getattr(room, name).__name__ for name in room.__all__))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    names, modules = (line.split() for line in done.stdout.splitlines())
    assert names
    assert modules == [f"rheobase.{room}.{name}" for name in names]


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(AttributeError, match="no attribute 'LIv'; did you mean 'LIF'"):
        rb.LIv  # noqa: B018
    with pytest.raises(AttributeError, match=r"no attribute 'zebra'$"):
        rb.zebra  # noqa: B018
    with pytest.raises(AttributeError, match=r"did you mean 'Neurons'\?$"):
        rb.Neuronss  # noqa: B018


def test_importing_costs_nothing() -> None:
    script = "import sys, rheobase; print([m for m in ('torch', 'numpy', 'numba') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_what_takes_seconds_to_import_is_imported_where_it_is_used() -> None:
    dear = ("torch._dynamo", "numba", "matplotlib", "sklearn", "pandas")
    script = f"import sys, rheobase.cli.rooms; print([m for m in {dear} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
