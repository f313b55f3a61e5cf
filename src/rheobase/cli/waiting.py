"""How long torch's idle threads spin before they sleep.

GNU OpenMP's threads spin for milliseconds after each parallel region, waiting for the next. On a machine that
has other work to do, a thread that spins keeps the very thread it waits for from the core: with two busy
processes on two cores, a training step of 784-1000-10 took 120 ms in place of 10. If they spin for some 50
microseconds only, it takes 13 there, and on an idle machine no more than a tenth longer than before.
"""

from __future__ import annotations

import os
import sys

#: Rounds of the waiting loop; GNU OpenMP's own choice is 300,000.
ROUNDS = 5_000


def spin_briefly() -> None:
    """Set `GOMP_SPINCOUNT`, unless the user has said how threads wait. OpenMP reads it as torch is loaded."""
    if "torch" not in sys.modules and not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = str(ROUNDS)
