"""The training loop: epochs over shuffled batches, with a log, health checks and checkpoints.

One step: take a batch, shift it, encode it, draw keys for injected noise, let the rule put update
directions into `.grad`, clip, step the optimizer, rewire connections that are to be. Every `log_every`
steps, and at the end of an epoch, the step is *watched*: it is logged and its spikes are counted. Between
watched steps nothing waits for a number.

All that decides what comes next is in a checkpoint: weights, optimizer, the rule's memory, random states,
sums of the epoch and the place in it (an epoch's order is drawn again from the random state at its start).
So a run that was killed goes on to the same bits, on the same machine with as many threads.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from rheobase.crossbar.array import arrays
from rheobase.layers.network import Network
from rheobase.layers.rewire import rewire
from rheobase.rules.base import Lesson, Memory, Outcome
from rheobase.tasks.dataset import Splits
from rheobase.training.alignment import Alignment, align, measured_at, worth_measuring
from rheobase.training.checkpoint import Checkpoint, write_checkpoint
from rheobase.training.clipping import Clipping
from rheobase.training.clock import Clock
from rheobase.training.course import Course
from rheobase.training.dependence import dependence
from rheobase.training.errors import DivergedError, Interrupted
from rheobase.training.evaluate import measure
from rheobase.training.experiment import Experiment
from rheobase.training.folder import RunFolder, writing
from rheobase.training.health import HealthMonitor
from rheobase.training.interrupt import StopRequest
from rheobase.training.journal import Journal
from rheobase.training.lessons import Lessons
from rheobase.training.log import MetricsLog
from rheobase.training.memory import MemoryMeter
from rheobase.training.objective import Objective, spike_counts, to_hertz
from rheobase.training.optimizers import (
    bounded_weights,
    keep_within,
    learning_rate,
    make_optimizer,
    optimizer_tensors,
    optimizer_values,
    restore_optimizer,
    set_learning_rate,
)
from rheobase.training.restore import load_weights
from rheobase.training.seeding import Generators, derived, generator
from rheobase.training.setup import build_objective, initial_network
from rheobase.training.sharing import Sharing
from rheobase.training.tally import Tally
from rheobase.workers import Workers


@dataclass(frozen=True)
class Place:
    """How far training is: epochs and steps done, samples of the current epoch seen, the best epoch."""

    epoch: int = 0
    step: int = 0
    sample: int = 0
    best_epoch: int = 0
    best_value: float | None = None


class Trainer:
    """Everything that changes while an experiment is trained.

    Args:
        experiment: What to train.
        splits: The data.
        folder: Where the run is kept.
        recipe: Name of the recipe that the experiment came from, for the summary.
    """

    def __init__(self, experiment: Experiment, splits: Splits, folder: RunFolder, recipe: str) -> None:
        self.experiment, self.splits, self.folder, self.recipe = experiment, splits, folder, recipe
        self.network: Network = initial_network(experiment, splits.train)
        self.objective: Objective = build_objective(experiment, self.network)
        self.placed = arrays(self.network)
        self.optimizer = experiment.substrate.writer(
            make_optimizer(experiment.training, self.network.parameters()),
            self.placed,
            derived(experiment.training.seed, "programming"),
        )
        self._bounded = bounded_weights(experiment.training.weight_bound, self.network)
        training = experiment.training
        self._clipping = Clipping(self.network, training.clip_norm, training.clip_only)
        self.workers = Workers.here()
        self._sharing = Sharing(experiment.rule, self.workers)
        self._sharing.check()
        self.workers.tell([*self.network.state_dict().values()])  # machines may differ in rounding
        self.generators = Generators.from_seed(experiment.training.seed)
        self._lessons = Lessons(
            experiment, splits.train, self.network, self.objective, self._sharing, self.generators
        )
        self.memory: Memory = experiment.rule.begin(self.network, generator(experiment.training.seed, "rule"))
        self.place = Place()
        self.clock = Clock()
        self.memory_meter = MemoryMeter()
        self._order = self.generators.order.get_state()  # at the start of the current epoch
        self.course = Course.of(experiment.training, splits.train)
        self._tally = self._new_tally()
        self._health = self._monitor()
        self._saved = time.monotonic()

    @property
    def steps(self) -> int:
        """The number of steps of the whole training."""
        return self.course.steps

    def _new_tally(self) -> Tally:
        task = self.experiment.task
        return Tally(None if task.classes is None else task.outputs)

    def _monitor(self) -> HealthMonitor:
        experiment, train = self.experiment, self.splits.train
        task = experiment.task
        duration = experiment.encoder.output_shape(task.input_shape)[0]
        some = train.batch(torch.arange(min(len(train), experiment.training.batch_size)))
        uninformed = self.objective.uninformed(duration, task.outputs, some)
        return HealthMonitor(
            experiment.neuron.dt,
            uninformed,
            higher_is_better=task.higher_is_better,
            trained=experiment.rule.trained(self.network),
        )

    # ---- checkpoints

    def checkpoint(self, metrics_bytes: int) -> Checkpoint:
        """All that is needed to go on from here."""
        rng = self.generators.states() | {"order": self._order}
        tensors = {
            **_prefixed("model", self.network.state_dict()),
            **_prefixed("optimizer", optimizer_tensors(self.optimizer)),
            **_prefixed("rule", self.memory),
            **_prefixed("rng", rng),
            **_prefixed("epoch", self._tally.state()),
        }
        values = {
            "place": asdict(self.place),
            "optimizer": optimizer_values(self.optimizer),
            "health": self._health.state(),
            "seconds": self.clock.seconds,
            "compile_seconds": self.clock.compile_seconds,
            "working_memory_mb": self.memory_meter.peak_mb,
            "metrics_bytes": metrics_bytes,
            "threads": torch.get_num_threads(),
            "recipe": self.recipe,
        }
        return Checkpoint(tensors, values)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to where a checkpoint was made (log and number of threads are the caller's)."""
        values = checkpoint.values
        load_weights(self.network, checkpoint, self.folder.checkpoints)
        restore_optimizer(self.optimizer, checkpoint.group("optimizer"), values["optimizer"])
        self.memory = checkpoint.group("rule")
        self.generators.restore(checkpoint.group("rng"))
        self._order = self.generators.order.get_state()
        self._tally.restore(checkpoint.group("epoch"))
        self._health.restore(values["health"])
        self.place = Place(**values["place"])
        self.clock = Clock(values["seconds"], values["compile_seconds"])
        self.memory_meter = MemoryMeter(values.get("working_memory_mb"))

    def save(self, log: MetricsLog) -> None:
        """Write the checkpoint "last"."""
        self._health.weights(self.network, self.place.step)
        if self.workers.first:
            with writing(self.folder):
                write_checkpoint(self.folder.checkpoints, "last", self.checkpoint(log.sync()))
        self._saved = time.monotonic()

    def _save_best(self) -> None:
        if not self.workers.first:
            return
        tensors = _prefixed("model", self.network.state_dict())
        values = {"place": asdict(self.place), "recipe": self.recipe}
        with writing(self.folder):
            write_checkpoint(self.folder.checkpoints, "best", Checkpoint(tensors, values))

    # ---- the loop

    def rehearse(self) -> None:
        """Let the rule have one batch, whose directions are thrown away.

        So that what cannot work says so before anything is trained, and kernels are compiled by then. Not
        for a trainer that trains afterwards: random states move on.
        """
        self.network.train()
        size = self.experiment.training.batch_size
        indices = self.course.order(0, self.generators.order)[:size]
        lesson, _ = self._lessons.make(indices, watched=True)
        self.experiment.rule.accumulate(self.network, lesson, self.memory)

    def run(self, journal: Journal) -> None:
        """Train to the last epoch.

        Raises:
            DivergedError: If the loss or a weight is no longer finite.
            RunError: If something cannot be written.
            Interrupted: If told to stop, after a checkpoint was saved.
        """
        self.network.train()
        with StopRequest() as stop, self.clock.running(), self.memory_meter.running():
            try:
                while self.place.epoch < self.course.epochs:
                    self._epoch(journal, stop)
            except DivergedError as error:
                raise journal.diverged(error, self.place.step) from error

    def _epoch(self, journal: Journal, stop: StopRequest) -> None:
        training = self.experiment.training
        self.generators.order.set_state(self._order)
        order = self.course.order(self.place.epoch, self.generators.order)
        for start in range(self.place.sample, len(order), training.batch_size):
            indices = order[start : start + training.batch_size]
            seen = start + len(indices)
            self._step(indices, seen == len(order), journal)
            self.place = replace(self.place, sample=seen)
            due = time.monotonic() - self._saved >= training.checkpoint_seconds
            stopped, saved = self._sharing.any(stop.made, due)
            if seen == len(order):
                self._end_epoch(journal)
            elif stopped or saved:
                self.save(journal.log)
            journal.console.step(self.place.step)
            if stopped:
                raise Interrupted(
                    f"stopped at step {self.place.step} of {self.steps}, everything is saved; go on with: "
                    f"rheobase resume {self.folder.path}"
                )

    def _step(self, indices: Tensor, last: bool, journal: Journal) -> None:
        experiment, training = self.experiment, self.experiment.training
        step = self.place.step + 1
        watched = last or step % training.log_every == 0
        lesson, batch = self._lessons.make(indices, watched)
        self.optimizer.zero_grad(set_to_none=True)
        aligned = self._align_now(step)
        random = torch.get_rng_state() if aligned else None
        outcome = experiment.rule.accumulate(self.network, lesson, self.memory)
        if random is not None:
            journal.alignment(self._align(lesson, random), step)
        outcome = self._sharing.pool(self.network, outcome, self.memory, batch, len(indices))
        self.memory = outcome.memory
        rate = learning_rate(training, self.place.step, self.steps)
        norm = self._clipping.apply(watched)
        loss = math.nan
        if watched:  # before the weights change: a NaN must not reach them
            loss = float(outcome.loss)
            journal.warn(self._health.step(loss, float(norm), step), step)
            self._health.directions(self.network)
        set_learning_rate(self.optimizer, rate)
        self.optimizer.step()
        keep_within(self._bounded, training.weight_bound)
        rewire(self.network, self.optimizer, rate, self.generators.rewiring)
        self.place = replace(self.place, step=step)
        predictions = self.objective.predictions(outcome.record)
        own = experiment.task.scoring(predictions, batch.targets, batch.mask)
        scores, predictions = self._gathered(own, predictions, len(indices))
        self._tally.add(outcome.loss, scores, predictions)
        if watched:
            rates = self._count(outcome, len(indices), lesson.inputs.shape[0])
            found = dependence(self.objective.scores(outcome.record), batch, classes=self.objective.classes)
            if found is not None:
                self._tally.add_dependence(found)
            told = {"loss": loss, experiment.task.metric: float(scores.float().mean())}
            journal.step(step, step / self.course.per_epoch, told, rates, rate)

    def _align_now(self, step: int) -> bool:
        """Whether the rule's direction is compared with the gradient at this step."""
        points = self.experiment.training.cosines
        return worth_measuring(self.experiment.rule) and measured_at(step, self.steps, points)

    def _align(self, lesson: Lesson, random: Tensor) -> Alignment:
        with self.clock.paused(), self.memory_meter.paused():
            return align(self.network, lesson, random)

    def _gathered(self, scores: Tensor, predictions: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """Scores and predictions of a whole batch of `number` samples."""
        if self.experiment.task.classes is not None:  # nothing else is counted
            samples = predictions if predictions.dim() == 1 else predictions.transpose(0, 1)
            predictions = self._sharing.gather(samples, number)
        return self._sharing.gather(scores, number), predictions

    def _count(self, outcome: Outcome, number: int, steps: int) -> dict[str, float]:
        counts = self._sharing.add(spike_counts(outcome.record, self.objective.spikes), number)
        sample_steps = number * steps
        self._tally.add_spikes(counts, sample_steps)
        dt = self.experiment.neuron.dt
        return {layer: to_hertz(float(c.mean()) / sample_steps, dt) for layer, c in counts.items()}

    # ---- the end of an epoch

    def _end_epoch(self, journal: Journal) -> None:
        place, tally, metric = self.place, self._tally, self.experiment.task.metric
        epoch = place.epoch + 1
        if not math.isfinite(tally.loss):
            raise DivergedError(f"the loss is {tally.loss} in epoch {epoch}")
        self._health.weights(self.network, place.step)
        train = {"loss": tally.loss, metric: tally.value}
        with self.clock.paused(), self.memory_meter.paused():
            validation = self._validate()
            journal.weights(self.network, place.step)
            journal.warn(self._health.epoch(tally, epoch), place.step)
            journal.epoch(epoch, place.step, train, validation, tally.rates(self.experiment.neuron.dt))
        value = validation[metric] if validation else tally.loss
        self._finish_epoch(epoch, value, validation is not None, journal.log)

    def _finish_epoch(self, epoch: int, value: float, validated: bool, log: MetricsLog) -> None:
        """Select the best model, and make the checkpoints: the best first, so that "last" never names one
        that is not there."""
        best = self.place.best_value
        higher = validated and self.experiment.task.higher_is_better
        better = best is None or (value > best if higher else value < best)
        self._tally = self._new_tally()
        self._order = self.generators.order.get_state()
        self.place = replace(self.place, epoch=epoch, sample=0)
        if better:
            self.place = replace(self.place, best_epoch=epoch, best_value=value)
            self._save_best()
        self.save(log)

    def _validate(self) -> dict[str, float] | None:
        if self.splits.validation is None:
            return None
        result = measure(self.experiment, self.network, self.objective, self.splits.validation)
        return {"loss": result.loss, result.metric: result.value}


def _prefixed(group: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{group}/{name}": tensor for name, tensor in tensors.items()}
