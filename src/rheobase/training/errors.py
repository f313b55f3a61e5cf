"""What can go wrong with a run, each as one error whose message says what to do."""

from __future__ import annotations


class RunError(RuntimeError):
    """A run that cannot start or go on."""


class FolderError(RunError):
    """A run folder that cannot be used: not writable, taken, or no run at all."""


class CheckpointError(RunError):
    """A checkpoint that is missing, truncated or does not fit."""


class DivergedError(RunError):
    """The loss or a weight is no longer a finite number."""


class Interrupted(KeyboardInterrupt):
    """Training was told to stop, and did so after it had saved a checkpoint."""
