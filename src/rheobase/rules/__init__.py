"""Learning rules, one per file, behind one interface (see `rheobase.rules.base`)."""

from rheobase.rules import (
    base,
    bptt,
    candidates,
    cmaes,
    estimates,
    evolution,
    forward_gradient,
    low_rank_es,
    members,
    noise,
    open_es,
    perturbing,
    pgpe,
    shaping,
    snes,
    spsa,
)

__all__ = [
    "base",
    "bptt",
    "candidates",
    "cmaes",
    "estimates",
    "evolution",
    "forward_gradient",
    "low_rank_es",
    "members",
    "noise",
    "open_es",
    "perturbing",
    "pgpe",
    "shaping",
    "snes",
    "spsa",
]
