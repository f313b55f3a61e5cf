"""SuperSpike: against autograd, against the online form step by step, its feedback, and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from rheobase.coding.filters import DoubleExponential
from rheobase.coding.losses import VanRossum
from rheobase.layers.delayed import Delayed
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network, Record
from rheobase.layers.neurons import Neurons
from rheobase.layers.recurrent import Recurrent
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.neurons.synaptic_lif import SynapticLIF
from rheobase.rules.base import Lesson, Memory
from rheobase.rules.bptt import BPTT
from rheobase.rules.superspike import Superspike
from rheobase.surrogate import FastSigmoid

NEURON = SynapticLIF.preset("superspike", refractory=1.0)
ALPHA = DoubleExponential(scheme="euler").system(0.1)
J, H, K = 12, 5, 3
DELAY = 4  # steps


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trains(steps: int, size: int, rate: float, seed: int) -> Tensor:
    return (torch.rand(steps, 1, size, generator=generator(seed)) < rate).double()


def network(hidden: bool = True, bias: bool = True) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        inner: dict[str, torch.nn.Module] = {}
        size = J
        if hidden:
            first = Delayed(J, H, delays=DELAY * 0.1, dt=0.1, gain=20.0, bias=bias)
            inner, size = {"dense1": first, "hidden1": Neurons(NEURON)}, H
        last = Delayed(size, K, delays=DELAY * 0.1, dt=0.1, gain=60.0, bias=bias)
        return excited(Network(**inner, dense2=last, readout=Neurons(NEURON)).double())


def excited(net: Network) -> Network:
    """Weights with a positive mean, so that neurons fire."""
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if name.endswith("weight"):
                weight += 0.5 * weight.abs().max()
    return net


def lesson(inputs: Tensor, targets: Tensor) -> Lesson:
    loss = VanRossum()
    return Lesson(
        inputs,
        lambda record: loss(record["readout.spikes"], targets),
        ("readout.spikes",),
        targets,
    )


@dataclass
class Online:
    """The textbook: every trace of every neuron and synapse, step after step, in plain loops over time."""

    network: Network
    rule: Superspike
    memory: Memory
    z: dict[str, Tensor] = field(default_factory=dict)

    def run(self, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """The direction for each parameter, over one run through all windows of `inputs` [W, T, 1, J]."""
        results: list[dict[str, Tensor]] = []
        net, rule = self.network, self.rule
        parts = [(n, m) for n, m in net.layers.items() if isinstance(m, Neurons)]
        state = {
            n: {"history": torch.zeros(DELAY, 1, m.inputs).double()}
            for n, m in net.layers.items()
            if isinstance(m, Delayed)
        }
        traces: dict[str, dict[str, Tensor]] = {}
        buffers: dict[str, list[Tensor]] = {}
        error = torch.zeros(2, K, dtype=torch.float64)
        decay_s, decay_m = (torch.exp(torch.tensor(-0.1 / tau, dtype=torch.float64)) for tau in (5.0, 10.0))
        het = torch.exp(torch.tensor(-0.1 / rule.tau_het, dtype=torch.float64))
        names = ["dense1", "dense2"] if len(parts) > 1 else ["dense2"]
        for window, wanted in zip(inputs, targets, strict=True):
            sums = {
                name: torch.zeros(
                    len(net.layers[name].weight), net.layers[name].inputs + 1, dtype=torch.float64
                )
                for name in names
            }
            for t in range(len(window)):
                seen = net(window[t : t + 1], state, record=net.signals())
                state = seen.state
                signals = {"in": window[t, 0]} | {n: seen[f"{n}.spikes"][0, 0] for n, _ in parts}
                difference = wanted[t, 0] - signals["readout"]
                error[0] = 0.98 * error[0] + 0.02 * difference
                error[1] = 0.99 * error[1] + 0.01 * error[0]
                for name in names:
                    post = "readout" if name == "dense2" else "hidden1"
                    pre = ("hidden1" if len(names) > 1 else "in") if name == "dense2" else "in"
                    late = DELAY if post == "hidden1" else 0
                    weight = net.layers[name].weight.detach()
                    # What arrived, and sigma', both as late as the error is.
                    sent = buffers.setdefault(f"{name}.x", [torch.zeros_like(signals[pre])] * (DELAY + late))
                    gates = buffers.setdefault(f"{name}.g", [torch.zeros(len(weight)).double()] * late)
                    sent.append(signals[pre])
                    h = seen[f"{post}.v"][0, 0] - NEURON.threshold
                    gates.append(1.0 / (1.0 + h.abs()) ** 2)
                    x, gate = torch.cat([sent.pop(0), torch.ones(1).double()]), gates.pop(0)
                    now = traces.setdefault(name, {})
                    zero = torch.zeros_like(sums[name])
                    # eps as the neuron itself has it, then alpha of each synapse.
                    now["i"] = decay_s * now.get("i", torch.zeros_like(x)) + x
                    now["v"] = decay_m * now.get("v", torch.zeros_like(x)) + (1 - decay_m) * now["i"]
                    pair = torch.outer(gate, now["v"])
                    now["a"] = 0.98 * now.get("a", zero) + 0.02 * pair
                    now["l"] = 0.99 * now.get("l", zero) + 0.01 * now["a"]
                    e = error[1]
                    if post == "hidden1":
                        back = {
                            "symmetric": net.layers["dense2"].weight.detach(),
                            "random": self.memory.get("hidden1.feedback", zero).double(),
                            "uniform": torch.ones(K, H).double(),
                        }[rule.feedback]
                        e = e @ back
                        trace = now["z"] = het * now.get("z", torch.zeros(H).double()) + signals["hidden1"]
                        sums[name][:, :-1] -= rule.heterosynaptic * weight * (trace**4).unsqueeze(1)
                    sums[name] += e.unsqueeze(1) * now["l"]
            results.append({name: -value / len(window) for name, value in sums.items()})
        return {f"{w}.{name}": value for w, found in enumerate(results) for name, value in found.items()}


@pytest.mark.parametrize("feedback", ["symmetric", "random", "uniform"])
def test_windows_add_up_to_the_online_form(feedback: str) -> None:
    windows, steps = 3, 100
    inputs = trains(windows * steps, J, 0.04, 1).reshape(windows, steps, 1, J)
    targets = trains(windows * steps, K, 0.01, 2).reshape(windows, steps, 1, K)
    net = network()
    rule = Superspike(feedback=feedback, continuous=True, heterosynaptic=1e-3)  # type: ignore[arg-type]
    memory = rule.begin(net, generator(0))
    truth = Online(net, rule, memory).run(inputs, targets)
    spikes = 0.0
    for w in range(windows):
        net.zero_grad()
        outcome = rule.accumulate(net, lesson(inputs[w], targets[w]), memory)
        memory = outcome.memory
        spikes += float(outcome.record.output.sum())
        for name in ("dense1", "dense2"):
            layer = net.layers[name]
            found = torch.cat([layer.weight.grad, layer.bias.grad.unsqueeze(1)], 1)
            torch.testing.assert_close(found, truth[f"{w}.{name}"], rtol=1e-10, atol=1e-16)
            assert found.any()
    assert spikes > 3


@pytest.mark.parametrize("bias", [True, False])
def test_one_layer_alone_is_the_online_form_with_one_kernel_and_without(bias: bool) -> None:
    """Without biases a window is one kernel; with them, neurons, filters and products."""
    windows, steps = 3, 100
    inputs = trains(windows * steps, J, 0.04, 1).reshape(windows, steps, 1, J)
    targets = trains(windows * steps, K, 0.01, 2).reshape(windows, steps, 1, K)
    net, rule = network(hidden=False, bias=bias), Superspike(continuous=True)
    memory = rule.begin(net, generator(0))
    truth = Online(net, rule, memory).run(inputs, targets)
    for w in range(windows):
        net.zero_grad()
        outcome = rule.accumulate(net, lesson(inputs[w], targets[w]), memory)
        memory = outcome.memory
        found = net.layers["dense2"].weight.grad
        torch.testing.assert_close(found, truth[f"{w}.dense2"][:, :J], rtol=1e-10, atol=1e-16)
    assert ("readout.state" in memory) == (not bias)
    assert found.any()


def test_is_the_gradient_of_the_van_rossum_loss_where_it_should_be() -> None:
    """One layer, reset detached, no refractoriness: the reset by subtraction leaves eps as it is."""
    neuron = SynapticLIF(
        dt=0.1, scaling="leak", threshold=10.0, timing="delayed", surrogate=FastSigmoid(slope=1.0)
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = excited(
            Network(dense=Delayed(J, K, delays=0.4, dt=0.1, gain=20.0), readout=Neurons(neuron)).double()
        )
    inputs, targets = trains(400, J, 0.03, 1), trains(400, K, 0.01, 2)
    loss = 0.5 * DoubleExponential(scheme="euler")(targets - net(inputs).output, 0.1).square().sum()
    exact = torch.autograd.grad(loss, [net.layers["dense"].weight, net.layers["dense"].bias])
    for rule, scale in ((Superspike(), 1.0), (Superspike(continuous=True), 1 / 400)):
        net.zero_grad()
        half = Lesson(
            inputs,
            lambda r: 0.5 * DoubleExponential(scheme="euler")(targets - r.output, 0.1).square().sum(),
            (),
            targets,
        )
        outcome = rule.accumulate(net, half, rule.begin(net, generator(0)))
        assert outcome.record.output.sum() > 5
        torch.testing.assert_close(net.layers["dense"].weight.grad, scale * exact[0], rtol=1e-9, atol=1e-14)
        torch.testing.assert_close(net.layers["dense"].bias.grad, scale * exact[1], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("readout", [LIF(timing="delayed", threshold=1e3), LeakyIntegrator()])
def test_on_a_membrane_and_one_hidden_layer_it_is_bptt(readout: LIF | LeakyIntegrator) -> None:
    """With symmetric feedback, a read-out that never fires, and resets that leave eps as it is."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Network(
            a=Dense(J, H, gain=4.0),
            hidden=Neurons(LIF(timing="delayed")),
            b=Dense(H, K),
            readout=Neurons(readout),
        ).double()
    labels = torch.tensor([0, 2])
    x = torch.rand(20, 2, J, generator=generator(0)).double()
    task = Lesson(
        x, lambda r: torch.nn.functional.cross_entropy(r["readout.v"].sum(0), labels), ("readout.v",), labels
    )
    gradients = []
    for rule in (Superspike(), BPTT()):
        net.zero_grad()
        outcome = rule.accumulate(net, task, rule.begin(net, generator(0)))
        gradients.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
    assert outcome.record.signals.keys() == {"readout.v"}
    for mine, exact in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, exact, rtol=1e-9, atol=1e-12)


def test_burn_in_moves_everything_but_the_weights() -> None:
    net, rule = network(), Superspike(continuous=True, burn_in=15.0)
    inputs, targets = trains(300, J, 0.05, 1), trains(300, K, 0.02, 2)
    outcome = rule.accumulate(net, lesson(inputs[:150], targets[:150]), rule.begin(net, generator(0)))
    assert all(p.grad is not None and not p.grad.any() for p in net.parameters())
    assert int(outcome.memory["elapsed"]) == 150
    assert outcome.memory["readout.eligibility"].any()
    rule.accumulate(net, lesson(inputs[150:], targets[150:]), outcome.memory)
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())


@pytest.mark.parametrize("continuous", [True, False])
@pytest.mark.parametrize("feedback", ["symmetric", "random"])
def test_the_regulariser_fades_out(continuous: bool, feedback: str) -> None:
    """Over two updates: whole, half, nothing, nothing; from rest each time."""
    inputs, targets = trains(200, J, 0.05, 1), trains(200, K, 0.02, 2)

    def directions(rule: Superspike, updates: int) -> list[Tensor]:
        net = network(bias=False)
        start = memory = rule.begin(net, generator(0))
        found = []
        for _ in range(updates):
            net.zero_grad()
            memory = rule.accumulate(net, lesson(inputs, targets), memory).memory
            memory = {name: value for name, value in memory.items() if name in start}
            found.append(net.layers["dense1"].weight.grad.clone())
        return found

    one = Superspike(continuous=continuous, feedback=feedback, heterosynaptic=0.1)  # type: ignore[arg-type]
    (whole,), (without,) = directions(one, 1), directions(one.replace(heterosynaptic=0.0), 1)
    assert (whole - without).norm() > 1e-6 * without.norm()
    wanted = [whole, 0.5 * (whole + without), without, without]
    for got, want in zip(directions(one.replace(heterosynaptic_updates=2), 4), wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-16)


@pytest.mark.parametrize("continuous", [True, False])
def test_margins_move_thresholds_down_and_up_in_turn(continuous: bool) -> None:
    """Each update is that of a network with such thresholds from the start."""
    inputs, targets = trains(300, J, 0.05, 1), trains(300, K, 0.02, 2)

    def moved(hidden: float, readout: float) -> Network:
        net = network()
        for name, by in (("hidden1", hidden), ("readout", readout)):
            net.layers[name] = Neurons(NEURON.replace(threshold=NEURON.threshold + by))
        return net

    rule = Superspike(continuous=continuous, heterosynaptic=0.1)
    others = (moved(-0.5, -2.0), moved(0.5, 2.0), moved(-0.5, -2.0))
    net, with_margins = network(), rule.replace(readout_margin=2.0, hidden_margin=0.5)
    memory, plain = with_margins.begin(net, generator(0)), rule.begin(others[0], generator(0))
    directions = []
    for other in others:
        net.zero_grad()
        outcome = with_margins.accumulate(net, lesson(inputs, targets), memory)
        wanted = rule.accumulate(other, lesson(inputs, targets), plain)
        memory, plain = outcome.memory, wanted.memory
        assert outcome.loss == wanted.loss
        for mine, its in zip(net.parameters(), other.parameters(), strict=True):
            assert mine.grad is not None
            assert mine.grad.any()
            torch.testing.assert_close(mine.grad, its.grad, rtol=0.0, atol=0.0)
        directions.append(net.layers["dense1"].weight.grad.clone())
    assert not torch.equal(directions[0], directions[1])
    assert all(layer.neuron == NEURON for layer in net.neurons().values())  # its own are as they were


def test_cutoff_silences_far_membranes() -> None:
    net, rule = network(hidden=False), Superspike(cutoff=1e-6)
    inputs, targets = trains(200, J, 0.05, 1), trains(200, K, 0.02, 2)
    rule.accumulate(net, lesson(inputs, targets), {})
    near = net.layers["dense2"].weight.grad.clone()
    net.zero_grad()
    Superspike().accumulate(net, lesson(inputs, targets), {})
    assert near.abs().sum() < net.layers["dense2"].weight.grad.abs().sum()


def record_nothing(record: Record) -> Tensor:
    return record.output.sum()


def test_what_it_cannot_do_is_refused() -> None:
    rule = Superspike()
    recurrent = Network(a=Dense(3, 4), hidden=Recurrent(LIF(), 4), b=Dense(4, 2), out=Neurons(LIF()))
    with pytest.raises(ValueError, match=r"'hidden' .*, wanted neurons without connections among"):
        rule.begin(recurrent, generator(0))
    trained = Network(a=Dense(3, 4), out=Neurons(LIF(), trainable=["tau_m"], size=4))
    with pytest.raises(ValueError, match=r"neurons in 'out' with tau_m for each"):
        rule.begin(trained, generator(0))
    mixed = Network(a=Delayed(3, 4, delays=(0.0, 9.0)), out=Neurons(LIF()))
    with pytest.raises(ValueError, match=r"delays in 'a' that are learnt or differ"):
        rule.begin(mixed, generator(0))
    quiet = Network(a=Dense(3, 4), out=Neurons(LeakyIntegrator()))
    with pytest.raises(ValueError, match=r"'out', which does not spike"):
        Superspike(continuous=True).begin(quiet, generator(0))
    with pytest.raises(ValueError, match=r"ask for continuous=True"):
        Superspike(burn_in=10.0)
    two = Lesson(torch.zeros(9, 2, 3), record_nothing, (), torch.zeros(9, 2, 4))
    net = Network(a=Dense(3, 4), out=Neurons(LIF()))
    with pytest.raises(ValueError, match=r"set training.batch_size to 1"):
        Superspike(continuous=True).accumulate(net, two, {})
