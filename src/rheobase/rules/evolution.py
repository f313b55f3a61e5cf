"""What evolution strategies share: a population around the network, its losses, an update for the network.

    candidates = strategy.ask(mean, memory)              # parameters of each member, made when asked for
    losses = [f(candidate) for candidate in candidates]
    direction, memory = strategy.tell(candidates, losses, memory)
    mean = mean - rate * direction                       # any optimizer

So it works for any function of named tensors. As a learning rule, f is the loss of the network on the
batch, or the task's metric itself; neither need have a derivative, nor need the neurons. The network is the
mean: it is what the optimizer moves, what is evaluated and saved. The best member that was seen is kept in
the memory beside it.

All members of a generation see the same batch (see `rheobase.rules.members`). Noise is made again where it
is needed, from a seed, the generation and the member (`rheobase.rules.noise`): the memory is the seed, the
number of generations and what a strategy learns of its own, so a run that was interrupted goes on to the
same bits.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from rheobase.config import option
from rheobase.layers.connection import plain_name
from rheobase.layers.network import Network, Record
from rheobase.registry import unknown
from rheobase.rules.base import Kind, LearningRule, Lesson, Memory, Outcome
from rheobase.rules.candidates import Candidates
from rheobase.rules.members import Fitness, Way, losses
from rheobase.rules.noise import Noise
from rheobase.rules.shaping import settled
from rheobase.workers import Workers

Tensors = Mapping[str, Tensor]


class Evolution(LearningRule):
    """An evolution strategy. A subclass says who the members are, and what their losses mean."""

    trains: ClassVar[str] = "every parameter of any network, or those of chosen layers; wants no derivative"
    cost: ClassVar[str] = "a forward pass for each member and one for the mean; keeps no step"

    population: int = option(default=40, at_least=2, help="members of a generation")
    fitness: Fitness = option(
        default="loss", help="judge members by the loss, or by the task's metric itself (score)"
    )
    evaluation: Way = option(
        default="auto",
        help="evaluate members together, in one kernel (refused where that cannot be), or singly",
    )
    layers: tuple[str, ...] | None = option(
        default=None, help="layers or parameters to train, such as dense1 or dense1.weight (all if none)"
    )
    in_turn: int | None = option(
        default=None,
        at_least=1,
        unit="generations",
        help="train one of these after the other, each for so long, instead of all at once",
    )

    @property
    def kind(self) -> Kind:
        return "black-box"

    @property
    def divides(self) -> Literal["samples", "members", "nothing"]:
        """Each process of a job evaluates its share of the members; only losses travel."""
        return "members"

    # ---- on its own

    def start(self, mean: Tensors, seed: int) -> Memory:
        """The memory before the first generation.

        Args:
            mean: Where the search starts: floating-point tensors by name.
            seed: Of all noise, at least 0.

        Raises:
            ValueError: If it cannot search there, with what it can.
        """
        self._groups(mean)
        counters = {"seed": torch.tensor(seed), "generation": torch.tensor(0)}
        return (
            counters | {"best/loss": torch.tensor(torch.inf, dtype=torch.float64)} | dict(self._start(mean))
        )

    def ask(self, mean: Tensors, memory: Memory) -> Candidates:
        """The members of the next generation around `mean`."""
        generation = int(memory["generation"])
        active = self._groups(mean)[self._turn(mean, generation)]
        return self._ask({name: mean[name] for name in active}, mean, memory)

    def tell(
        self, candidates: Candidates, values: Tensor | Sequence[float], memory: Memory
    ) -> tuple[dict[str, Tensor], Memory]:
        """What the losses `[P]` of the candidates mean: a direction uphill, and the memory to go on with.

        The direction is for the mean's tensors that were searched. Members whose loss is not finite are
        ranked last, with a warning.

        Raises:
            ValueError: If there is not one loss for each candidate, or none is finite.
        """
        told = torch.as_tensor(values, dtype=torch.float64)
        if told.shape != (len(candidates),):
            raise ValueError(
                f"losses: got shape {tuple(told.shape)}, wanted one for each candidate, [{len(candidates)}]"
            )
        told = settled(told)
        direction, learnt = self._tell(candidates, told, memory)
        counter = {"generation": memory["generation"] + 1}
        return direction, {**memory, **learnt, **counter, **_best(candidates, told, memory)}

    @abstractmethod
    def _start(self, mean: Tensors) -> Memory:
        """What the strategy learns beside the mean, before the first generation."""

    @abstractmethod
    def _ask(self, active: Tensors, mean: Tensors, memory: Memory) -> Candidates:
        """The members of a generation in which the `active` part of `mean` is searched."""

    @abstractmethod
    def _tell(
        self, candidates: Candidates, values: Tensor, memory: Memory
    ) -> tuple[dict[str, Tensor], Memory]:
        """The direction, and what has changed in the memory, from finite losses `[P]`."""

    # ---- as a learning rule

    def begin(self, network: Network, generator: torch.Generator) -> Memory:
        return self.start(self._mean(network), int(torch.randint(2**62, (1,), generator=generator)))

    def accumulate(self, network: Network, lesson: Lesson, memory: Memory) -> Outcome:
        candidates = self._members(self.ask(self._mean(network), memory), network)
        workers = Workers.here()
        own = range(len(candidates))[workers.share(len(candidates))]
        values = losses(network, lesson, candidates, fitness=self.fitness, members=own, way=self.evaluation)
        values = workers.gather(values, len(candidates))
        direction, memory = self.tell(candidates, values, memory)
        parameters = dict(network.named_parameters())
        for name, gradient in direction.items():
            before = parameters[name].grad
            parameters[name].grad = gradient if before is None else before + gradient
        with torch.no_grad():
            seen = network(lesson.inputs, record=lesson.record)
            loss = lesson.objective(seen)
        return Outcome(loss, Record(seen.output, seen.signals, seen.state), memory)

    def _members(self, candidates: Candidates, network: Network) -> Candidates:
        """The candidates as members of a population of networks."""
        return candidates

    def _mean(self, network: Network) -> Tensors:
        """The network's parameters that are searched."""
        mean = {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}
        return {name: mean[name] for group in self._groups(mean) for name in group}

    def _groups(self, mean: Tensors) -> tuple[tuple[str, ...], ...]:
        """The names of what is searched: all, or layer by layer if in turn."""
        names = tuple(mean)
        if self.layers is None:
            chosen = [(layer, tuple(n for n in names if _layer(n) == layer)) for layer in map(_layer, names)]
            groups = tuple(dict(chosen).values())
        else:
            groups = tuple(tuple(n for n in names if belongs(n, layer)) for layer in self.layers)
            for layer, group in zip(self.layers, groups, strict=True):
                if not group:
                    known = {_layer(n) for n in names} | {_plain(n) for n in names}
                    raise ValueError(f"{type(self).__name__}.layers: {unknown('layer', layer, known)}")
        if not any(groups):
            raise ValueError(f"{type(self).__name__}: got nothing to train, wanted at least one parameter")
        return groups if self.in_turn else (tuple(dict.fromkeys(n for group in groups for n in group)),)

    def _turn(self, mean: Tensors, generation: int) -> int:
        """Whose turn it is."""
        return generation // self.in_turn % len(self._groups(mean)) if self.in_turn else 0


def noise_of(memory: Memory) -> Noise:
    """The noise that a memory's seed stands for."""
    return Noise(int(memory["seed"]))


def addresses(mean: Tensors) -> dict[str, int]:
    """The number of each parameter's noise."""
    return {name: number for number, name in enumerate(mean)}


def best_member(memory: Memory) -> tuple[float, dict[str, Tensor]]:
    """The lowest loss of a member so far, and that member: by name, what it had in place of the mean's.

    Losses of different batches are compared as they are; so it is a lucky member rather than a good one.
    """
    values = {k.removeprefix("best/member/"): v for k, v in memory.items() if k.startswith("best/member/")}
    return float(memory["best/loss"]), values


def belongs(name: str, layer: str) -> bool:
    """Whether the parameter called `name` is `layer`, or of that layer.

    >>> belongs("layers.dense1.weight", "dense1"), belongs("layers.dense10.weight", "dense1")
    (True, False)
    """
    plain = _plain(name)
    return plain == layer or plain.startswith(f"{layer}.")


def _plain(name: str) -> str:
    return plain_name(name).removeprefix("layers.")


def _layer(name: str) -> str:
    return _plain(name).split(".", 1)[0]


def _best(candidates: Candidates, values: Tensor, memory: Memory) -> Memory:
    lowest = values.min()
    if lowest >= memory["best/loss"]:
        return {}
    member = candidates.parameters(int(values.argmin()))
    return {"best/loss": lowest} | {f"best/member/{name}": value for name, value in member.items()}
