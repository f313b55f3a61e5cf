"""Wires: published solutions, an independent dense solve, finite differences, and bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rheobase.crossbar.nodal import select, solve
from rheobase.crossbar.wires import (
    Wires,
    approximate,
    approximation_error,
    currents,
    node_voltages,
    transfer,
)

DOUBLE = torch.float64
HOLES = torch.tensor(
    [
        [math.inf, 20, math.inf, 40],
        [math.inf, math.inf, math.inf, 80],
        [math.inf, 100, math.inf, 120],
        [math.inf, 140, 150, math.inf],
        [170, math.inf, 190, math.inf],
    ],
    dtype=DOUBLE,
)
FULL = torch.arange(10, 201, 10, dtype=DOUBLE).view(5, 4)
RAMP = [0.0, 1.0, 2.0, 3.0, 4.0]
#: badcrossbar against a circuit simulator.
PUBLISHED = {
    "one cell": (torch.tensor([[10.0]], dtype=DOUBLE), [1.0], Wires(1, 2), [1 / 13]),
    "5 x 4": (FULL, RAMP, Wires(1, 2), [0.060570197, 0.059327611, 0.056348739, 0.053352355]),
    "both signs": (
        FULL,
        [3.0, 2.0, -1.0, 2.0, 3.0],
        Wires(1, 2),
        [0.152746753, 0.108723705, 0.087199528, 0.074466084],
    ),
    "no word resistance": (HOLES, RAMP, Wires(0, 2), [0.023255814, 0.032532302, 0.039845758, 0.022600121]),
    "no bit resistance": (HOLES, RAMP, Wires(1, 0), [0.023271317, 0.040152124, 0.039940048, 0.027722541]),
}


@pytest.mark.parametrize("case", list(PUBLISHED))
@pytest.mark.parametrize("way", ["direct", "batch", "general"])
def test_published_solutions(case: str, way: str) -> None:
    resistance, volts, wires, expected = PUBLISHED[case]
    cells, voltages = 1 / resistance, torch.tensor(volts, dtype=DOUBLE)
    if way == "direct":
        result = currents(cells, voltages, wires)
    elif way == "batch":
        result = currents(cells, voltages.expand(7, -1), wires)[3]
    else:
        result = solve(cells, volts, [0.0] * cells.shape[1], wires).outputs
    assert result.tolist() == pytest.approx(expected, abs=5e-10)


@pytest.mark.parametrize(
    ("n", "first", "last"),
    [
        (8, 0.0077423472, 0.0075356555),
        (16, 0.0144527005, 0.0129966532),
        (32, 0.0234845468, 0.0167703780),
    ],
)
def test_uniform_arrays(n: int, first: float, last: float) -> None:
    result = currents(torch.full((n, n), 1e-3, dtype=DOUBLE), torch.ones(n, dtype=DOUBLE), Wires(1, 1))
    assert float(result[0]) == pytest.approx(first, abs=1e-10)
    assert float(result[-1]) == pytest.approx(last, abs=1e-10)


@pytest.mark.parametrize(("n", "error"), [(16, 0.19), (32, 0.80)])
def test_how_much_wires_matter(n: int, error: float) -> None:
    """Half of the cells 1 kOhm, half 40 kOhm, 2 Ohm per segment: what ignoring the wires errs by."""
    generator = torch.Generator().manual_seed(0)
    high = torch.rand(n, n, generator=generator, dtype=DOUBLE) < 0.5
    cells, ones = torch.where(high, 1e-3, 1 / 40e3), torch.ones(n, dtype=DOUBLE)
    exact = currents(cells, ones, Wires(2, 2))
    assert float(((cells.sum(0) - exact) / exact).mean()) == pytest.approx(error, rel=0.12)


def dense(g: Tensor, volts: Tensor, wires: Wires) -> Tensor:
    """Output currents by a dense solve of the nodal equations, written node by node."""
    m, n = g.shape
    a, b = np.zeros((2 * m * n, 2 * m * n)), np.zeros(2 * m * n)

    def join(p: int, q: int, conductance: float) -> None:
        a[p, p] += conductance
        a[q, q] += conductance
        a[p, q] -= conductance
        a[q, p] -= conductance

    c_w, c_b = 1 / wires.r_word, 1 / wires.r_bit
    for i in range(m):
        for j in range(n):
            word, bit = i * n + j, m * n + i * n + j
            join(word, bit, float(g[i, j]))
            if j:
                join(word, word - 1, c_w)
            else:
                a[word, word] += c_w
                b[word] += c_w * float(volts[i])
            if i + 1 < m:
                join(bit, bit + n, c_b)
            else:
                a[bit, bit] += c_b
    v = np.linalg.solve(a, b)
    return torch.from_numpy(v[m * n :].reshape(m, n)[-1] * c_b)


@settings(deadline=None, max_examples=25, derandomize=True)
@given(
    m=st.integers(1, 7),
    n=st.integers(1, 7),
    r_word=st.floats(0.1, 100.0),
    r_bit=st.floats(0.1, 100.0),
    missing=st.floats(0.0, 0.9),
    seed=st.integers(0, 1000),
)
def test_equals_a_dense_solve(m: int, n: int, r_word: float, r_bit: float, missing: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    g = 0.1 * torch.rand(m, n, generator=generator, dtype=DOUBLE)
    g = torch.where(torch.rand(m, n, generator=generator, dtype=DOUBLE) < missing, 0.0, g)
    volts = torch.randn(m, generator=generator, dtype=DOUBLE)
    wires = Wires(r_word, r_bit)
    expected = dense(g, volts, wires)
    scale = float(currents(g, volts.abs(), wires).abs().max()) or 1.0
    for found in (
        currents(g, volts, wires),
        volts @ transfer(g, wires),
        solve(g, volts.tolist(), [0.0] * n, wires).outputs,
    ):
        assert float((found - expected).abs().max()) <= 1e-12 * scale


@pytest.mark.parametrize("wires", [Wires(3.0, 7.0), Wires(0.0, 7.0), Wires(3.0, 0.0), Wires(0.0, 0.0)])
@pytest.mark.parametrize("shape", [(5, 3), (3, 5)])
def test_gradients_equal_finite_differences(wires: Wires, shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    g = (0.1 * torch.rand(shape, generator=generator, dtype=DOUBLE)).requires_grad_()
    volts = torch.randn(2, shape[0], generator=generator, dtype=DOUBLE).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: currents(a, b, wires), (g, volts), eps=1e-6, atol=1e-6)
    assert torch.autograd.gradcheck(lambda a: transfer(a, wires), (g,), eps=1e-6, atol=1e-6)


def test_voltages_account_for_all_current() -> None:
    cells, volts = 1 / FULL, torch.tensor(RAMP, dtype=DOUBLE)
    word, bit = node_voltages(cells, volts, Wires(1, 2))
    collected = (cells * (word - bit)).sum(0)
    assert collected.tolist() == pytest.approx(PUBLISHED["5 x 4"][3], abs=5e-10)
    wide = node_voltages(cells.t(), volts[:4], Wires(1, 2))
    expected = solve(cells.t(), volts[:4].tolist(), [0.0] * 5, Wires(1, 2))
    torch.testing.assert_close(wide, (expected.word, expected.bit))


def test_the_approximation_states_its_error() -> None:
    generator = torch.Generator().manual_seed(0)
    cells = 1e-3 * torch.rand(16, 16, generator=generator, dtype=DOUBLE)
    assert approximation_error(cells, Wires(0, 0)) == 0.0
    near, far = (approximation_error(cells, Wires(r, r)) for r in (0.1, 2.0))
    assert 0.0 < near < 0.01
    assert near < far < 0.2
    ignored = float((cells - transfer(cells, Wires(2, 2))).norm() / transfer(cells, Wires(2, 2)).norm())
    assert far < ignored / 2
    ones = torch.ones(16, dtype=DOUBLE)
    torch.testing.assert_close(  # exact for the input that it is made for
        ones @ approximate(cells, Wires(2, 2), sweeps=40), currents(cells, ones, Wires(2, 2))
    )


def test_sneak_paths() -> None:
    """Three cells in series beside the one that is read: the textbook case of a 2 x 2 array."""
    found = select(torch.full((2, 2), 1e-3, dtype=DOUBLE), 0, 0, Wires(), scheme="float")
    assert found.wanted == pytest.approx(1e-3)
    assert found.sneak == pytest.approx(1e-3 / 3)
    held = select(torch.full((4, 4), 1e-3, dtype=DOUBLE), 1, 2, Wires(), scheme="half")
    assert held.worst == pytest.approx(0.5)
    assert held.sneak == pytest.approx(3 * 0.5e-3)
    assert select(torch.full((4, 4), 1e-3), 1, 2, Wires(), scheme="ground").sneak == pytest.approx(0.0)


def test_bad_input_is_refused() -> None:
    cells = torch.full((2, 2), 1e-3, dtype=DOUBLE)
    with pytest.raises(ValueError, match=r"r_word: got -1 ohm, wanted a finite resistance of at least 0"):
        currents(cells, torch.ones(2, dtype=DOUBLE), Wires(-1, 0))
    with pytest.raises(ValueError, match="finite ones of at least 0 S"):
        transfer(-cells, Wires(1, 1))
    with pytest.raises(ValueError, match="wanted one for each of 2 word lines"):
        currents(cells, torch.ones(3, dtype=DOUBLE), Wires(1, 1))
    empty = torch.tensor([[1e-3, 0.0], [1e-3, 0.0]])
    with pytest.raises(ValueError, match="singular network: bit line 1 floats"):
        solve(empty, [1.0, 1.0], [0.0, None], Wires(1, 1))
    with pytest.raises(ValueError, match="singular network: word line 0 floats"):
        solve(cells, [None, None], [None, None], Wires(1, 1))
    with pytest.raises(ValueError, match=r"wanted one of an array of 2 x 2"):
        select(cells, 2, 0, Wires())
