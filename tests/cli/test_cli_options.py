"""The option machinery, as properties over everything that is registered."""

from __future__ import annotations

import dataclasses
import math
import re
import typing
from typing import Any

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rheobase.cli.choices import plan, scan
from rheobase.cli.describe import shown_name, value_text
from rheobase.cli.flags import changes, groups
from rheobase.cli.rooms import is_config, lists, rooms, tables
from rheobase.cli.train import command
from rheobase.config import Config, fields_of, hints_of
from rheobase.registry import catalogue
from rheobase.training.experiment import Experiment, Training

PLACES = [
    (table, cls)
    for table, base in tables().items()
    for cls in (catalogue(base).values() if hasattr(base, "room") else [Training])
]
NESTED = [
    (table, cls, field.name, inner)
    for table, cls in PLACES
    for field in fields_of(cls)
    if is_config(hints_of(cls)[field.name])
    for inner in catalogue(hints_of(cls)[field.name]).values()
]


def parse(words: list[str]) -> Experiment:
    """The experiment that the words of `rheobase train` stand for."""
    context = command.make_context("train", list(words))
    told = plan(scan(words, {"--dry-run", "--no-progress"}))
    return told.experiment(changes(context.params, groups(told.parts)))


def flag(*path: str) -> str:
    return "--" + ".".join(step.replace("_", "-") for step in path)


def choose(table: str, cls: type[Config]) -> list[str]:
    """The words that put `cls` into a table of the experiment."""
    if table == "task":
        return [shown_name(cls)]
    return ["digits"] if table == "training" else ["digits", flag(table), shown_name(cls)]


def rows(cli: Any, words: list[str]) -> dict[str, str]:
    """The help as option -> its text, on one line."""
    result = cli("train", *words, "--help")
    assert result.code == 0
    found: dict[str, str] = {}
    names: list[str] = []
    for line in result.out.splitlines():
        start = re.match(r"  (--[^\s,]+)(?:, (--[^\s,]+))? ", line)
        if start:
            names = [name for name in start.groups() if name]
        for name in names:
            found[name] = f"{found.get(name, '')} {line.strip()}".strip()
    return found


def shows(text: str, field: dataclasses.Field[Any], default: Any) -> None:
    brackets = text[text.rindex("[") :]
    assert " ".join(field.metadata["help"].split()) in text
    assert f"default {value_text(default)}" in brackets
    assert not field.metadata["unit"] or field.metadata["unit"] in brackets
    for key, word in (("above", "above"), ("at_least", "at least"), ("at_most", "at most")):
        end = field.metadata[key]
        assert end is None or f"{word} {end:g}" in brackets


@pytest.mark.parametrize(("table", "cls"), PLACES, ids=lambda x: getattr(x, "__name__", x))
def test_every_option_is_in_the_help_with_unit_bounds_and_default(
    cli: Any, table: str, cls: type[Config]
) -> None:
    words = choose(table, cls)
    part = plan(scan(words, set())).parts[table]
    assert type(part) is cls
    found = rows(cli, words)
    for field in fields_of(cls):
        name = flag(field.name) if table == "training" else flag(table, field.name)
        if (table, field.name) == ("training", "steps"):  # the encoder has the short form here
            name = "--training.steps"
        value = getattr(part, field.name)
        if isinstance(value, Config):
            assert f"default {shown_name(type(value))}" in found[name]
        else:
            shows(found[name], field, value)
    if getattr(cls, "presets", {}):
        assert all(preset in found[flag(table, "preset")] for preset in cls.presets)


@pytest.mark.parametrize(("table", "cls", "name", "inner"), NESTED[:: max(1, len(NESTED) // 12)])
def test_options_of_a_nested_part_are_in_the_help(
    cli: Any, table: str, cls: type[Config], name: str, inner: type[Config]
) -> None:
    found = rows(cli, [*choose(table, cls), flag(table, name), shown_name(inner)])
    for field in fields_of(inner):
        shows(found[flag(table, name, field.name)], field, getattr(inner(), field.name))


def test_options_of_list_parts_are_in_the_help(cli: Any) -> None:
    text = cli("train", "digits", "--help").out
    for base in lists().values():
        for cls in catalogue(base).values():
            assert f"\n  {shown_name(cls)}  " in text
            for field in fields_of(cls):
                assert f"    :{field.name.replace('_', '-')}=" in text


def _value(hint: Any, field: dataclasses.Field[Any]) -> st.SearchStrategy[Any]:
    """Values within the bounds of an option."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    meta = field.metadata
    if type(None) in args:
        # Where there may be no list, "none" is that, and an empty list cannot be said.
        return st.none() | _value(next(a for a in args if a is not type(None)), field).filter(
            lambda x: x != ()
        )
    if origin is typing.Literal:
        return st.sampled_from(args)
    if origin is tuple:
        return st.lists(_value(args[0], field), max_size=3).map(tuple)
    if hint is bool:
        return st.booleans()
    if hint is str:
        return st.sampled_from(["tau_m", "some/folder"])
    low = meta["above"] if meta["above"] is not None else meta["at_least"]
    high = meta["at_most"] if meta["at_most"] is not None else 50
    low = -5 if low is None else low
    if hint is int:
        return st.integers(math.floor(low) + (meta["above"] is not None), math.floor(high))
    return st.floats(low, high, exclude_min=meta["above"] is not None, allow_subnormal=False)


def _exact(value: Any) -> str:
    if isinstance(value, float):
        return repr(value)
    return ",".join(map(_exact, value)) or "none" if isinstance(value, tuple) else value_text(value)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_options_become_an_experiment_which_survives_toml(tmp_path_factory: Any, data: st.DataObject) -> None:
    table, cls = data.draw(st.sampled_from(PLACES))
    words, wanted = choose(table, cls), {}
    if "dt" in {field.name for field in fields_of(cls)}:  # all parts must have the same
        words += [flag(table, "dt"), "1.0"]
    for field in data.draw(
        st.lists(st.sampled_from(fields_of(cls)), unique=True) if fields_of(cls) else st.just([])
    ):
        hint = hints_of(cls)[field.name]
        # Options that must agree with others have tests of their own.
        if is_config(hint) or field.name in ("dt", "path", "refractory") or "rate" in field.name:
            continue
        value = data.draw(_value(float if field.metadata.get("parameter") else hint, field))
        wanted[field.name] = value
        words += [flag(table, field.name), _exact(value)]
    try:
        experiment = parse(words)
    except (click.UsageError, ValueError) as error:
        # Options of one part may exclude each other; then the error names the part.
        assert cls.__name__ in str(error)  # noqa: PT017
        return
    part = getattr(experiment, table)
    assert type(part) is cls
    for name, value in wanted.items():
        assert getattr(part, name) == value
    path = tmp_path_factory.mktemp("toml") / "experiment.toml"
    experiment.save(path)
    again = Experiment.load(path)
    assert again == experiment
    assert parse([str(path)]) == experiment


def test_short_forms_mean_the_only_table_that_has_the_option() -> None:
    experiment = parse(["mnist", "--data", "full", "--path", "x", "--steps", "7", "--hidden", "5,6"])
    assert (experiment.task.data, experiment.task.path) == ("full", "x")  # type: ignore[attr-defined]
    assert experiment.encoder.steps == 7  # type: ignore[attr-defined]
    assert experiment.network.hidden == (5, 6)  # type: ignore[attr-defined]


def test_a_short_form_of_two_tables_does_not_exist() -> None:
    with pytest.raises(click.NoSuchOption, match="tau-m"):
        parse(["digits", "--tau-m", "10"])  # neuron and read-out both have it


def test_a_name_that_the_recipe_names_too_keeps_its_options_and_another_starts_afresh() -> None:
    recipe, lif = parse(["mnist"]), parse(["mnist", "--neuron", "lif"])
    assert lif.neuron == recipe.neuron
    other = parse(["mnist", "--neuron", "synaptic-lif", "--neuron.tau-s", "3"])
    assert type(other.neuron).__name__ == "SynapticLIF"
    assert (other.neuron.tau_s, other.neuron.timing) == (3.0, "immediate")  # type: ignore[attr-defined]
    assert other.readout == recipe.readout


def test_a_preset_lies_beneath_the_options_also_nested_ones() -> None:
    words = ["mnist", "--neuron", "lif", "--neuron.preset", "eprop", "--neuron.surrogate.width", "2"]
    neuron: Any = parse([*words, "--neuron.tau-m", "12"]).neuron
    assert (neuron.refractory_mode, neuron.tau_m) == ("mute", 12.0)
    assert (neuron.surrogate.damping, neuron.surrogate.width) == (0.3, 2.0)


def test_one_value_per_neuron() -> None:
    experiment: Any = parse(["mnist", "--neuron.tau-m", "10,20,30"])
    assert experiment.neuron.tau_m.tolist() == [10.0, 20.0, 30.0]


def test_regularisers_replace_those_of_the_recipe() -> None:
    words = ["digits", "--regularisers", "rate-upper:rate=50,strength=1e-3", "--regulariser", "l1-activity"]
    first, second = (part.to_dict() for part in parse(words).regularisers)
    assert first == {"name": "rate_upper", "rate": 50.0, "strength": 1e-3, "dt": 1.0}
    assert second["name"] == "l1_activity"
    assert parse(["digits", "--regularisers", "none"]).regularisers == ()


def test_dt_goes_into_every_table_that_has_one(cli: Any, tmp_path: Any) -> None:
    file = tmp_path / "e.toml"
    result = cli(
        "train", "digits", "--encoder", "poisson-rate", "--dt", "0.5", "--regulariser", "rate-lower",
        "--save-experiment", file, "--dry-run",
    )  # fmt: skip
    assert (result.code, result.err) == (0, "")
    e: Any = Experiment.load(file)
    assert [e.encoder.dt, e.neuron.dt, e.readout.dt, e.regularisers[0].dt] == [0.5] * 4


def test_dry_run_prints_the_experiment_as_a_file(cli: Any, tmp_path: Any) -> None:
    result = cli("train", "digits", "--epochs", "3", "--neuron.surrogate", "boxcar", "--dry-run")
    file = tmp_path / "mine.toml"
    file.write_text(result.out)
    assert Experiment.load(file) == parse(["digits", "--epochs", "3", "--neuron.surrogate", "boxcar"])
    again = cli("train", "--experiment", file, "--epochs", "4", "--dry-run").out
    assert again == result.out.replace("epochs = 3", "epochs = 4")


WRONG = [
    (["train", "mnst"], "did you mean 'mnist'?"),
    (["train", "digits", "--neuron", "liff"], "did you mean 'lif'?"),
    (["train", "digits", "--neuron.surrogate", "arctn"], "did you mean 'arctan'?"),
    (["train", "digits", "--neuron.preset", "snntroch"], "did you mean 'snntorch'?"),
    (["train", "digits", "--recipe", "defalt"], "did you mean 'default'?"),
    (["train", "digits", "--neuron.tau-mm", "3"], "--neuron.tau-m"),
    (["train", "digits", "--epoch", "3"], "--epochs"),
    (["train", "digits", "--regularisers", "l1-actvity"], "did you mean 'l1_activity'?"),
    (["train", "digits", "--regularisers", "l1-activity:strenght=1"], "did you mean 'strength'?"),
    (["train", "digits", "--regularisers", "l1-activity:3"], "wanted OPTION=VALUE"),
    (["train", "digits", "--neuron.tau-m", "-1"], "--neuron.tau-m: got -1.0 ms, wanted a number above 0 ms"),
    (["train", "digits", "--epochs", "2.5"], "--epochs: got '2.5', wanted a whole number"),
    (["train", "digits", "--neuron.reset", "sub"], "wanted one of subtract, value, none"),
    (["train", "digits", "--neuron.dt", "2"], "(neuron 2.0 ms, readout 1.0 ms), wanted one; set them alike"),
    (["train", "digits", "--seeds", "0,x"], "wanted different whole numbers"),
    (["train", "digits", "--seeds", "0,,1"], "wanted different whole numbers"),
    (["train", "digits", "--seeds", ""], "wanted different whole numbers"),
    (["train", "digits", "--seeds", "0,1", "--seed", "3"], "got --seed and --seeds"),
    (["train", "digits", "--learning-rate", "inf"], "--learning-rate: got inf, wanted a finite number"),
    (["train", "digits", "--dt", "inf"], "got inf ms, wanted a finite number"),
    (["train", "digits", "--network.train-neurons", "tau"], "unknown neuron parameter 'tau'"),
    (["train", "digits", "--substrate", "memtransistr"], "did you mean 'memtransistor'?"),
    (["compare", "digits", "--rules", "bptt:truncate=3"], "--rules bptt:truncate=3: unknown option"),
    (["train", "digits", "--experiment", "x.toml"], "wanted one of the two"),
    (["train", "digits", "--epochs"], "requires an argument"),
    (["train"], "which task?"),
    (["trian", "digits"], "did you mean 'train'?"),
    (["list", "neuron-models"], "unknown room"),
    (["list", "lif"], "rheobase show lif"),
    (["show", "synaptc-lif"], "did you mean 'synaptic-lif'?"),
    (["bench", "lifs"], "did you mean 'lif'?"),
    (["eval", "no/such/run"], "does not exist"),
]


@pytest.mark.parametrize(("words", "told"), WRONG, ids=lambda x: " ".join(x) if isinstance(x, list) else "")
def test_wrong_usage_is_one_clear_error_and_exit_code_2(cli: Any, words: list[str], told: str) -> None:
    result = cli(*words)
    assert result.code == 2
    assert result.out == ""
    assert told in result.err
    assert result.err.count("Error:") == 1
    assert "Traceback" not in result.err


def test_list_and_show_know_everything(cli: Any) -> None:
    listed = cli("list").out
    for name, base in rooms().items():
        assert f"{name.capitalize()}\n" in listed
        one = cli("list", name).out
        for cls in catalogue(base).values():
            assert re.search(rf"^  {shown_name(cls)} +\S", one, re.MULTILINE)
            assert one.split("\n\nAll options")[0] in listed
            page = cli("show", shown_name(cls)).out
            default = cls()
            flat = " ".join(page.split())
            for field in fields_of(cls):
                assert f"\n  {field.name.replace('_', '-')} " in page
                shows(
                    flat[: flat.index("]", flat.index(field.metadata["help"])) + 1],
                    field,
                    getattr(default, field.name),
                )


def test_show_training(cli: Any) -> None:
    page = cli("show", "training").out
    assert "learning-rate FLOAT" in page
    assert "default 0.0005" in page


def test_singular_and_table_names_of_rooms(cli: Any) -> None:
    for alias in ("neuron", "readout"):
        assert cli("list", alias).out == cli("list", "neurons").out
    assert cli("list", "loss").out == cli("list", "losses").out
