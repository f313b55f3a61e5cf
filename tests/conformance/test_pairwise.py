"""The cover is a cover, is small, and is the same each time."""

from __future__ import annotations

import itertools

from pairwise import pairs, pairwise, sample, wanted_pairs

FAMILIES = [
    {"kind": ["a"], "x": [0, 1, 2], "y": ["p", "q"], "z": [True, False]},
    {"kind": ["b"], "x": [0, 1, 2], "w": list("klmn")},
]


def test_every_pair_that_can_occur_occurs() -> None:
    cases = pairwise(FAMILIES)
    assert set(wanted_pairs(FAMILIES)) <= set(itertools.chain.from_iterable(pairs(c) for c in cases))


def test_every_case_belongs_to_one_family() -> None:
    for case in pairwise(FAMILIES):
        assert any(
            set(case) == set(family) and all(case[k] in v for k, v in family.items()) for family in FAMILIES
        )


def test_it_is_small_and_deterministic() -> None:
    cases = pairwise(FAMILIES)
    assert cases == pairwise(FAMILIES)
    assert len(cases) <= 20
    ten = {str(i): [0, 1, 2] for i in range(10)}
    assert len(pairwise([ten])) <= 25


def test_a_sample_has_different_cases_of_one_family() -> None:
    everything = list(sample(FAMILIES[0], 1000, seed=0))
    assert len({tuple(case.items()) for case in everything}) == len(everything) == 12
    some = list(sample(FAMILIES[0], 5, seed=1))
    assert len(some) == 5
    assert all(case in everything for case in some)
    assert some == list(sample(FAMILIES[0], 5, seed=1))
