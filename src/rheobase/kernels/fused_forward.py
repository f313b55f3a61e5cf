"""Numba source of the forward kernel of neurons and the small dense connection behind them.

Where neurons emit spikes, their sums are looked up: four neurons that fire or not add one of 16 rows to the
outputs, which are made once for a block of neurons and many samples. This takes four additions for sixteen
neurons and up to sixteen outputs, however many fire, and no branch. What else is emitted is multiplied:
each output's sum has a vector, whose lanes are added up when all neurons of the sample are through.
"""

from __future__ import annotations

from rheobase.kernels.fused_source import VECTORS, Pair, deeper
from rheobase.kernels.source import indent

#: Neurons of which one row is looked up.
GROUP = 4


def forward_into_source(pair: Pair, title: str) -> str:
    """The forward kernel.

    Arguments: current, initial states, coefficients, weights `[J, N]`, bias `[J]`; to fill: the sums
    `[T, R, J]`, final states; working memory, a row for each thread: weights as they are read here, tables,
    sums, and whether the weights are there (0 at first); then steps and the part of the rows.
    """
    carried = [f"s_{name}" for name in pair.trace.states]
    work = ["laid", "table", "work", "ready"]
    args = [
        "current_all",
        *pair.starts,
        *pair.coefficients,
        "weights",
        "bias",
        "sums",
        *(f"{name}_last" for name in carried),
        *(f"{name}_all" for name in work),
        *("steps", "thread", "low", "high"),
    ]
    body = [
        "rows, columns = current_all.shape[1], current_all.shape[2]",
        *(f"{name} = {name}_all[thread]" for name in work),
        f"blocks = (columns + {pair.width - 1}) // {pair.width}",
        "zero = splat(ZERO)",
        *pair.rests,
        "if ready[0] == 0:",
        "    ready[0] = 1",
        *deeper(_lay_rows(pair) if pair.spikes else _lay_tiles(pair)),
        *(_looked_up(pair) if pair.spikes else _multiplied(pair)),
    ]
    return f"{pair.header(title)}def forward({', '.join(args)}):\n{indent(body, 1)}"


def _block(pair: Pair, add: list[str]) -> list[str]:
    """A block of sample r over all steps; `add` is what its spikes or values add to the sums."""
    steps = [line for i in range(VECTORS) for line in pair.step(i, ())]
    return [
        "a = r * columns + base",
        *pair.begin(),
        "for t in range(steps):",
        *deeper([*steps, *add]),
        *(
            f"put(s_{name}_{i}, s_{name}_last, a + {pair.lanes * i}, left - {pair.lanes * i})"
            for i in range(VECTORS)
            for name in pair.trace.states
        ),
    ]


def _start_block(pair: Pair) -> list[str]:
    own = [line for i in range(VECTORS) for line in pair.own_coefficients(i)]
    return [f"base = block * {pair.width}", "left = columns - base", *own]


def _lay_rows(pair: Pair) -> list[str]:
    """The weights of each neuron side by side, in whole vectors."""
    wide = pair.sums * pair.lanes
    return [
        f"for i in range(blocks * {pair.width * pair.sums}):",
        "    store(zero, laid, i)",
        "for j in range(weights.shape[0]):",
        "    for n in range(columns):",
        f"        laid[n * {wide} + j] = weights[j, n]",
    ]


def _looked_up(pair: Pair) -> list[str]:
    """The sums of neurons that emit spikes: many samples' at a time."""
    outs, groups = range(pair.sums), pair.width // GROUP
    return [
        f"many = len(work) // (steps * {pair.sums * pair.lanes})",
        "last = low",
        "while last < high:",  # `range` with a step that is no constant may raise: that would take Numba
        "    first, last = last, min(last + many, high)",
        f"    for i in range((last - first) * steps * {pair.sums}):",
        "        store(zero, work, i)",
        "    for block in range(blocks):",
        *deeper(_start_block(pair), 2),
        f"        for q in range({groups}):",
        *deeper(_tabulate(pair), 3),
        "        for r in range(first, last):",
        f"            begin = (r - first) * steps * {pair.sums}",
        *deeper(_block(pair, _look_up(pair)), 3),
        "    for r in range(first, last):",
        "        for t in range(steps):",
        f"            i = ((r - first) * steps + t) * {pair.sums}",
        f"            at = (t * rows + r) * {pair.outputs}",
        *(
            f"            put(add(load(work, i + {o}), fetch(bias, {at}, {left})), sums, at + {at}, {left})"
            for o in outs
            for at, left in [(o * pair.lanes, pair.outputs - o * pair.lanes)]
        ),
    ]


def _tabulate(pair: Pair) -> list[str]:
    """What group q of a block adds to the outputs, for each pattern of spikes."""
    lines = [f"row = (base + {GROUP} * q) * {pair.sums}", f"entry = q * {2**GROUP * pair.sums}"]
    for o in range(pair.sums):
        lines += [f"w{k} = load(laid, row + {k * pair.sums + o})" for k in range(GROUP)]
        lines.append("e0 = zero")
        for bits in range(1, 2**GROUP):
            rest, lowest = bits & (bits - 1), (bits & -bits).bit_length() - 1
            lines.append(f"e{bits} = add(e{rest}, w{lowest})")
        lines += [f"store(e{bits}, table, entry + {bits * pair.sums + o})" for bits in range(2**GROUP)]
    return lines


def _look_up(pair: Pair) -> list[str]:
    """Add what the spikes of one step add."""
    lines, many = [], pair.lanes // GROUP
    for i in range(VECTORS):
        lines.append(f"spikes = pattern(fired_{i})")
        for q in range(many):
            first = (i * many + q) * 2**GROUP * pair.sums
            lines.append(f"row = {first} + (spikes >> {GROUP * q} & {2**GROUP - 1}) * {pair.sums}")
            for o in range(pair.sums):
                look = f"load(table, row + {o})"
                lines.append(f"y{i}_{o} = {look if q == 0 else f'add(y{i}_{o}, {look})'}")
    lines.append(f"at = begin + t * {pair.sums}")
    for o in range(pair.sums):
        terms = [f"y{i}_{o}" for i in range(VECTORS)]
        while len(terms) > 1:  # in pairs: one after another would wait
            terms = [f"add({x}, {y})" for x, y in zip(terms[::2], terms[1::2], strict=True)]
        lines.append(f"store(add(load(work, at + {o}), {terms[0]}), work, at + {o})")
    return lines


def _lay_tiles(pair: Pair) -> list[str]:
    """The weights of each block side by side, in whole vectors."""
    place = f"block * {pair.width} + {pair.lanes} * i"
    return [
        "for block in range(blocks):",
        f"    for j in range({pair.outputs}):",
        f"        for i in range({VECTORS}):",
        f"            w = fetch(weights, j * columns + {place}, columns - ({place}))",
        f"            store(w, laid, (block * {pair.outputs} + j) * {VECTORS} + i)",
    ]


def _multiplied(pair: Pair) -> list[str]:
    """The sums of neurons that emit any number."""
    within = [f"within_{i} = within(left - {pair.lanes * i})" for i in range(VECTORS)]
    add = [
        # What lies behind the last neuron may be no number.
        *(f"out_{i} = where(within_{i}, out_{i}, ZERO)" for i in range(VECTORS)),
        f"for j in range({pair.outputs}):",
        f"    at = t * {pair.outputs} + j",
        f"    tile = (block * {pair.outputs} + j) * {VECTORS}",
        "    y = load(work, at)",
        *(f"    y = fma(out_{i}, load(laid, tile + {i}), y)" for i in range(VECTORS)),
        "    store(y, work, at)",
    ]
    return [
        "for r in range(low, high):",
        f"    for i in range(steps * {pair.outputs}):",
        "        store(zero, work, i)",
        "    for block in range(blocks):",
        *deeper([*_start_block(pair), *within, *_block(pair, add)], 2),
        "    for t in range(steps):",
        f"        for j in range({pair.outputs}):",
        "            sums[t, r, j] = bias[j]",
        f"            at = (t * rows + r) * {pair.outputs} + j",
        f"            add_total(load(work, t * {pair.outputs} + j), sums, at)",
    ]
