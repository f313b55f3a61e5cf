"""Training in place: schemes of programming x devices, on the 5,000 digits, beside NeuroSim's published
accuracies.

    python benchmarks/in_place.py OUT                       # every pair that OUT has no result of yet
    python benchmarks/in_place.py OUT --devices pcm --schemes write-verify --epochs 20

A network 784-128-10 of LIF neurons (25 steps of constant current), BPTT and Adam as in the recipe of `mnist`;
on differential pairs, both layers on arrays, the range of a cell standing for five times the largest initial
weight. The result is OUT/in_place.md, a table, and OUT/in_place.png; each run is a run folder in OUT.

NeuroSim's accuracies are of another network (400-100-10 sigmoid units, cropped MNIST of 60,000, plain
gradient descent with rounded pulses), so the column is there to compare the order of devices, not the
numbers.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from rheobase.crossbar.devices.library import device
from rheobase.training.experiment import Experiment
from rheobase.training.fit import fit, resume

#: Devices, and NeuroSim's published accuracy of online learning in per cent, where there is one.
DEVICES = {
    "memtransistor-5": "",
    "ag-a-si": "73",
    "pcmo": "10-33",
    "alox-hfo2": "20-41",
    "gst-pcm": "87-89",
    "epiram": "92",
    "hzo-fefet": "88-90",
    "gokmen-vlasov": "",
    "ecram": "",
    "reram-array-om": "",
    "reram-es": "",
    "pcm": "",
}
SCHEMES = ("rounded-pulses", "stochastic-pulses", "accumulate", "tiki-taka", "tiki-taka2", "write-verify")
IDEAL = "ideal"
REACH = 5.0


def experiment(name: str, scheme: str, epochs: int, seed: int, hidden: int = 128) -> Experiment:
    substrate: dict[str, Any] = {"name": IDEAL}
    if name != IDEAL:
        cells = device(name)
        mapping = {"name": "differential_pair", "rest": "low" if cells.one_sided else "middle"}
        programming = {"name": scheme.replace("-", "_")}
        options = {"device": cells.to_dict(), "mapping": mapping, "programming": programming, "reach": REACH}
        substrate = {"name": "crossbar", **options}
    training = {"epochs": epochs, "seed": seed, "threads": torch.get_num_threads()}
    overrides = {"network": {"hidden": [hidden]}, "substrate": substrate, "training": training}
    return Experiment.from_recipe("mnist", "default", overrides)


def run(name: str, scheme: str, options: argparse.Namespace) -> float:
    """The test accuracy of one pair; from OUT, if it is there."""
    folder = options.out / f"{name}-{scheme}-e{options.epochs}-s{options.seed}"
    summary = folder / "summary.json"
    if summary.exists():
        return float(json.loads(summary.read_text())["value"])
    if (folder / "experiment.toml").exists():  # it was interrupted
        return resume(folder, progress=False).value
    return fit(experiment(name, scheme, options.epochs, options.seed), folder, progress=False).value


def table(results: dict[str, dict[str, float]], ideal: float, schemes: tuple[str, ...]) -> str:
    head = ["device", *schemes, "NeuroSim, its own network"]
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    for name, row in results.items():
        best = max(row.values())
        cells = [f"**{v:.3f}**" if v == best else f"{v:.3f}" for v in (row[scheme] for scheme in schemes)]
        lines.append(f"| {name} | {' | '.join(cells)} | {DEVICES.get(name, '')} |")
    lines.append(f"| ideal weights | {' | '.join([f'{ideal:.3f}'] * len(schemes))} | 96-97 |")
    return "\n".join(lines) + "\n"


def figure(results: dict[str, dict[str, float]], ideal: float, schemes: tuple[str, ...], path: Path) -> None:
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(8.5, 0.42 * max(len(results), 4) + 1.3), layout="constrained")
    axes = drawn.subplots()
    for index, scheme in enumerate(schemes):
        values = [row[scheme] for row in results.values()]
        # One below the other within a row: most are alike.
        places = [row + 0.12 * (index - (len(schemes) - 1) / 2) for row in range(len(values))]
        axes.plot(values, places, "os^Dv*"[index % 6], label=scheme, ms=5)
    axes.axvline(ideal, color="#5f6b76", lw=1, ls="--")
    axes.text(ideal, -0.65, "ideal", ha="center", va="bottom", fontsize=8, color="#5f6b76")
    axes.set_yticks(range(len(results)), list(results))
    axes.set_ylim(len(results) - 0.5, -0.5)
    axes.set(xlabel="test accuracy, 784-128-10 on the 5,000 digits")
    for row in range(1, len(results), 2):
        axes.axhspan(row - 0.5, row + 0.5, color="#f3f5f7", lw=0)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    drawn.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--devices", nargs="*", default=list(DEVICES))
    parser.add_argument("--schemes", nargs="*", default=list(SCHEMES))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    schemes = tuple(options.schemes)
    ideal = run(IDEAL, "adam", options)
    print(f"ideal {ideal:.3f}", flush=True)
    results: dict[str, dict[str, float]] = {}
    for name in options.devices:
        results[name] = {}
        for scheme in schemes:
            results[name][scheme] = run(name, scheme, options)
            print(f"{name} {scheme} {results[name][scheme]:.3f}", flush=True)
    (options.out / "in_place.md").write_text(table(results, ideal, schemes))
    figure(results, ideal, schemes, options.out / "in_place.png")
    print(table(results, ideal, schemes), end="")


if __name__ == "__main__":
    main()
