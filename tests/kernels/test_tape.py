"""What is recorded, what is refused, and that a tape does the same again."""

from __future__ import annotations

from array import array

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rheobase.kernels import outer
from rheobase.kernels.settled import declare, host, refuse, settled
from rheobase.kernels.tape import Recording, recording
from rheobase.kernels.workspace import empty


def test_plays_operations_on_new_values_to_the_same_bits() -> None:
    x, w = torch.rand(4, 3), torch.rand(3, 2, requires_grad=True)

    def step() -> tuple[Tensor, Tensor]:
        y = torch.tanh(x @ w)
        y = torch.cat([y, y.t().reshape(4, 2)]).sum(0)
        out = torch.zeros(2)
        out[1:] = y[1:]
        out += y.sigmoid()
        (gradient,) = torch.autograd.grad(out.square().sum(), w)
        return out.detach(), gradient

    with Recording([x, w]) as recording:
        found = step()
    assert not recording.refused
    for _ in range(3):
        x.uniform_()
        with torch.no_grad():
            w.uniform_()
        assert recording.tape.play()
        for played, expected in zip(found, step(), strict=True):
            assert torch.equal(played, expected)


@given(
    st.lists(st.sampled_from(["add", "mul", "view", "in place", "where", "fresh"]), min_size=1, max_size=8)
)
def test_plays_any_chain_of_operations(chain: list[str]) -> None:
    def step(x: Tensor) -> Tensor:
        y = x * 1
        for name in chain:
            if name == "add":
                y = y + x
            elif name == "mul":
                y = y.mul(0.5)
            elif name == "view":
                y = y.t().flatten().view(y.shape)
            elif name == "in place":
                y[0].add_(x[1])
            elif name == "where":
                y = torch.where(y > 0.5, y, -x)
            else:
                y = torch.full_like(y, 2.0) - y
        return y

    x = torch.rand(3, 3)
    with Recording([x]) as recording:
        y = step(x)
    assert not recording.refused
    x.uniform_(-1, 1)
    assert recording.tape.play()
    assert torch.equal(y, step(x))


def test_keeps_what_it_works_on_alive() -> None:
    x = torch.rand(100)
    with Recording([x]) as recording:
        y = (x * 2).exp().log()
    others = [torch.rand(100) for _ in range(50)]  # would take the memory of what is between
    x.uniform_()
    assert recording.tape.play()
    assert torch.equal(y, (x * 2).exp().log())
    assert recording.tape.bytes >= 3 * x.nbytes
    assert len(others) == 50


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("looks at a value", lambda x: x * x.sum().item()),
        ("looks at a value", lambda x: x if x.sum() > 0 else -x),
        ("looks at a value", lambda x: x * float(x.numpy().sum())),
        ("looks at a value", lambda x: x * np.asarray(x).max()),
        ("looks at a value", lambda x: x * x.tolist()[0]),
        ("depends on values", lambda x: x[x > 0.5]),
        ("random", lambda x: x + torch.rand(3)),
        ("random", lambda x: torch.nn.functional.dropout(x, 0.5)),
        ("changes what was given", lambda x: x.add_(1)),
        ("changes what was given", lambda x: torch.tensor([1.0, 2.0, 3.0]).add_(x)),
        ("changes what was given", lambda x: torch.ones_like(x).add_(x)),
    ],
)
def test_refuses_what_cannot_be_written_down(name: str, step: object) -> None:
    x = torch.rand(3)
    with Recording([x]) as recording:
        step(x)  # type: ignore[operator]
    assert name in recording.refused
    assert len(recording.tape) == 0


def test_refuses_more_memory_than_it_may_keep() -> None:
    x = torch.rand(1 << 18)
    with Recording([x], most=1 << 20) as recording:
        _ = x + 1 + 2
    assert recording.refused == "it takes more than 1 MiB"
    assert recording.tape.bytes == 0


def test_refuses_kernels_that_are_not_bound_to_shapes() -> None:
    x, gradient = (torch.rand(64, 40) < 0.1).float(), torch.rand(64, 64)
    with Recording([x, gradient]) as recording:
        outer.weight_gradient(gradient, x)
    assert recording.refused == "the outer products kernel is not bound to shapes"


def test_a_choice_is_made_again() -> None:
    x = torch.tensor([1.0])
    known: dict[str, bool] = {}

    def positive(x: Tensor, known: dict[str, bool] | None = None) -> bool:
        known = {} if known is None else known
        return known.setdefault("positive", bool(x > 0))

    with Recording([x]) as recording:
        y = x + 1 if settled(positive, x, known=known) else x - 1
        z = x + 3 if settled(positive, x, known=known) else x - 3  # of what is given, once is enough
    assert (y.item(), z.item(), len(recording.tape)) == (2.0, 4.0, 3)
    x.fill_(2.0)
    assert recording.tape.play()
    assert y.item() == 3.0
    x.fill_(-1.0)
    assert not recording.tape.play()
    assert y.item() == 3.0


def test_a_choice_on_what_changes_is_made_again_each_time() -> None:
    x = torch.tensor([1.0])
    with Recording([x]) as recording:
        y = x * 2
        for _ in range(2):
            assert settled(lambda y: bool(y > 0), y)
            y.sub_(1.5)
    x.fill_(0.5)  # 1 > 0, but -0.5 is not
    assert not recording.tape.play()


def test_arithmetic_in_python_is_done_again() -> None:
    x, out = torch.tensor([1.0, 2.0]), torch.zeros(())
    with Recording([x]) as recording:
        host(lambda: out.fill_(float(x[0]) + float(x[1])), out)
    x.fill_(5.0)
    assert out.item() == 3.0
    assert recording.tape.play()
    assert out.item() == 10.0


def test_outside_of_a_recording_hooks_do_nothing() -> None:
    assert settled(lambda: 3) == 3
    host(lambda: None)
    declare(array("q", [0]))
    refuse("nothing")
    assert recording() is None


def test_memory_of_the_pool_may_be_written_to() -> None:
    x = torch.rand(1 << 18)
    with Recording([x]) as recording:
        y = empty((1 << 18,), torch.float32).copy_(x)
        y += x
    assert not recording.refused
    x.fill_(2.0)
    assert recording.tape.play()
    assert float(y.mean()) == 4.0


def test_an_error_closes_the_recording() -> None:
    with pytest.raises(RuntimeError, match="size"), Recording([]):
        torch.rand(2) + torch.rand(3)
    assert recording() is None
