"""Noise by address, candidates around a mean, and the losses of a population."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rheobase.kernels.constant import Constant
from rheobase.kernels.reduction import Reduction
from rheobase.layers.network import Network, Record
from rheobase.networks.feed_forward import FeedForward
from rheobase.neurons.leaky_integrator import LeakyIntegrator
from rheobase.neurons.lif import LIF
from rheobase.rules.base import Lesson, Reduced
from rheobase.rules.candidates import LowRank, Perturbed
from rheobase.rules.members import Way, evaluation, losses
from rheobase.rules.noise import Noise

TARGETS = torch.tensor([0, 1, 2, 0])


def network() -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return FeedForward(hidden=(8,), gain=3.0).build((5,), 3, LIF(), LeakyIntegrator())


def objective(record: Record) -> Tensor:
    return torch.nn.functional.cross_entropy(record["readout.v"].amax(0), TARGETS)


def score(record: Record) -> Tensor:
    return (record["readout.v"].amax(0).argmax(-1) == TARGETS).float().mean()


def lesson() -> Lesson:
    x = torch.rand(4, 5, generator=torch.Generator().manual_seed(0))
    return Lesson(Constant(x, 10), objective, ("readout.v",), TARGETS, score)


MAXIMUM = Reduction("v", "max")


def _loss_of(maximum: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(maximum, TARGETS)


def _score_of(maximum: Tensor) -> Tensor:
    return (maximum.argmax(-1) == TARGETS).float().mean()


def around(net: Network, population: int = 6, sigma: float = 0.3, **options: object) -> Perturbed:
    mean = {name: p.detach() for name, p in net.named_parameters()}
    spread = {name: torch.tensor(sigma) for name in mean}
    return Perturbed(mean, spread, Noise(7), 2, population, **options)  # type: ignore[arg-type]


def test_noise_is_standard_normal_and_has_an_address() -> None:
    noise = Noise(3)
    values = noise.normal(0, 0, 0, (40_000,))
    assert float(values.mean()) == pytest.approx(0, abs=0.02)
    assert float(values.var()) == pytest.approx(1, abs=0.03)
    assert float(values.pow(4).mean()) == pytest.approx(3, abs=0.2)
    others = [noise.normal(*where, (40_000,)) for where in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 2**40, 0))]
    others.append(Noise(4).normal(0, 0, 0, (40_000,)))
    for other in others:
        assert abs(float((values * other).mean())) < 0.02
    signs = noise.signs(0, 0, 0, (10_000,))
    assert set(signs.tolist()) == {-1.0, 1.0}
    assert float(signs.mean()) == pytest.approx(0, abs=0.03)
    spread = noise.uniform(0, 0, 0, (10_000,))
    assert -1 <= float(spread.min()) < -0.99
    assert float(spread.var()) == pytest.approx(1 / 3, abs=0.02)


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_entries_of_low_rank_have_variance_one_and_fourth_moment_3_plus_6_over_r(rank: int) -> None:
    mean = {"w": torch.zeros(6, 4)}
    drawn = Perturbed(mean, {"w": torch.ones(())}, Noise(0), 0, 20_000, mirrored=False, rank=rank)
    entries = torch.stack([member["w"] for member in drawn])
    assert float(entries.mean()) == pytest.approx(0, abs=0.02)
    assert float(entries.var()) == pytest.approx(1, abs=0.03)
    assert float(entries.pow(4).mean()) == pytest.approx(3 + 6 / rank, rel=0.1)
    first = drawn.direction(0, "w")
    assert isinstance(first, LowRank)
    assert (first.left.shape, first.right.shape) == ((6, rank), (4, rank))
    assert int(torch.linalg.matrix_rank(first.dense())) == min(rank, 4)
    torch.testing.assert_close(first.dense(), entries[0])


def test_mirrored_members_are_opposite() -> None:
    drawn = around(network(), mirrored=True)
    first, second = drawn.parameters(2), drawn.parameters(3)
    for name, mean in drawn.mean.items():
        torch.testing.assert_close(first[name] - mean, mean - second[name])
    assert [drawn.place(i) for i in range(4)] == [(0, 1.0), (0, -1.0), (1, 1.0), (1, -1.0)]


@pytest.mark.parametrize("way", ["together", "singly"])
@pytest.mark.parametrize("options", [{}, {"mirrored": False}, {"rank": 2}])
def test_losses_are_those_of_networks_with_these_parameters(options: dict[str, object], way: Way) -> None:
    net, drawn = network(), around(network(), **options)
    got = losses(net, lesson(), drawn, way=way)
    for member, loss in enumerate(got):
        other = network()
        other.load_state_dict(drawn.parameters(member))
        with torch.no_grad():
            expected = float(objective(other(lesson().inputs, record=("readout.v",))))
        # Together, products are made in another order than one's own product of these sizes.
        assert float(loss) == (expected if way == "singly" else pytest.approx(expected, rel=1e-6))
    assert len(set(got.tolist())) > 1
    unchanged = network().state_dict()
    assert all(torch.equal(value, unchanged[name]) for name, value in net.state_dict().items())


def test_the_same_parameters_have_the_same_loss_in_any_order_and_share() -> None:
    net, drawn = network(), around(network())
    whole = losses(net, lesson(), drawn)
    assert torch.equal(whole, losses(net, lesson(), drawn))
    for shares in (([0, 1, 2], [3, 4, 5]), ([5, 3], [1], [0, 2, 4])):
        for share in shares:
            assert torch.equal(losses(net, lesson(), drawn, members=share), whole[share])
    same = losses(net, lesson(), around(network(), sigma=0.0))
    assert len(set(same.tolist())) == 1
    assert len(losses(net, lesson(), drawn, members=[])) == 0


def test_members_share_the_draws_of_random_modules_and_leave_no_trace() -> None:
    net = network()
    net.layers["dense1"].register_forward_hook(lambda _, __, y: y.map(torch.nn.functional.dropout))
    state = torch.get_rng_state()
    assert evaluation(net, lesson()) == ("singly", "layer 'dense1' has forward hooks", None)
    same = losses(net, lesson(), around(network(), sigma=0.0))
    assert len(set(same.tolist())) == 1
    assert torch.equal(torch.get_rng_state(), state)


def test_the_score_is_minimised_downwards() -> None:
    net, drawn = network(), around(network())
    got = losses(net, lesson(), drawn, fitness="score")
    for member, loss in enumerate(got):
        other = network()
        other.load_state_dict(drawn.parameters(member))
        assert float(loss) == -float(score(other(lesson().inputs, record=("readout.v",))))
    reduced = replace(lesson(), reduced={"score": Reduced(MAXIMUM, _score_of)})
    assert torch.equal(losses(net, reduced, drawn, fitness="score"), got)
    x = lesson()
    errors = Lesson(x.inputs, x.objective, x.record, x.targets, x.score, higher_is_better=False)
    assert torch.equal(losses(net, errors, drawn, fitness="score"), -got)
    without = Lesson(x.inputs, x.objective, x.record)
    with pytest.raises(ValueError, match="got 'score' for a lesson without a score"):
        losses(net, without, drawn, fitness="score")


def test_parameters_that_are_drawn_anew_are_uniform_and_differ_between_mirrored_members() -> None:
    drawn = around(network(), redrawn={"other": (0.5, (1000,))})
    first, second = drawn.parameters(0)["other"], drawn.parameters(1)["other"]
    assert float(first.abs().max()) <= 0.5
    assert float(first.var()) == pytest.approx(0.25 / 3, rel=0.1)
    assert abs(float((first * second).mean())) < 0.02


def test_what_is_left_of_the_read_out_is_enough_and_a_split_changes_nothing() -> None:
    net, drawn, whole = network(), around(network()), lesson()
    reduced = replace(whole, reduced={"loss": Reduced(MAXIMUM, _loss_of)})
    assert evaluation(net, whole) == ("together", "the loss needs every step of the read-out", None)
    assert evaluation(net, reduced) == ("together", "the loss needs the max over time", MAXIMUM)
    got = losses(net, reduced, drawn)
    assert torch.equal(got, losses(net, whole, drawn))
    for memory in (1, 1000, 5000):
        assert torch.equal(losses(net, reduced, drawn, memory=memory), got)
        assert torch.equal(losses(net, whole, drawn, memory=memory), got)


def test_what_cannot_be_evaluated_together_says_why() -> None:
    net, given = network(), lesson()
    assert evaluation(net, given, way="singly").why == "asked for"
    hidden = replace(given, record=("readout.v", "hidden1.spikes"))
    assert evaluation(net, hidden).why == "the loss reads more than the read-out: hidden1.spikes"
    assert evaluation(net, replace(hidden, judged=("readout.v",))).way == "together"
    net.layers["pool"] = torch.nn.Identity()
    with pytest.raises(ValueError, match=r"cannot serve: its layers are not dense .*; use 'singly'"):
        losses(net, given, around(network()), way="together")
