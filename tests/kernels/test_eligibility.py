"""Eligibility traces step by step, against the sums written out; what is kept of each step."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rheobase.kernels.derivatives import Derivatives, linearise
from rheobase.kernels.eligibility import Arrived, LinearFilter, follow
from rheobase.kernels.groups import HISTORY, Group
from rheobase.kernels.jacobian import EMITTED, FILTERED, INPUT
from rheobase.neurons.adaptive_lif import AdaptiveLIF
from rheobase.neurons.lif import LIF

STEPS, BATCH, SIZE, SOURCES, DEPTH = 7, 3, 4, 5, 2
FILTER = LinearFilter(("u", "w"), {("u", "u"): 0.8, ("w", "u"): 0.3, ("w", "w"): 0.6}, {"u": 0.5, "w": 0.2})


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def derivatives() -> Derivatives:
    """Two variables and two inputs; numbers, values of each neuron and of each step, and zeros."""
    changing = random(3, STEPS, BATCH, SIZE, seed=1)
    by = {
        ("v", "v"): 0.9,
        ("v", "b"): changing[0],
        ("b", "b"): random(SIZE, seed=2),
        ("v", f"{INPUT}in"): 0.5,
        ("b", f"{INPUT}in"): changing[1],
        ("v", f"{INPUT}out"): -0.4,
        (EMITTED, "v"): changing[2],
        (EMITTED, f"{INPUT}in"): 0.1,
    }
    return Derivatives(("v", "b"), ("in", "out"), by)


def plainly(d: Derivatives, x: Tensor, signals: dict[str, Tensor], filtered: LinearFilter) -> Tensor:
    """The sums, for what arrives `[T, B, P * n, I]`."""

    def at(result: str, cause: str, t: int) -> Tensor:
        value = torch.as_tensor(d.by.get((result, cause), 0.0), dtype=torch.float64)
        value = value[t] if value.dim() == 3 else value
        return value.expand(BATCH, SIZE)[..., None]

    totals = []
    for i, port in enumerate(d.inputs):
        columns = slice(i * SIZE, (i + 1) * SIZE)
        eps = {name: torch.zeros(BATCH, SIZE, SOURCES, dtype=torch.float64) for name in d.states}
        phi = {name: torch.zeros(BATCH, SIZE, SOURCES, dtype=torch.float64) for name in filtered.variables}
        total = torch.zeros(SIZE, SOURCES, dtype=torch.float64)
        for t in range(STEPS):
            now = x[t, :, columns]
            e = at(EMITTED, f"{INPUT}{port}", t) * now + sum(at(EMITTED, s, t) * eps[s] for s in d.states)
            eps = {
                r: at(r, f"{INPUT}{port}", t) * now + sum(at(r, s, t) * eps[s] for s in d.states)
                for r in d.states
            }
            phi = {
                r: filtered.gain[r] * e
                + sum(filtered.by.get((r, s), 0.0) * phi[s] for s in filtered.variables)
                for r in filtered.variables
            }
            known = {EMITTED: e, **eps, **{f"{FILTERED}{name}": value for name, value in phi.items()}}
            total = total + sum((signals[n][t][..., None] * known[n]).sum(0) for n in signals)
        totals.append(total)
    return torch.cat(totals)


@pytest.mark.parametrize("delayed", [False, True])
@pytest.mark.parametrize("filtered", [FILTER, LinearFilter()], ids=["filtered", "not filtered"])
def test_sums_are_those_of_the_text_and_may_be_taken_in_parts(delayed: bool, filtered: LinearFilter) -> None:
    d, seen = derivatives(), random(DEPTH + STEPS, BATCH, SOURCES, seed=3)
    delay = torch.randint(0, DEPTH + 1, (2 * SIZE, SOURCES), generator=torch.Generator().manual_seed(4))
    names = [EMITTED, "b", *(f"{FILTERED}{v}" for v in filtered.variables)]
    signals = {name: random(STEPS, BATCH, SIZE, seed=5 + i) for i, name in enumerate(names)}
    back = delay if delayed else torch.zeros_like(delay)
    times = torch.arange(DEPTH, DEPTH + STEPS)[:, None, None] - back  # shape: [T, P * n, I]
    x = seen[times, :, torch.arange(SOURCES)].permute(0, 3, 1, 2)
    wanted = plainly(d, x, signals, filtered)

    traces, total = None, torch.zeros(2 * SIZE, SOURCES, dtype=torch.float64)
    for low, high in ((0, 3), (3, 4), (4, STEPS)):
        by = {k: v[low:high] if isinstance(v, Tensor) and v.dim() == 3 else v for k, v in d.by.items()}
        arrived = Arrived(seen[low : high + DEPTH], delay if delayed else None)
        part, traces = follow(
            Derivatives(d.states, d.inputs, by),
            (high - low, SIZE),
            arrived,
            filtered,
            {name: signal[low:high] for name, signal in signals.items()},
            traces,
        )
        total += part
    torch.testing.assert_close(total, wanted, rtol=1e-12, atol=1e-12)
    assert traces is not None
    assert traces.shape == (2 * SIZE, BATCH, 2 + len(filtered.variables), SOURCES)


def test_traces_are_not_changed_in_place() -> None:
    d, seen = derivatives(), random(STEPS, BATCH, SOURCES)
    signals = {EMITTED: random(STEPS, BATCH, SIZE)}
    _, traces = follow(d, (STEPS, SIZE), Arrived(seen), LinearFilter(), signals, None)
    kept = traces.clone()
    follow(d, (STEPS, SIZE), Arrived(seen), LinearFilter(), signals, traces)
    assert torch.equal(traces, kept)


def test_neurons_do_the_same_with_their_derivatives_kept() -> None:
    """The recurrent layer of two models whose parameters differ, in one go and in parts."""
    groups = [
        Group("a", AdaptiveLIF(tau_m=torch.linspace(5.0, 20.0, 3, dtype=torch.float64)), 3),
        Group("b", LIF(refractory=2.0), 2),
    ]
    state = {"a.v": torch.zeros(1, 3), "a.b": torch.zeros(1, 3), "b.v": torch.zeros(1, 2)}
    state |= {"b.refractory": torch.zeros(1, 2), HISTORY: torch.zeros(1, 1, 5)}
    state = {name: value.double() for name, value in state.items()}
    current, weight = 0.5 * random(12, 1, 5).abs(), random(5, 5, seed=1)
    whole = linearise(groups, current, state, weight=weight, record=["a.b"])
    first = linearise(groups, current[:5], state, weight=weight)
    second = linearise(groups, current[5:], first.run.state, weight=weight)
    assert torch.equal(torch.cat([first.run.output, second.run.output]), whole.run.output)
    assert torch.equal(whole.run.traces["a.b"][-1], whole.run.state["a.b"])
    ours = whole.groups[0].by["v", "v"]
    assert isinstance(ours, Tensor)
    torch.testing.assert_close(ours, torch.exp(-1.0 / groups[0].neuron.tau_m))  # type: ignore[attr-defined]
    # Of the refractory model: held, or leaky.
    held = whole.groups[1].by["v", "v"]
    assert isinstance(held, Tensor)
    assert sorted(held.unique().tolist()) == pytest.approx([0.9512294245, 1.0])
    assert whole.groups[1].states == ("v",)
