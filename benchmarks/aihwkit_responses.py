"""Mean responses of aihwkit's device presets, measured in aihwkit itself: the oracle of `tests/crossbar`.

Run in an environment of its own, as aihwkit 1.1.0 goes with torch 2.10 (not with 2.4, 2.9 or 2.13):

    python3.11 -m venv oracle && oracle/bin/pip install torch==2.10.0 "numpy<2" scipy matplotlib tqdm requests
    protobuf oracle/bin/pip install --no-deps aihwkit==1.1.0
    oracle/bin/python benchmarks/aihwkit_responses.py > tests/crossbar/aihwkit_responses.json

Each preset, without its variations and noises, gets 200 pulses up from w = 0 (PCM too), then 200 down (not
PCM, which has none there); what is kept is the weight after some of them.
"""

from __future__ import annotations

import json
import sys

import aihwkit.simulator.presets.devices as presets
import numpy as np
import torch
from aihwkit.simulator.configs import SingleRPUConfig
from aihwkit.utils.visualization import compute_pulse_response, get_tile_for_plotting

NAMES = {
    "reram-es": "ReRamES",
    "reram-sb": "ReRamSB",
    "capacitor": "Capacitor",
    "ecram": "EcRam",
    "ecram-mo": "EcRamMO",
    "idealized": "Idealized",
    "gokmen-vlasov": "GokmenVlasov",
    "pcm": "PCM",
    "reram-array-om": "ReRamArrayOM",
    "reram-array-hfo2": "ReRamArrayHfO2",
}
VARIATIONS = (
    *("dw_min_dtod", "up_down_dtod", "w_max_dtod", "w_min_dtod", "gamma_up_dtod", "gamma_down_dtod"),
    *("dw_min_std", "dw_min_std_add", "dw_min_std_slope", "write_noise_std", "reference_std", "lifetime"),
)
KEPT = (1, 2, 10, 50, 200)


def response(name: str) -> dict[str, object]:
    device = getattr(presets, f"{name}PresetDevice")()
    for field in VARIATIONS:
        if hasattr(device, field):
            setattr(device, field, 0.0)
    if hasattr(device, "subtract_symmetry_point"):
        device.subtract_symmetry_point = False
    tile = get_tile_for_plotting(SingleRPUConfig(device=device), 1, use_cuda=False)
    tile.set_weights(torch.zeros(1, 1))
    up = compute_pulse_response(tile, np.ones(KEPT[-1])).ravel()
    down = [] if name == "PCM" else compute_pulse_response(tile, -np.ones(KEPT[-1])).ravel()
    return {
        "w_min": device.w_min,
        "w_max": device.w_max,
        "up": [float(up[n - 1]) for n in KEPT],
        "down": [float(down[n - 1]) for n in KEPT] if len(down) else [],
    }


def main() -> None:
    versions = {"aihwkit": "1.1.0", "torch": torch.__version__}
    table = {"versions": versions, "pulses": KEPT, "presets": {k: response(v) for k, v in NAMES.items()}}
    json.dump(table, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
