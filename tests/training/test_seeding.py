from __future__ import annotations

import torch
from small_runs import small

from rheobase.training.seeding import Generators, derived, generator, global_seed
from rheobase.training.setup import build_network


def test_purposes_and_seeds_differ_and_stay() -> None:
    seeds = {derived(s, p) for s in range(3) for p in ("weights", "order", "encoder", "augmentation")}
    assert len(seeds) == 12
    assert torch.equal(
        torch.rand(3, generator=generator(1, "order")), torch.rand(3, generator=generator(1, "order"))
    )


def test_states_roundtrip_with_the_global_one() -> None:
    with global_seed(0, "modules"):
        generators = Generators.from_seed(5)
        torch.rand(7)
        torch.rand(7, generator=generators.encoder)
        states = generators.states()
        first = (
            torch.rand(2),
            torch.rand(2, generator=generators.encoder),
            torch.randperm(9, generator=generators.order),
        )
        other = Generators.from_seed(6)
        torch.rand(100)
        other.restore(states)
        again = (
            torch.rand(2),
            torch.rand(2, generator=other.encoder),
            torch.randperm(9, generator=other.order),
        )
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a, b)


def test_weights_follow_the_seed_and_leave_the_global_generator() -> None:
    state = torch.get_rng_state()
    one, same, other = (build_network(small(seed=s)).state_dict() for s in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["layers.dense1.weight"], other["layers.dense1.weight"])
