"""Options get their units and help from the classes that the experiment names."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from rheobase.report.options import Row, describe
from rheobase.training.experiment import Experiment

ROOM = "rheobase_report_test_room"


SOURCE = """
from abc import ABC
from typing import ClassVar
from rheobase.config import Config, option

class Filter(Config, ABC):
    room: ClassVar[str] = __name__

class Smooth(Filter):
    tau: float = option(default=5.0, unit="ms", help="how slowly it follows")

class Cascade(Filter):
    order: int = option(default=2, help="how many in a row")
    inner: Filter = option(default=Smooth(), help="what is repeated")

class Settings(Config):
    epochs: int = option(default=1, unit="passes", help="how long")

class Chain(Config):
    filter: Filter = option(default=Smooth(), help="one")
    filters: tuple[Filter, ...] = option(default=(), help="several")
    settings: Settings = option(default=Settings(), help="the rest")
    seed: int = option(default=0, help="where chance starts")
"""


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    folder = tmp_path_factory.mktemp("room")
    (folder / f"{ROOM}.py").write_text(SOURCE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield importlib.import_module(ROOM)
    del sys.modules[ROOM]


def test_units_and_help_also_of_nested_options(room: ModuleType) -> None:
    (part,) = describe({"filter": room.Cascade(order=3).to_dict()}, room.Chain)
    assert (part.table, part.name, part.described) == ("filter", "cascade", True)
    assert part.rows == (
        Row("order", "3", "", "how many in a row"),
        Row("inner", "smooth", "", "what is repeated"),
        Row("inner.tau", "5", "ms", "how slowly it follows"),
    )


def test_class_that_is_not_installed_is_said_not_to_be_described(room: ModuleType) -> None:
    (part,) = describe({"filter": {"name": "gone", "tau": 2.5}}, room.Chain)
    assert not part.described
    assert part.rows == (Row("tau", "2.5", "", ""),)
    (part,) = describe({"sieve": {"name": "smooth", "tau": 2.5}}, room.Chain)
    assert not part.described


def test_table_without_a_name(room: ModuleType) -> None:
    (part,) = describe({"settings": {"epochs": 3}}, room.Chain)
    assert (part.table, part.name, part.described) == ("settings", "", True)
    assert part.rows == (Row("epochs", "3", "passes", "how long"),)


def test_a_real_experiment_is_described_in_full() -> None:
    experiment = Experiment()
    parts = describe({key: value for key, value in experiment.to_dict().items() if key != "name"})
    assert all(part.described for part in parts)
    assert {"task", "neuron", "training"} <= {part.table for part in parts}
    units = {row.option: row.unit for part in parts if part.table == "training" for row in part.rows}
    assert units["checkpoint_seconds"] == "s"


def test_single_values_and_lists_of_tables(room: ModuleType) -> None:
    parts = describe({"filters": [{"name": "smooth"}, {"name": "smooth", "tau": 1.0}], "seed": 3}, room.Chain)
    assert [(p.table, p.name, p.described) for p in parts] == [
        ("experiment", "", True),
        ("filters", "smooth", True),
        ("filters", "smooth", True),
    ]
    assert parts[0].rows == (Row("seed", "3", "", "where chance starts"),)
    assert parts[2].rows == (Row("tau", "1", "ms", "how slowly it follows"),)
