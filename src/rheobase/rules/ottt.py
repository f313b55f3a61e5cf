"""Online training through time (OTTT): presynaptic traces times the derivatives of one step.

    dE/dw_ji = sum_t delta_j(t) a_i(t),    a_i(t) = x_i(t) + lambda a_i(t-1)

a is what the postsynaptic membrane, without its spikes, keeps of what came in; it is the same for all neurons
that a source leads to. delta_j(t) is the error at neuron j from what happens at step t alone: the derivative
of the loss by the signals of that step, back through the layers (transposed weights, surrogate derivatives)
without any look at another step. So nothing of the past is kept but a number per presynaptic unit and sample
(per state variable), and learning needs no backward pass in time.

For any neuron whose membrane moves linearly between spikes: with its state s, sources' traces
eps(t) = A eps(t-1) + b x(t) from `integrate` (A and b are numbers), and the derivatives of one step,

    e_ji(t) = dz_j(t)/ds_j(t-1) eps_i(t-1) + dz_j(t)/dI_j(t) x_i(t)

which for LIF neurons is the above. Left out, compared with e-prop: resets and adaptation in the traces, and
what the read-out remembers. Recurrent connections are trained like others, with what was emitted a step
before.

Xiao, Meng, Zhang, Wang & Lin, "Online training through time for spiking neural networks", NeurIPS 2022.
There, lambda is that of LIF neurons, and one step's update may be made at once (`OTTT_O`); here, a batch's
are added up (`OTTT_A`). Not modelled: delays, convolutions, and neuron parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from rheobase.config import option
from rheobase.kernels.groups import HISTORY
from rheobase.kernels.recurrent import to_inputs
from rheobase.kernels.sequence import sequence
from rheobase.layers.dense import Dense
from rheobase.layers.network import Network, NetworkState
from rheobase.layers.recurrent import Recurrent
from rheobase.neurons.base import Neuron, State
from rheobase.neurons.spiking import SpikingNeuron
from rheobase.rules.base import Kind, LearningRule, Lesson, Memory, Outcome
from rheobase.rules.continuation import check_batch, flat, nested
from rheobase.rules.eligibility import Members, constant_free, members
from rheobase.rules.stages import Stage, stages
from rheobase.rules.windows import SPIKES, Window, forward, judge, pulls_of, seen

STATE, TRACE = "state.", "trace."


class Ottt(LearningRule):
    """Online training through time.

    >>> Ottt().kind
    'local'
    """

    trains: ClassVar[str] = (
        "weights and biases of dense and recurrent connections without delays, of neurons whose membrane is "
        "linear between spikes"
    )
    cost: ClassVar[str] = (
        "a forward pass, one step's derivatives, and a product per state variable; memory of a number per "
        "sample, presynaptic unit and state variable"
    )

    continuous: bool = option(
        default=False, help="whether a batch goes on where the one before ended: keep state and traces"
    )

    @property
    def kind(self) -> Kind:
        return "local"

    @property
    def divides(self) -> Literal["samples", "members", "nothing"]:
        return "nothing" if self.continuous else "samples"

    def begin(self, network: Network, generator: torch.Generator) -> Memory:
        for stage in stages(network, "ottt", (Dense,)):
            _check(stage)
        return {}

    def accumulate(self, network: Network, lesson: Lesson, memory: Memory) -> Outcome:
        parts = stages(network, "ottt", (Dense,))
        state: NetworkState | None = nested(memory, STATE) or None
        before = nested(memory, TRACE)
        inputs = constant_free(lesson.inputs)
        check_batch("ottt", state or {}, inputs)
        every = [f"{p.name}.{v}" for p in parts for v in p.neurons.states]
        wanted = list(dict.fromkeys((*lesson.record, *every)))
        with torch.no_grad():
            windows = forward(parts, inputs, state, wanted, alone=False, pull=False)
        record = seen(windows, lesson.record)
        loss, pulls = judge(lesson, record)
        after: dict[str, dict[str, Tensor]] = {}
        signal: Tensor | None = None
        for window in reversed(windows):
            name = window.stage.name
            signal, after[name] = _learn(window, pulls_of(window, pulls), signal, before.get(name, {}))
        kept = flat(STATE, record.state) | flat(TRACE, after) if self.continuous else {}
        return Outcome(loss, record, kept)


class Response(NamedTuple):
    """How the state of neurons moves without spikes: s(t) = A s(t-1) + sum_p b_p I_p(t), from rest.

    Attributes:
        states: The variables that answer to any input.
        step: A, by variable and variable.
        drive: b, by variable and input.
    """

    states: tuple[str, ...]
    step: dict[str, dict[str, float]]
    drive: dict[str, list[float]]


def response(neuron: Neuron) -> Response:
    """The linear response of a neuron between its spikes.

    Raises:
        ValueError: If it is not linear, or not the same for all neurons of the layer.

    >>> from rheobase.neurons.lif import LIF
    >>> {v: [round(b, 3) for b in drive] for v, drive in response(LIF(tau_m=20.0)).drive.items()}
    {'v': [1.0]}
    """
    for name in neuron.parameter_names():
        if isinstance(value := getattr(neuron, name), Tensor) and value.dim():
            raise ValueError(f"whose {name} is the same for all of a layer")
    single = {n: float(v) for n in neuron.parameter_names() if isinstance(v := getattr(neuron, n), Tensor)}
    plain = neuron.bind(single)
    ports = len(neuron.inputs)
    rest = plain.rest() if isinstance(plain, SpikingNeuron) else plain.initial()

    def moved(shift: Mapping[str, float], current: Sequence[float]) -> dict[str, float]:
        start = State({v: float(x) + shift.get(v, 0.0) for v, x in rest.items()})
        given = plain.gather(list(current))
        end = (
            plain.integrate(start, given) if isinstance(plain, SpikingNeuron) else plain.step(start, given)[0]
        )
        return {v: float(end[v]) for v in rest}

    none = [0.0] * ports
    still = moved({}, none)
    step = {v: {w: moved({w: 1.0}, none)[v] - still[v] for w in rest} for v in rest}
    drive = {
        v: [moved({}, [float(p == q) for q in range(ports)])[v] - still[v] for p in range(ports)]
        for v in rest
    }
    # Two more points, with signs of both kinds, must be where these say.
    for sign in (1.0, -1.0):
        shift = {v: sign * (0.3 + 0.1 * k) for k, v in enumerate(rest)}
        current = [sign * (0.7 - 0.2 * p) for p in range(ports)]
        for v, value in moved(shift, current).items():
            expected = still[v] + sum(step[v][w] * x for w, x in shift.items())
            expected += sum(b * i for b, i in zip(drive[v], current, strict=True))
            if abs(value - expected) > 1e-9 * max(1.0, abs(value)):
                raise ValueError("whose membrane is linear between spikes")
    reached: set[str] = set()
    while new := {
        v for v in rest if v not in reached and (any(drive[v]) or any(step[v][w] for w in reached))
    }:
        reached |= new
    return Response(tuple(v for v in rest if v in reached), step, drive)


def filtered(r: Response, x: Tensor, before: Mapping[str, Tensor], port: int) -> dict[str, Tensor]:
    """The traces of `x` `[T, B, I]` after each step, `[1 + T, B, I]`; the first is that of before."""
    traces = {v: x.new_empty(len(x) + 1, *x.shape[1:]) for v in r.states}
    for v, trace in traces.items():
        trace[0] = before.get(v, x.new_zeros(()))
    for t, value in enumerate(x):
        for v, trace in traces.items():
            torch.mul(value, r.drive[v][port], out=trace[t + 1])
            for w, other in traces.items():
                if r.step[v][w]:
                    trace[t + 1].add_(other[t], alpha=r.step[v][w])
    return traces


def _learn(
    window: Window, pulls: Mapping[str, Tensor], signal: Tensor | None, before: Mapping[str, Tensor]
) -> tuple[Tensor | None, dict[str, Tensor]]:
    """Learn in one stage; the learning signal of the stage before it, and the traces at the end."""
    stage, layer = window.stage, window.stage.neurons
    connection = stage.connection
    assert isinstance(connection, Dense)
    assert isinstance(window.x, Tensor)
    assert isinstance(window.current, Tensor)
    seeds = dict(pulls)
    if signal is not None:
        seeds[SPIKES] = seeds[SPIKES] + signal if SPIKES in seeds else signal
    x, current = window.x.flatten(2), window.current
    sources = {"input": x, "bias": x.new_ones(*x.shape[:2], 1)}
    groups = members(layer, current.shape[2])
    weights: dict[str, Tensor] = {"input": connection.weight}
    if connection.bias is not None:
        weights["bias"] = connection.bias[:, None]
    if isinstance(layer, Recurrent):
        weights["recurrent"], _ = to_inputs(layer.groups(), layer.weight, None)
        first = window.start[HISTORY] if window.start else x.new_zeros(1, x.shape[1], layer.size)
        sources["recurrent"] = torch.cat([first.detach(), window.run.output])[:-1]
        current = current + sources["recurrent"] @ weights["recurrent"].detach().t()
    trained = {kind: w for kind, w in weights.items() if w.requires_grad}
    total = {kind: torch.zeros_like(w) for kind, w in trained.items()}
    errors = torch.zeros_like(current)
    after: dict[str, Tensor] = {}
    for m in groups:
        by_current, by_state = _instant(window, m, current, seeds)
        errors[:, :, m.columns] = by_current
        answer = response(m.neuron)
        for kind in trained:
            for port, by in enumerate(by_current.chunk(len(m.neuron.inputs), 2)):
                old = {v: before[k] for v in answer.states if (k := f"{kind}.{m.name}.{v}.{port}") in before}
                traces = filtered(answer, sources[kind], old, port)
                part = by.flatten(0, 1).t() @ sources[kind].flatten(0, 1)
                for v, trace in traces.items():
                    part += by_state[v].flatten(0, 1).t() @ trace[:-1].flatten(0, 1)
                    after[f"{kind}.{m.name}.{v}.{port}"] = trace[-1].clone()
                low = m.columns.start + port * len(part)
                total[kind][low : low + len(part)] = part
    for kind, w in trained.items():
        torch.autograd.backward(w, total[kind])
    back = (errors @ connection.weight.detach()).reshape(window.x.shape)
    return back, after


def _instant(
    window: Window, m: Members, current: Tensor, seeds: Mapping[str, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Derivatives of each step's signals by that step's current and by the state before it.

    All steps are run as one step of a batch that is T times as large.
    """
    steps, batch = current.shape[:2]
    prefix = f"{m.name}." if m.name else ""
    size = m.neurons.stop - m.neurons.start
    start: dict[str, Tensor] = {}
    for v, rest in m.neuron.initial().items():
        trace = window.run.traces[f"{prefix}{v}"]
        first = window.start.get(f"{prefix}{v}")
        if first is None:
            first = torch.as_tensor(rest, dtype=trace.dtype).expand(batch, size)
        earlier = torch.cat([first.detach()[None], trace[:-1]]).reshape(steps * batch, size)
        start[v] = earlier.requires_grad_()
    leaf = current[:, :, m.columns].detach().reshape(1, steps * batch, -1).requires_grad_()
    named = [v for v in start if f"{prefix}{v}" in seeds]
    run = sequence(m.neuron, leaf, start, record=named)
    pulled = [(run.traces[v], seeds[f"{prefix}{v}"]) for v in named]
    if SPIKES in seeds:
        pulled.append((run.output, seeds[SPIKES][:, :, m.neurons]))
    ends = [(end, seed.reshape(end.shape)) for end, seed in pulled]
    leaves = [leaf, *start.values()]
    found: Sequence[Tensor | None] = [None] * len(leaves)
    if ends:
        found = torch.autograd.grad([e for e, _ in ends], leaves, [s for _, s in ends], allow_unused=True)
    by = [torch.zeros_like(y) if g is None else g for g, y in zip(found, leaves, strict=True)]
    by_state = {v: g.reshape(steps, batch, -1) for v, g in zip(start, by[1:], strict=True)}
    return by[0].reshape(steps, batch, -1), by_state


def _check(stage: Stage) -> None:
    layer = stage.neurons

    def refuse(wanted: str) -> None:
        raise ValueError(f"ottt: got the layer '{stage.name}' ({type(layer).__name__}), wanted {wanted}")

    own = [n for n, p in layer.named_parameters() if p.requires_grad and "weight" not in n]
    if own:
        refuse(f"neurons whose own parameters ({', '.join(own)}) stay; train the weights only")
    if isinstance(layer, Recurrent) and layer.delays is not None:
        refuse("recurrent connections without delays")
    for neuron, _ in layer.models():
        try:
            response(neuron)
        except ValueError as error:
            refuse(f"neurons {error} ({type(neuron).__name__} has others); use eprop")
