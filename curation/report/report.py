"""What a curation found, as a page that can be mailed: figures, histograms, a gallery of pairs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from curation.curated.pairs import find_pairs, sample_pairs
from curation.curated.query import connected
from curation.report.evidence import read_evidence
from curation.report.figures import ReportFigures, as_told, read_figures, read_score_range, score_text
from curation.report.gallery import LIKELY, Bar, PairCard, bar, nought, pair_cards
from curation.report.histograms import drawn
from curation.report.reliability import drawn_reliability
from curation.report.vague import FEW
from files.atomic import alone
from files.page import page

_TEMPLATES = Path(__file__).with_name("templates")
FIRST_BARS = 5  # of a card; the others unfold
FIRST_CARDS = 12  # on a phone; the others unfold
_Panel = tuple[str, list[Bar], str]  # title, bars, and what stands there when there are none


def write_report(curated: Path, out: Path, sample: int = 48, seed: int = 0, index: Path | None = None) -> ReportFigures:
    """Write the report of a curated folder to `out`, one HTML file with everything in it; returns its figures.

    sample: pairs in the gallery; seed: which ones. The same folder and seed give the same page. index: where the
    captions are that name what was recovered; None looks for it beside the folder, and goes without.
    Raises MisuseError for a folder that is missing or unfinished and for an index that is another's, OSError when `out`
    cannot be written.
    """
    with connected(curated) as connection:
        figures = read_figures(curated, connection)
        pairs = sample_pairs(connection, sample, seed)
    pairs = as_told(curated, pairs)
    evidence = read_evidence(curated, pairs, index)
    _write(
        out,
        "report.html.j2",
        made=_made(figures),
        day=_day(figures),
        first=FIRST_BARS,
        folded=FIRST_CARDS,
        tiles=_tiles(figures),
        recovered=_recovered(figures),
        reasons=_reasons(figures),
        beside=_beside(figures),
        drawings=[drawn(histogram) for histogram in figures.histograms],
        reliability=drawn_reliability(figures.confidence),
        pairs=figures.pairs,
        cards=pair_cards(curated, pairs, figures.score_range, evidence),
        ends=_ends(figures.score_range),
        nought=nought(figures.score_range),
        parameters=[(_in_words(name), _as_text(value)) for name, value in figures.parameters.items()],
    )
    return replace(figures, unexplained=evidence.missing)


def write_pairs_page(curated: Path, keys: Sequence[str], out: Path, index: Path | None = None) -> str:
    """Write a page with the pairs of these keys, all their concepts drawn; why it shows no captions that name them.

    index: as `write_report` has it. Raises MisuseError for an unknown key and for a folder that is missing or
    unfinished, OSError when `out` cannot be written.
    """
    with connected(curated) as connection:
        pairs = as_told(curated, find_pairs(connection, keys))
        score_range = read_score_range(connection)
    evidence = read_evidence(curated, pairs, index)
    _write(
        out,
        "pairs.html.j2",
        cards=pair_cards(curated, pairs, score_range, evidence, rows=None),
        first=None,
        ends=_ends(score_range),
        nought=nought(score_range),
    )
    return evidence.missing


def _write(out: Path, template: str, cards: Sequence[PairCard], **values: Any) -> None:
    confident = any(row.confidence is not None for card in cards for row in card.pair.archive)
    html = page(_TEMPLATES / template, cards=cards, places=_places(cards), confident=confident, likely=LIKELY, **values)
    with alone(out) as temporary:
        temporary.write_text(html, encoding="utf-8")


def _tiles(figures: ReportFigures) -> list[tuple[str, str]]:
    rejected = sum(figures.rejects.values())
    return [
        (f"{figures.pairs:,}", "pairs curated" if figures.pairs != 1 else "pair curated"),
        (f"{100 * figures.gained_share:.0f}%", "of the pairs gained a concept"),
        (f"{figures.concepts_per_pair:.1f}", "concepts per pair"),
        (f"{rejected:,}", "bad pairs left out" if rejected != 1 else "bad pair left out"),
    ]


def _recovered(figures: ReportFigures) -> list[_Panel]:
    why = figures.vague
    bars = [
        replace(one, weak=one.label in why, note=why.get(one.label, ""))
        for one in _bars(figures.top_recovered, "recovered")
    ]
    half = -(-len(bars) // 2)
    title = "Most often recovered, in how many pairs"
    if half <= 5:
        return [(title, bars, "nothing was recovered")]
    return [(title, bars[:half], ""), (f"Most often recovered, {half + 1} to {len(bars)}", bars[half:], "")]


def _reasons(figures: ReportFigures) -> list[str]:
    """What the words beside faded bars mean, those that stand there."""
    means = {
        "unnamed": "in most of its pairs no caption of a similar pair names it: only its likeness to the picture tells",
        "unlikely": f"its mean confidence is under {FEW:.0%}, so few captions of such pictures would name it",
    }
    return [f"{word}: {meaning}" for word, meaning in means.items() if word in figures.vague.values()]


def _beside(figures: ReportFigures) -> list[_Panel]:
    rejects = sorted(figures.rejects.items(), key=lambda item: -item[1])
    panels: list[_Panel] = []
    if rejects:
        panels.append(("Pairs left out, by reason", _bars(rejects, "reject"), ""))
    # What took no time that one decimal shows is no news.
    seconds = [(stage, took) for stage, took in figures.stage_seconds.items() if took >= 0.05]
    if seconds:
        panels.append(("Seconds per stage", _bars(seconds, "named", "{:,.1f} s"), ""))
    return panels


def _bars(rows: Iterable[tuple[str, float]], kind: str, form: str = "{:,}") -> list[Bar]:
    """Bars beside each other: the longest is full."""
    rows = list(rows)
    most = max((number for _, number in rows), default=0) or 1
    return [bar(label, number / most, form.format(number), kind) for label, number in rows]


def _places(cards: Sequence[PairCard]) -> list[tuple[int, int]]:
    """Of each card its place by the best recovered score, and by how many were recovered."""
    best = sorted(range(len(cards)), key=lambda place: -cards[place].best)
    gained = sorted(range(len(cards)), key=lambda place: -cards[place].gained)
    return [(best.index(place), gained.index(place)) for place in range(len(cards))]


def _made(figures: ReportFigures) -> str:
    """Of what, by which encoder and ranking, how much was kept; by which command, and when."""
    said = figures.parameters
    index = f", found in an index of {said['index_rows']:,} captions" if isinstance(said.get("index_rows"), int) else ""
    model = said.get("index_model")
    # Of a folder its name: where it lay says nothing to whom the page is mailed.
    encoder = (
        f", by the encoder {model.rpartition('/')[2] if model.startswith('local-dir:') else model}"
        if isinstance(model, str)
        else ""
    )
    ranking = f", ranked by {said['ranking']}" if isinstance(said.get("ranking"), str) else ""
    what = f"Concepts of {figures.pairs:,} pair{'' if figures.pairs == 1 else 's'}{index}{encoder}{ranking}"
    keep = said.get("keep")
    kept = (
        f", the best {keep} of each kept besides what its caption names" if isinstance(keep, int) and keep > 0 else ""
    )
    by = f" of cocu {figures.cocu}" if figures.cocu else ""
    return f"{what}{kept}. Made by the command cocu curate run{by}; its manifest is of {_day(figures)}."


def _day(figures: ReportFigures) -> str:
    """ "26 November 2026"."""
    return f"{figures.finished.day} {figures.finished:%B %Y}"


def _in_words(name: str) -> str:
    """ "index_min_count" -> "index: min count"."""
    of, _, rest = name.partition("_")
    return f"{of}: {rest.replace('_', ' ')}" if of in ("index", "caption") and rest else name.replace("_", " ")


def _ends(score_range: tuple[float, float]) -> list[str]:
    """Scores where bars begin, and where they are full."""
    low, high = score_range
    start = low + nought(score_range) * (high - low)
    return [score_text(end, score_range) for end in (start, high)]


def _as_text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "not given", True: "yes", False: "no"}[value]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
