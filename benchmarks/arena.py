"""Run the arena: `python benchmarks/arena.py [w1 w7 ...]`. The rules are in `benchmarks/README.md`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import harness
from benchmarks.interface import ContestantError
from benchmarks.processes import machine


def say(text: str) -> None:
    """Progress goes to standard error; the tables alone go to standard output."""
    print(text, file=sys.stderr, flush=True)


def table(case: dict[str, Any]) -> str:
    """One case as a Markdown table, times over every floor and over our own."""
    units = {row["kind"]: row for row in case["contestants"] if row["kind"] in ("floor", "ours")}
    head = ["contestant", "ms (quartiles)", *(f"x {row['name']}" for row in units.values())]
    head += ["MiB", "first call MiB", "compile s", "spikes", "differing", "form"]
    lines = [f"### {case['title']}", "", "| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    for row in case["contestants"]:
        checked = "spikes" in row
        cells = [
            f"{row['name']} {row['version']}",
            f"{row['median_ms']:.2f} ({row['q1_ms']:.2f}-{row['q3_ms']:.2f})",
            *(f"{row['median_ms'] / unit['median_ms']:.2f}" for unit in units.values()),
            f"{row['peak_mb']:.0f}",
            f"{row['first_call_peak_mb']:.0f}",
            f"{row['compile_s']:.2f}",
            str(row["spikes"]) if checked else "",
            f"{row['differing_spikes']} ({row['differing_share']:.0e})" if checked else "",
            row["form"],
        ]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        f"Reference: {case['reference_spikes']} spikes, {case['firing_share']:.1%} of all neurons and steps.",
    ]
    lines.append(f"Other processes kept {case['foreign_load']:.2f} processors busy during the rounds.")
    if any(row.get("parted_share", 0) > row.get("differing_share", 0) for row in case["contestants"]):
        lines.append(
            "Sequences part; each decision was judged after the contestant's own spikes. Spikes that differ"
        )
        lines[-1] += " from the reference's free sequence: " + ", ".join(
            f"{row['name']} {row['parted_share']:.1%}" for row in case["contestants"] if "spikes" in row
        )
        lines[-1] += "."
    for row in case["contestants"]:
        lines += [f"{row['name']}, {form}: {ms:.2f} ms." for form, ms in row["other_forms_ms"].items()]
        lines += [f"{row['name']}, {name}: {note}." for name, note in row["notes"].items()]
    lines += [f"REFUSED {name}: {reason}" for name, reason in case["refused"].items()]
    return "\n".join(lines)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Time spiking-network training against peers and the hardware."
    )
    parser.add_argument("cases", nargs="*", help="workloads (w7) or cases (w7-512); default: all")
    parser.add_argument(
        "--threads", type=int, default=min(2, os.cpu_count() or 1), help="default: %(default)s"
    )
    parser.add_argument("--repeats", type=int, default=10, help="rounds of turns; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of weights and inputs; default: %(default)s")
    parser.add_argument("--only", nargs="+", metavar="MODULE", help="contestant modules; default: all")
    parser.add_argument("--out", type=Path, help="write everything measured as JSON")
    parser.add_argument("--plot", type=Path, help="draw the results, e.g. arena.png")
    options = parser.parse_args(arguments)
    for name in ("threads", "repeats"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(options, name)}")
    known = harness.contestant_modules()
    unknown = sorted(set(options.only or ()) - set(known))
    if unknown:
        parser.error(f"unknown contestant {', '.join(unknown)}; known: {', '.join(known)}")
    try:
        options.selected = harness.select_cases(options.cases)
    except ValueError as error:
        parser.error(str(error))
    return options


def main(arguments: list[str]) -> int:
    """Run, print, write; 1 if a contestant was missing or refused."""
    options = parse(arguments)
    entrants, absent = [], {}
    for module in options.only or harness.contestant_modules():
        try:
            entrants.append(harness.describe(module))
        except ContestantError as error:
            absent[module] = str(error)
            say(f"ABSENT {module} (peers: pip install 'rheobase[bench]'): {error}")
    results: dict[str, Any] = {"machine": machine(options.threads), "absent": absent, "cases": {}}
    for case in options.selected:
        say(case.title)
        report = harness.run_case(case, entrants, options.threads, options.repeats, options.seed, say)
        results["cases"][case.name] = report
        print(table(report) + "\n", flush=True)
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        from benchmarks.plot import draw  # only a plot needs matplotlib

        draw(results, options.plot)
    return 1 if absent or any(case["refused"] for case in results["cases"].values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
