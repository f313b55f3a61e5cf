"""Plain-text tables for the terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Sequence


def columns(rows: Sequence[Sequence[str]], right: Iterable[int] = (), indent: int = 2) -> str:
    """Rows of cells in aligned columns; those in `right` are aligned to the right.

    >>> print(columns([["a", "1"], ["bcd", "22"]], right=[1], indent=0))
    a     1
    bcd  22
    """
    if not rows:
        return ""
    right = set(right)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append((" " * indent + "  ".join(cells)).rstrip())
    return "\n".join(lines)


def glossary(
    entries: Sequence[tuple[str, str]], indent: int = 2, widest: int = 34, width: int | None = None
) -> str:
    """Terms with texts beside them, wrapped to `width` (the terminal's); a long term has a line of its own.

    >>> print(glossary([("lif", "Leaky integrate-and-fire."), ("if", "Perfect integrator.")]))
      lif  Leaky integrate-and-fire.
      if   Perfect integrator.
    """
    width = width or max(60, min(shutil.get_terminal_size((100, 24)).columns, 120))
    column = indent + 2 + max((len(term) for term, _ in entries if len(term) <= widest), default=widest)
    lines: list[str] = []
    for term, text in entries:
        head = " " * indent + term
        body = textwrap.wrap(text, width - column, break_on_hyphens=False) or [""]
        if len(head) + 2 > column:
            lines.append(head)
        else:
            body[0] = head.ljust(column) + body[0]
            lines.append(body.pop(0).rstrip())
        lines += [" " * column + line for line in body]
    return "\n".join(lines)
