"""What Typer refuses, as one line that names the option, the value and what can be given."""

from __future__ import annotations

import difflib
from typing import Any


def refusal(error: Any) -> str:
    """The message of an error of Typer's about the words of a command."""
    from files.errors import one_line

    param = getattr(error, "param", None)
    if param is None or getattr(error, "param_hint", None):
        hint = getattr(error, "param_hint", None)
        said = one_line(error.message).rstrip(".")
        return f"{hint} {said}" if hint else f"{said[:1].lower()}{said[1:]}{_near(error)}{_where(error)}"
    name = param.metavar if param.param_type_name == "argument" else max(param.opts, key=len)
    if type(error).__name__ == "MissingParameter":
        return f"{name}: is missing{_where(error)}"
    faults = error.__cause__.errors() if hasattr(error.__cause__, "errors") else [{}]
    given = faults[0].get("input", "")
    return f"{name} {one_line(given)}: {_wanted(param, given) or one_line(error.message)}"


def _wanted(param: Any, given: Any) -> str:
    """What a parameter takes in place of what was given."""
    kind = param.type_descriptor
    if kind.choices:
        near = difflib.get_close_matches(str(given), list(map(str, kind.choices)), 1, 0.5)
        return f"expected one of {', '.join(map(str, kind.choices))}" + (f"; did you mean {near[0]}?" if near else "")
    if kind.annotation not in (int, float):
        return ""
    low = "" if param.min is None else f" from {param.min:g}"
    high = "" if param.max is None else f" to {param.max:g}"
    return f"give a {'whole ' if kind.annotation is int else ''}number{low}{high}"


def _near(error: Any) -> str:
    """Options of a like name, where one was not known."""
    names = sorted(getattr(error, "possibilities", None) or ())
    return f"; did you mean {' or '.join(names)}?" if names else ""


def _where(error: Any) -> str:
    """Where to look for what the command takes."""
    path = " ".join(error.ctx.command_path.split()) if getattr(error, "ctx", None) else ""
    return f"; {path} -h shows what it takes" if path else ""
