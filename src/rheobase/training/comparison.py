"""The same task under several learning rules: one ordinary run folder for each rule and seed.

First every rule is rehearsed, on one batch and then thrown away, so that one that cannot train this network
says so before anything is trained. Then come the runs, one after the other. A comparison that was
stopped goes on where it was: finished runs are kept as they are, an unfinished one is resumed, others start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rheobase.registry import name_of
from rheobase.tasks.base import Task
from rheobase.tasks.dataset import Splits
from rheobase.training.errors import FolderError
from rheobase.training.experiment import Experiment
from rheobase.training.fit import fit, resume
from rheobase.training.folder import RunFolder
from rheobase.training.loop import Trainer
from rheobase.training.seeding import global_seed
from rheobase.training.summary import Summary


def compare(
    experiments: Mapping[Path, Experiment],
    *,
    recipe: str = "",
    progress: bool = True,
    starting: Callable[[Path, Experiment], None] = lambda folder, experiment: None,
    finished: Callable[[Path, Summary], None] = lambda folder, summary: None,
) -> dict[Path, Summary]:
    """Train every experiment into its folder, unless that has been done.

    Args:
        experiments: What to train, by run folder.
        recipe: Name of the recipe that they came from, for the summaries.
        progress: Whether to show on stderr how it goes.
        starting: Called before a run that is to be trained, or trained further.
        finished: Called after it.

    Raises:
        ValueError: If a rule cannot train the network, or parts do not fit each other or the data; before
            anything is trained.
        FolderError: If a folder holds a run of another experiment; likewise.
        RunError, Interrupted: As `fit`.
    """
    waiting = {folder: one for folder, one in experiments.items() if not _done(folder, one)}
    _rehearse(waiting)
    for folder, one in waiting.items():
        starting(folder, one)
        begun = RunFolder(folder).experiment.exists()
        summary = (
            resume(folder, progress=progress) if begun else fit(one, folder, recipe=recipe, progress=progress)
        )
        finished(folder, summary)
    return {folder: Summary.load(folder) for folder in experiments}


def _done(folder: Path, experiment: Experiment) -> bool:
    """Whether the folder has this experiment's finished run; an error if it has another's."""
    run = RunFolder(folder)
    if not run.experiment.exists():
        return False
    was, wanted = (flat(one.tables()) for one in (Experiment.load(run.experiment), experiment))
    other = [key for key in dict.fromkeys([*was, *wanted]) if was.get(key) != wanted.get(key)]
    if other:
        told = ", ".join(f"{key} {was.get(key)} and not {wanted.get(key)}" for key in other[:3])
        more = f" and {len(other) - 3} more" if len(other) > 3 else ""
        raise FolderError(
            f"{folder}: holds a run with other options than those asked for now ({told}{more}); choose "
            "another folder (--out), or delete this one"
        )
    return run.summary.exists()


def flat(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, with names joined by dots.

    >>> flat({"training": {"seed": 3}})
    {'training.seed': 3}
    """
    found: dict[str, Any] = {}
    for key, value in tables.items():
        inner = isinstance(value, Mapping)
        found |= flat(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return found


def _rehearse(experiments: Mapping[Path, Experiment]) -> None:
    """Each rule with its options once, whatever the seed."""
    splits: dict[str, Splits] = {}
    rehearsed: list[Experiment] = []
    for folder, one in experiments.items():
        same = one.replace(training=one.training.replace(seed=0))
        if same in rehearsed:
            continue
        rehearsed.append(same)
        try:
            with global_seed(one.training.seed, "modules"):
                Trainer(one, _splits(one.task, splits), RunFolder(folder), "").rehearse()
        except ValueError as error:
            raise ValueError(f"rule '{name_of(type(one.rule)).replace('_', '-')}': {error}") from error


def _splits(task: Task, loaded: dict[str, Splits]) -> Splits:
    key = repr(task.to_dict())
    if key not in loaded:
        loaded[key] = task.splits()
    return loaded[key]
