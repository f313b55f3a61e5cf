"""Imports point one way, and only the kernels know Numba."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import rheobase

PACKAGE = Path(rheobase.__file__).parent

#: Each room may import the rooms on earlier lines, and itself; not those beside it.
LEVELS = [
    {"config", "registry", "operators", "files", "workers"},
    {"surrogate"},
    {"neurons"},
    {"kernels"},
    {"layers"},
    {"networks"},
    {"coding"},
    {"crossbar", "rules", "tasks"},
    {"training"},
    {"report", "interop"},
    {"cli"},
    {"__main__"},
]
#: The foundation is one level of single files, which may use each other.
FOUNDATION = LEVELS[0]
#: Rebuilding a nested option by its name is the one look upwards, at run time.
ALLOWED = {("config", "registry")}

FILES = sorted(PACKAGE.rglob("*.py"))


def room(module: str) -> str:
    """`rheobase.kernels.trace` belongs to `kernels`."""
    return module.split(".")[1] if "." in module else ""


def own_room(path: Path) -> str:
    part = path.relative_to(PACKAGE).parts[0]
    return "" if part == "__init__.py" else part.removesuffix(".py")


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """All modules that a file imports, wherever in it, and the lines."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            module = node.module or ""
            if module == "rheobase":
                yield from ((f"rheobase.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield module, node.lineno


def level(name: str) -> int:
    for i, rooms in enumerate(LEVELS):
        if name in rooms:
            return i
    raise AssertionError(f"'{name}' is no room: give it a level here")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    here = own_room(path)
    for module, line in imported(path):
        where = f"{path.relative_to(PACKAGE)}:{line}"
        if module.split(".")[0] == "numba":
            assert here == "kernels", f"{where}: only the kernels know Numba"
        if module.split(".")[0] != "rheobase" or not here:
            continue
        there = room(module)
        assert there, f"{where}: import the room, not the package"
        if there == here or (here, there) in ALLOWED:
            continue
        if here in FOUNDATION and there in FOUNDATION:
            continue
        assert level(there) < level(here), f"{where}: {here} may not import {there}"


def test_the_foundation_has_no_cycle_at_import_time() -> None:
    edges = {}
    for name in FOUNDATION:
        tree = ast.parse((PACKAGE / f"{name}.py").read_text())
        edges[name] = {
            room(node.module)
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rheobase.")
        }
    edgeless: dict[str, set[str]] = {name: set() for name in ("config", "operators", "files", "workers")}
    assert edges == edgeless | {"registry": {"config"}}


def test_every_room_has_one_level() -> None:
    names = [name for rooms in LEVELS for name in rooms]
    assert len(names) == len(set(names))
    for path in FILES:
        if own_room(path):
            level(own_room(path))


def test_no_wildcards() -> None:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert all(alias.name != "*" for alias in node.names), path
