"""An experiment: everything that is needed to run it again, as one value.

It reads from and writes to a table of tables (TOML on disk), one per choice:

    [task]  [encoder]  [network]  [neuron]  [readout]  [rule]  [loss]  [decoder]  [substrate]
    [training]  [[regularisers]]

A task's recipes are such tables, partly filled; what they leave out has the defaults below.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import tomli_w

from rheobase.coding.decoders import Decoder, SpikeCount
from rheobase.coding.encoders import ConstantCurrent, Encoder
from rheobase.coding.losses import CrossEntropySum, Loss
from rheobase.coding.regularisers import Regulariser
from rheobase.config import Config, fields_of, option
from rheobase.crossbar.substrate import Ideal, Substrate
from rheobase.files import write_text
from rheobase.networks.base import Architecture
from rheobase.networks.feed_forward import FeedForward
from rheobase.neurons.base import Neuron
from rheobase.neurons.lif import LIF
from rheobase.registry import find, name_of, unknown
from rheobase.rules.base import LearningRule
from rheobase.rules.bptt import BPTT
from rheobase.tasks.base import Task
from rheobase.tasks.mnist import MNIST

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Table = dict[str, Any]


class Training(Config):
    """How long, how fast, from which seed."""

    epochs: int = option(
        default=10,
        at_least=1,
        help="passes over the training data; where these have no end, parts into which the steps are divided",
    )
    steps: int | None = option(
        default=None,
        at_least=1,
        help="updates in all, instead of whole epochs (needed where the training data have no end)",
    )
    batch_size: int = option(default=128, at_least=1, help="samples per update")
    learning_rate: float = option(default=5e-4, above=0, help="step size of the optimizer")
    optimizer: Literal["adam", "adamw", "adamax", "sgd", "rmsprop", "rmaxprop"] = option(
        default="adam", help="torch optimizer, or SuperSpike's rmaxprop"
    )
    weight_decay: float = option(default=0.0, at_least=0, help="weight decay of the optimizer")
    momentum: float = option(default=0.0, at_least=0, at_most=1, help="momentum (sgd, rmsprop)")
    schedule: Literal["constant", "cosine", "onecycle", "drop"] = option(
        default="constant", help="learning rate over training"
    )
    smoothing: float | None = option(
        default=None,
        at_least=0,
        at_most=1,
        help="share of the old mean (rmsprop; torch's 0.99 if none) or largest square (rmaxprop; "
        "exp(-1/60) if none) that a step keeps",
    )
    weight_bound: float | None = option(
        default=None,
        above=0,
        help="weights of connections are kept within plus and minus this after each step",
    )
    clip_norm: float | None = option(default=None, above=0, help="largest norm of the gradient")
    clip_only: tuple[str, ...] | None = option(
        default=None, help="layers whose gradients clip_norm is about, together (all if none)"
    )
    seed: int = option(default=0, at_least=0, help="seed of weights, batches, encoders and noise")
    augment_pixels: int = option(
        default=0, at_least=0, unit="px", help="shift training images by up to this much (images only)"
    )
    cosines: int = option(
        default=0,
        at_least=0,
        help="points of training, evenly spread, at which the cosine of the rule's direction to the exact "
        "gradient is logged",
    )
    log_every: int = option(default=10, at_least=1, unit="steps", help="steps between log entries")
    checkpoint_seconds: float = option(
        default=60.0, at_least=0, unit="s", help="least time between checkpoints (one per epoch at least)"
    )
    threads: int | None = option(
        default=None, at_least=1, at_most=1024, help="CPU threads (all cores if none)"
    )


class Experiment(Config):
    """A task, a network of neurons, a learning rule, and how to train.

    >>> Experiment.from_recipe("mnist").training.epochs
    10
    """

    task: Task = option(default=MNIST(), help="what is to be learnt")
    encoder: Encoder = option(default=ConstantCurrent(), help="how inputs become sequences")
    network: Architecture = option(default=FeedForward(), help="the network")
    neuron: Neuron = option(default=LIF.preset("snntorch"), help="model of the hidden neurons")
    readout: Neuron = option(default=LIF.preset("snntorch"), help="model of the output neurons")
    rule: LearningRule = option(default=BPTT(), help="how the network learns")
    loss: Loss = option(default=CrossEntropySum(), help="what is minimised")
    decoder: Decoder = option(default=SpikeCount(), help="how outputs become predictions")
    regularisers: tuple[Regulariser, ...] = option(default=(), help="activity costs, per hidden layer")
    substrate: Substrate = option(
        default=Ideal(),
        help="what weights are kept in: ideal, or crossbars of a device (also by the device's name)",
    )
    training: Training = option(default=Training(), help="how to train")

    def validate(self) -> None:
        tables = ("encoder", "neuron", "readout", "loss", "decoder")
        own = [(name, getattr(self, name)) for name in tables]
        own += [(name_of(type(part)), part) for part in self.regularisers]
        durations = [(name, part.dt) for name, part in own if hasattr(part, "dt")]
        if len({dt for _, dt in durations}) > 1:
            told = ", ".join(f"{name} {dt} ms" for name, dt in durations)
            raise ValueError(
                f"dt: got time steps of different durations ({told}), wanted one; set them alike"
            )
        self._check_trained_parameters()

    def _check_trained_parameters(self) -> None:
        """A network trains those of `train_neurons` that a layer's model has; some model must have each."""
        more = (getattr(self.network, field.name) for field in fields_of(type(self.network)))
        models = [self.neuron, self.readout, *(value for value in more if isinstance(value, Neuron))]
        known = {name for model in models for name in model.parameter_names()}
        for name in self.network.train_neurons:
            if name not in known:
                raise ValueError(f"network.train_neurons: {unknown('neuron parameter', name, known)}")

    @classmethod
    def from_recipe(
        cls, task: str | Task, recipe: str = "default", overrides: Mapping[str, Any] | None = None
    ) -> Experiment:
        """A task's named recipe, with `overrides` (nested tables, as in a file) on top.

        Where these choose another rule than the recipe's, the task's settings for that rule come between.

        Raises:
            ValueError: If the task, the recipe, a table, an option or a value does not exist.
        """
        kind = type(task) if isinstance(task, Task) else find(Task, task)
        if recipe not in kind.recipes:
            raise ValueError(unknown(f"recipe of {name_of(kind)}", recipe, kind.recipes))
        own = task.to_dict() if isinstance(task, Task) else {"name": task}
        tables = merge(merge(cls().to_dict(), {"task": own}), kind.recipes[recipe])
        chosen = name_in((overrides or {}).get("rule"))
        if chosen and chosen != name_in(tables["rule"]):
            tables = merge(merge(tables, {"rule": chosen}), kind.settings.get(chosen, {}))
        return cls.from_tables(merge(tables, overrides or {}))

    @classmethod
    def from_tables(cls, tables: Mapping[str, Any]) -> Experiment:
        """The experiment that nested tables describe."""
        names = [f.name for f in fields_of(cls)]
        for key in tables:
            if key not in (*names, "name"):
                raise ValueError(unknown("table of an experiment", key, names))
        parts: Table = {k: v for k, v in tables.items() if k != "name"}
        if "training" in parts:
            parts["training"] = _training(parts["training"])
        return cls(**parts)

    @classmethod
    def load(cls, path: Path) -> Experiment:
        """Read an experiment file.

        Raises:
            ValueError: If it is not TOML or describes no experiment; the message names the file.
            OSError: If it cannot be read.
        """
        try:
            return cls.from_tables(tomllib.loads(path.read_text("utf-8")))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: {error}") from error

    def save(self, path: Path) -> None:
        """Write the experiment as TOML, whole or not at all."""
        write_text(path, tomli_w.dumps(self.tables()))

    def tables(self) -> Table:
        """The experiment as nested tables, every option spelt out."""
        tables = {key: value for key, value in self.to_dict().items() if key != "name"}
        del tables["training"]["name"]
        return tables


def name_in(table: Any) -> str:
    """The registry name in what stands for a choice: an object, a table or a name; empty if there is none."""
    if isinstance(table, Config):
        return name_of(type(table))
    name = table.get("name", "") if isinstance(table, Mapping) else table or ""
    return str(name).replace("-", "_").lower()


def _training(table: Any) -> Training:
    if isinstance(table, Training):
        return table
    names = [f.name for f in fields_of(Training)]
    options = {key.replace("-", "_"): value for key, value in table.items() if key != "name"}
    for key in options:
        if key not in names:
            raise ValueError(unknown("option of training", key, names))
    return Training(**options)


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Table:
    """`base` with `changes` on top, table by table; another name or a preset starts a table afresh."""
    result = copy.deepcopy(dict(base))
    for key, value in changes.items():
        old = result.get(key)
        if isinstance(value, str) and isinstance(old, dict):
            value = {"name": value}
        if isinstance(value, Mapping) and isinstance(old, dict):
            other = value.get("name", old.get("name")) != old.get("name") or "preset" in value
            result[key] = {"name": old.get("name"), **value} if other else merge(old, value)
        else:
            result[key] = copy.deepcopy(value)
    return result
