"""JAX: a hand-written `lax.scan` (which is what spyx does), the whole step under one `jit`, Adam included."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks import adaptive, lif
from benchmarks.interface import Data, Forms, Outputs, Runner
from benchmarks.workloads import w1, w3, w4, w5

NAME = "JAX scan"
KIND = "peer"
VERSION = jax.__version__

Params = dict[str, Array]
Tree = TypeVar("Tree")


@jax.custom_vjp
def _spike(distance: Array) -> Array:
    return (distance > 0).astype(distance.dtype)


def _spike_forward(distance: Array) -> tuple[Array, Array]:
    return _spike(distance), distance


def _spike_backward(distance: Array, grad: Array) -> tuple[Array]:
    return (grad / (1 + lif.SLOPE * jnp.abs(distance)) ** 2,)


_spike.defvjp(_spike_forward, _spike_backward)

State = tuple[Array, Array]  # membrane, spikes of the step before


def _step(state: State, current: Array) -> State:
    membrane, spikes = state
    membrane = lif.BETA * membrane + current - lif.THRESHOLD * jax.lax.stop_gradient(spikes)
    return membrane, _spike(membrane - lif.THRESHOLD)


def _rest(shape: tuple[int, ...]) -> State:
    return jnp.zeros(shape), jnp.zeros(shape)


def _over_time(currents: Array, unroll: int) -> State:
    """Membranes and spikes [T, B, N] for currents [T, B, N]."""

    def body(state: State, current: Array) -> tuple[State, State]:
        state = _step(state, current)
        return state, state

    signals: State = jax.lax.scan(body, _rest(currents.shape[1:]), currents, unroll=unroll)[1]
    return signals


def _two_scans(p: Params, x: Array, unroll: int) -> tuple[Array, Array]:
    current = x @ p["w1"].T + p["b1"]

    def body(state: State, _: None) -> tuple[State, Array]:
        state = _step(state, current)
        return state, state[1]

    hidden = jax.lax.scan(body, _rest(current.shape), None, length=w1.STEPS, unroll=unroll)[1]
    return hidden, _over_time(hidden @ p["w2"].T + p["b2"], unroll)[0]


def _one_scan(p: Params, x: Array, unroll: int) -> tuple[Array, Array]:
    current = x @ p["w1"].T + p["b1"]

    def body(states: tuple[State, State], _: None) -> tuple[tuple[State, State], tuple[Array, Array]]:
        hidden = _step(states[0], current)
        output = _step(states[1], hidden[1] @ p["w2"].T + p["b2"])
        return (hidden, output), (hidden[1], output[0])

    initial = (_rest(current.shape), _rest((x.shape[0], w1.CLASSES)))
    signals: tuple[Array, Array] = jax.lax.scan(body, initial, None, length=w1.STEPS, unroll=unroll)[1]
    return signals


def _adam(p: Params, grads: Params, m: Params, v: Params, count: Array) -> tuple[Params, Params, Params]:
    beta1, beta2 = w1.BETAS
    m = {k: beta1 * m[k] + (1 - beta1) * grads[k] for k in p}
    v = {k: beta2 * v[k] + (1 - beta2) * grads[k] ** 2 for k in p}
    scale1, scale2 = 1 - beta1**count, 1 - beta2**count
    new = {k: p[k] - w1.LEARNING_RATE * (m[k] / scale1) / (jnp.sqrt(v[k] / scale2) + w1.EPSILON) for k in p}
    return new, m, v


def _w1(
    network: Callable[[Params, Array, int], tuple[Array, Array]], unroll: int
) -> Callable[[Data], Runner]:
    def factory(data: Data) -> Runner:
        x, y = jnp.asarray(data["x"]), jnp.asarray(data["y"])
        given = {name: data[name] for name in w1.PARAMETERS}

        def loss(p: Params) -> tuple[Array, Array]:
            hidden, membrane = network(p, x, unroll)
            log_probability = jax.nn.log_softmax(membrane)
            picked = jnp.take_along_axis(log_probability, y[None, :, None], axis=-1)
            return -picked.mean(1).sum(), hidden

        def train(p: Params, m: Params, v: Params, count: Array) -> tuple[Params, Params, Params]:
            return _adam(p, jax.grad(loss, has_aux=True)(p)[0], m, v, count)

        compiled = jax.jit(train, donate_argnums=(0, 1, 2))
        zeros = jax.tree.map(np.zeros_like, given)
        state = [jax.tree.map(jnp.asarray, tree) for tree in (given, zeros, zeros)]
        count = 0

        def step() -> None:
            nonlocal count
            count += 1
            state[:] = _finished(compiled(*state, jnp.float32(count)))

        def check() -> Outputs:
            grads, hidden = jax.jit(jax.grad(loss, has_aux=True))(jax.tree.map(jnp.asarray, given))
            return _outputs(hidden, grads)

        return Runner(step, check)

    return factory


def _w7(unroll: int) -> Callable[[Data], Runner]:
    def factory(data: Data) -> Runner:
        x = jnp.asarray(data["x"])
        given = {name: jnp.asarray(data[name]) for name in ("w", "b")}

        def loss(p: Params, x: Array) -> tuple[Array, Array]:
            currents = (x.reshape(-1, x.shape[2]) @ p["w"].T + p["b"]).reshape(x.shape)
            spikes = _over_time(currents, unroll)[1]
            return spikes.sum(), spikes

        gradient = jax.jit(lambda p, x: jax.grad(loss, has_aux=True)(p, x)[0])

        def check() -> Outputs:
            grads, spikes = jax.jit(jax.grad(loss, has_aux=True))(given, x)
            return _outputs(spikes, grads)

        return Runner(lambda: _finished(gradient(given, x)), check)

    return factory


@jax.custom_vjp
def _adaptive_spike(x: Array) -> Array:
    return (x > 0).astype(x.dtype)


def _adaptive_forward(x: Array) -> tuple[Array, Array]:
    return _adaptive_spike(x), x


def _adaptive_backward(x: Array, grad: Array) -> tuple[Array]:
    return (grad * adaptive.GAMMA * jnp.maximum(0, 1 - jnp.abs(x)),)


_adaptive_spike.defvjp(_adaptive_forward, _adaptive_backward)

Hidden = Callable[[Array, Array, int], Array]
"""(currents [T, B, N], recurrent weights (to, from), unroll) -> spikes [T, B, N]."""


def _recurrent(currents: Array, weight: Array, unroll: int) -> Array:
    def body(state: tuple[Array, Array, Array], current: Array) -> tuple[tuple[Array, Array, Array], Array]:
        v, b, z = state
        v = adaptive.ALPHA * v + current + z @ weight.T - adaptive.THRESHOLD * jax.lax.stop_gradient(z)
        b = adaptive.RHO * b + z
        z = _adaptive_spike((v - adaptive.THRESHOLD - adaptive.BETA * b) / adaptive.THRESHOLD)
        return (v, b, z), z

    rest = jnp.zeros_like(currents[0])
    spikes: Array = jax.lax.scan(body, (rest, rest, rest), currents, unroll=unroll)[1]
    return spikes


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _recurrent_afterwards(currents: Array, weight: Array, unroll: int) -> Array:
    """The same; but the weights' gradient is taken in one product over all steps, not summed step by step."""
    return _recurrent(currents, weight, unroll)


def _afterwards_forward(currents: Array, weight: Array, unroll: int) -> tuple[Array, tuple[Any, Array]]:
    spikes, pull = jax.vjp(lambda c: _recurrent(c, weight, unroll), currents)
    return spikes, (pull, spikes)


def _afterwards_backward(unroll: int, saved: tuple[Any, Array], grad: Array) -> tuple[Array, Array]:
    pull, spikes = saved
    (grad_currents,) = pull(grad)
    return grad_currents, jnp.tensordot(grad_currents[1:], spikes[:-1], ((0, 1), (0, 1)))


_recurrent_afterwards.defvjp(_afterwards_forward, _afterwards_backward)


def _hidden_spikes(p: Params, x: Array, hidden: Hidden, unroll: int) -> Array:
    currents = (x.reshape(-1, x.shape[2]) @ p["w_in"].T + p["b_in"]).reshape(*x.shape[:2], -1)
    return hidden(currents, p["w_rec"] * (1 - jnp.eye(currents.shape[2])), unroll)


def _adding_loss(p: Params, x: Array, y: Array, hidden: Hidden, unroll: int) -> tuple[Array, Array]:
    spikes = _hidden_spikes(p, x, hidden, unroll)
    decay = adaptive.KAPPA ** jnp.arange(len(x) - 1, -1, -1)
    last = jnp.tensordot(decay, spikes, 1) @ p["w_out"].T + decay.sum() * p["b_out"]
    return ((last - y) ** 2).mean(), spikes


def _sequence_loss(p: Params, x: Array, y: Array, hidden: Hidden, unroll: int) -> tuple[Array, Array]:
    spikes = _hidden_spikes(p, x, hidden, unroll)
    out = spikes @ p["w_out"].T + p["b_out"]

    def leak(membrane: Array, current: Array) -> tuple[Array, Array]:
        membrane = adaptive.KAPPA * membrane + current
        return membrane, membrane

    log_probability = jax.nn.log_softmax(jax.lax.scan(leak, jnp.zeros_like(out[0]), out, unroll=unroll)[1])
    return -jnp.take_along_axis(log_probability, y[None, :, None], axis=-1).mean(), spikes


def _recurrent_gradient(
    loss: Callable[[Params, Array, Array, Hidden, int], tuple[Array, Array]], hidden: Hidden, unroll: int
) -> Callable[[Data], Runner]:
    def factory(data: Data) -> Runner:
        x, y = jnp.asarray(data["x"]), jnp.asarray(data["y"])
        given = {name: jnp.asarray(data[name]) for name in w3.PARAMETERS}
        gradient = jax.jit(jax.grad(lambda p, x, y: loss(p, x, y, hidden, unroll), has_aux=True))

        def check() -> Outputs:
            grads, spikes = gradient(given, x, y)
            return _outputs(spikes, grads)

        return Runner(lambda: _finished(gradient(given, x, y)), check)

    return factory


def _recurrent_forms(loss: Callable[[Params, Array, Array, Hidden, int], tuple[Array, Array]]) -> Forms:
    hidden = {"step by step": _recurrent, "in one product": _recurrent_afterwards}
    return {
        f"weight gradient {how}, unroll {unroll}": _recurrent_gradient(loss, layer, unroll)
        for how, layer in hidden.items()
        for unroll in (1, 4)
    }


def _finished(tree: Tree) -> Tree:
    done: Tree = jax.block_until_ready(tree)  # type: ignore[no-untyped-call]
    return done


def _w5(unroll: int) -> Callable[[Data], Runner]:
    def factory(data: Data) -> Runner:
        x, y = jnp.asarray(data["x"]), jnp.asarray(data["y"])
        parameters = {name: jnp.asarray(data[name]) for name in w5.PARAMETERS}

        def neuron(state: State, current: Array) -> State:
            v, z = state
            v = w5.BETA * v + current - w5.THRESHOLD * z
            return v, (v > w5.THRESHOLD).astype(v.dtype)

        def member(p: Params, keep: bool) -> tuple[Array, Array]:
            def body(carry: tuple[State, State, Array], now: Array) -> Any:
                hidden = neuron(carry[0], now @ p["w1"].T + p["b1"])
                output = neuron(carry[1], hidden[1] @ p["w2"].T + p["b2"])
                return (hidden, output, carry[2] + output[1]), output[1] if keep else None

            rest = _rest((x.shape[1], p["w1"].shape[0])), _rest((x.shape[1], w5.CLASSES))
            last, kept = jax.lax.scan(body, (*rest, jnp.zeros_like(rest[1][0])), x, unroll=unroll)
            log_probability = jax.nn.log_softmax(last[2])
            loss = -jnp.take_along_axis(log_probability, y[:, None], axis=-1).mean()
            return loss, kept if keep else loss

        population = jax.jit(jax.vmap(partial(member, keep=False)))

        def step() -> Array:
            return _finished(population(parameters))[0]

        def check() -> Outputs:
            few = {name: value[: w5.CHECKED] for name, value in parameters.items()}
            spikes = jax.jit(jax.vmap(partial(member, keep=True)))(few)[1]
            return w5.outputs(np.asarray(spikes).transpose(1, 0, 2, 3), data, np.asarray(step()))

        return Runner(step, check)

    return factory


def _outputs(spikes: Array, grads: Params) -> Outputs:
    return Outputs(np.asarray(spikes).astype(np.bool_), {k: np.asarray(g) for k, g in grads.items()})


def _w4(unroll: int) -> Callable[[Data], Runner]:
    def factory(data: Data) -> Runner:
        x, y, w = (jnp.asarray(data[name]) for name in ("x", "y", "w"))

        def body(state: Any, step: tuple[Array, Array, Array]) -> tuple[Any, Array]:
            current, v, mute, z, response, first, trace, e0, e1, total = state
            arriving, sent, wanted = step
            current = w4.A_SYN * current + arriving
            moved = w4.REST + w4.A_MEM * (v - w4.REST) + (1 - w4.A_MEM) * current
            v = jnp.where(mute > 0, v, moved)
            fired = (v > w4.THRESHOLD) & (mute <= 0)
            mute = jnp.where(fired, float(w4.REFRACTORY), jnp.maximum(mute - 1, 0))
            v = jnp.where(fired, w4.REST, v)
            gate = 1 / (1 + w4.SLOPE * jnp.abs(v - w4.THRESHOLD)) ** 2
            z = w4.A_SYN * z + sent
            response = w4.A_MEM * response + (1 - w4.A_MEM) * z
            first = w4.RISE * first + (1 - w4.RISE) * gate[:, None] * response
            trace = w4.DECAY * trace + (1 - w4.DECAY) * first
            e0 = w4.RISE * e0 + (1 - w4.RISE) * (wanted - fired)
            e1 = w4.DECAY * e1 + (1 - w4.DECAY) * e0
            total = total + e1[:, None] * trace
            return (current, v, mute, z, response, first, trace, e0, e1, total), fired

        @jax.jit
        def trial(x: Array, y: Array, w: Array) -> tuple[Array, Array]:
            one, many = jnp.zeros(1), jnp.zeros((1, w4.INPUTS))
            start = (one, one + w4.REST, one, many[0], many[0], many, many, one, one, many)
            end, spikes = jax.lax.scan(body, start, (x @ w.T, x, y), unroll=unroll)
            return spikes, end[-1]

        def check() -> Outputs:
            spikes, total = trial(x, y, w)
            return Outputs(np.asarray(spikes)[:, None], {"w": np.asarray(total)})

        return Runner(lambda: jax.block_until_ready(trial(x, y, w)), check)

    return factory


WORKLOADS: dict[str, Forms] = {
    "w1": {
        "output product between two scans": _w1(_two_scans, 1),
        "output product between two scans, unroll 5": _w1(_two_scans, 5),
        "one scan": _w1(_one_scan, 1),
        "one scan, unroll 5": _w1(_one_scan, 5),
    },
    "w2": _recurrent_forms(_adding_loss),
    "w3": _recurrent_forms(_sequence_loss),
    "w4": {f"unroll {n}": _w4(n) for n in (1, 8)},
    "w5": {"vmap of one scan": _w5(1)},
    "w5-small": {"vmap of one scan, unroll 5": _w5(5)},
    "w7": {"product hoisted": _w7(1), "product hoisted, unroll 5": _w7(5)},
}
