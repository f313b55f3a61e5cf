"""The floor: the work that no implementation can leave out, each part by the fastest path measured here.

W1: the five products (currents of both layers, gradients of both weights, gradient of the hidden spikes), one
float32 write and one read of the hidden layer's T B N values in a buffer that is reused, and one fused Adam.
W7: the two products alone (currents, weight gradient).

Every product is tried as torch.mm (MKL or what torch was built with), torch's linear, oneDNN's linear and
NumPy's BLAS, in the process that is timed; each must agree with torch.mm. Left out, so that the floor is a
lower bound: the neurons' arithmetic, the surrogate, the loss, bias gradients, reading data.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear

from benchmarks.interface import Data, Forms, Runner
from benchmarks.workloads import w1

NAME = "floor"
KIND = "floor"
VERSION = torch.__version__

_TRIALS = 5


def _product(name: str, a: Tensor, b: Tensor, notes: dict[str, str]) -> Callable[[], object]:
    """The fastest way to a @ b.T for a [M, K], b [N, K] (either may be a transposed view)."""
    a_numpy, b_numpy = a.numpy(), b.numpy().T
    out = torch.empty(a.shape[0], b.shape[0])
    out_numpy = out.numpy()
    candidates: dict[str, Callable[[], Tensor]] = {
        "torch.mm": lambda: torch.mm(a, b.t(), out=out),
        "torch linear": lambda: linear(a, b),
        "NumPy BLAS": lambda: torch.from_numpy(np.matmul(a_numpy, b_numpy, out=out_numpy)),
    }
    if torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        one_dnn = torch.ops.mkldnn._linear_pointwise
        candidates["oneDNN linear"] = lambda: one_dnn(a, b, None, "none", [], "")
        candidates["oneDNN linear, transposed"] = lambda: one_dnn(b, a, None, "none", [], "").t()
    truth = torch.mm(a, b.t())
    seconds: dict[str, float] = {}
    for path, multiply in candidates.items():
        torch.testing.assert_close(multiply(), truth, rtol=1e-3, atol=1e-3 * float(truth.abs().max()))
        trials = []
        for _ in range(_TRIALS):
            start = time.perf_counter()
            multiply()
            trials.append(time.perf_counter() - start)
        seconds[path] = min(trials)
    best = min(seconds, key=seconds.__getitem__)
    rate = 2e-9 * a.shape[0] * a.shape[1] * b.shape[0] / seconds[best]
    notes[name] = f"{best}, {rate:.0f} GFLOP/s"
    return candidates[best]


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


WORKLOADS: dict[str, Forms] = {
    "w1": {"fastest path per product": _w1},
    "w7": {"fastest path per product": _w7},
}
