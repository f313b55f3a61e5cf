"""What the source of a population kernel depends on, and the kernel's arguments in order.

See `rheobase.kernels.population_source`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rheobase.kernels.lane_body import beginning
from rheobase.kernels.program import PROGRAMS
from rheobase.kernels.reduction import How
from rheobase.kernels.source import explain
from rheobase.kernels.trace import Trace
from rheobase.registry import name_of

#: How input comes: lists of spikes (where those of each sample and step begin `[B, T + 1]`, and the inputs
#: that spiked, one after another); bits `[blocks, T, K]`; numbers `[blocks, T, K, lanes]`; numbers that do
#: not change `[blocks, K, lanes]`; the same and their product with weights that all share,
#: `[blocks, M, lanes]`.
Feed = Literal["lists", "spikes", "values", "constant", "shared"]


@dataclass(frozen=True)
class StageForm:
    """What of a stage the source depends on.

    Attributes:
        programs: The keys of its groups' programs, in order.
        biased: Whether a bias is added.
        factored: Whether the connection has factors beside its weights.
        recurrent: Whether the neurons are connected among themselves.
        recurrent_factored: Whether those connections have factors beside their weights.
        sizes: The vectors that its groups of neurons fill, if neurons lie side by side.
        wide: The coefficients that differ between the neurons of a group, likewise.
    """

    programs: tuple[str, ...]
    biased: bool
    factored: bool = False
    recurrent: bool = False
    recurrent_factored: bool = False
    sizes: tuple[int, ...] = ()
    wide: tuple[tuple[bool, ...], ...] = ()

    @property
    def traces(self) -> list[Trace]:
        """The traced steps of its groups of neurons."""
        return [PROGRAMS[key].trace for key in self.programs]


@dataclass(frozen=True)
class Form:
    """What the source depends on.

    Attributes:
        dtype, lanes: Of the numbers, and how many samples (or neurons) lie side by side in a vector.
        feed: How input comes.
        stages: In order.
        reductions: Of the last stage's signals ("spikes" or a state variable), and how each is reduced.
        signals: Those of which every step is kept.
        sizes: The number of inputs, and of neurons of each stage, if the source is for these alone.
    """

    dtype: str
    lanes: int
    feed: Feed
    stages: tuple[StageForm, ...]
    reductions: tuple[tuple[str, How], ...]
    signals: tuple[str, ...]
    sizes: tuple[int, ...] | None = None

    @property
    def models(self) -> str:
        """The names of the neurons' models."""
        keys = [key for stage in self.stages for key in stage.programs]
        return " and ".join(dict.fromkeys(name_of(type(PROGRAMS[key].neuron)) for key in keys))

    @property
    def neurons_side_by_side(self) -> bool:
        """Whether a vector holds neurons for one sample, and not samples for one neuron."""
        return self.feed == "lists"

    def place(self, results: str, row: str) -> str:
        """Where the numbers of a row of the read-out's vectors are in a member's results."""
        return f"{results}[b], {row}" if self.neurons_side_by_side else f"{results}[{row}], b"

    def rows(self, results: str) -> str:
        """The number of such rows."""
        return str(sum(self.stages[-1].sizes)) if self.neurons_side_by_side else f"{results}.shape[0]"


def stage_arguments(form: Form, at: int) -> list[str]:
    """What stage `at` is given, in order.

    Weights `[1 or P, M, K]` (none if the product is given), bias `[1 or P, M]`, factors `[P, M, r]` and
    `[P, r, K]`; the same for recurrent ones, and their delay. Then per group: its number of neurons,
    coefficients and initial states, `[1 or P, 1 or n]`.
    """
    stage = form.stages[at]
    args = [] if at == 0 and form.feed == "shared" else [f"weights{at}"]
    args += [f"bias{at}"] if stage.biased else []
    args += [f"left{at}", f"right{at}"] if stage.factored else []
    args += [f"recurrent{at}"] if stage.recurrent else []
    args += [f"recurrent_left{at}", f"recurrent_right{at}"] if stage.recurrent_factored else []
    args += [f"delay{at}"] if stage.recurrent else []
    for g, t in enumerate(stage.traces):
        args.append(f"size{at}_{g}")
        args += [f"c{at}_{g}_{j}" for j in range(len(t.coefficients))]
        args += [f"init{at}_{g}_{name}" for name in t.states]
    return args


def result_arguments(form: Form) -> list[str]:
    """What is filled: `[P, N, blocks, lanes]` per reduction, `[P, T, N, blocks, lanes]` per whole signal.

    If neurons lie side by side, `[P, B, N]` and `[P, T, B, N]`.
    """
    return [
        *(f"result{q}" for q in range(len(form.reductions))),
        *(f"signal{q}" for q in range(len(form.signals))),
    ]


def work_arguments(form: Form) -> list[str]:
    """Working memory, a row for each thread (see `rheobase.kernels.population`)."""
    args = ["every", "u_all", "v_all"]
    args += ["x_all", "arrivals_all"] if form.feed == "spikes" else []
    args += ["drive_all"] if form.feed in ("constant", "shared") else []
    for at, stage in enumerate(form.stages):
        args += [f"z{at}_all", f"found{at}_all", f"count{at}_all"]
        args += [f"s{at}_{g}_{name}_all" for g, t in enumerate(stage.traces) for name in t.states]
    args += [f"sums{q}_all" for q, (_, how) in enumerate(form.reductions) if how == "sum"]
    return args


def header(form: Form, title: str) -> str:
    """All that stands before a population kernel's arguments."""
    texts = [
        f"Stage {at}, group {g}. {explain(t)}"
        for at, stage in enumerate(form.stages)
        for g, t in enumerate(stage.traces)
    ]
    bits = "bits, first_place, look_up, lowest, mask, occupied, place, some, without_lowest, word"
    return beginning(title, "\n\n".join(texts), form.dtype, form.lanes, "lane_bits", bits)
