"""What a curation found, as a page that can be mailed: figures, histograms, a gallery of pairs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from curation.curated.pairs import find_pairs, sample_pairs
from curation.curated.query import connect
from curation.report.figures import Figures, Histogram, read_figures, read_score_range, score_text
from curation.report.gallery import bar, cards
from curation.report.histograms import histogram_svg
from files.atomic import atomic
from files.page import page

_EXPLANATION = (
    "Every picture came with a caption, and a caption names only what its author found worth "
    "mentioning. A <em>concept</em> is a thing named by the captions of similar pairs and "
    "ranked by how well it fits the picture. A concept is <em>recovered</em> when the picture's "
    "own caption does not name it."
)


def write_report(curated: Path, out: Path, sample: int = 48, seed: int = 0) -> None:
    """Write the report of a curated folder to `out`, one HTML file with everything in it.

    sample: pairs in the gallery; seed: which ones. The same folder and seed give the same page.
    Raises MisuseError for a folder that is missing or unfinished, OSError when `out` cannot be
    written.
    """
    connection = connect(curated)
    try:
        figures = read_figures(curated, connection)
        pairs = sample_pairs(connection, sample, seed)
    finally:
        connection.close()
    name = curated.resolve().name
    body = [
        "<header><h1>What the captions left out</h1>",
        f'<p class="quiet">Curation report of {escape(name)}</p></header>',
        f'<p class="lead">{_EXPLANATION}</p>',
        _tiles(figures),
        "<h2>What was found</h2>",
        _panels(figures),
        "<h2>How it is spread</h2>",
        '<div class="grid-of charts">',
        *(_histogram(histogram) for histogram in figures.histograms),
        "</div>",
        f"<h2>{len(pairs):,} of {figures.pairs:,} pairs, drawn at random</h2>",
        _legend(figures.score_range),
        f'<div class="grid-of cards">{cards(curated, pairs, figures.score_range)}</div>',
        _parameters(figures.parameters),
    ]
    _write(out, page(f"What the captions left out: {name}", "\n".join(body)))


def write_pairs_page(curated: Path, keys: Sequence[str], out: Path) -> None:
    """Write a page with the pairs of these keys, all their concepts drawn.

    Raises MisuseError for an unknown key and for a folder that is missing or unfinished, OSError
    when `out` cannot be written.
    """
    connection = connect(curated)
    try:
        pairs = find_pairs(connection, keys)
        score_range = read_score_range(connection)
    finally:
        connection.close()
    name = curated.resolve().name
    body = [
        f"<header><h1>{_plural(len(pairs), 'pair')} of {escape(name)}</h1></header>",
        f'<p class="lead">{_EXPLANATION}</p>',
        _legend(score_range),
        f'<div class="grid-of cards">{cards(curated, pairs, score_range, rows=None)}</div>',
    ]
    _write(out, page(f"Pairs of {name}", "\n".join(body)))


def _write(out: Path, html: str) -> None:
    with atomic(out) as temporary:
        temporary.write_text(html, encoding="utf-8")


def _tiles(figures: Figures) -> str:
    rejected = sum(figures.rejects.values())
    tiles = (
        (f"{figures.pairs:,}", "pairs curated" if figures.pairs != 1 else "pair curated"),
        (f"{100 * figures.gained_share:.0f}%", "of the pairs gained a concept"),
        (f"{figures.concepts_per_pair:.1f}", "concepts per pair"),
        (f"{rejected:,}", "bad pairs left out" if rejected != 1 else "bad pair left out"),
    )
    inner = "".join(f'<div class="tile"><b>{value}</b><span>{of}</span></div>' for value, of in tiles)
    return f'<div class="grid-of tiles">{inner}</div>'


def _panels(figures: Figures) -> str:
    most = max((count for _, count in figures.top_recovered), default=1)
    top = [bar(concept, count / max(most, 1), f"{count:,}", "recovered") for concept, count in figures.top_recovered]
    panels = [_panel("Most often recovered, in how many pairs", top, "nothing was recovered")]
    second = [
        _panel("Pairs left out, by reason", _counts(figures.rejects), "none"),
    ]
    if figures.stage_seconds:
        longest = max(figures.stage_seconds.values()) or 1.0
        rows = [
            bar(stage, seconds / longest, f"{seconds:,.1f} s", "named")
            for stage, seconds in figures.stage_seconds.items()
        ]
        second.append(_panel("Seconds per stage", rows, ""))
    half = -(-len(top) // 2)
    if half > 5:
        panels = [
            _panel("Most often recovered, in how many pairs", top[:half], ""),
            _panel(f"Most often recovered, {half + 1} to {len(top)}", top[half:], ""),
        ]
    return f'<div class="grid-of charts">{"".join(panels)}<div class="grid-of">{"".join(second)}</div></div>'


def _counts(counts: Mapping[str, int]) -> list[str]:
    most = max(counts.values(), default=1)
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return [bar(name, count / max(most, 1), f"{count:,}", "reject") for name, count in ordered]


def _panel(title: str, rows: Sequence[str], otherwise: str) -> str:
    inner = f'<ol class="bars">{"".join(rows)}</ol>' if rows else f'<p class="quiet">{otherwise}</p>'
    return f'<section class="panel"><h3>{escape(title)}</h3>{inner}</section>'


def _histogram(histogram: Histogram) -> str:
    recovered, named = map(escape, histogram.groups)
    return (
        f'<figure class="panel"><h3>{escape(histogram.title)}</h3>{histogram_svg(histogram)}'
        f"<figcaption>Bars: {recovered}. Line: {named}. Percent of each.</figcaption></figure>"
    )


def _legend(score_range: tuple[float, float]) -> str:
    low, high = (score_text(end, score_range) for end in score_range)
    return (
        '<p class="legend">'
        "<span><mark>word</mark> of the caption that names a concept</span>"
        '<span><i class="swatch recovered"></i>recovered: the caption does not name it</span>'
        '<span><i class="swatch named"></i>named by the caption</span>'
        f"<span>Bars run from score {low} (empty) to {high} (full), best first</span></p>"
    )


def _parameters(parameters: Mapping[str, Any]) -> str:
    if not parameters:
        return ""
    rows = "".join(
        f"<dt>{escape(str(name))}</dt><dd>{escape(_as_text(value))}</dd>" for name, value in parameters.items()
    )
    return f"<details><summary>How this was made</summary><dl>{rows}</dl></details>"


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
