"""`rheobase bench`: the fused kernels beside their references, on this machine."""

from __future__ import annotations

import click


@click.command(short_help="Time the kernels of neurons beside the reference.")
@click.argument("neurons", metavar="[NEURON]...", nargs=-1)
@click.option("--steps", type=click.IntRange(min=1), default=100, show_default=True, help="Time steps.")
@click.option("--batch", type=click.IntRange(min=1), default=32, show_default=True, help="Samples.")
@click.option(
    "--neurons",
    "size",
    type=click.IntRange(min=1),
    default=256,
    show_default=True,
    help="Neurons of the layer.",
)
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Timed repeats.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads [default all cores].")
def command(
    neurons: tuple[str, ...], steps: int, batch: int, size: int, repeats: int, threads: int | None
) -> None:
    """Measure the fused kernel of each NEURON (all, if none is named) beside the torch reference.

    Times are medians, forward and backward over the whole sequence. What the two emit is compared
    first. An update is one neuron over one time step of one sample.
    """
    import torch

    from rheobase.cli.tables import columns
    from rheobase.cli.usage import wrong_usage
    from rheobase.kernels.measure import measure
    from rheobase.neurons.base import Neuron
    from rheobase.registry import catalogue, find, name_of

    with wrong_usage():
        models = [find(Neuron, name) for name in neurons] or list(catalogue(Neuron).values())
    if threads:
        torch.set_num_threads(threads)
    rows = [["neuron", "kernel", "reference", "faster", "updates/s", "spikes differing", "compiled in"]]
    for model in models:
        click.echo(f"measuring {name_of(model)} ...", err=True)
        m = measure(model(), steps=steps, batch=batch, size=size, repeats=repeats)
        rows.append(
            [
                m.neuron.replace("_", "-"),
                f"{m.kernel_ms:.3g} ms",
                f"{m.reference_ms:.3g} ms",
                f"{m.speed_up:.1f} x",
                f"{m.updates_per_second / 1e6:.0f} M",
                f"{100 * m.differing:.2g} %",
                f"{m.compile_seconds:.1f} s" if m.compile_seconds else "cached",
            ]
        )
    click.echo(f"{steps} steps, {batch} samples, {size} neurons, {torch.get_num_threads()} threads, float32")
    click.echo(columns(rows, right=range(1, 7)))
