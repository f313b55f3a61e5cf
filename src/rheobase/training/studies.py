"""Studies of a trained network on crossbars: what time, faulty cells and wires do to its result.

    retention   the metric against the time since programming (drift, relaxation, read noise)
    faults      against the share of cells that are stuck at their low or high end, or conduct nothing
    wires       against the size of a tile, for several wire resistances (exact nodal solution)

A run whose network stands on crossbars is studied as it stands. One with ideal weights is put on crossbars of
a device first, by the device's own programming. Random choices come from the run's seed, afresh for each
repeat. A study is a table, `studies/NAME.json` in the run folder; the figure is made from that.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from rheobase.crossbar.array import Array, Placed, arrays
from rheobase.crossbar.circuit import Tiles
from rheobase.crossbar.programming.one_shot import program
from rheobase.crossbar.substrate import Crossbar
from rheobase.crossbar.wires import Wires
from rheobase.files import write_json
from rheobase.layers.network import Network
from rheobase.tasks.dataset import Dataset
from rheobase.training.evaluate import measure
from rheobase.training.experiment import Experiment
from rheobase.training.restore import Which, load_network
from rheobase.training.seeding import derived
from rheobase.training.setup import build_objective

Fault = Literal["low", "high", "unformed"]
FAULTS: tuple[Fault, ...] = ("low", "high", "unformed")
#: A second, a minute, an hour, a day, a month, a year, ten years.
TIMES = (1.0, 60.0, 3600.0, 86400.0, 2.6e6, 3.15e7, 3.15e8)
SHARES = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
RESISTANCES = (0.5, 1.0, 2.0, 5.0)
SIZES = (16, 32, 64, 128)


class Study:
    """A trained network, to be measured under changed conditions.

    Args:
        folder: The run.
        which: Which of its networks.
        substrate: The crossbars for a run with ideal weights.
        samples: Test samples at most (all if None).

    Raises:
        ValueError: If the run has ideal weights and no crossbars are given.
    """

    def __init__(
        self, folder: Path, which: Which, substrate: Crossbar | None = None, samples: int | None = None
    ) -> None:
        self.folder = folder
        self.experiment: Experiment
        self.network: Network
        self.experiment, self.network = load_network(folder, which)
        self.programmed = not arrays(self.network)
        if self.programmed:
            if substrate is None:
                raise ValueError(
                    f"{folder}: its weights are ideal, wanted crossbars to study; name a device (--device "
                    "pcm)"
                )
            substrate.place(self.network, self._generator("devices", 0))
        self.placed = arrays(self.network)
        self.targets = {name: one.parameter.detach().clone() for name, one in self.placed.items()}
        self.before = {
            name: {k: v.clone() for k, v in one.array.cells.items()} for name, one in self.placed.items()
        }
        self.objective = build_objective(self.experiment, self.network)
        data = self.experiment.task.splits().test
        self.data: Dataset = data if samples is None else _Some(data, samples)

    def _generator(self, purpose: Literal["devices", "programming"], repeat: int) -> torch.Generator:
        seed = derived(self.experiment.training.seed, purpose) + repeat
        return torch.Generator().manual_seed(seed % 2**63)

    def restore(self, repeat: int) -> None:
        """The arrays as they were; of a network that was put on them here, programmed anew."""
        for name, one in self.placed.items():
            one.array.put(self.before[name])
            one.array.time_s = None
            if self.programmed:
                program(one, self.targets[name], self._generator("programming", repeat), procedure=True)
            else:
                one.sync()

    def value(self) -> float:
        """The metric on the test samples."""
        return measure(self.experiment, self.network, self.objective, self.data).value

    # ---- what is varied

    def retention(self, times: Sequence[float] = TIMES, repeats: int = 1) -> dict[str, Any]:
        """The metric at each time in s."""

        def age(seconds: float) -> None:
            for one in self.placed.values():
                one.array.time_s = seconds

        line = self._line("", times, repeats, lambda x, _: age(x))
        return self._table("retention", "time after programming", "log", [line])

    def faults(
        self, shares: Sequence[float] = SHARES, kinds: Sequence[Fault] = FAULTS, repeats: int = 1
    ) -> dict[str, Any]:
        """The metric at each share of cells stuck, for each kind."""
        lines = []
        for kind in kinds:

            def spoil(share: float, repeat: int, kind: Fault = kind) -> None:
                generator = self._generator("devices", 1000 + repeat)
                for one in self.placed.values():
                    break_cells(one, share, kind, generator)

            lines.append(self._line(f"stuck {kind}".replace("stuck un", "un"), shares, repeats, spoil))
        return self._table("faults", "share of faulty cells", "symlog", lines)

    def wires(
        self, sizes: Sequence[int] = SIZES, resistances: Sequence[float] = RESISTANCES
    ) -> dict[str, Any]:
        """The metric at each size of a tile, for each resistance of a segment in ohm."""
        lines = []
        for resistance in resistances:

            def rewire(size: float, repeat: int, resistance: float = resistance) -> None:
                for one in self.placed.values():
                    one.array.circuit = Tiles(Wires(resistance, resistance), int(size), int(size))

            lines.append(self._line(f"{resistance:g} ohm", sizes, 1, rewire))
        return self._table("wires", "rows and columns of a tile", "log", lines)

    def _line(
        self, label: str, xs: Sequence[float], repeats: int, change: Callable[[float, int], None]
    ) -> dict[str, Any]:
        ys = []
        for x in xs:
            found = []
            for repeat in range(repeats):
                self.restore(repeat)
                change(x, repeat)
                found.append(self.value())
            ys.append(found)
        return {
            "label": label,
            "x": list(xs),
            "y": [statistics.fmean(y) for y in ys],
            "low": [min(y) for y in ys],
            "high": [max(y) for y in ys],
        }

    def _table(self, name: str, x: str, scale: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
        self.restore(0)
        for one in self.placed.values():
            one.array.circuit = None
        task = self.experiment.task
        device = next(iter(self.placed.values())).array.device
        table = {
            "study": name,
            "device": Crossbar(device=device).title,
            "task": type(task).__name__,
            "metric": task.metric,
            "x": x,
            "scale": scale,
            "unchanged": self.value(),
            "chance": task.chance,
            "samples": len(self.data),
            "lines": lines,
        }
        path = self.folder / "studies" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        write_json(path, table)
        return table


def break_cells(placed: Placed, share: float, kind: Fault, generator: torch.Generator) -> None:
    """Fix a share of an array's cells, drawn at random, and make the parameter what is stored then."""
    array: Array = placed.array
    cells = array.cells
    broken = torch.rand(cells["g"].shape, generator=generator) < share
    level = {"low": 0.0, "high": 1.0, "unformed": array.device.unformed_g}[kind]
    spoilt: dict[str, Tensor] = {
        name: torch.where(broken, level, cells[name]) for name in ("g", "hidden") if name in cells
    }
    array.put(spoilt)
    placed.sync()


class _Some(Dataset):
    """The first samples of a data set."""

    def __init__(self, data: Dataset, samples: int) -> None:
        self._data, self._samples = data, min(samples, len(data))

    def __len__(self) -> int:
        return self._samples

    def batch(self, indices: Tensor) -> Any:
        return self._data.batch(indices)
