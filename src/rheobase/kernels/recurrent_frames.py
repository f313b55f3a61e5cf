"""The loops of the recurrent kernels over time and samples, as text around the neurons' own equations.

See `rheobase.kernels.recurrent_source`, which fills them in: `step`, a group's equations; `current`, where
the currents come from; `behind` and `given`, the connection behind; `tally`, gradients event by event.
"""

from __future__ import annotations

FORWARD = {
    "dense": """\
    columns = {columns}
    y_all, found, counts = y_rows[thread], found_rows[thread], counts_all[thread]
    together = found[4]
    for part in range(low_part, high_part):
        low, high = part * blocks // parts * 4, min((part + 1) * blocks // parts * 4, batch)
        for first in range(low, high, 4):
            last = min(first + 4, high)
{start}\
            for t in range(low_step, high_step):
                for r in range(first, last):
                    y = y_all[r - first]
{current}
                arrived = out_all[depth + t - delay]
                rows = find_any(arrived, first, last, size, together)
                alone = False
                if weights.size * weights.itemsize <= {cache}:
                    events = 0
                    for i in range(last - first):
                        counts[i] = find(arrived[first + i], size, found[i])
                        events += counts[i]
                    alone = rows > {shared} * events
                if alone:
                    for i in range(last - first):
                        add_rows(found[i], counts[i], arrived[first + i], weights, y_all[i])
                else:
                    multiply(arrived, first, last, together, rows, weights, weights.shape[1], y_all)
{behind}\
                for r in range(first, last):
                    y = y_all[r - first]
{step}\
{behind_last}""",
    "taps": """\
    columns = {columns}
    past, pulled, y = past_all[thread], pulled_all[thread], row_all[thread]
    move = past.shape[0] // (size * LANES) - longest
    for part in range(low_part, high_part):
        low, high = part * blocks // parts * LANES, min((part + 1) * blocks // parts * LANES, batch)
        for first in range(low, high, LANES):
            last = min(first + LANES, high)
{start}\
            for d in range(longest):
                for r in range(first, last):
                    z = out_all[depth + low_step - longest + d, r]
                    for k in range(size):
                        past[(d * size + k) * LANES + r - first] = z[k]
            at = longest
            for t in range(low_step, high_step):
                if at == longest + move:
                    for k in range(longest * size * LANES):
                        past[k] = past[move * size * LANES + k]
                    at = longest
                for i in range(columns):
                    add_taps(
                        weights, offsets, starts[i], starts[i + 1], past, at * size * LANES, pulled, i * LANES
                    )
                for r in range(first, last):
{current}
                    for k in range(columns):
                        y[k] += pulled[k * LANES + r - first]
{step}
                    z = out_all[depth + t, r]
                    for k in range(size):
                        past[(at * size + k) * LANES + r - first] = z[k]
{behind}
                at += 1
""",
}

BACKWARD = {
    "dense": """\
    steps, window, columns = out_all.shape[0] - depth, by_all.shape[0], {columns}
    rows, listed = g_rows[thread], listed_all[thread]
{everyone}\
    for part in range(low_part, high_part):
        low, high = part * blocks // parts * 4, min((part + 1) * blocks // parts * 4, batch)
{reached}\
        for step in range(high_step - low_step):
            t = high_step - 1 - step
            for first in range(low, high, 4):
                last = min(first + 4, high)
                for r in range(first, last):
                    g_all = gathered[r - first]
{given}
                if t + delay < steps:
                    later = by_all[(t + delay) % window]
                    multiply(later, first, last, listed, many, to_columns, width, gathered)
                for r in range(first, last):
                    g_all = rows[r - first]
{put_back}\
{step}{tally}{tied}""",
    "taps": """\
    steps, window, columns = out_all.shape[0] - depth, by_all.shape[0], {columns}
    past, pulled, g_all = past_all[thread], pulled_all[thread], row_all[thread]
    move = past.shape[0] // (columns * LANES) - longest
    for part in range(low_part, high_part):
        low, high = part * blocks // parts * LANES, min((part + 1) * blocks // parts * LANES, batch)
        for first in range(low, high, LANES):
            last = min(first + LANES, high)
            for d in range(longest):
                t = high_step + longest - 1 - d
                for r in range(first, last):
                    by = by_all[t % window, r]
                    for k in range(columns):
                        past[(d * columns + k) * LANES + r - first] = by[k] if t < steps else ZERO
            at = longest
            for step in range(high_step - low_step):
                t = high_step - 1 - step
                if at == longest + move:
                    for k in range(longest * columns * LANES):
                        past[k] = past[move * columns * LANES + k]
                    at = longest
                for j in range(size):
                    add_taps(
                        weights,
                        offsets,
                        starts[j],
                        starts[j + 1],
                        past,
                        at * columns * LANES,
                        pulled,
                        j * LANES,
                    )
                for r in range(first, last):
{given}
                    for k in range(size):
                        g_all[k] += pulled[k * LANES + r - first]
{step}
                    by = by_all[t % window, r]
                    for k in range(columns):
                        past[(at * columns + k) * LANES + r - first] = by[k]
{tally}
                at += 1
""",
}
