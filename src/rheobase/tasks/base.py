"""What every task is: seeded splits of data, a metric, its chance level, and simple baselines.

A `Task` is a `Config`; its data are loaded by `splits()`, in memory or not (see `rheobase.tasks.dataset`). A
task says how predictions are scored (`scoring`): by classes, if it has `classes`, or by values.

The test split never depends on an option: it is what results are compared on. The validation share is
taken from the training data, and is empty unless asked for.

What tasks share that name the class of an image is in `rheobase.tasks.images`; what those share whose samples
are made and not stored, in `rheobase.tasks.generated`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from rheobase.config import Config, option
from rheobase.tasks.dataset import Splits
from rheobase.tasks.metrics import ACCURACY, Metric


class Task(Config, ABC):
    """A data set with its splits, its metric, and what the metric is without learning."""

    room: ClassVar[str] = "rheobase.tasks"
    scoring: ClassVar[Metric] = ACCURACY
    """The number that says how good predictions are."""
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}}
    """Named choices for an experiment on this task: nested tables of options, "default" first."""
    settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """What goes with a rule on this task, by the rule's name: tables that are laid over a recipe of another
    rule when this one is chosen in its place (a learning rate, say). A rule without an entry takes the
    recipe as it is."""

    validation: float = option(
        default=0.0, at_least=0, at_most=0.9, help="share of the training data held out to select models on"
    )
    split_seed: int = option(default=0, at_least=0, help="seed of the choice of the validation share")

    @property
    def metric(self) -> str:
        """The name of the metric."""
        return self.scoring.name

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher metric is a better one."""
        return self.scoring.higher_is_better

    @property
    @abstractmethod
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input, without the batch."""

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample as files hold it (such as an image), before it becomes an input."""
        return self.input_shape

    def present(self, samples: Tensor) -> Tensor:
        """Samples `[B, *sample_shape]` as inputs `[B, *input_shape]`."""
        return samples

    @property
    @abstractmethod
    def outputs(self) -> int:
        """The number of values a network must put out."""

    @property
    @abstractmethod
    def chance(self) -> float:
        """The metric's value for a guess that ignores the input."""

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of the classes, where the task has classes."""
        return None

    @abstractmethod
    def splits(self) -> Splits:
        """The data, loaded and checked; equal for equal options."""

    def details(self, predictions: Tensor, targets: Tensor, mask: Tensor | None) -> dict[str, float]:
        """Further numbers about predictions on a batch, by name, for the summary; none by default."""
        return {}

    @abstractmethod
    def baselines(self, splits: Splits | None = None) -> dict[str, float]:
        """The metric on the test split of simple models fitted on the training split.

        Pass `splits` where they have been loaded already. The result is kept on disk.
        """
