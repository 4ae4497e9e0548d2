"""Shapes: what fits passes, and what does not is named with its place."""

from __future__ import annotations

from typing import Any

import pytest

from files.plain_names import plain_name
from files.shapes import ShapeFault, check_shape, count

SHAPE = {
    **{"name": plain_name, "size": count, "rows": (None, [count]), "ratio": float, "on": bool, "more?": str},
    **{"parts": {str: {"kind": str}}, "moments": {int: list}},
}
GOOD: dict[str, Any] = {
    **{"name": "a", "size": 0, "rows": None, "ratio": 1, "on": False, "other": object()},
    **{"parts": {"x": {"kind": "k"}}, "moments": {3: []}},
}


@pytest.mark.parametrize("change", [{}, {"rows": [1, 2]}, {"rows": []}, {"ratio": 0.5}, {"more": "m"}, {"parts": {}}])
def test_what_fits_passes(change: dict[str, Any]) -> None:
    check_shape({**GOOD, **change}, SHAPE)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "../a"}, "name: '../a' cannot name a file; give a name that does not begin with a dot"),
        ({"name": 3}, "name: 3 cannot name a file; give a name that does not begin with a dot"),
        ({"size": -1}, "size: -1 is no count"),
        ({"size": True}, "size: True is no count"),
        ({"size": 1.0}, "size: 1.0 is no count"),
        ({"size": 1 << 60}, "size: 1152921504606846976 is no count"),
        ({"rows": 3}, "rows: 3, not a list"),
        ({"rows": [1, "2"]}, "rows[1]: '2' is no count"),
        ({"ratio": True}, "ratio: True, not a number"),
        ({"on": 1}, "on: 1, not true or false"),
        ({"more": None}, "more: None, not text"),
        ({"parts": []}, "parts: a list, not an object"),
        ({"parts": {"x": {}}}, "parts.x.kind is missing"),
        ({"moments": {"3": []}}, "moments: its key: '3', not a whole number"),
        ({"moments": {3: {}}}, "moments[3]: a dict, not a list"),
    ],
)
def test_what_does_not_is_named(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ShapeFault) as raised:
        check_shape({**GOOD, **change}, SHAPE)
    assert str(raised.value) == said


@pytest.mark.parametrize("name", ["name", "size", "rows", "ratio", "on", "parts", "moments"])
def test_what_is_missing_is_named(name: str) -> None:
    with pytest.raises(ShapeFault, match=f"^{name} is missing$"):
        check_shape({key: value for key, value in GOOD.items() if key != name}, SHAPE)


def test_values_that_are_no_object() -> None:
    for value in (None, [], "x", 3):
        with pytest.raises(ShapeFault, match="not an object"):
            check_shape(value, SHAPE)
