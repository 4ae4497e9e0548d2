"""Cards of a gallery: a picture, its caption with the named concepts marked, its concepts as bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from curation.curated.pairs import CuratedPair, RankedConcept, picture_bytes
from curation.report.caption_marks import mark_concepts, shown
from curation.report.figures import score_text
from curation.report.thumbnails import thumbnail

_ROWS = 10
# Recovered concepts that are less likely are no claims, and have no bar.
LIKELY = 0.2


@dataclass(frozen=True)
class Bar:
    """One line of a bar chart; percent: how far the bar reaches; kind: its style."""

    label: str
    percent: float
    value: str
    kind: str


@dataclass(frozen=True)
class PairCard:
    """A pair as a card shows it.

    picture: a JPEG, or None where it cannot be shown; caption: its pieces, each with the concept that it names or None;
    others: the concepts that have no bar; doubtful: those that are not `LIKELY`, which have none either.
    """

    pair: CuratedPair
    picture: bytes | None
    caption: Sequence[tuple[str, str | None]]
    bars: Sequence[Bar]
    others: Sequence[str]
    doubtful: Sequence[str]


def pair_cards(
    curated: Path,
    pairs: Sequence[CuratedPair],
    score_range: tuple[float, float],
    rows: int | None = _ROWS,
) -> list[PairCard]:
    """Cards of the pairs in their order; `rows`: concepts drawn as bars, the rest named in a line.

    score_range: scores at which a bar is empty and full.
    """
    pictures = {(pair.shard, pair.key): thumbnail(data) for pair, data in picture_bytes(curated, pairs)}
    return [_pair_card(pair, pictures.get((pair.shard, pair.key)), score_range, rows) for pair in pairs]


def _pair_card(
    pair: CuratedPair, picture: bytes | None, score_range: tuple[float, float], rows: int | None
) -> PairCard:
    likely = [row for row in pair.archive if rows is None or row.confidence is None or row.confidence >= LIKELY]
    return PairCard(
        pair,
        picture,
        mark_concepts(shown(pair.caption), pair.named),
        [_concept_bar(row, score_range) for row in likely[:rows]],
        [row.concept for row in likely[len(likely[:rows]) :]],
        [row.concept for row in pair.archive if row not in likely],
    )


def bar(label: str, share: float, value: str, kind: str) -> Bar:
    """A bar from its share, 0 to 1; what lies outside is cut off, what is no number has no length."""
    return Bar(label, 100 * min(max(share, 0.0), 1.0) if math.isfinite(share) else 0.0, value, kind)


def _concept_bar(row: RankedConcept, score_range: tuple[float, float]) -> Bar:
    low, high = score_range
    # The shortest bar is still a bar.
    share = max((row.score - low) / (high - low), 0.01) if row.score is not None else math.nan
    value = score_text(row.score, score_range) if row.confidence is None else f"{row.confidence:.0%}"
    return bar(row.concept, share, value, "named" if row.in_caption else "recovered")
