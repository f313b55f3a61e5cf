"""`rheobase devices`: memory devices, their curves, and laws fitted to measured ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rheobase.crossbar.fitting.fit import Fit

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group(short_help="Memory devices: list, plot, fit to measurements.")
def command() -> None:
    """Memory devices of crossbars: what there is, how they answer to pulses, and fits to measured curves.

    \b
      rheobase devices list
      rheobase devices plot memtransistor ag-a-si mine.toml
      rheobase devices fit curve.csv --law exponential
    """


@command.command("list")
def list_command() -> None:
    """List the laws of devices, and their presets."""
    from rheobase.cli.describe import first_line, shown_name
    from rheobase.cli.tables import glossary
    from rheobase.crossbar.devices.base import Device
    from rheobase.registry import catalogue

    entries = []
    for law in catalogue(Device).values():
        names = ", ".join(law.presets)
        entries.append((shown_name(law), first_line(law) + (f" (presets: {names})" if names else "")))
    click.echo(glossary(entries))
    click.echo("\nAll options of one of them: rheobase show NAME")


@command.command("plot", short_help="Draw how devices answer to pulses.")
@click.argument("names", metavar="DEVICE...", nargs=-1, required=True)
@click.option(
    "--out",
    type=_FILE,
    default=Path("devices.svg"),
    show_default=True,
    help="The figure (.svg, .png or .pdf).",
)
@click.option(
    "--pulses",
    type=click.IntRange(min=1),
    help="Pulses in each direction [default: through most of the range].",
)
def plot_command(names: tuple[str, ...], out: Path, pulses: int | None) -> None:
    """Draw how each DEVICE (a law, a preset, or a preset file) answers to pulses up and then down."""
    from rheobase.cli.usage import wrong_usage
    from rheobase.crossbar.devices.library import device
    from rheobase.report.devices import save_responses

    with wrong_usage():
        devices = {Path(name).stem if name.endswith(".toml") else name: device(name) for name in names}
        save_responses(out, devices, pulses)
    click.echo(out)


@command.command("fit")
@click.argument("curve", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--law", default="exponential", show_default=True, help="The law to fit.")
@click.option("--unit", help="Of conductances, if the header does not say it: S, mS, uS, nS or pS.")
@click.option("--g-min", type=float, metavar="S", help="Lowest conductance [default: of the curve].")
@click.option("--g-max", type=float, metavar="S", help="Highest conductance [default: of the curve].")
@click.option("--out", type=_FILE, help="The preset file [default: CURVE.toml].")
@click.option("--figure", type=_FILE, help="The figure (.svg, .png or .pdf) [default: CURVE.svg].")
def fit_command(
    curve: Path,
    law: str,
    unit: str | None,
    g_min: float | None,
    g_max: float | None,
    out: Path | None,
    figure: Path | None,
) -> None:
    """Fit a law to measured potentiation and depression.

    CURVE is a CSV file with the columns 'pulse' and 'conductance (uS)', and perhaps 'direction' (up or down);
    without directions, it rises to its largest conductance and falls from there on. The preset file can be
    used wherever a device is named.
    """
    from rheobase.cli.usage import wrong_usage
    from rheobase.crossbar.devices.base import Device
    from rheobase.crossbar.devices.library import save_device
    from rheobase.crossbar.fitting.curve import read_curve
    from rheobase.crossbar.fitting.fit import fit
    from rheobase.registry import find, name_of
    from rheobase.report.devices import check_kind, save_fit

    preset, drawing = out or curve.with_suffix(".toml"), figure or curve.with_suffix(".svg")
    with wrong_usage():
        kind = find(Device, law)
        check_kind(drawing)
    measured = read_curve(curve, unit)
    found = fit(kind, measured, g_min, g_max)
    click.echo(_table(found))
    save_fit(drawing, measured, found, f"{curve.name}: {name_of(kind).replace('_', ' ')}")
    save_device(preset, found.device, f"fitted to {curve.name}")
    click.echo(f"\nFigure: {drawing}\nPreset: {preset}    (rheobase devices plot {preset})")


def _table(found: Fit) -> str:
    from rheobase.cli.tables import columns

    device = found.device
    rows = [["parameter", "value", "standard error"]]
    rows += [[e.name, f"{e.value:.5g}", f"{e.error:.2g}"] for e in found.estimates]
    lines = [columns(rows, right=[1, 2]), f"  range {device.g_min:.4g} to {device.g_max:.4g} S"]
    for word, error in zip(("potentiation", "depression"), found.rmse, strict=True):
        if error is not None:
            lines.append(f"  {word}: root mean square error {100 * error:.2g} % of the range")
    return "\n".join(lines)
