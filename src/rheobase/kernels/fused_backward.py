"""Numba source of the backward kernel of neurons and the small dense connection behind them.

A block of neurons of one sample is run forward again, then vector by vector back. The derivative by what a
neuron emitted is a product of all outputs' derivatives with its weights; what its weights get is theirs at
its spikes. Weights and what they get stay in registers for up to `TOGETHER` outputs; of more, groups come one
after another, the last one with the neurons' own steps back. A piece of work is a block on some of the
samples.
"""

from __future__ import annotations

from collections.abc import Sequence

from rheobase.kernels import vectors
from rheobase.kernels.adjoint import Adjoint
from rheobase.kernels.fused_source import VECTORS, Pair, deeper
from rheobase.kernels.source import BACKWARDS, Incoming, indent, reach

#: Outputs whose weights, and the derivatives by them, are in registers at once.
TOGETHER = 12 if vectors.WIDE else 5


def groups(outputs: int) -> list[range]:
    """The outputs, in as few groups as they can be, of about the same size.

    >>> [len(group) for group in groups(2 * TOGETHER)] == [TOGETHER, TOGETHER]
    True
    """
    many = -(-outputs // TOGETHER)
    return [range(k * outputs // many, (k + 1) * outputs // many) for k in range(many)]


def backward_into_source(
    pair: Pair, adj: Adjoint, saved: Sequence[int], incoming: Incoming, title: str
) -> str:
    """The backward kernel.

    Arguments: current, initial states (`Pair.starts`), coefficients, weights `[J, N]`; derivatives by the
    sums `[T, R, J]` and by the final states; then to fill: by the current, by the initial states, by the
    weights `[parts, J, N]`, by the bias `[parts, J]`, by each wanted coefficient; working memory, a row for
    each thread: weights and their derivatives, what is emitted, saved values; then which final states have
    derivatives and which initial states' are wanted (a bit for each), steps, and which pieces (blocks of
    the first part of the samples, then of the second, ...).
    """
    outputs, states, lanes = pair.outputs, list(pair.trace.states), pair.lanes
    work = ["g", "tile", "total", "emitted", *(f"kept{k}" for k in range(len(saved)))]
    work += ["partial"] if len(groups(outputs)) > 1 else []
    by_coefficient = [f"by_c{j}" for j in incoming.coefficients]
    args = [
        "current_all",
        *pair.starts,
        *pair.coefficients,
        "weights",
        "by_sums",
        *(f"lam_{name}_init" for name in states),
        *(["by_current_all"] if incoming.current else []),
        *(f"lam_{name}_last" for name in states),
        "by_weights",
        "by_bias",
        *(f"{name}_all" for name in by_coefficient),
        *(f"{name}_all" for name in work),
        *("given", "wanted", "steps", "thread", "low", "high"),
    ]
    forward = [line for i in range(VECTORS) for line in (*pair.step(i, saved), _keep(pair, i))]
    vector = [
        f"at_i = base + {lanes} * i",
        "left_i = columns - at_i",
        "if left_i <= 0:",
        "    break",
        "a_i = r * columns + at_i",
        *_vector(pair, adj, saved, incoming, by_coefficient),
    ]
    piece = [
        "part = piece // blocks",
        "block = piece - part * blocks",
        f"base = block * {pair.width}",
        "left = columns - base",
        *(line for i in range(VECTORS) for line in pair.own_coefficients(i)),
        f"for i in range({VECTORS}):",
        f"    for j in range({outputs}):",
        f"        place = base + {lanes} * i",
        "        w = fetch(weights, j * columns + place, columns - place)",
        f"        store(w, tile, i * {outputs} + j)",
        f"        store(zero, total, i * {outputs} + j)",
        "first, last = part * rows // parts, (part + 1) * rows // parts",
        "if block == 0:",
        *deeper(_bias(pair)),
        "for r in range(first, last):",
        "    a = r * columns + base",
        *deeper(pair.begin()),
        "    for t in range(steps):",
        *deeper([*_gather(pair), *forward], 2),
        f"    for i in range({VECTORS}):",
        *deeper(vector, 2),
        f"for i in range({VECTORS}):",
        f"    for j in range({outputs}):",
        f"        place = base + {lanes} * i",
        f"        at = (part * {outputs} + j) * columns + place",
        f"        put(load(total, i * {outputs} + j), by_weights, at, columns - place)",
    ]
    body = [
        "rows, columns = current_all.shape[1], current_all.shape[2]",
        "parts = by_weights.shape[0]",
        *(f"{name} = {name}_all[thread]" for name in work),
        f"blocks = (columns + {pair.width - 1}) // {pair.width}",
        "zero = splat(ZERO)",
        *pair.rests,
        "for piece in range(low, high):",
        *deeper(piece),
    ]
    return f"{pair.header(title)}def backward({', '.join(args)}):\n{indent(body, 1)}"


def _keep(pair: Pair, i: int) -> str:
    name = f"keep_mask(fired_{i}" if pair.spikes else f"store(out_{i}"
    return f"{name}, emitted, t * {VECTORS} + {i})"


def _bias(pair: Pair) -> list[str]:
    """The derivative by the bias: all of a part's samples', step by step."""
    lines = []
    for o in range(pair.sums):
        at, left = o * pair.lanes, pair.outputs - o * pair.lanes
        lines += [
            "whole = zero",
            "for t in range(steps):",
            "    y = zero",
            "    for r in range(first, last):",
            f"        y = add(y, fetch(by_sums, (t * rows + r) * {pair.outputs} + {at}, {left}))",
            "    whole = add(whole, y)",
            f"put(whole, by_bias, part * {pair.outputs} + {at}, {left})",
        ]
    return lines


def _vector(
    pair: Pair, adj: Adjoint, saved: Sequence[int], incoming: Incoming, by_coefficient: Sequence[str]
) -> list[str]:
    """Vector i of a block, back over all steps."""
    states, (*first, last) = list(pair.trace.states), groups(pair.outputs)
    over_time = [*by_coefficient, *(["by_current"] if incoming.current and pair.layout.constant else [])]
    lines = []
    for group in first:
        step = [
            _emitted(pair),
            *_by_emitted(pair, group),
            "store(g_out, partial, t)",
            *_by_weights(pair, group),
        ]
        lines += [*_begin(pair, group), "for t in range(steps):", *deeper(step), *_add_to_total(pair, group)]
    step = [
        BACKWARDS,
        _emitted(pair),
        *_by_emitted(pair, last),
        *_step_back(pair, adj, saved, incoming),
        *_by_weights(pair, last),
    ]
    lines += [
        *pair.own_coefficients("i"),
        *(["current_i = fetch(current_all, a_i, left_i)"] if pair.layout.constant else []),
        *(
            f"lam_{name} = fetch(lam_{name}_init, a_i, left_i) if given & {1 << k} else zero"
            for k, name in enumerate(states)
        ),
        *(f"{name} = zero" for name in over_time),
        *_begin(pair, last),
        "for step in range(steps):",
        *deeper(step),
        *_add_to_total(pair, last),
    ]
    return [
        *lines,
        *(
            line
            for k, name in enumerate(states)
            for line in (f"if wanted & {1 << k}:", f"    put(lam_{name}, lam_{name}_last, a_i, left_i)")
        ),
        *(f"put({name}, {name}_all, a_i, left_i)" for name in over_time),
    ]


def _gather(pair: Pair) -> list[str]:
    """The derivatives by all outputs of sample r at step t, side by side, and the same behind them.

    Each of the two products has its own: numbers that are read once come into all lanes with the operation on
    them, others would have to be put into registers first.
    """
    lines = []
    for o in range(pair.sums):
        at, left = o * pair.lanes, pair.outputs - o * pair.lanes
        lines += [
            f"y = fetch(by_sums, (t * rows + r) * {pair.outputs} + {at}, {left})",
            f"store(y, g, t * {2 * pair.sums} + {o})",
            f"store(y, g, t * {2 * pair.sums} + {pair.sums + o})",
        ]
    return lines


def _begin(pair: Pair, group: range) -> list[str]:
    """Weights of vector i, and what they get, before the first step."""
    weights = [f"w{j} = load(tile, i * {pair.outputs} + {j})" for j in group]
    return weights + [f"d{j} = zero" for j in group]


def _by_emitted(pair: Pair, group: range) -> list[str]:
    """g_out = W^T g up to this group, in two sums, of which neither waits for each of the other's terms."""
    lines = [f"at = t * {2 * pair.sums * pair.lanes}"]
    for k, j in enumerate(group):
        half, factors = f"half{k % 2}", f"everywhere(g, at + {j}), w{j}"
        lines.append(f"{half} = mul({factors})" if k < 2 else f"{half} = fma({factors}, {half})")
    lines.append("g_out = add(half0, half1)" if len(group) > 1 else "g_out = half0")
    return lines + (["g_out = add(load(partial, t), g_out)"] if group.start else [])


def _by_weights(pair: Pair, outputs: range) -> list[str]:
    """Add to what the weights of these outputs get."""
    lines = [f"at = t * {2 * pair.sums * pair.lanes} + {pair.sums * pair.lanes}"]
    for j in outputs:
        g = f"everywhere(g, at + {j})"
        lines.append(
            f"d{j} = where(fired, add(d{j}, {g}), d{j})" if pair.spikes else f"d{j} = fma(out, {g}, d{j})"
        )
    return lines


def _emitted(pair: Pair) -> str:
    at = f"t * {VECTORS} + i"
    return f"fired = kept_mask(emitted, {at})" if pair.spikes else f"out = load(emitted, {at})"


def _add_to_total(pair: Pair, outputs: range) -> list[str]:
    places = {j: f"total, i * {pair.outputs} + {j}" for j in outputs}
    return [f"store(add(load({place}), d{j}), {place})" for j, place in places.items()]


def _step_back(pair: Pair, adj: Adjoint, saved: Sequence[int], incoming: Incoming) -> list[str]:
    """One step back: from `lam_<state>` and `g_out` to these, `by_current` and `by_c<j>`."""
    t, body, at = pair.trace, pair.body("i"), f"t * {VECTORS} + i"
    body.loose = True
    texts = {
        n: f"{'kept_mask' if t.tape.is_boolean(n) else 'load'}(kept{k}, {at})" for k, n in enumerate(saved)
    }
    (port,) = t.inputs.values()
    texts[port] = (
        "current_i" if pair.layout.constant else "fetch(current_all, t * rows * columns + a_i, left_i)"
    )
    texts[t.emitted] = "where(fired, ONE, ZERO)" if pair.spikes else "out"
    if pair.spikes and t.tape.nodes[t.emitted].op == "spike":
        body.lines.append(f"m{t.emitted} = fired")
        body.masks.add(t.emitted)
    live, met = reach(t, adj.roots(), texts)
    for n in met:
        body.load(n, f"x{n}", texts[n])
    body.names |= {adj.seeds[f"state.{name}"]: f"lam_{name}" for name in t.states}
    body.names[adj.seeds["emitted"]] = "g_out"
    body.emit(live)
    if incoming.current:
        (share,) = [body.vector(adj.inputs[name]) if name in adj.inputs else "zero" for name in t.inputs]
        if pair.layout.constant:
            body.lines.append(f"by_current = add(by_current, {share})")
        else:
            body.lines.append(f"put({share}, by_current_all, t * rows * columns + a_i, left_i)")
    for j in incoming.coefficients:
        n = t.coefficients[j]
        if n in adj.coefficients:
            body.lines.append(f"by_c{j} = add(by_c{j}, {body.vector(adj.coefficients[n])})")
    for name in t.states:
        value = body.vector(adj.states[name]) if name in adj.states else "zero"
        body.lines.append(f"new_{name} = {value}")
    body.lines += [f"lam_{name} = new_{name}" for name in t.states]
    return body.lines
