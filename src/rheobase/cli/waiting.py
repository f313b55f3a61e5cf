"""How long torch's idle threads spin before they sleep.

GNU OpenMP's threads spin for milliseconds after each parallel region, waiting for the next. On a machine that
has other work to do, a thread that spins keeps the very thread it waits for from the core: with two busy
processes of other sessions on two cores, a training step of 784-1000-10 took 120 ms on two threads, 10 on
one, and 13 (3,000 rounds) to 33 (30,000) on two that spin briefly. Beside two processes of the same session
it took 14.5 ms either way. Alone, two runs each, it took 5.9 and 6.0 ms before, 6.1 and 7.7 with 5,000
rounds.
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
