"""Options: validation says what was got, what was wanted, and where."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, ClassVar, Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rheobase.config import Config, fields_of, hints_of, option, parameter
from rheobase.neurons.lif import LIF
from rheobase.registry import build
from rheobase.surrogate import Arctan, FastSigmoid, Surrogate, Triangular


class Widget(Config):
    room: ClassVar[str] = "tests"
    size: int = option(default=3, at_least=1, at_most=10, help="how large")
    ratio: float = option(default=0.5, above=0, unit="ms", help="how much")
    kind: Literal["round", "square"] = option(default="round", help="which")
    sharp: bool = option(default=False, help="whether")
    limit: int | None = option(default=None, at_least=1, help="at most so many")
    sizes: tuple[int, ...] = option(default=(1, 2), at_least=1, help="several")
    label: str = option(default="a", help="a name")
    surrogate: Surrogate = option(default=FastSigmoid(), help="nested")
    gain: Any = parameter(default=2.0, at_least=0, at_most=5, unit="mV", help="per neuron")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "Widget.size: got 0, wanted at least 1"),
        ({"size": 11}, "Widget.size: got 11, wanted at most 10"),
        ({"size": 2.5}, "Widget.size: got 2.5, wanted a whole number"),
        ({"size": "many"}, "Widget.size: got 'many', wanted a whole number"),
        ({"size": True}, "Widget.size: got True, wanted int"),
        ({"ratio": 0}, "Widget.ratio: got 0.0 ms, wanted a number above 0 ms"),
        ({"ratio": float("nan")}, "Widget.ratio: got nan ms, wanted a finite number"),
        ({"ratio": None}, "Widget.ratio: got None, wanted float"),
        ({"kind": "oval"}, "Widget.kind: got 'oval', wanted one of round, square"),
        ({"sharp": "perhaps"}, "Widget.sharp: got 'perhaps', wanted true or false"),
        ({"sharp": 1}, "Widget.sharp: got 1, wanted true or false"),
        ({"limit": 0}, "Widget.limit: got 0, wanted at least 1"),
        ({"sizes": (1, 0)}, "Widget.sizes: got 0, wanted at least 1"),
        ({"label": 3}, "Widget.label: got 3, wanted str"),
        ({"surrogate": 3}, "Widget.surrogate: got 3, wanted a Surrogate, its name, or a table"),
        ({"surrogate": "arctang"}, "unknown surrogate 'arctang'; did you mean 'arctan'"),
        ({"gain": -1}, "Widget.gain: got -1.0 mV, wanted at least 0 mV"),
        ({"gain": [1.0, 6.0]}, "Widget.gain: got 6.0 mV, wanted at most 5 mV"),
        ({"gain": torch.ones(2, 2)}, r"Widget.gain: got shape \(2, 2\), wanted a number or one value per"),
        ({"gain": {}}, "Widget.gain: got {}, wanted a number or one value per neuron"),
    ],
)
def test_refusals(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Widget(**options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"size": "4"}, 4),
        ({"size": 4.0}, 4),
        ({"ratio": 2}, 2.0),
        ({"ratio": "1e-3"}, 0.001),
        ({"sharp": "yes"}, True),
        ({"sharp": "False"}, False),
        ({"limit": "none"}, None),
        ({"limit": "7"}, 7),
        ({"sizes": "3,4 5"}, (3, 4, 5)),
        ({"sizes": [6]}, (6,)),
        ({"sizes": 6}, (6,)),
        ({"sizes": ()}, ()),
        ({"surrogate": "arctan"}, Arctan()),
        ({"surrogate": {"name": "arctan", "alpha": 3}}, Arctan(alpha=3.0)),
        ({"gain": "1.5"}, 1.5),
    ],
)
def test_values_are_taken_as_they_come_from_files_and_command_lines(
    options: dict[str, Any], expected: Any
) -> None:
    (name,) = options
    value = getattr(Widget(**options), name)
    assert value == expected
    assert type(value) is type(expected)


def test_configs_are_frozen_and_keyword_only() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Widget().size = 4  # type: ignore[misc]
    with pytest.raises(TypeError):
        Widget(3)  # type: ignore[misc]


def test_replace_validates() -> None:
    assert Widget().replace(size=5).size == 5
    with pytest.raises(ValueError, match=r"Widget.size: got 0"):
        Widget().replace(size=0)


def test_values_per_neuron_become_tensors() -> None:
    widget = Widget(gain=[1, 2, 3])
    assert torch.equal(widget.gain, torch.tensor([1.0, 2.0, 3.0]))
    double = torch.ones(2, dtype=torch.float64, requires_grad=True)
    assert Widget(gain=double).gain is double


def test_metadata() -> None:
    fields = {field.name: field for field in fields_of(Widget)}
    assert fields["ratio"].metadata["unit"] == "ms"
    assert fields["ratio"].metadata["help"] == "how much"
    assert fields["gain"].metadata["parameter"]
    assert "parameter" not in fields["size"].metadata
    assert hints_of(Widget)["sizes"] == tuple[int, ...]


def test_subclasses_inherit_options() -> None:
    class Gadget(Widget):
        extra: float = option(default=1.0, help="more")

    assert [f.name for f in fields_of(Gadget)][-1] == "extra"
    assert Gadget(size=2, extra=3).extra == 3.0


@given(
    tau=st.floats(0.1, 1e4),
    threshold=st.floats(-100, 100),
    reset=st.sampled_from(["subtract", "value", "none"]),
    strict=st.booleans(),
    surrogate=st.sampled_from([Arctan(alpha=1.5), Triangular(width=0.25), FastSigmoid()]),
)
def test_round_trip_through_json(
    tau: float, threshold: float, reset: str, strict: bool, surrogate: Surrogate
) -> None:
    neuron = LIF(tau_m=tau, threshold=threshold, reset=reset, strict=strict, surrogate=surrogate)
    assert build(LIF.__mro__[2], json.loads(json.dumps(neuron.to_dict()))) == neuron


def test_round_trip_of_values_per_neuron() -> None:
    neuron = LIF(tau_m=torch.tensor([5.0, 10.0]))
    table = neuron.to_dict()
    assert table["tau_m"] == [5.0, 10.0]
    assert torch.equal(build(LIF.__mro__[2], table).tau_m, neuron.tau_m)


def test_every_option_of_the_library_is_documented() -> None:
    import rheobase.networks.feed_forward
    import rheobase.rules.bptt

    seen = 0
    pending: list[type[Config]] = [Config]
    while pending:
        cls = pending.pop()
        pending += cls.__subclasses__()
        if cls.__module__.startswith("rheobase.") and cls is not Config:
            for field in fields_of(cls):
                seen += 1
                assert field.metadata.get("help"), f"{cls.__name__}.{field.name} has no help"
    assert seen > 30
    assert rheobase.rules.bptt
