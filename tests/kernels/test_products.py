"""Products by every path equal the dense product in float64."""

from __future__ import annotations

import itertools
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from rheobase.kernels import events, outer, panels, products, threads
from rheobase.kernels.products import FEW, LARGE, linear, prefers_onednn

SHAPES = [(5, 16, 3), (7, 7, 4), (9, 50, 1), (1, 31, 5), (33, 130, 60)]
DTYPES = [torch.float32, torch.float64]
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-13}


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def sparse(rows: int, columns: int, density: float, dtype: torch.dtype = torch.float64) -> Tensor:
    """Values of either sign at this density; half of the others are -0.0; the last row is all zeros."""
    generator = torch.Generator().manual_seed(4)
    chance = torch.rand(rows, columns, generator=generator)
    x = torch.where(chance < density, normal(rows, columns), 0.0)
    x = torch.where(chance > 0.5 + density / 2, -0.0, x)
    x[-1] = 0.0
    return x.to(dtype)


def check(found: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    assert found.dtype is dtype
    assert found.shape == expected.shape
    scale = max(float(expected.abs().max()), 1.0)
    torch.testing.assert_close(found.double(), expected, rtol=0.0, atol=TOLERANCE[dtype] * scale)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("density", [0.0, 0.05, 0.4, 1.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_products_with_events(shape: tuple[int, int, int], density: float, dtype: torch.dtype) -> None:
    rows, columns, outputs = shape
    x, weight = sparse(rows, columns, density, dtype), normal(outputs, columns, seed=1, dtype=dtype)
    gradient = normal(rows, outputs, seed=2, dtype=dtype)
    for bias in (None, normal(outputs, seed=3, dtype=dtype)):
        out = torch.full((rows, outputs), float("nan"), dtype=dtype)  # all of it is written
        assert events.multiply(x, weight, bias, out) is out
        exact = functional.linear(x.double(), weight.double(), None if bias is None else bias.double())
        check(out, exact, dtype)
        start = torch.zeros(outputs, dtype=dtype) if bias is None else bias
        assert torch.equal(out[-1], start)  # a row of zeros
    for make in (events.weight_gradient, outer.weight_gradient):
        found = make(gradient, x)
        check(found, gradient.double().t() @ x.double(), dtype)
        assert not found[:, (x == 0).all(0)].any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("outputs", [8, 17, 33, 48, 70])  # panels of every width
def test_outer_products_in_panels_of_every_width(outputs: int, dtype: torch.dtype) -> None:
    x, gradient = sparse(150, 18, 0.2, dtype), normal(150, outputs, seed=2, dtype=dtype)
    check(outer.weight_gradient(gradient, x), gradient.double().t() @ x.double(), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [*SHAPES, (40, 33, 200), (16, 48, 128), (170, 20, 33), (12, 400, 70)])
def test_panels(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    rows, columns, outputs = shape
    x, weight = sparse(rows, columns, 0.2, dtype), normal(outputs, columns, seed=1, dtype=dtype)
    gradient, bias = normal(rows, outputs, seed=2, dtype=dtype), normal(outputs, seed=3, dtype=dtype)
    results = []
    for count in (1, 2):
        torch.set_num_threads(count)
        by_weight, total = panels.weight_gradient(gradient, x)
        out = torch.full((rows, outputs), float("nan"), dtype=dtype)
        assert panels.multiply(x, weight, bias, out) is out
        assert torch.equal(out[-1], bias)
        check(out, functional.linear(x.double(), weight.double(), bias.double()), dtype)
        check(by_weight, gradient.double().t() @ x.double(), dtype)
        check(total, gradient.double().sum(0), dtype)
        results.append((out, by_weight, total))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    events_sums = events.multiply(x, weight, bias, torch.empty_like(results[0][0]))
    assert torch.equal(events_sums, results[0][0])  # the same sums in the same order


@pytest.mark.parametrize(
    ("shape", "density", "dtype", "expected"),
    [
        ((128, 784, 1000), 0.2, torch.float32, True),
        ((128, 784, 1000), 0.2, torch.float64, True),
        ((128, 784, 1000), 0.4, torch.float32, True),
        ((128, 784, 1000), 0.6, torch.float32, False),
        ((128, 784, 1000), 0.2, torch.float16, False),
        ((4, 784, 1000), 0.2, torch.float32, False),  # too few rows to turn the weights for
        ((4000, 784, 1000), 0.01, torch.float32, False),  # the work of `events`
        ((4000, 784, 1000), 0.2, torch.float32, True),
        ((4000, 784, 400), 0.2, torch.float32, False),
        ((128, 784, 100), 0.2, torch.float32, True),
        ((40, 784, 100), 0.2, torch.float32, False),  # too little work
        ((400, 784, 90), 0.2, torch.float32, False),
        ((128, 784, 10), 0.2, torch.float32, False),
    ],
)
def test_when_panels_are_worth_it(
    shape: tuple[int, int, int], density: float, dtype: torch.dtype, expected: bool
) -> None:
    rows, columns, outputs = shape
    assert panels.worth_listing(sparse(rows, columns, density, dtype), outputs) is expected


def test_panels_take_many_rows_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panels, "CHUNK", 30)
    x, weight, gradient = sparse(70, 20, 0.2), normal(33, 20, seed=1), normal(70, 33, seed=2)
    out = torch.full((70, 33), float("nan"), dtype=torch.float64)
    check(panels.multiply(x, weight, None, out), x @ weight.t(), torch.float64)
    by_weight, total = panels.weight_gradient(gradient, x)
    check(by_weight, gradient.t() @ x, torch.float64)
    check(total, gradient.sum(0), torch.float64)


def test_only_negative_zeros() -> None:
    x = torch.full((3, 20), -0.0)
    out = events.multiply(x, normal(4, 20, dtype=torch.float32), None, torch.empty(3, 4))
    assert torch.equal(out, torch.zeros(3, 4))
    assert torch.equal(events.weight_gradient(torch.ones(3, 4), x), torch.zeros(4, 20))
    assert torch.equal(outer.weight_gradient(torch.ones(3, 4), x), torch.zeros(4, 20))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e-45, -3.4e38])
@pytest.mark.parametrize("column", [0, 15, 16, 36])  # ends of blocks of 16, and the rest behind them
def test_no_value_is_overlooked(value: float, column: int) -> None:
    x = torch.zeros(4, 37)
    x[1, column] = value
    weight = torch.ones(2, 37)
    out = events.multiply(x, weight, None, torch.empty(4, 2))
    expected = torch.zeros(4, 2)
    expected[1] = x[1, column]
    assert torch.equal(out.isnan(), expected.isnan())
    assert torch.equal(out.nan_to_num(), expected.nan_to_num())
    gradient = events.weight_gradient(torch.ones(4, 2), x)
    assert torch.equal(gradient[0].nan_to_num(), x[1].nan_to_num())
    assert torch.equal(gradient[1].isnan(), x[1].isnan())
    gradient = outer.weight_gradient(torch.ones(4, 2), x)
    assert torch.equal(gradient[0].nan_to_num(), x[1].nan_to_num())
    assert torch.equal(gradient[1].isnan(), x[1].isnan())


def test_strides_do_not_matter() -> None:
    x, weight, gradient = sparse(20, 9, 0.3), normal(9, 6), normal(6, 20)
    out = events.multiply(x.t().contiguous().t(), weight.t(), None, torch.empty(20, 6, dtype=torch.float64))
    check(out, x @ weight, torch.float64)
    check(panels.multiply(x.t().contiguous().t(), weight.t(), None, out), x @ weight, torch.float64)
    with pytest.raises(ValueError, match="wanted a contiguous one"):
        panels.multiply(x, weight.t(), None, torch.empty(6, 20, dtype=torch.float64).t())
    makes = (events.weight_gradient, outer.weight_gradient, lambda g, x: panels.weight_gradient(g, x)[0])
    for make in makes:
        check(make(gradient.t(), x.t().contiguous().t()), gradient @ x, torch.float64)


@pytest.mark.parametrize("rows", [3, 128, 200])
def test_the_number_of_threads_changes_no_bit(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "SMALL", 0)
    x, weight, gradient = sparse(rows, 130, 0.2), normal(60, 130), normal(rows, 60, seed=2)
    found = []
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        out = events.multiply(x, weight, None, torch.empty(rows, 60, dtype=torch.float64))
        found.append((out, events.weight_gradient(gradient, x), outer.weight_gradient(gradient, x)))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def rows_with(count: int) -> Tensor:
    """1024 rows of 128, with `count` values each that are not zero."""
    x = torch.zeros(1024, 128)
    x[:, :count] = 1.0
    return x


@pytest.mark.parametrize("count", [0, 1, 13, 128])
def test_density_is_estimated(count: int) -> None:
    assert events.density(rows_with(count)) == count / 128
    assert events.density(rows_with(count).double()) == count / 128


@pytest.mark.parametrize(
    ("outputs", "count", "expected"),
    [
        # Dense costs 0.008 ns per element and output, search 0.28, a value 1.2 + 0.03 outputs.
        (100, 15, True),  # 0.28 + 15/128 x 4.2 = 0.77 against 0.8
        (100, 16, False),  # 0.28 + 16/128 x 4.2 = 0.81 against 0.8
        (500, 29, True),  # 0.28 + 29/128 x 16.2 = 3.95 against 4.0
        (500, 30, False),  # 0.28 + 30/128 x 16.2 = 4.08 against 4.0
        (30, 0, False),  # the search alone costs more
    ],
)
def test_when_zeros_are_searched_for(outputs: int, count: int, expected: bool) -> None:
    assert events.worth_gathering(rows_with(count), outputs) is expected
    assert events.worth_gathering(rows_with(count).double(), outputs) is expected


def test_when_zeros_are_never_searched_for() -> None:
    x = rows_with(0)
    assert x.numel() == events.WORTHWHILE
    assert events.worth_gathering(x, 1000)
    for other in (x[:-1], x.to("meta"), x.half(), torch.empty(0, 128)):
        assert not events.worth_gathering(other, 1000)
        assert events.density(other) == 1.0


def test_the_paths_are_taken_where_they_should(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []

    def spy(module: Any, name: str) -> None:
        original = getattr(module, name)

        def noted(*args: Any) -> Any:
            taken.append(f"{module.__name__.rsplit('.', 1)[1]}.{name}")
            return original(*args)

        monkeypatch.setattr(module, name, noted)

    monkeypatch.setattr(products, "amd_with_avx512", lambda: False)
    spied = [
        (events, "multiply"),
        (events, "weight_gradient"),
        (outer, "weight_gradient"),
        (panels, "multiply"),
        (panels, "weight_gradient"),
        (products, "_onednn"),
    ]
    for module, name in spied:
        spy(module, name)

    def paths(x: Tensor, outputs: int) -> list[str]:
        taken.clear()
        weight = torch.ones(outputs, x.shape[1], dtype=x.dtype, requires_grad=True)
        linear(x, weight, None).sum().backward()
        return list(taken)

    assert paths(rows_with(1), 60) == ["events.multiply", "events.weight_gradient"]
    assert paths(rows_with(2), 60) == ["events.multiply", "outer.weight_gradient"]
    assert paths(rows_with(40), 60) == []
    assert paths(rows_with(100), 60) == []
    assert paths(rows_with(1), 10) == ["products._onednn", "products._onednn"]
    assert paths(rows_with(1), 2) == ["products._onednn"]
    assert paths(rows_with(1).double(), 10) == []
    monkeypatch.setattr(products, "amd_with_avx512", lambda: True)
    assert paths(rows_with(100), 60) == ["products._onednn", "products._onednn"]
    assert paths(rows_with(40), 60) == ["products._onednn", "outer.weight_gradient"]
    assert paths(rows_with(100)[:512], 60) == []
    images = sparse(128, 784, 0.2, torch.float32)
    assert paths(images, 1000) == ["panels.multiply", "panels.weight_gradient"]
    assert paths(images, 10) == ["products._onednn"]


def test_what_is_found_out_about_an_input_is_known_in_its_backward_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted: list[int] = []
    count = torch.count_nonzero

    def noted(x: Tensor) -> Tensor:
        counted.append(len(x))
        return count(x)

    monkeypatch.setattr(torch, "count_nonzero", noted)
    for x, outputs, rows in (
        (rows_with(1), 60, events.SAMPLED),
        (sparse(128, 784, 0.2), 400, panels.SAMPLED),
    ):
        counted.clear()
        linear(x, torch.ones(outputs, x.shape[1], dtype=x.dtype, requires_grad=True), None).sum().backward()
        assert counted == [rows]


def force_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "density", lambda x, known: 0.0)


def force_outer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "density", lambda x, known: 0.05)


def force_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "density", lambda x, known: 1.0)


FUNCTIONS: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "eager": linear,
    "operator": lambda x, w, b: torch.ops.rheobase.linear(x, w, b),
}


@pytest.mark.parametrize("force", [force_events, force_outer, force_dense])
@pytest.mark.parametrize("name", list(FUNCTIONS))
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("input_trained", [False, True])
def test_gradients(
    force: Callable[[pytest.MonkeyPatch], None],
    name: str,
    biased: bool,
    input_trained: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    force(monkeypatch)
    weigh = normal(21, 60, seed=5)
    found = []
    for function in (FUNCTIONS[name], functional.linear):
        x = sparse(21, 37, 0.2).requires_grad_(input_trained)
        weight = normal(60, 37, seed=1).requires_grad_()
        bias = normal(60, seed=2).requires_grad_() if biased else None
        y = function(x, weight, bias)
        leaves = [leaf for leaf in (x, weight, bias) if leaf is not None and leaf.requires_grad]
        found.append([y.detach(), *torch.autograd.grad((y.square() * weigh).sum(), leaves)])
    for got, want in zip(*found, strict=True):
        check(got, want, torch.float64)


@pytest.mark.parametrize("trained", [t for t in itertools.product([False, True], repeat=3) if any(t)])
def test_only_the_wanted_gradients_are_made(trained: tuple[bool, bool, bool]) -> None:
    given = [normal(4, 5), normal(3, 5, seed=1), normal(3, seed=2)]
    leaves = [x.requires_grad_(on) for x, on in zip(given, trained, strict=True)]
    linear(*leaves).sum().backward()
    expected = [
        given[1].detach().sum(0).expand(4, 5),
        given[0].detach().sum(0).expand(3, 5),
        torch.full((3,), 4.0),
    ]
    for leaf, on, want in zip(leaves, trained, expected, strict=True):
        assert (leaf.grad is not None) is on
        if leaf.grad is not None:
            check(leaf.grad, want.double(), torch.float64)


@pytest.mark.parametrize(
    ("rows", "inputs", "outputs", "dtype", "amd", "expected"),
    [
        (FEW + 1, 9, FEW, torch.float32, False, True),
        (FEW, 9, FEW, torch.float32, False, False),
        (FEW, LARGE, 1000, torch.float32, True, False),
        (FEW + 1, 9, FEW + 1, torch.float32, False, False),
        (1024, LARGE >> 20, 1024, torch.float32, False, False),
        (1024, LARGE >> 20, 1024, torch.float32, True, True),
        (1024, LARGE >> 20, 1023, torch.float32, True, False),
        (1024, LARGE >> 20, 1024, torch.float64, True, False),
    ],
)
def test_when_onednn_is_preferred(
    rows: int,
    inputs: int,
    outputs: int,
    dtype: torch.dtype,
    amd: bool,
    expected: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(products, "amd_with_avx512", lambda: amd)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    assert prefers_onednn(rows, inputs, outputs, dtype) is expected
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert not prefers_onednn(rows, inputs, outputs, dtype)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch was built without oneDNN")  # type: ignore[no-untyped-call]
@pytest.mark.parametrize(("rows", "outputs", "amd"), [(70, 10, False), (1024, 10, True), (2400, 40, True)])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("strided", [False, True])
def test_onednn_gives_the_same_to_rounding(
    rows: int, outputs: int, amd: bool, biased: bool, strided: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "amd_with_avx512", lambda: amd)
    assert prefers_onednn(rows, 45, outputs, torch.float32)
    x = normal(rows, 45, dtype=torch.float32)
    x = (x.t().contiguous().t() if strided else x).requires_grad_()
    weight = normal(outputs, 45, seed=1, dtype=torch.float32).requires_grad_()
    bias = normal(outputs, seed=2, dtype=torch.float32).requires_grad_() if biased else None
    leaves = [leaf for leaf in (x, weight, bias) if leaf is not None]
    weigh = normal(rows, outputs, seed=6)
    y = linear(x, weight, bias)
    found = torch.autograd.grad((y * weigh.float()).sum(), leaves)
    exact = functional.linear(x.double(), weight.double(), None if bias is None else bias.double())
    expected = torch.autograd.grad((exact * weigh).sum(), leaves)
    check(y.detach(), exact.detach(), torch.float32)
    for got, want in zip(found, expected, strict=True):
        check(got, want.double(), torch.float32)


def test_into_a_given_tensor() -> None:
    for outputs in (3, 40):
        x, weight = normal(50, 8, dtype=torch.float32), normal(outputs, 8, seed=1, dtype=torch.float32)
        for bias in (None, normal(outputs, seed=2, dtype=torch.float32)):
            out = torch.full((50, outputs), float("nan"))
            assert products.multiply(x, weight, bias, out) is out
            check(
                out,
                functional.linear(x.double(), weight.double(), None if bias is None else bias.double()),
                torch.float32,
            )


@pytest.mark.parametrize(
    ("capability", "cpuinfo", "expected"),
    [
        ("AVX2", "vendor_id : AuthenticAMD", False),
        ("AVX512", "vendor_id : AuthenticAMD", True),
        ("AVX512", "vendor_id : GenuineIntel", False),
        ("AVX512", None, True),
    ],
)
def test_the_processor(
    capability: str, cpuinfo: str | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(path: Path) -> str:
        if cpuinfo is None:
            raise FileNotFoundError(path)
        return cpuinfo

    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(platform, "processor", lambda: "AMD64 Family 25, AuthenticAMD")
    assert products.amd_with_avx512.__wrapped__() is expected
