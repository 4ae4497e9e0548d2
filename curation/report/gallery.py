"""Cards of a gallery: a picture, its caption with the named concepts marked, its concepts as bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from curation.curated.enriched import CONCEPTS_IN_CAPTION, enriched_caption
from curation.curated.pairs import CuratedPair, RankedConcept, picture_bytes
from curation.report.caption_marks import mark_concepts, shown
from curation.report.evidence import Evidence, QuotedReason
from curation.report.figures import score_text
from curation.report.thumbnails import thumbnail

_ROWS = 10
# Recovered concepts that are less likely are no claims, and have no bar.
LIKELY = 0.2
# Of a bar's full length: what is shorter is weak, and faded.
_WEAK = 0.1


@dataclass(frozen=True)
class Bar:
    """One line of a bar chart; percent: how long the bar is; kind: its style; start: where it begins, in percent.

    weak: it is faded; note: a word why.
    """

    label: str
    percent: float
    value: str
    kind: str
    start: float = 0.0
    weak: bool = False
    note: str = ""


@dataclass(frozen=True)
class PairCard:
    """A pair as a card shows it.

    picture: a JPEG, or None where it cannot be shown; caption: its pieces, each with the concept that it names or None;
    others: the concepts that have no bar; doubtful: those that are not `LIKELY`, which have none either; enriched: the
    caption with what was recovered; gained: how many likely ones were recovered; best: the best score of these;
    reasons: of those that have bars.
    """

    pair: CuratedPair
    picture: bytes | None
    caption: Sequence[tuple[str, str | None]]
    bars: Sequence[Bar]
    others: Sequence[str]
    doubtful: Sequence[str]
    enriched: str
    gained: int
    best: float
    reasons: Sequence[QuotedReason]


def pair_cards(
    curated: Path,
    pairs: Sequence[CuratedPair],
    score_range: tuple[float, float],
    evidence: Evidence,
    rows: int | None = _ROWS,
) -> list[PairCard]:
    """Cards of the pairs in their order; `rows`: concepts drawn as bars, the rest named in a line.

    score_range: scores at which a bar is empty and full.
    """
    pictures = {(pair.shard, pair.key): thumbnail(data) for pair, data in picture_bytes(curated, pairs)}
    return [
        _pair_card(
            pair,
            pictures.get((pair.shard, pair.key)),
            score_range,
            evidence.reasons.get((pair.shard, pair.key), ()),
            rows,
        )
        for pair in pairs
    ]


def _pair_card(
    pair: CuratedPair,
    picture: bytes | None,
    score_range: tuple[float, float],
    reasons: Sequence[QuotedReason],
    rows: int | None,
) -> PairCard:
    likely = [row for row in pair.archive if rows is None or row.confidence is None or row.confidence >= LIKELY]
    gained = [row for row in likely if not row.in_caption]
    recovered = [row.concept for row in pair.archive if not row.in_caption]
    drawn = {row.concept for row in likely[:rows]}
    return PairCard(
        pair,
        picture,
        mark_concepts(shown(pair.caption), pair.named),
        [_concept_bar(row, score_range) for row in likely[:rows]],
        [row.concept for row in likely[len(likely[:rows]) :]],
        [row.concept for row in pair.archive if row not in likely],
        enriched_caption(shown(pair.caption), recovered[:CONCEPTS_IN_CAPTION]),
        len(gained),
        max((row.score for row in gained if row.score is not None and math.isfinite(row.score)), default=-math.inf),
        [reason for reason in reasons if reason.concept in drawn],
    )


def bar(label: str, share: float, value: str, kind: str) -> Bar:
    """A bar from its share, 0 to 1; what lies outside is cut off, what is no number has no length."""
    return Bar(label, 100 * min(max(share, 0.0), 1.0) if math.isfinite(share) else 0.0, value, kind)


def nought(score_range: tuple[float, float]) -> float:
    """Where bars begin, as a share of their track: at score 0, or at the end that lies nearest to it."""
    low, high = score_range
    return min(max(-low / (high - low), 0.0), 1.0)


def _concept_bar(row: RankedConcept, score_range: tuple[float, float]) -> Bar:
    """From the line of nought to the score, to the left where this is less."""
    low, high = score_range
    value = score_text(row.score, score_range) if row.confidence is None else f"{row.confidence:.0%}"
    kind = "named" if row.in_caption else "recovered"
    if row.score is None or math.isnan(row.score):
        return bar(row.concept, math.nan, value, kind)
    zero, at = nought(score_range), min(max((row.score - low) / (high - low), 0.0), 1.0)
    length = max(abs(at - zero), 0.01)  # the shortest bar is still a bar
    start = min(zero, at, 1 - length)
    return Bar(row.concept, 100 * length, value, kind, 100 * start, weak=length < _WEAK)
