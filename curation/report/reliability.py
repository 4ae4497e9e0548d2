"""The reliability diagram: whether of what is claimed with some confidence so much is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, log10
from typing import Any

_SIDE, _LEFT, _TOP, _BOTTOM = 200, 46, 8, 40


@dataclass(frozen=True)
class ReliabilityDot:
    """Concepts of about one confidence: a dot in pixels, as large as they are many, and what it says."""

    x: float
    y: float
    radius: float
    says: str


@dataclass(frozen=True)
class ReliabilityDrawing:
    """Dots on a square from 0 to 1, the path of the diagonal, those of the grid, and words: x, y, anchor, text."""

    dots: Sequence[ReliabilityDot]
    diagonal: str
    grid: Sequence[str]
    words: Sequence[tuple[float, float, str, str]]
    told_by: str
    width: int = _LEFT + _SIDE + 60
    height: int = _TOP + _SIDE + _BOTTOM


def drawn_reliability(fitted: Mapping[str, Any]) -> ReliabilityDrawing | None:
    """From what the manifest says of the confidence's fit; None where it says nothing that can be drawn."""
    rows = [row for row in fitted.get("diagram", ()) if _is_row(row)] if isinstance(fitted.get("diagram"), list) else []
    if not rows:
        return None

    def x(share: float) -> float:
        return _LEFT + share * _SIDE

    def y(share: float) -> float:
        return _TOP + (1 - share) * _SIDE

    marks = (0.0, 0.25, 0.5, 0.75, 1.0)
    return ReliabilityDrawing(
        [
            ReliabilityDot(
                x(said),
                y(was),
                2.5 + 1.2 * log10(entries),
                f"said {said:.0%}, named {was:.0%} of {entries:,} concepts",
            )
            for said, was, entries in rows
        ],
        f"M{x(0)} {y(0)}L{x(1)} {y(1)}",
        [f"M{x(0)} {y(mark)}H{x(1)}" for mark in marks],
        [
            *((x(0) - 6, y(mark) + 4, "end", f"{mark:.0%}") for mark in marks),
            *((x(mark), y(0) + 16, "middle", f"{mark:.0%}") for mark in marks),
            (x(0.5), y(0) + 34, "middle", "confidence that was told"),
        ],
        str(fitted.get("named_by", "other captions")),
    )


def _is_row(row: Any) -> bool:
    """Whether a row of the manifest, which people edit, is two shares and a count."""
    return (
        isinstance(row, list)
        and len(row) == 3
        and all(isinstance(part, int | float) and not isinstance(part, bool) and isfinite(part) for part in row)
        and all(0 <= part <= 1 for part in row[:2])
        and row[2] >= 1
    )
