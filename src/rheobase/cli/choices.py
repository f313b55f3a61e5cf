"""The first pass over the words of `rheobase train`: which task, recipe and models they name.

Which options there are depends on what is chosen (`--neuron.tau-s` exists where `--neuron` has a
synapse), so the names are looked for first, and the options are made for what they name. A name
keeps the recipe's options where the recipe names the same thing, and starts afresh otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rheobase.cli.rooms import is_config
from rheobase.config import Config, fields_of, hints_of
from rheobase.registry import build, find, meaning, name_of
from rheobase.training.experiment import Experiment


@dataclass(frozen=True)
class Words:
    """The words of a command line, told apart without knowing its options."""

    positional: tuple[str, ...] = ()
    given: Mapping[str, str] = field(default_factory=dict)  # option -> its (last) value


def scan(arguments: Sequence[str], flags: Collection[str]) -> Words:
    """Tell options from other words; all options but `flags` take one value.

    >>> words = scan(["mnist", "--neuron", "lif", "--no-progress", "--seed=3"], {"--no-progress"})
    >>> words.positional, dict(words.given)
    (('mnist',), {'--neuron': 'lif', '--seed': '3'})
    """
    positional: list[str] = []
    given: dict[str, str] = {}
    waiting = iter(arguments)
    for word in waiting:
        name, equals, value = word.partition("=")
        if word == "--":
            positional += waiting
        elif not word.startswith("--"):
            positional += [] if word in flags else [word]
        elif equals:
            given[name] = value
        elif word not in flags:
            given.update(zip([word], waiting, strict=False))  # none, if the line ends here
    return Words(tuple(positional), given)


@dataclass(frozen=True)
class Plan:
    """What an experiment starts from: everything chosen by name, no single option applied yet."""

    base: Experiment
    recipe: str  # empty for an experiment file
    parts: Mapping[str, Any]  # the fields of `base`, with the choices made
    words: Words = Words()

    def with_rule(self, name: str) -> Plan:
        """The plan, had the words named this learning rule.

        Raises:
            ValueError: If there is none of this name.
        """
        return plan(replace(self.words, given={**self.words.given, "--rule": name}))

    def experiment(self, changes: Mapping[str, Any]) -> Experiment:
        """The experiment with `changes` (nested tables of options) on top.

        Raises:
            ValueError: If options do not go together.
        """
        parts = {
            name: changed(part, changes[name])
            if isinstance(changes.get(name), Mapping)
            else changes.get(name, part)
            for name, part in self.parts.items()
        }
        return self.base.replace(**parts)


def changed(part: Config, changes: Mapping[str, Any]) -> Config:
    """A part with some options, also nested ones, changed together."""
    values = {
        key: changed(getattr(part, key), value) if isinstance(value, Mapping) else value
        for key, value in changes.items()
    }
    return part.replace(**values)


def plan(words: Words) -> Plan:
    """What the words name.

    Raises:
        ValueError: If something named does not exist, or both a task and a file are named.
        OSError: If the experiment file cannot be read.
    """
    base, recipe = _base(words)
    parts: dict[str, Any] = {f.name: getattr(base, f.name) for f in fields_of(Experiment)}
    for name, hint in hints_of(Experiment).items():
        if is_config(hint) and hasattr(hint, "room"):
            parts[name] = _choose(hint, parts[name], f"--{name}", words.given)
    return Plan(base, recipe, parts, words)


def _base(words: Words) -> tuple[Experiment, str]:
    """The recipe's or the file's experiment; for neither (`--help`), the default task's."""
    named = words.positional[0] if words.positional else None
    file = words.given.get("--experiment")
    if named is not None and named.endswith(".toml"):
        if file is not None:
            raise ValueError(f"got two experiment files, {named} and {file}, wanted one")
        named, file = None, named
    if file is None:
        recipe = words.given.get("--recipe", "default")
        rule = words.given.get("--rule")
        task = named or name_of(type(Experiment().task))
        return Experiment.from_recipe(task, recipe, {"rule": rule} if rule else None), recipe
    if named is not None:
        raise ValueError(
            f"got the task '{named}' and the experiment file {file}, wanted one of the two: the file names "
            "its task"
        )
    if "--recipe" in words.given:
        raise ValueError(
            f"got a recipe and the experiment file {file}, wanted one of the two; --dry-run writes a recipe "
            "as an experiment file"
        )
    return Experiment.load(Path(file)), ""


def _choose(base: type[Config], part: Config, flag: str, given: Mapping[str, str]) -> Config:
    """`part`, or what `--flag NAME` and `--flag.preset NAME` name in its place; nested parts likewise."""
    name, preset = given.get(flag), given.get(f"{flag}.preset")
    if name is not None and len(told := meaning(base, name)) > 1:  # another name for a table
        named = build(base, told)
        own = {key: getattr(named, key) for key in told if key != "name"}
        part, name = part.replace(**own) if type(part) is type(named) else named, None
    cls = type(part) if name is None else find(base, name)
    if preset is not None:
        part = build(base, {"name": name_of(cls), "preset": preset})
    elif cls is not type(part):
        part = cls()
    inner = {key: hint for key, hint in hints_of(cls).items() if is_config(hint)}
    choices = {
        key: _choose(hint, getattr(part, key), f"{flag}.{key.replace('_', '-')}", given)
        for key, hint in inner.items()
    }
    return part.replace(**choices) if choices else part
