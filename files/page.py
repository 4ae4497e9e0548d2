"""One frame for every page: HTML that fetches nothing, in light, dark and on paper, and every value in it is text."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_FRAME = Path(__file__).with_name("templates")


def page(template: Path, **values: Any) -> str:
    """A whole document: a template that extends page.html.j2, with these values, escaped wherever they stand.

    Lone surrogates, as in names of files that are no UTF-8, become question marks, so that any page can be written.
    Raises jinja2.UndefinedError where the template asks for what is not among the values.
    """
    html = _templates(template.parent).get_template(template.name).render(values)
    return html.encode("utf-8", "replace").decode("utf-8")


def inline(picture: bytes, kind: str) -> str:
    """A picture as an address that holds it; kind: "jpeg" or "png"."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"


@cache
def _templates(folder: Path) -> Environment:
    templates = Environment(
        loader=FileSystemLoader([folder, _FRAME]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters["inline"] = inline
    return templates
