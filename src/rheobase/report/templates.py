"""Pages from templates: each is one file with its style in it; a value that a template misses is an error."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup


def render(template: str, **values: Any) -> str:
    """The page as text.

    Args:
        template: The name of a file beside this one.
        values: What the template shows; `style` is there, too. Text is escaped.

    Raises:
        jinja2.UndefinedError: If the template shows what is not among the values.
    """
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    room = files("rheobase.report")
    style = Markup(room.joinpath("page.css").read_text(encoding="utf-8"))
    page = environment.from_string(room.joinpath(template).read_text(encoding="utf-8"))
    return page.render(style=style, **values)
