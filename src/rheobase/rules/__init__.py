"""Learning rules, one per file, behind one interface (see `rheobase.rules.base`)."""

from rheobase.rules import base, bptt, candidates, members, noise

__all__ = ["base", "bptt", "candidates", "members", "noise"]
