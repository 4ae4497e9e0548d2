"""Histograms as what an SVG shows, coloured by the style sheet of the page that holds it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from curation.report.figures import Histogram, score_text

_WIDTH, _HEIGHT = 340, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 16, 10, 44


@dataclass(frozen=True)
class HistogramBar:
    """A filled bar in pixels from the upper left, and what it says when pointed at."""

    x: float
    y: float
    width: float
    height: float
    says: str


@dataclass(frozen=True)
class HistogramDrawing:
    """Bars, the path of steps ("" for none), the paths of the grid, and words: x, y, anchor, text."""

    title: str
    groups: tuple[str, str]
    bars: Sequence[HistogramBar]
    steps: str
    grid: Sequence[str]
    words: Sequence[tuple[float, float, str, str]]
    width: int = _WIDTH
    height: int = _HEIGHT


def drawn(histogram: Histogram) -> HistogramDrawing:
    """The recovered ones as filled bars, the named ones as a line of steps.

    Each group is drawn in percent of itself, so that the shapes compare when the sizes do not.
    """
    recovered, named = _percent(histogram.recovered), _percent(histogram.named)
    ceiling = _ceiling(max(max(shares, default=0) for shares in (recovered, named)))
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(recovered), 1)

    def x(place: float) -> float:
        return _LEFT + place * step

    def y(share: float) -> float:
        return _TOP + (1 - share / ceiling) * (_HEIGHT - _TOP - _BOTTOM)

    bars = [
        HistogramBar(
            *(x(place) + 0.5, y(share), max(step - 1, 0.5), y(0) - y(share)),
            says=f"{_bin_name(histogram, place)}: {share:.1f}%",
        )
        for place, share in enumerate(recovered)
        if share
    ]
    line = "".join(f"V{y(share):.1f}H{x(place + 1):.1f}" for place, share in enumerate(named))
    marks = (0.0, ceiling / 2, ceiling)
    return HistogramDrawing(
        histogram.title,
        histogram.groups,
        bars,
        f"M{x(0):.1f} {y(0):.1f}{line}V{y(0):.1f}" if any(named) else "",
        [f"M{_LEFT} {y(mark):.1f}H{_WIDTH - _RIGHT}" for mark in marks],
        [
            *((_LEFT - 5, y(mark) + 4, "end", f"{mark:g}%") for mark in marks),
            *((x(place), _HEIGHT - _BOTTOM + 15, "middle", label) for place, label in _ticks(histogram)),
            ((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, "middle", histogram.axis),
        ],
    )


def _percent(counts: tuple[int, ...]) -> list[float]:
    total = sum(counts)
    return [100 * count / total if total else 0.0 for count in counts]


def _ceiling(share: float) -> float:
    """The next round number, so that the axis reads well."""
    if share <= 0:
        return 100.0
    power = 10.0 ** math.floor(math.log10(share))
    return next(power * factor for factor in (1, 2, 4, 6, 8, 10) if share <= power * factor * 1.0001)


def _is_whole(histogram: Histogram) -> bool:
    return histogram.low == 0 and histogram.width >= 1 and float(histogram.width).is_integer()


def _bin_name(histogram: Histogram, place: int) -> str:
    start, width = histogram.low + place * histogram.width, histogram.width
    if not _is_whole(histogram):
        return f"{_mark(histogram, place)} to {_mark(histogram, place + 1)}"
    if histogram.open_end and place == len(histogram.recovered) - 1:
        return f"{start:g} or more"
    return f"{start:g}" if width == 1 else f"{start:g} to {start + width - 1:g}"


def _mark(histogram: Histogram, place: float) -> str:
    low, width = histogram.low, histogram.width
    return score_text(low + place * width, (low, low + width * len(histogram.recovered)))


def _ticks(histogram: Histogram) -> list[tuple[float, str]]:
    """Places along the axis, in bins, with what stands there."""
    bins = len(histogram.recovered)
    if not _is_whole(histogram):
        places = [bins * part / 4 for part in range(5)]
        return [(at, _mark(histogram, at)) for at in places]
    every = max(1, -(-bins // 9))
    ticks = []
    for place in range(0, bins, every):
        last = histogram.open_end and place == bins - 1
        label = f"{histogram.low + place * histogram.width:g}" + ("+" if last else "")
        # A bin of one number carries it in its middle, a wider one where it begins.
        ticks.append((place + (0.5 if histogram.width == 1 else 0.0), label))
    return ticks
