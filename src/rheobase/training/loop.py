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

import functools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rheobase.crossbar.array import arrays
from rheobase.layers.network import Network
from rheobase.layers.noise import renew_noise
from rheobase.layers.rewire import rewire
from rheobase.registry import unknown
from rheobase.rules.base import Lesson, Memory, Outcome, Reduced
from rheobase.tasks.base import Batch, Splits
from rheobase.training.alignment import Alignment, align, measured_at, worth_measuring
from rheobase.training.augment import shift_images
from rheobase.training.board import Board
from rheobase.training.checkpoint import Checkpoint, write_checkpoint
from rheobase.training.clock import Clock
from rheobase.training.console import Console, rates_text
from rheobase.training.course import Course
from rheobase.training.dependence import dependence
from rheobase.training.errors import DivergedError, Interrupted
from rheobase.training.evaluate import measure
from rheobase.training.experiment import Experiment
from rheobase.training.folder import RunFolder, writing
from rheobase.training.health import Finding, HealthMonitor
from rheobase.training.interrupt import StopRequest
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
from rheobase.training.sharing import Sharing, cut
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
        self._clipped = _clipped(experiment.training.clip_only, self.network)
        self.workers = Workers.here()
        self._sharing = Sharing(experiment.rule, self.workers)
        self._sharing.check()
        self.workers.tell([*self.network.state_dict().values()])  # machines may differ in rounding
        self.generators = Generators.from_seed(experiment.training.seed)
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
        return HealthMonitor(experiment.neuron.dt, uninformed, higher_is_better=task.higher_is_better)

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
        lesson, _ = self._lesson(indices, watched=True)
        self.experiment.rule.accumulate(self.network, lesson, self.memory)

    def run(self, log: MetricsLog, board: Board, console: Console) -> None:
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
                    self._epoch(log, board, console, stop)
            except DivergedError as error:
                raise self._diverged(error, log) from error

    def _epoch(self, log: MetricsLog, board: Board, console: Console, stop: StopRequest) -> None:
        training = self.experiment.training
        self.generators.order.set_state(self._order)
        order = self.course.order(self.place.epoch, self.generators.order)
        for start in range(self.place.sample, len(order), training.batch_size):
            indices = order[start : start + training.batch_size]
            seen = start + len(indices)
            self._step(indices, seen == len(order), log, board, console)
            self.place = replace(self.place, sample=seen)
            due = time.monotonic() - self._saved >= training.checkpoint_seconds
            stopped, saved = self._sharing.any(stop.made, due)
            if seen == len(order):
                self._end_epoch(log, board, console)
            elif stopped or saved:
                self.save(log)
            console.step(self.place.step)
            if stopped:
                raise Interrupted(
                    f"stopped at step {self.place.step} of {self.steps}, everything is saved; go on with: "
                    f"rheobase resume {self.folder.path}"
                )

    def _step(self, indices: Tensor, last: bool, log: MetricsLog, board: Board, console: Console) -> None:
        experiment, training = self.experiment, self.experiment.training
        step = self.place.step + 1
        watched = last or step % training.log_every == 0
        lesson, batch = self._lesson(indices, watched)
        self.optimizer.zero_grad(set_to_none=True)
        aligned = self._align_now(step)
        random = torch.get_rng_state() if aligned else None
        outcome = experiment.rule.accumulate(self.network, lesson, self.memory)
        if random is not None:
            self._log_alignment(self._align(lesson, random), step, log, board)
        outcome = self._sharing.pool(self.network, outcome, self.memory, batch, len(indices))
        self.memory = outcome.memory
        rate = learning_rate(training, self.place.step, self.steps)
        norm = self._clip(watched)
        loss = math.nan
        if watched:  # before the weights change: a NaN must not reach them
            loss = float(outcome.loss)
            self._warn(self._health.step(loss, float(norm), step), step, log, console)
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
            self._log_step(loss, float(scores.float().mean()), rates, rate, log, board, console)

    def _lesson(self, indices: Tensor, watched: bool) -> tuple[Lesson, Batch]:
        """The batch at `indices` (this process's block of it), shifted and encoded, as the rule gets it."""
        training, encoder = self.experiment.training, self.experiment.encoder
        block = self._sharing.block(len(indices))
        whole = encoder.random or bool(training.augment_pixels)  # what is random is drawn for all, then cut
        batch = self.splits.train.batch(indices if whole else indices[block])
        inputs = batch.inputs
        if training.augment_pixels:
            inputs = shift_images(inputs, training.augment_pixels, self.generators.augmentation)
        sequence = encoder.encode(inputs, self.generators.encoder)
        if whole and block != slice(0, len(indices)):
            sequence, batch = cut(sequence, block), self.splits.train.batch(indices[block])
        renew_noise(self.network, self.generators.noise, block.start)
        names = self.objective.training
        if watched:
            names = tuple(dict.fromkeys((*names, *self.objective.spikes.values())))
        objective = functools.partial(self.objective.loss, targets=batch.targets, mask=batch.mask)
        score = functools.partial(self._score, targets=batch.targets, mask=batch.mask)
        lesson = Lesson(
            inputs=sequence,
            objective=objective,
            record=names,
            targets=batch.targets,
            score=lambda record: score(self.objective.predictions(record)),
            higher_is_better=self.experiment.task.higher_is_better,
            judged=self.objective.training,
            reduced=self._reduced(batch, sequence.shape[0], score),
        )
        return lesson, batch

    def _reduced(
        self, batch: Batch, steps: int, score: Callable[[Tensor], Tensor]
    ) -> dict[Literal["loss", "score"], Reduced]:
        """How to judge by what is left of the read-out over time, where that can be."""
        found: dict[Literal["loss", "score"], Reduced | None] = {
            "loss": self.objective.reduced_loss(batch),
            "score": self.objective.reduced_score(steps, score),
        }
        return {name: judge for name, judge in found.items() if judge is not None}

    def _align_now(self, step: int) -> bool:
        """Whether the rule's direction is compared with the gradient at this step."""
        points = self.experiment.training.cosines
        return worth_measuring(self.experiment.rule) and measured_at(step, self.steps, points)

    def _align(self, lesson: Lesson, random: Tensor) -> Alignment:
        with self.clock.paused(), self.memory_meter.paused():
            return align(self.network, lesson, random)

    def _score(self, predictions: Tensor, targets: Tensor, mask: Tensor | None) -> Tensor:
        return self.experiment.task.scoring(predictions, targets, mask).float().mean()

    def _clip(self, watched: bool) -> Tensor:
        """Clip the gradient if asked to; its norm before (if clipped or watched)."""
        limit = self.experiment.training.clip_norm
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        if not gradients or (limit is None and not watched):
            return torch.zeros(())
        norm = torch.nn.utils.get_total_norm(gradients)
        if limit is not None:
            torch.nn.utils.clip_grads_with_norm_(self._clipped, limit, self._norm_of(self._clipped, norm))
        return norm

    def _norm_of(self, parameters: list[nn.Parameter], norm: Tensor) -> Tensor:
        """The norm of these parameters' gradients; that of all is known."""
        if self.experiment.training.clip_only is None:
            return norm
        return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])

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

    def _log_alignment(self, found: Alignment, step: int, log: MetricsLog, board: Board) -> None:
        told = {"whole": found.whole, **found.layers}
        with writing(self.folder):
            log.write("cosine", {"step": step, "whole": found.whole, "layers": found.layers})
            board.scalars({f"cosine/{k}": value for k, value in told.items() if value is not None}, step)

    def _log_step(
        self,
        loss: float,
        value: float,
        rates: Mapping[str, float],
        rate: float,
        log: MetricsLog,
        board: Board,
        console: Console,
    ) -> None:
        metric, step = self.experiment.task.metric, self.place.step
        line: dict[str, Any] = {
            "step": step,
            "epoch": step / self.course.per_epoch,
            "loss": loss,
            metric: value,
            "rates": dict(rates),
            "seconds": round(self.clock.seconds, 6),
            "learning_rate": rate,
        }
        scalars = {"train/loss": loss, f"train/{metric}": value, "learning_rate": rate}
        scalars |= {f"rate_hz/{layer}": value for layer, value in rates.items()}
        with writing(self.folder):
            log.write("step", line)
            board.scalars(scalars, step)
        console.status(loss, metric, value, rates)

    # ---- the end of an epoch

    def _end_epoch(self, log: MetricsLog, board: Board, console: Console) -> None:
        place, tally, metric = self.place, self._tally, self.experiment.task.metric
        epoch = place.epoch + 1
        train = {"loss": tally.loss, metric: tally.value}
        if not math.isfinite(tally.loss):
            raise DivergedError(f"the loss is {tally.loss} in epoch {epoch}")
        self._health.weights(self.network, place.step)
        with self.clock.paused(), self.memory_meter.paused():
            validation = self._validate()
            with writing(self.folder):
                board.histograms(self.network, place.step)
                if validation:
                    board.scalars({f"validation/{k}": v for k, v in validation.items()}, place.step)
        self._warn(self._health.epoch(tally, epoch), place.step, log, console)
        line = {"epoch": epoch, "step": place.step, "train": train, "validation": validation}
        with writing(self.folder):
            log.write("epoch", line | {"seconds": round(self.clock.seconds, 6)})
        rates = rates_text(tally.rates(self.experiment.neuron.dt))
        told = {"": train} | ({"validation ": validation} if validation else {})
        scores = "  ".join(f"{name}{key} {value:.4g}" for name, s in told.items() for key, value in s.items())
        console.epoch(epoch, f"{scores}  {rates}  {self.clock.seconds:.1f} s")
        self._finish_epoch(
            epoch, validation[metric] if validation else tally.loss, validation is not None, log
        )

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

    def _warn(self, findings: list[Finding], step: int, log: MetricsLog, console: Console) -> None:
        for finding in findings:
            line = {
                "step": step,
                "layer": finding.layer,
                "health": finding.health,
                "message": finding.message,
            }
            with writing(self.folder):
                log.write("warning", line)
            console.warn(finding.message)

    def _diverged(self, error: DivergedError, log: MetricsLog) -> DivergedError:
        step = self.place.step
        with writing(self.folder):
            log.write("warning", {"step": step, "layer": "", "health": "nan", "message": str(error)})
        return DivergedError(
            f"training stopped: {error}. The checkpoints in {self.folder.checkpoints} are from before. Train "
            "again in another folder with a lower learning_rate, or set clip_norm"
        )


def _clipped(layers: tuple[str, ...] | None, network: Network) -> list[nn.Parameter]:
    """The parameters of these layers, or all."""
    if layers is None:
        return list(network.parameters())
    for name in layers:
        if name not in network.layers:
            raise ValueError(f"training.clip_only: {unknown('layer', name, network.layers)}")
    return [p for name in layers for p in network.layers[name].parameters()]


def _prefixed(group: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{group}/{name}": tensor for name, tensor in tensors.items()}
