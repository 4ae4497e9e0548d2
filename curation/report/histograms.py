"""Histograms as inline SVG, coloured by the style sheet of the page that holds them."""

from __future__ import annotations

import math
from html import escape

from curation.report.figures import Histogram, score_text

_WIDTH, _HEIGHT = 420, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 38, 20, 8, 40


def histogram_svg(histogram: Histogram) -> str:
    """The recovered ones as filled bars, the named ones as a line of steps.

    Each group is drawn in percent of itself, so that the shapes compare when the sizes do not.
    """
    shares = [_percent(histogram.recovered), _percent(histogram.named)]
    ceiling = _ceiling(max(max(share, default=0) for share in shares))
    bins = len(histogram.recovered)
    step = (_WIDTH - _LEFT - _RIGHT) / max(bins, 1)

    def x(place: float) -> float:
        return _LEFT + place * step

    def y(share: float) -> float:
        return _TOP + (1 - share / ceiling) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(histogram.title)}">']
    for mark in (0.0, ceiling / 2, ceiling):
        parts.append(
            f'<path class="grid" d="M{_LEFT} {y(mark):.1f}H{_WIDTH - _RIGHT}"/>'
            f'<text x="{_LEFT - 5}" y="{y(mark) + 4:.1f}" text-anchor="end">{mark:g}%</text>'
        )
    for bin_number, share in enumerate(shares[0]):
        if share:
            parts.append(
                f'<rect class="recovered" x="{x(bin_number) + 0.5:.1f}" y="{y(share):.1f}" '
                f'width="{max(step - 1, 0.5):.1f}" height="{y(0) - y(share):.1f}">'
                f"<title>{escape(_bin_name(histogram, bin_number))}: {share:.1f}%</title></rect>"
            )
    if any(shares[1]):
        steps = "".join(f"V{y(share):.1f}H{x(i + 1):.1f}" for i, share in enumerate(shares[1]))
        parts.append(f'<path class="named" d="M{x(0):.1f} {y(0):.1f}{steps}V{y(0):.1f}"/>')
    for place, label in _ticks(histogram):
        parts.append(
            f'<text x="{x(place):.1f}" y="{_HEIGHT - _BOTTOM + 15}" text-anchor="middle">{escape(label)}</text>'
        )
    parts.append(
        f'<text class="axis" x="{(_LEFT + _WIDTH - _RIGHT) / 2:.1f}" y="{_HEIGHT - 8}" '
        f'text-anchor="middle">{escape(histogram.axis)}</text></svg>'
    )
    return "".join(parts)


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
