"""What the user typed is wrong, as opposed to what happened afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click


@contextmanager
def wrong_usage() -> Iterator[None]:
    """Within, a `ValueError` is about the command line: it ends with exit code 2.

    >>> with wrong_usage():
    ...     raise ValueError("unknown neuron 'liv'")
    Traceback (most recent call last):
    click.exceptions.UsageError: unknown neuron 'liv'
    """
    try:
        yield
    except ValueError as error:
        raise click.UsageError(str(error)) from error
