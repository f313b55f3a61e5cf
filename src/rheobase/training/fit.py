"""Train an experiment into a run folder, or go on with one.

    fit      experiment -> new run folder
    resume   run folder whose training was stopped, at any moment and in any way -> finished run folder

Under torchrun, every process calls the same; the first one writes, and the others read what it wrote.

Model selection: with a validation split the epoch with the best metric on it is the best, without one that
with the lowest training loss. The test split is used once, at the end: with a validation split on the best
network, without one on the last (nothing was held out to tell that another is better).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from rheobase.files import write_json
from rheobase.layers.connection import count_parameters
from rheobase.registry import name_of
from rheobase.training.board import Board, NoBoard
from rheobase.training.checkpoint import read_checkpoint, settle
from rheobase.training.console import Console
from rheobase.training.costs import crossbar_costs, spikes_per_inference
from rheobase.training.crossbar_inspection import write_crossbars
from rheobase.training.environment import environment, peak_memory_mb, version_of
from rheobase.training.evaluate import measure
from rheobase.training.experiment import Experiment
from rheobase.training.folder import RunFolder, writing
from rheobase.training.inspection import write_inspection
from rheobase.training.journal import Journal
from rheobase.training.log import MetricsLog, NoLog, read_log
from rheobase.training.loop import Trainer
from rheobase.training.restore import load_weights
from rheobase.training.seeding import global_seed
from rheobase.training.setup import initial_network
from rheobase.training.summary import Summary


def fit(experiment: Experiment, folder: Path, *, recipe: str = "", progress: bool = True) -> Summary:
    """Train an experiment from the start.

    Args:
        experiment: What to train.
        folder: A new folder for the run.
        recipe: Name of the recipe that the experiment came from, for the summary.
        progress: Whether to show on stderr how it goes.

    Raises:
        RunError: If the folder holds a run or cannot be written, or training diverges.
        ValueError: If the parts of the experiment do not fit each other or the data.
        Interrupted: If told to stop (Ctrl-C, SIGTERM), after a checkpoint was saved.
    """
    run = RunFolder(folder)
    training = experiment.training
    with _threads(training.threads), global_seed(training.seed, "modules"):
        trainer = Trainer(experiment, experiment.task.splits(), run, recipe)
        if trainer.workers.first:
            run.create()  # only now: an experiment that does not fit leaves no folder behind
            with writing(run):
                write_json(run.environment, environment())
                experiment.save(run.experiment)
        with _log(trainer, 0) as log:
            trainer.save(log)
            return _train(trainer, log, progress, [])


def resume(folder: Path, *, progress: bool = True) -> Summary:
    """Go on from the checkpoint "last", to the same bits as if nothing had happened.

    Where that checkpoint is damaged and an older one is intact, it goes on from there and says so. A run
    whose training is done is evaluated and summarised again.

    Raises:
        FolderError: If the folder holds no run.
        CheckpointError: If no checkpoint can be used.
        RunError, ValueError, Interrupted: As `fit`.
    """
    run = RunFolder(folder)
    run.check()
    experiment = Experiment.load(run.experiment)
    found = read_checkpoint(run.checkpoints, "last")
    values = found.checkpoint.values
    with _threads(values["threads"]), global_seed(experiment.training.seed, "modules"):
        trainer = Trainer(experiment, experiment.task.splits(), run, values["recipe"])
        trainer.restore(found.checkpoint)
        trainer.workers.wait()  # all have read it
        notes = [f"{problem}; going on from an intact one" for problem in found.problems]
        with _log(trainer, values["metrics_bytes"]) as log:
            if trainer.workers.first:
                with writing(run):
                    settle(run.checkpoints, "last", found)
            return _train(trainer, log, progress, notes)


def _log(trainer: Trainer, length: int) -> MetricsLog:
    """The run's log after its first `length` bytes, which the first process of a job keeps."""
    if not trainer.workers.first:
        return NoLog()
    with writing(trainer.folder):
        return MetricsLog(trainer.folder.metrics, length)


def _train(trainer: Trainer, log: MetricsLog, progress: bool, notes: list[str]) -> Summary:
    run = trainer.folder
    first = trainer.workers.first
    with Console(progress and first, trainer.course.epochs, trainer.steps, trainer.place.step) as console:
        for note in notes:
            console.warn(note)
        if trainer.place.step:
            done = trainer.place.step >= trainer.steps
            console.say(
                f"trained to the end, step {trainer.place.step}, before; evaluated again"
                if done
                else f"going on after step {trainer.place.step} of {trainer.steps}"
            )
        with Board(run, trainer.place.step) if first else NoBoard() as board:
            trainer.run(Journal(run, log, board, console, trainer.clock))
    summary = _conclude(trainer) if first else None
    trainer.workers.wait()
    return summary or Summary.load(run.path)


def _conclude(trainer: Trainer) -> Summary:
    """Evaluate the selected network on the test split; write inspection and summary."""
    experiment, run, splits = trainer.experiment, trainer.folder, trainer.splits
    task, place = experiment.task, trainer.place
    validated = splits.validation is not None
    if validated:
        best = read_checkpoint(run.checkpoints, "best")
        load_weights(trainer.network, best.checkpoint, best.path)
    test = measure(experiment, trainer.network, trainer.objective, splits.test, rates=True)
    epochs = {row["epoch"]: row for row in read_log(run.metrics, "epoch")}
    warnings = read_log(run.metrics, "warning")
    summary = Summary(
        task=name_of(type(task)),
        rule=name_of(type(experiment.rule)),
        neuron=name_of(type(experiment.neuron)),
        substrate=experiment.substrate.title,
        recipe=trainer.recipe,
        seed=experiment.training.seed,
        metric=task.metric,
        value=test.value,
        higher_is_better=task.higher_is_better,
        chance=task.chance,
        baselines=task.baselines(splits),
        parameters=count_parameters(trainer.network),
        epochs=place.epoch,
        steps=place.step,
        seconds=round(trainer.clock.seconds, 6),
        compile_seconds=round(trainer.clock.compile_seconds, 6),
        best={
            "epoch": place.best_epoch,
            "value": place.best_value,
            "selected_on": "validation" if validated else "train loss",
        },
        evaluated="best" if validated else "last",
        train=epochs[place.best_epoch if validated else place.epoch]["train"],
        test={"loss": test.loss, task.metric: test.value, **test.details},
        warnings=[{k: v for k, v in warning.items() if k != "kind"} for warning in warnings],
        peak_memory_mb=round(peak_memory_mb(), 1),
        version=version_of("rheobase"),
        working_memory_mb=_rounded(trainer.memory_meter.peak_mb),
        spikes_per_inference=_rounded(spikes_per_inference(experiment, test)),
        crossbar=crossbar_costs(experiment, trainer.network, splits, trainer.place.step),
    )
    with writing(run):
        write_inspection(run.path, experiment, trainer.network, trainer.objective, splits, test)
        write_crossbars(run.path, trainer.network, initial_network(experiment, splits.train))
        summary.save(run.path)
    return summary


def _rounded(number: float | None) -> float | None:
    """To one decimal."""
    return None if number is None else round(number, 1)


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """Use this many CPU threads within (as many as before if None)."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
