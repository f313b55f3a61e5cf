"""The floor: the work that no implementation can leave out, each part by the fastest path measured here.

W1: the five products (currents of both layers, gradients of both weights, gradient of the hidden spikes), one
float32 write and one read of the hidden layer's T B N values in a buffer that is reused, and one fused Adam.
W2, W3: the products alone. Currents of the hidden layer from input and recurrence, gradient of the spikes
through the recurrence, gradients of both weights; on W3 also the read-out's three. Products with spikes are
tried as sums over those that fired, too, listed beforehand (nothing is searched for). The recurrent products
are timed for all steps at once, which no method can do: so none can be faster.
W5: the neurons' equations alone, of all members, samples and steps, without any connection or count.
W7: the two products alone (currents, weight gradient).

Every product is tried as torch.mm (MKL or what torch was built with), torch's linear, oneDNN's linear and
NumPy's BLAS, long ones also in tiles, in the process that is timed; each must agree with torch.mm. Left out,
so that the floor is a lower bound: the neurons' arithmetic, the surrogate, the loss, bias gradients, reading
data.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear

from benchmarks import adaptive
from benchmarks.interface import Data, Forms, Runner
from benchmarks.workloads import w1, w5

NAME = "floor"
KIND = "floor"
VERSION = torch.__version__

_TRIALS, _SECONDS = 5, 1.0  # of each path: no more than so many, none begun after so long
TILE = 1024


def _product(
    name: str,
    a: Tensor,
    b: Tensor,
    notes: dict[str, str],
    events: Callable[[], Tensor] | None = None,
) -> Callable[[], object]:
    """The fastest way to a @ b.T for a [M, K], b [N, K] (either may be a transposed view).

    `events` is one more way, if either is of spikes.
    """
    a_numpy, b_numpy = a.numpy(), b.numpy().T
    out = torch.empty(a.shape[0], b.shape[0])
    out_numpy = out.numpy()
    discarding: dict[
        str, Callable[[], Tensor]
    ] = {}  # nothing keeps their result, which is checked beforehand
    candidates: dict[str, Callable[[], Tensor]] = {
        "torch.mm": lambda: torch.mm(a, b.t(), out=out),
        "torch linear": lambda: linear(a, b),
        "NumPy BLAS": lambda: torch.from_numpy(np.matmul(a_numpy, b_numpy, out=out_numpy)),
    }
    if torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        one_dnn = torch.ops.mkldnn._linear_pointwise
        candidates["oneDNN linear"] = lambda: one_dnn(a, b, None, "none", [], "")
        candidates["oneDNN linear, transposed"] = lambda: one_dnn(b, a, None, "none", [], "").t()
        if a.shape[0] > TILE:
            # A result of tens of MB in fresh memory costs more than its product; a tile's is used again.
            def by_rows(keep: bool = False) -> Tensor:
                tiles = []
                for part in a.split(TILE):
                    tile = one_dnn(part, b, None, "none", [], "")
                    if keep:
                        tiles.append(tile)
                return torch.cat(tiles) if keep else tile

            torch.testing.assert_close(by_rows(True), a @ b.t(), rtol=1e-3, atol=1e-3)
            discarding["oneDNN linear, tiles of rows"] = by_rows
        if a.shape[1] > TILE:

            def by_columns() -> Tensor:
                total = torch.zeros(a.shape[0], b.shape[0])
                for left, right in zip(a.split(TILE, 1), b.split(TILE, 1), strict=True):
                    # Columns of longer rows would go to a loop of reference, which takes minutes.
                    total += one_dnn(left.contiguous(), right.contiguous(), None, "none", [], "")
                return total

            candidates["oneDNN linear, tiles summed"] = by_columns
    if events is not None:
        candidates["sums over spikes"] = events
    truth = torch.mm(a, b.t())
    seconds: dict[str, float] = {}
    for path, multiply in {**candidates, **discarding}.items():
        if path in candidates:
            torch.testing.assert_close(multiply(), truth, rtol=1e-3, atol=1e-3 * float(truth.abs().max()))
        trials: list[float] = []
        while len(trials) < _TRIALS and sum(trials) < _SECONDS:
            out.zero_()  # as in a step, torch's threads still wait for work when another library's begin
            start = time.perf_counter()
            multiply()
            trials.append(time.perf_counter() - start)
        seconds[path] = min(trials)
    best = min(seconds, key=seconds.__getitem__)
    rate = 2e-9 * a.shape[0] * a.shape[1] * b.shape[0] / seconds[best]
    notes[name] = f"{best}, {1e3 * seconds[best]:.2f} ms, {rate:.0f} GFLOP/s"
    return {**candidates, **discarding}[best]


def _run(work: list[Callable[[], object]], notes: dict[str, str]) -> Runner:
    def step() -> None:
        for part in work:
            part()

    return Runner(step, None, notes)


@torch.no_grad()
def _w1(data: Data) -> Runner:
    notes: dict[str, str] = {}
    rows = w1.STEPS * w1.BATCH
    x, weight1, weight2 = (torch.from_numpy(data[name]) for name in ("x", "w1", "w2"))
    spikes = (torch.rand(rows, w1.HIDDEN) < 0.1).float()
    grad_output, grad_hidden = torch.randn(rows, w1.CLASSES), torch.randn(w1.BATCH, w1.HIDDEN)
    products = [
        _product("currents 1", x, weight1, notes),
        _product("currents 2", spikes, weight2, notes),
        _product("weight gradient 2", grad_output.t(), spikes.t(), notes),
        _product("spike gradient", grad_output, weight2.t(), notes),
        _product("weight gradient 1", grad_hidden.t(), x.t(), notes),
    ]
    parameters = [torch.from_numpy(data[name].copy()).requires_grad_() for name in w1.PARAMETERS]
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 1e-3)
    adam = torch.optim.Adam(parameters, lr=w1.LEARNING_RATE, betas=w1.BETAS, eps=w1.EPSILON, fused=True)
    buffer = torch.empty(w1.STEPS, w1.BATCH, w1.HIDDEN)
    return _run([*products, lambda: buffer.fill_(1.0), buffer.sum, adam.step], notes)


@torch.no_grad()
def _w7(data: Data) -> Runner:
    notes: dict[str, str] = {}
    x, weight = torch.from_numpy(data["x"]).flatten(0, 1), torch.from_numpy(data["w"])
    grad = torch.randn(x.shape[0], weight.shape[0])
    products = [
        _product("currents", x, weight, notes),
        _product("weight gradient", grad.t(), x.t(), notes),
    ]
    return _run(products, notes)


Numbers = np.ndarray[Any, Any]


class _Spikes:
    """Spikes [M, K] (0 and 1), also as a list per row."""

    def __init__(self, spikes: Tensor) -> None:
        self.dense = spikes
        rows, columns = np.nonzero(spikes.numpy())
        self._index = columns.astype(np.int32)
        self._starts = np.searchsorted(rows, np.arange(len(spikes) + 1))

    def currents(self, name: str, weight: Tensor, notes: dict[str, str]) -> Callable[[], object]:
        """spikes @ weight.T"""
        rows, out = weight.t().contiguous().numpy(), torch.empty(len(self.dense), len(weight))

        def events() -> Tensor:
            _sum_rows(self._starts, self._index, rows, out.numpy())
            return out

        return _product(name, self.dense, weight, notes, events)

    def weight_gradient(self, name: str, grad: Tensor, notes: dict[str, str]) -> Callable[[], object]:
        """grad.T @ spikes, for grad [M, N]"""
        parts = np.empty((torch.get_num_threads(), self.dense.shape[1], grad.shape[1]), np.float32)

        def events() -> Tensor:
            _add_to_rows(self._starts, self._index, grad.numpy(), parts)
            return torch.from_numpy(parts.sum(0)).t()

        return _product(name, grad.t(), self.dense.t(), notes, events)


@numba.njit(parallel=True, error_model="numpy", fastmath=True)
def _sum_rows(starts: Numbers, index: Numbers, rows: Numbers, out: Numbers) -> None:
    for m in numba.prange(out.shape[0]):
        total = out[m]
        total[:] = 0
        q, end = starts[m], starts[m + 1]
        while q + 4 <= end:
            a, b, c, d = rows[index[q]], rows[index[q + 1]], rows[index[q + 2]], rows[index[q + 3]]
            for j in range(total.shape[0]):
                total[j] += (a[j] + b[j]) + (c[j] + d[j])
            q += 4
        while q < end:
            a = rows[index[q]]
            for j in range(total.shape[0]):
                total[j] += a[j]
            q += 1


@numba.njit(parallel=True, error_model="numpy", fastmath=True)
def _add_to_rows(starts: Numbers, index: Numbers, grad: Numbers, parts: Numbers) -> None:
    for p in numba.prange(parts.shape[0]):
        sums = parts[p]
        sums[:] = 0
        for m in range(p * grad.shape[0] // parts.shape[0], (p + 1) * grad.shape[0] // parts.shape[0]):
            added = grad[m]
            for q in range(starts[m], starts[m + 1]):
                total = sums[index[q]]
                for j in range(added.shape[0]):
                    total[j] += added[j]


@torch.no_grad()
def _recurrent(data: Data, read_out: bool) -> Runner:
    notes: dict[str, str] = {}
    w_in, w_rec, w_out = (torch.from_numpy(data[name]) for name in ("w_in", "w_rec", "w_out"))
    x, neurons = torch.from_numpy(data["x"]).flatten(0, 1), len(w_rec)
    currents = (data["x"] @ data["w_in"].T + data["b_in"]).astype(np.float64)
    fired = adaptive.forward(currents, data["w_rec"].astype(np.float64)).fired.reshape(-1, neurons)
    hidden = _Spikes(torch.from_numpy(fired.astype(np.float32)))
    grad = torch.randn(len(x), neurons)
    if read_out:
        inputs, grad_out = _Spikes(x), torch.randn(len(x), len(w_out))
        work = [
            inputs.currents("currents from input", w_in, notes),
            inputs.weight_gradient("input weight gradient", grad, notes),
            hidden.currents("currents of the read-out", w_out, notes),
            hidden.weight_gradient("read-out weight gradient", grad_out, notes),
            _product("spike gradient through the read-out", grad_out, w_out.t(), notes),
        ]
    else:
        work = [
            _product("currents from input", x, w_in, notes),
            _product("input weight gradient", grad.t(), x.t(), notes),
        ]
    work += [
        hidden.currents("currents from recurrence", w_rec, notes),
        _product("spike gradient through the recurrence", grad, w_rec.t(), notes),
        hidden.weight_gradient("recurrent weight gradient", grad, notes),
    ]
    return _run(work, notes)


@numba.njit(parallel=True, error_model="numpy", fastmath=True)
def _update(membranes: Numbers, given: Numbers, steps: int, beta: float) -> None:
    for piece in numba.prange(membranes.shape[0]):
        v, current = membranes[piece], given[piece]
        for _ in range(steps):
            for k in range(v.shape[0]):
                reset = np.float32(1.0) if v[k] > np.float32(1.0) else np.float32(0.0)
                v[k] = beta * v[k] + current[k] - reset


def _w5(data: Data) -> Runner:
    lanes = 1024
    neurons = data["w1"].shape[1] + data["w2"].shape[1]
    pieces = -(-len(data["w1"]) * neurons * w5.SAMPLES // lanes)
    membranes = np.zeros((pieces, lanes), np.float32)
    given = np.full((pieces, lanes), 0.2, np.float32)

    def step() -> None:
        membranes.fill(0)
        _update(membranes, given, w5.STEPS, np.float32(w5.BETA))

    return Runner(step, None, {"neurons": "their equations alone, states in the first-level cache"})


WORKLOADS: dict[str, Forms] = {
    "w1": {"fastest path per product": _w1},
    "w2": {"fastest path per product": partial(_recurrent, read_out=False)},
    "w3": {"fastest path per product": partial(_recurrent, read_out=True)},
    "w5": {"neurons without connections": _w5},
    "w7": {"fastest path per product": _w7},
}
