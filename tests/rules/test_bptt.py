"""Backpropagation through time against plain autograd."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rheobase.kernels.constant import Constant
from rheobase.layers.network import Network, Record
from rheobase.networks.feed_forward import FeedForward
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.rules.base import Lesson
from rheobase.rules.bptt import BPTT
from rheobase.surrogate import Arctan

STEPS = 11
SIGNALS = ("hidden1.spikes", "readout.v")


def network() -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        architecture = FeedForward(hidden=(6,), gain=3.0, train_neurons=("tau_m",))
        net = architecture.build((4,), 3, LIF(surrogate=Arctan()), LeakyIntegrator())
        return net.double()


def inputs(constant: bool) -> Tensor | Constant:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(STEPS, 2, 4, generator=generator, dtype=torch.float64)
    return Constant(x[0], STEPS) if constant else x


def maximum_over_time(record: Record) -> Tensor:
    """Not a sum over steps: the step that counts is known at the end only."""
    loss = torch.nn.functional.cross_entropy(record["readout.v"].amax(0), torch.tensor([0, 2]))
    return loss + 0.1 * record["hidden1.spikes"].sum(0).square().mean()


def last_output(record: Record) -> Tensor:
    return record.output[-1].square().sum() + record.output[3].sum()


def gradients(net: Network) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


def expected(net: Network, x: Tensor | Constant, objective, window: int) -> dict[str, Tensor]:  # type: ignore[no-untyped-def]
    """Autograd, with the state cut loose every `window` steps."""
    state = None
    signals: dict[str, list[Tensor]] = {name: [] for name in SIGNALS}
    outputs = []
    for start in range(0, STEPS, window):
        steps = min(window, STEPS - start)
        part = Constant(x.value, steps) if isinstance(x, Constant) else x[start : start + steps]
        record = net(part, state=state, record=SIGNALS)
        outputs.append(record.output)
        for name in SIGNALS:
            signals[name].append(record[name])
        state = {layer: {n: v.detach() for n, v in s.items()} for layer, s in record.state.items()}
    whole = Record(torch.cat(outputs), {n: torch.cat(v) for n, v in signals.items()})
    names = dict(net.named_parameters())
    return dict(zip(names, torch.autograd.grad(objective(whole), list(names.values())), strict=True))


def the_end(record: Record) -> Tensor:
    return record["readout.v"][-3:].square().sum() + record["hidden1.spikes"][-2:].square().sum()


def nothing(record: Record) -> Tensor:
    return 0.0 * record["readout.v"].sum()


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("objective", [maximum_over_time, last_output, the_end, nothing])
@pytest.mark.parametrize("truncation", [None, 1, 3, 4, STEPS, 50])
def test_gradients(truncation: int | None, objective, constant: bool) -> None:  # type: ignore[no-untyped-def]
    net, x = network(), inputs(constant)
    outcome = BPTT(truncation=truncation).accumulate(net, Lesson(x, objective, SIGNALS), {})
    want = expected(net, x, objective, truncation or STEPS)
    got = gradients(net)
    assert set(got) == set(want)
    for name, gradient in want.items():
        torch.testing.assert_close(got[name], gradient, rtol=1e-10, atol=1e-12, msg=name)
    with torch.no_grad():
        torch.testing.assert_close(outcome.loss, objective(net(x, record=SIGNALS)))


@pytest.mark.parametrize(("objective", "wanted"), [(the_end, [11, 8, 2, 1]), (nothing, [11, 10, 1])])
def test_steps_that_the_loss_does_not_ask_for_are_run_at_once(objective, wanted: list[int]) -> None:  # type: ignore[no-untyped-def]
    net, steps = network(), list[int]()
    net.register_forward_pre_hook(lambda _, given: steps.append(len(given[0])))
    BPTT(truncation=2).accumulate(net, Lesson(inputs(constant=False), objective, SIGNALS), {})
    assert steps == wanted


def test_truncation_makes_a_difference() -> None:
    net, x = network(), inputs(constant=False)
    whole, cut = (expected(net, x, maximum_over_time, k) for k in (STEPS, 3))
    assert any(not torch.allclose(whole[name], cut[name], rtol=1e-3) for name in whole)


def test_truncation_is_at_least_one_step() -> None:
    with pytest.raises(ValueError, match=r"BPTT\.truncation: got 0 steps, wanted at least 1 steps"):
        BPTT(truncation=0)
    assert BPTT(truncation="none").kind == "exact"
    assert BPTT(truncation=5).kind == "truncated"
