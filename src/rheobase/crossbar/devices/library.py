"""Devices by name: a law, one of the presets, or a preset file.

device("memtransistor")     a law with its defaults
device("gokmen-vlasov")     a preset, of whichever law
device("mine.toml")         a file as `rheobase devices fit` writes it: a table `[device]` with a law's name
                            and its options
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from rheobase.crossbar.devices.base import Device
from rheobase.files import write_text
from rheobase.registry import build, catalogue, unknown

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def presets() -> dict[str, tuple[type[Device], Mapping[str, Any]]]:
    """Every preset of every law: its law and its options.

    >>> presets()["gokmen-vlasov"][0].__name__
    'ConstantStep'
    """
    return {
        name: (law, options) for law in catalogue(Device).values() for name, options in law.presets.items()
    }


def names() -> set[str]:
    """All names of laws and presets.

    >>> sorted(name for name in names() if name.startswith("mem"))
    ['memtransistor', 'memtransistor-5']
    """
    return {*presets(), *(law.replace("_", "-") for law in catalogue(Device))}


def device(name: str) -> Device:
    """The device that a name stands for.

    >>> device("memtransistor").a_up
    0.2248

    Raises:
        ValueError: If there is no such law, preset or file, or if the file describes no device.
        OSError: If the file cannot be read.
    """
    if name.endswith(".toml"):
        return load_device(Path(name))
    laws, named = catalogue(Device), presets()
    key = name.lower()
    if key in named:
        law, options = named[key]
        return law(**options)
    if key.replace("-", "_") in laws:
        return laws[key.replace("-", "_")]()
    raise ValueError(f"{unknown('device', name, names())}, or a preset file (FILE.toml)")


def load_device(path: Path) -> Device:
    """The device in a preset file.

    Raises:
        ValueError: If it is not TOML or describes no device; the message names the file.
        OSError: If it cannot be read.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8")).get("device")
        if not isinstance(table, dict):
            raise ValueError("no table [device]; wanted one with the 'name' of a law and its options")
        return build(Device, table)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def save_device(path: Path, device: Device, source: str) -> None:
    """Write a preset file: every option spelt out, and where it comes from."""
    write_text(path, tomli_w.dumps({"source": source, "device": device.to_dict()}))
