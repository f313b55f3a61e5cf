"""A small deterministic cover: every pair of choices occurs together in at least one case.

Cases differ in what they choose from: some choices exist only beside others (a reset only where
there are spikes). So the cover is made over *families*, each with its own factors; pairs of choices
that two families share need to be covered in one of them only.

Cohen, Dalal, Fredman & Patton, "The AETG system", IEEE Trans. Software Eng. 23 (1997), for the greed.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Hashable, Iterator, Mapping, Sequence

Choice = tuple[str, Hashable]
Case = dict[str, Hashable]
Factors = Mapping[str, Sequence[Hashable]]


def pairs(case: Mapping[str, Hashable]) -> Iterator[frozenset[Choice]]:
    """The pairs of choices in a case.

    >>> [sorted(pair) for pair in pairs({"a": 1, "b": 2})]
    [[('a', 1), ('b', 2)]]
    """
    return (frozenset(two) for two in itertools.combinations(case.items(), 2))


def wanted_pairs(families: Sequence[Factors]) -> list[frozenset[Choice]]:
    """All pairs that occur in any family, in a fixed order."""
    found: dict[frozenset[Choice], None] = {}
    for factors in families:
        for (a, many), (b, others) in itertools.combinations(factors.items(), 2):
            for x, y in itertools.product(many, others):
                found[frozenset([(a, x), (b, y)])] = None
    return list(found)


def pairwise(families: Sequence[Factors]) -> list[Case]:
    """Few cases in which every pair of choices occurs that can.

    >>> cases = pairwise([{"a": [0, 1], "b": [0, 1], "c": [0, 1]}])
    >>> len(cases)
    4
    """
    order = wanted_pairs(families)
    open_pairs = dict.fromkeys(order)
    cases: list[Case] = []
    while open_pairs:
        pair = next(iter(open_pairs))
        able = [f for f in families if all(name in f and value in f[name] for name, value in pair)]
        options = [_complete(dict(pair), factors, open_pairs) for factors in able]
        best = max(options, key=lambda case: sum(p in open_pairs for p in pairs(case)))
        for p in pairs(best):
            open_pairs.pop(p, None)
        cases.append(best)
    return cases


def _complete(case: Case, factors: Factors, open_pairs: Mapping[frozenset[Choice], None]) -> Case:
    """Choose the factors that are left, each so that it closes most open pairs."""
    for name, values in sorted(factors.items(), key=lambda item: -len(item[1])):
        if name not in case:
            gains = [
                sum(frozenset([(name, value), other]) in open_pairs for other in case.items())
                for value in values
            ]
            case[name] = values[gains.index(max(gains))]
    return {name: case[name] for name in factors}


def sample(factors: Factors, count: int, seed: int) -> Iterator[Case]:
    """Some cases of one family, the same each time; all of them if there are no more than `count`."""
    total = math.prod(len(values) for values in factors.values())
    for index in sorted(random.Random(seed).sample(range(total), min(count, total))):
        case: Case = {}
        for name, values in factors.items():
            index, choice = divmod(index, len(values))
            case[name] = values[choice]
        yield case


def few_of(cover: Sequence[Case]) -> list[Case]:
    """Some cases of a cover in which each choice occurs at least once.

    >>> few_of([{"a": 0, "b": 0}, {"a": 0, "b": 1}, {"a": 1, "b": 1}])
    [{'a': 0, 'b': 0}, {'a': 1, 'b': 1}]
    """
    left, few = {choice for case in cover for choice in case.items()}, []
    while left:
        few.append(max(cover, key=lambda case: len(left & set(case.items()))))
        left -= set(few[-1].items())
    return few
