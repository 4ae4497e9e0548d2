"""The text of a recipe: YAML, overridden by key=value, and where each value was written. Needs no PyTorch."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from files.bounded_text import bounded_text
from files.errors import MisuseError
from files.strict_yaml import MOST_BYTES, KeyPath, YamlFault, parse_yaml

BUILT_IN = Path(__file__).parent
ARGUMENT = "argument "  # before an override, where others have a file and line


def written(name: str, overrides: Sequence[str] = ()) -> tuple[dict[str, Any], dict[KeyPath, str]]:
    """The values of the built-in recipe of this name, or of this YAML file, overridden; and the place of each.

    Raises MisuseError: no such recipe; YAML that cannot be read; an override that is none.
    """
    values, places = read_yaml(_find(name))
    for override in overrides:
        _apply(override, values, places)
    return values, places


def _find(name: str) -> Path:
    built_in = {path.stem: path for path in sorted(BUILT_IN.glob("*.yaml"))}
    if name in built_in:
        return built_in[name]
    path = Path(name)
    if path.is_file():
        return path
    raise MisuseError(
        f"{name}: neither a YAML file nor a built-in recipe{nearest(name, built_in)}; there are {', '.join(built_in)}"
    )


def read_yaml(path: Path) -> tuple[dict[str, Any], dict[KeyPath, str]]:
    """The values of a file, and the place of each."""
    try:
        values, lines = parse_yaml(bounded_text(path, MOST_BYTES))
    except YamlFault as fault:
        raise MisuseError(f"{path}{f':{fault.line}' if fault.line else ''}: {fault}") from None
    except ValueError as error:
        raise MisuseError(f"{path}: {error}") from None
    if not isinstance(values, dict):
        raise MisuseError(f"{path}: holds no keys; a recipe is a YAML mapping, as in the built-in ones")
    return values, {keys: f"{path}:{line}" for keys, line in lines.items()}


def _apply(override: str, values: dict[str, Any], places: dict[KeyPath, str]) -> None:
    """Put one key=value into `values`."""
    name, equals, text = override.partition("=")
    path = tuple(name.strip().split("."))
    if not equals or not all(path):
        raise MisuseError(f"{override!r}: give overrides as key=value, such as data.batch=256")
    try:
        value = parse_yaml(text).values
    except YamlFault:
        raise MisuseError(f"{override!r}: {text!r} is no YAML value; quote text with signs in it") from None
    at = values
    for key in path[:-1]:
        inner = at.get(key)
        at[key] = dict(inner) if isinstance(inner, dict) else {}
        at = at[key]
    at[path[-1]] = value
    for known in [known for known in places if known[: len(path)] == path]:
        del places[known]
    places[path] = f"{ARGUMENT}{override!r}"


def nearest(value: object, names: Sequence[str] | Mapping[str, Any]) -> str:
    """The name that is most like a value, as a question; empty where none is."""
    close = difflib.get_close_matches(str(value), list(names), 1, 0.5)
    return f"; did you mean {close[0]}?" if close else ""
