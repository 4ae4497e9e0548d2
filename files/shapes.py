"""What a file must hold, written down as it looks: a shape is checked against what was read, before anything is used.

    {"name": str, "size": count, "rows": (None, [count]), "more?": bool, ...}

A type stands for its values (float also for whole numbers), a tuple for one of several, a list for any number of, a
dictionary for these keys, `?` for one that may be missing, and a type as the key for all keys. A function is asked, and
raises ValueError.
"""

from __future__ import annotations

from typing import Any

_SAID = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    dict: "an object",
    list: "a list",
}


class ShapeFault(ValueError):
    """What is not as it must be, and where: "indexes.captions.vectors: 'x', not a whole number"."""


def check_shape(value: Any, shape: Any, where: str = "") -> None:
    """Raises ShapeFault where a value is not of a shape."""
    if isinstance(shape, tuple):
        _check_one_of(value, shape, where)
    elif isinstance(shape, dict):
        _check_dictionary(value, shape, where)
    elif isinstance(shape, list):
        check_shape(value, list, where)
        for number, one in enumerate(value):
            check_shape(one, shape[0], f"{where}[{number}]")
    elif isinstance(shape, type):
        taken = (int, float) if shape is float else shape
        if not isinstance(value, taken) or (isinstance(value, bool) and shape is not bool):
            raise _fault(value, _SAID.get(shape, shape.__name__), where)
    elif shape is None:
        if value is not None:
            raise _fault(value, "nothing", where)
    else:
        try:
            shape(value)
        except ValueError as error:
            raise ShapeFault(f"{where}: {error}") from None


def count(value: Any) -> None:
    """A shape: a whole number from 0, of no more than 53 bits."""
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise ValueError(f"{_shown(value)} is no count")


def _check_one_of(value: Any, shapes: tuple[Any, ...], where: str) -> None:
    for number, one in enumerate(shapes, 1):
        try:
            return check_shape(value, one, where)
        except ShapeFault:
            if number == len(shapes):
                raise


def _check_dictionary(value: Any, shape: dict[Any, Any], where: str) -> None:
    check_shape(value, dict, where)
    for key, inner in shape.items():
        if isinstance(key, type):
            for name, one in value.items():
                check_shape(name, key, f"{where}: its key")
                check_shape(one, inner, f"{where}.{name:.40}" if isinstance(name, str) else f"{where}[{name}]")
        elif key.removesuffix("?") in value:
            check_shape(value[key.removesuffix("?")], inner, f"{where}.{key.removesuffix('?')}".removeprefix("."))
        elif not key.endswith("?"):
            raise ShapeFault(f"{where}.{key} is missing".removeprefix("."))


def _fault(value: Any, wanted: str, where: str) -> ShapeFault:
    return ShapeFault(f"{where}{': ' if where else ''}{_shown(value)}, not {wanted}")


def _shown(value: Any) -> str:
    plain = value is None or isinstance(value, str | int | float)
    return f"{value!r:.60}" if plain else f"a {type(value).__name__}"
