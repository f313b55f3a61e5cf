"""Evolution strategies on functions whose answers are known, and as rules of a network."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rheobase.kernels.constant import Constant
from rheobase.layers.network import Network, Record
from rheobase.networks.feed_forward import FeedForward
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.registry import catalogue
from rheobase.rules.base import LearningRule, Lesson
from rheobase.rules.cmaes import CMAES
from rheobase.rules.evolution import Evolution, best_member
from rheobase.rules.low_rank_es import LowRankES
from rheobase.rules.open_es import OpenES
from rheobase.rules.pgpe import PGPE
from rheobase.rules.shaping import shape
from rheobase.rules.snes import SNES
from rheobase.rules.spsa import SPSA

EVERY = [cls for cls in catalogue(LearningRule).values() if issubclass(cls, Evolution)]
each = pytest.mark.parametrize("cls", EVERY)
Function = Callable[[Tensor], Tensor]


def estimates(rule: Evolution, f: Function, x: Tensor, number: int) -> Tensor:
    """So many independent estimates `[number, d]` of the gradient of f at x."""
    memory, mean, found = rule.start({"x": x}, seed=0), {"x": x}, []
    for _ in range(number):
        candidates = rule.ask(mean, memory)
        direction, memory = rule.tell(candidates, [float(f(c["x"])) for c in candidates], memory)
        found.append(direction["x"])
    return torch.stack(found)


# -- what an estimate of the gradient is -------------------------------------------------------------


def test_linear_has_the_gradient_as_mean_and_the_variance_of_theory() -> None:
    """n antithetic pairs: mean a, variance (|a|^2 + a_i^2) / n."""
    a, pairs, number = torch.tensor([1.0, -2.0, 0.5]), 4, 1000
    rule = OpenES(population=2 * pairs, sigma=0.3, shaping="raw")
    got = estimates(rule, lambda x: a @ x, torch.tensor([0.2, 0.1, -0.4]), number)
    variance = (a @ a + a.square()) / pairs
    assert ((got.mean(0) - a).abs() < 4 * (variance / number).sqrt()).all()
    torch.testing.assert_close(got.var(0), variance, rtol=0.2, atol=0)


@pytest.mark.parametrize("sigma", [0.01, 0.5, 3.0])
def test_quadratic_has_the_gradient_as_mean_for_every_sigma(sigma: float) -> None:
    h, x = torch.tensor([[2.0, 0.5], [0.5, 1.0]]), torch.tensor([1.0, -3.0])
    rule = OpenES(population=4, sigma=sigma, shaping="raw")
    got = estimates(rule, lambda x: 0.5 * x.double() @ h.double() @ x.double(), x, 600)
    error = (got.var(0) / len(got)).sqrt()
    assert ((got.mean(0) - h @ x).abs() < 4 * error).all()


def test_sine_is_smoothed_by_the_noise() -> None:
    """E d/dx sin(x + sigma e) = exp(-sigma^2 / 2) cos x."""
    sigma, x = 0.8, torch.tensor([0.6])
    got = estimates(OpenES(population=100, sigma=sigma, shaping="raw"), torch.sin, x, 80)
    expected = math.exp(-(sigma**2) / 2) * math.cos(0.6)
    assert float(got.mean()) == pytest.approx(expected, abs=4 * float(got.std()) / math.sqrt(80))


@pytest.mark.parametrize("x", [0.5, 0.9, 1.0, 1.3])
def test_one_spike_of_a_real_threshold_has_a_gradient(x: float) -> None:
    """Heaviside(v - threshold): phi((x - threshold) / sigma) / sigma, exact under the noise."""
    sigma, threshold = 0.25, 1.0
    rule = OpenES(population=200, sigma=sigma, shaping="raw")
    got = estimates(rule, lambda v: (v > threshold).double(), torch.tensor([x]), 60)
    expected = math.exp(-(((x - threshold) / sigma) ** 2) / 2) / math.sqrt(2 * math.pi) / sigma
    assert float(got.mean()) == pytest.approx(expected, abs=4 * float(got.std()) / math.sqrt(60))


def test_low_rank_and_signs_estimate_the_same_gradient() -> None:
    a = torch.tensor([[1.0, -1.0], [0.5, 2.0], [0.0, 1.0]])
    for rule in (
        LowRankES(population=20, rank=2, sigma=0.1, shaping="raw"),
        SPSA(population=20, sigma=0.1),
        PGPE(population=20, sigma=0.1, shaping="raw", sigma_rate=0.0),
    ):
        got = estimates(rule, lambda x: (a * x).sum(), torch.zeros(3, 2), 200)
        error = (got.var(0) / len(got)).sqrt()
        assert ((got.mean(0) - a).abs() < 4.5 * error).all(), rule
        assert (error < 0.15).all()


# -- what changes nothing ----------------------------------------------------------------------------

LOSSES = torch.tensor([3.0, -1.0, 0.25, 7.0, 7.0, 2.0])


@pytest.mark.parametrize("how", ["ranks", "z_score", "utility"])
def test_a_constant_added_to_the_losses_changes_nothing(how: str) -> None:
    torch.testing.assert_close(shape(LOSSES, how), shape(LOSSES + 8.0, how))
    assert float(shape(LOSSES, how).sum()) == pytest.approx(0, abs=1e-12)
    assert float(shape(torch.full((5,), 2.0), how).abs().max()) < 1e-12


def test_a_constant_added_to_raw_losses_of_mirrored_members_changes_nothing() -> None:
    rule, x = OpenES(population=6, shaping="raw"), torch.tensor([1.0, 2.0])
    memory = rule.start({"x": x}, 0)
    candidates = rule.ask({"x": x}, memory)
    first, _ = rule.tell(candidates, LOSSES, memory)
    second, _ = rule.tell(candidates, LOSSES + 8.0, memory)
    torch.testing.assert_close(first["x"], second["x"])


@pytest.mark.parametrize("how", ["ranks", "utility"])
def test_a_monotone_map_changes_nothing_when_ranked(how: str) -> None:
    assert torch.equal(shape(LOSSES, how), shape(LOSSES.double().exp(), how))
    weights = shape(LOSSES, how)
    assert weights[3] == weights[4] == weights.max()
    assert weights[1] == weights.min()


def test_centred_ranks_go_from_minus_a_half_to_a_half() -> None:
    assert shape(torch.tensor([3.0, 1.0, 2.0]), "ranks").tolist() == [0.5, -0.5, 0.0]


# -- searches ----------------------------------------------------------------------------------------


def run(rule: Evolution, f: Function, x: Tensor, rate: float, generations: int) -> Tensor:
    memory, mean = rule.start({"x": x}, seed=3), {"x": x}
    for _ in range(generations):
        candidates = rule.ask(mean, memory)
        direction, memory = rule.tell(candidates, [float(f(c["x"])) for c in candidates], memory)
        mean = {"x": mean["x"] - rate * direction["x"]}
    return mean["x"]


def ellipsoid(x: Tensor) -> Tensor:
    return (x.double() - 1).square() @ torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64)


@pytest.mark.parametrize(
    ("rule", "rate", "generations", "within"),
    [
        (SNES(population=16, sigma=1.0), 1.0, 150, 1e-3),
        (CMAES(population=10, sigma=1.0), 1.0, 100, 1e-3),
        (CMAES(algorithm="cma", population=10, sigma=1.0), 1.0, 150, 1e-3),
        (CMAES(algorithm="xnes", population=20, sigma=1.0), 1.0, 150, 1e-3),
        (OpenES(population=30, sigma=0.1), 0.02, 200, 0.5),
        (PGPE(population=30, sigma=0.3), 0.05, 200, 0.5),
        (SPSA(population=4, sigma=0.01), 0.004, 400, 0.5),
    ],
)
def test_finds_the_bottom_of_an_ellipsoid(
    rule: Evolution, rate: float, generations: int, within: float
) -> None:
    end = run(rule, ellipsoid, torch.tensor([-1.0, 2.0, 0.0]), rate, generations)
    assert float((end - 1).norm()) < within


def test_sigma_adapts_down_at_the_bottom_and_up_to_its_cap_on_a_slope() -> None:
    def after(f: Function, rule: Evolution) -> Tensor:
        x = torch.zeros(4)
        memory = rule.start({"x": x}, 0)
        for _ in range(50):
            candidates = rule.ask({"x": x}, memory)
            _, memory = rule.tell(candidates, [float(f(c["x"])) for c in candidates], memory)
        return memory["sigma/x"]

    def outside(x: Tensor) -> Tensor:
        return -x.square().sum()

    assert float(after(lambda x: x.square().sum(), OpenES(sigma_rate=0.1))) < 0.01
    assert float(after(outside, OpenES(sigma_rate=0.1, sigma_max=0.2))) == pytest.approx(0.2)
    assert float(after(outside, OpenES())) == pytest.approx(0.05)
    assert float(after(lambda x: x.square().sum(), PGPE()).max()) < 0.03
    assert float(after(outside, PGPE(sigma_max=0.2)).max()) == pytest.approx(0.2)
    assert float(after(outside, SNES(sigma_max=0.2)).max()) == pytest.approx(0.2)


def test_the_best_member_is_kept() -> None:
    rule, x = OpenES(population=10, sigma=0.5), torch.tensor([1.0])
    memory, seen = rule.start({"x": x}, 0), []
    for _ in range(5):
        candidates = rule.ask({"x": x}, memory)
        values = [float((c["x"] - 2).square()) for c in candidates]
        seen += [(v, float(c["x"])) for v, c in zip(values, candidates, strict=True)]
        _, memory = rule.tell(candidates, values, memory)
    loss, member = best_member(memory)
    assert (loss, float(member["x"])) == min(seen)


# -- bad input ---------------------------------------------------------------------------------------


def test_members_without_a_finite_loss_are_ranked_last_and_said_so() -> None:
    rule, x = OpenES(population=4, mirrored=False), torch.zeros(3)
    memory = rule.start({"x": x}, 0)
    candidates = rule.ask({"x": x}, memory)
    with pytest.warns(
        UserWarning, match="1 of 4 members have a loss that is not finite; they are ranked last"
    ):
        got, after = rule.tell(candidates, [1.0, math.nan, 2.0, 0.0], memory)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected, _ = rule.tell(candidates, [1.0, 2.0, 2.0, 0.0], memory)
    assert torch.equal(got["x"], expected["x"])
    assert best_member(after)[0] == 0.0
    with pytest.raises(ValueError, match="not finite from all 4 members"):
        rule.tell(candidates, [math.nan, math.inf, math.nan, math.nan], memory)


@pytest.mark.parametrize("cls", [OpenES, LowRankES, PGPE, SNES, SPSA])
def test_an_odd_population_cannot_be_mirrored(cls: type[OpenES]) -> None:
    with pytest.raises(ValueError, match="got 7 with mirrored members, wanted an even number"):
        cls(population=7)
    assert cls(population=7, mirrored=False).population == 7


def test_other_bad_input() -> None:
    mean = {"layers.dense1.weight": torch.zeros(2, 2), "layers.dense2.weight": torch.zeros(2, 2)}
    for rule in (OpenES(layers=("dense3",)), OpenES(layer_sigma=("dense3=0.1",))):
        with pytest.raises(ValueError, match="unknown layer 'dense3'; did you mean 'dense"):
            rule.start(mean, 0)
    with pytest.raises(ValueError, match="got 'dense1', wanted LAYER=SIGMA"):
        OpenES(layer_sigma=("dense1",))
    with pytest.raises(ValueError, match="got 'dense1=-1', wanted LAYER=SIGMA"):
        OpenES(layer_sigma=("dense1=-1",))
    with pytest.raises(ValueError, match="got nothing to train"):
        OpenES().start({}, 0)
    rule = OpenES(population=4)
    memory = rule.start(mean, 0)
    with pytest.raises(ValueError, match=r"losses: got shape \(3,\), wanted one for each candidate, \[4\]"):
        rule.tell(rule.ask(mean, memory), [1.0, 2.0, 3.0], memory)
    with pytest.raises(ValueError, match="got cma for 4000 parameters, wanted at most 3000"):
        CMAES(algorithm="cma").start({"x": torch.zeros(4000)}, 0)
    with pytest.raises(ValueError, match="got layers in turn, wanted all at once"):
        CMAES(in_turn=3)


# -- as rules of a network ---------------------------------------------------------------------------


def network() -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return FeedForward(hidden=(8,), gain=3.0).build((5,), 3, LIF(), LeakyIntegrator())


def lesson(seed: int = 0) -> Lesson:
    x = torch.rand(6, 5, generator=torch.Generator().manual_seed(seed))
    targets = torch.tensor([0, 1, 2, 0, 1, 2])

    def objective(record: Record) -> Tensor:
        return torch.nn.functional.cross_entropy(record["readout.v"].amax(0), targets)

    def score(record: Record) -> Tensor:
        return (record["readout.v"].amax(0).argmax(-1) == targets).float().mean()

    return Lesson(Constant(x, 10), objective, ("readout.v",), targets, score)


def test_layers_are_chosen_and_have_sigmas_of_their_own() -> None:
    net = network()
    rule = OpenES(layers=("dense2", "dense1.bias"), layer_sigma=("dense1.bias=0.5",))
    memory = rule.begin(net, torch.Generator().manual_seed(0))
    rule.accumulate(net, lesson(), memory)
    moved = {name for name, p in net.named_parameters() if p.grad is not None}
    assert moved == {"layers.dense2.weight", "layers.dense2.bias", "layers.dense1.bias"}
    sigmas = {name: float(value) for name, value in memory.items() if name.startswith("sigma/")}
    assert sigmas == pytest.approx(
        {
            "sigma/layers.dense2.weight": 0.05,
            "sigma/layers.dense2.bias": 0.05,
            "sigma/layers.dense1.bias": 0.5,
        }
    )


def test_layers_take_turns() -> None:
    net, rule = network(), OpenES(in_turn=2)
    memory = rule.begin(net, torch.Generator().manual_seed(0))
    turns = []
    for _ in range(6):
        net.zero_grad(set_to_none=True)
        memory = rule.accumulate(net, lesson(), memory).memory
        turns.append({name.split(".")[1] for name, p in net.named_parameters() if p.grad is not None})
    assert turns == [{"dense1"}, {"dense1"}, {"dense2"}, {"dense2"}, {"dense1"}, {"dense1"}]


@each
def test_the_memory_is_all_there_is_to_go_on_from(cls: type[Evolution]) -> None:
    """Two generations, then two more by another object from a copy: the same bits."""
    rule = cls(population=6)

    def go(net: Network, memory: dict[str, Tensor], generations: range) -> dict[str, Tensor]:
        for generation in generations:
            net.zero_grad(set_to_none=True)
            memory = dict(cls(population=6).accumulate(net, lesson(generation), memory).memory)
            with torch.no_grad():
                for p in net.parameters():
                    assert p.grad is not None
                    p -= 0.1 * p.grad
        return memory

    one = network()
    straight = go(one, dict(rule.begin(one, torch.Generator().manual_seed(5))), range(4))
    two = network()
    half = go(two, dict(rule.begin(two, torch.Generator().manual_seed(5))), range(2))
    copied = go(two, {name: value.clone() for name, value in half.items()}, range(2, 4))
    assert set(copied) == set(straight)
    assert all(torch.equal(copied[name], value) for name, value in straight.items())
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(p, q)


def test_the_metric_itself_can_be_the_fitness() -> None:
    """Real steps, no derivative anywhere: the share of right answers goes up."""
    net, rule = network(), OpenES(population=40, sigma=0.2, fitness="score")
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    memory = rule.begin(net, torch.Generator().manual_seed(0))
    task = lesson()
    assert task.score is not None
    before = float(task.score(net(task.inputs, record=task.record)))
    for _ in range(30):
        optimizer.zero_grad()
        outcome = rule.accumulate(net, task, memory)
        memory = outcome.memory
        optimizer.step()
    assert before == pytest.approx(1 / 3)
    assert float(task.score(outcome.record)) > 0.8
    assert best_member(memory)[0] == -1.0


def test_redrawing_the_rest_for_each_member_drowns_the_gradient() -> None:
    """Members then differ by what is not trained, so that estimates from other noise hardly agree."""

    def cosine(redraw: bool) -> float:
        found = []
        for seed in range(2):
            net = network()
            rule = OpenES(population=400, shaping="raw", layers=("dense1.weight",), redraw=redraw)
            rule.accumulate(net, lesson(), rule.begin(net, torch.Generator().manual_seed(seed)))
            gradient = net.layers["dense1"].weight.grad
            assert gradient is not None
            found.append(gradient.flatten())
        return float(torch.nn.functional.cosine_similarity(*found, 0))

    assert cosine(redraw=False) > 0.6
    assert abs(cosine(redraw=True)) < 0.4
