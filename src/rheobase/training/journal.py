"""What a run tells while it is trained: to its log, to TensorBoard, and to a person at the console."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import nn

from rheobase.training.alignment import Alignment
from rheobase.training.board import Board
from rheobase.training.clock import Clock
from rheobase.training.console import Console, rates_text
from rheobase.training.errors import DivergedError
from rheobase.training.folder import RunFolder, writing
from rheobase.training.health import Finding
from rheobase.training.log import MetricsLog

Scores = Mapping[str, float]


@dataclass(frozen=True)
class Journal:
    """Where it is told.

    Raises (all methods):
        RunError: If the folder cannot be written.
    """

    folder: RunFolder
    log: MetricsLog
    board: Board
    console: Console
    clock: Clock

    def step(self, step: int, epoch: float, scores: Scores, rates: Scores, learning_rate: float) -> None:
        """A step that was watched.

        Args:
            step: How many steps were done.
            epoch: How many epochs, a fraction.
            scores: The loss, and the task's metric by its name.
            rates: Firing rates in Hz, by layer.
            learning_rate: The step's.
        """
        line = {"step": step, "epoch": epoch, **scores, "rates": dict(rates)}
        line |= {"seconds": round(self.clock.seconds, 6), "learning_rate": learning_rate}
        scalars = {f"train/{name}": value for name, value in scores.items()}
        scalars["learning_rate"] = learning_rate
        scalars |= {f"rate_hz/{layer}": value for layer, value in rates.items()}
        with writing(self.folder):
            self.log.write("step", line)
            self.board.scalars(scalars, step)
        self.console.status(scores, rates)

    def alignment(self, found: Alignment, step: int) -> None:
        """The cosine between the rule's direction and the gradient."""
        told = {"whole": found.whole, **found.layers}
        with writing(self.folder):
            self.log.write("cosine", {"step": step, "whole": found.whole, "layers": found.layers})
            self.board.scalars({f"cosine/{k}": value for k, value in told.items() if value is not None}, step)

    def weights(self, network: nn.Module, step: int) -> None:
        """Histograms of weights and gradients."""
        with writing(self.folder):
            self.board.histograms(network, step)

    def epoch(self, epoch: int, step: int, train: Scores, validation: Scores | None, rates: Scores) -> None:
        """The end of an epoch: what training and validation samples gave, and how fast layers fired."""
        line = {"epoch": epoch, "step": step, "train": train, "validation": validation}
        with writing(self.folder):
            self.log.write("epoch", line | {"seconds": round(self.clock.seconds, 6)})
            self.board.scalars({f"validation/{k}": v for k, v in (validation or {}).items()}, step)
        told = {"": train} | ({"validation ": validation} if validation else {})
        text = "  ".join(f"{name}{key} {value:.4g}" for name, s in told.items() for key, value in s.items())
        self.console.epoch(epoch, f"{text}  {rates_text(rates)}  {self.clock.seconds:.1f} s")

    def warn(self, findings: Iterable[Finding], step: int) -> None:
        """Something is wrong, but training goes on."""
        for finding in findings:
            self._warning(finding.message, finding.layer, finding.health, step)
            self.console.warn(finding.message)

    def diverged(self, error: DivergedError, step: int) -> DivergedError:
        """Training cannot go on; the error to raise."""
        self._warning(str(error), "", "nan", step)
        return DivergedError(
            f"training stopped: {error}. The checkpoints in {self.folder.checkpoints} are from before. Train "
            "again in another folder with a lower learning_rate, or set clip_norm"
        )

    def _warning(self, message: str, layer: str, health: str, step: int) -> None:
        line = {"step": step, "layer": layer, "health": health, "message": message}
        with writing(self.folder):
            self.log.write("warning", line)
