"""Cards of a gallery: a picture, its caption with the named concepts marked, its concepts as bars."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

from curation.curated.pairs import CuratedPair, RankedConcept, picture_bytes
from curation.report.caption_marks import mark_concepts
from curation.report.figures import score_text
from curation.report.thumbnails import thumbnail

_ROWS = 10
_PLACEHOLDER = '<div class="none">no picture that can be shown</div>'


def cards(
    curated: Path,
    pairs: Sequence[CuratedPair],
    score_range: tuple[float, float],
    rows: int | None = _ROWS,
) -> str:
    """HTML of the pairs in their order; `rows`: concepts drawn as bars, the rest named in a line.

    score_range: scores at which a bar is empty and full.
    """
    pictures = {(pair.shard, pair.key): thumbnail(data) for pair, data in picture_bytes(curated, pairs)}
    return "\n".join(_card(pair, pictures.get((pair.shard, pair.key)), score_range, rows) for pair in pairs)


def bar(label: str, share: float, value: str, kind: str) -> str:
    """One line of a bar chart; share from 0 to 1, kind: the style of the bar."""
    percent = 100 * min(max(share, 0.0), 1.0) if math.isfinite(share) else 0.0
    return (
        f'<li class="{kind}"><span class="label">{escape(label)}</span>'
        f'<span class="track"><i style="width:{percent:.1f}%"></i></span>'
        f'<span class="value">{escape(value)}</span></li>'
    )


def marked_caption(caption: str, concepts: Sequence[str]) -> str:
    """The caption as HTML with the concepts it names in <mark>; its text is the caption's."""
    return "".join(
        escape(text) if concept is None else f"<mark>{escape(text)}</mark>"
        for text, concept in mark_concepts(caption, concepts)
    )


def _card(
    pair: CuratedPair,
    picture: bytes | None,
    score_range: tuple[float, float],
    rows: int | None,
) -> str:
    shown = pair.archive[:rows]
    rest = pair.archive[len(shown) :]
    concepts = "".join(_concept_bar(row, score_range) for row in shown)
    more = f'<p class="more">and {escape(_names(rest))}</p>' if rest else ""
    empty = "" if shown else '<p class="more">no concept was found for this pair</p>'
    return (
        f'<article class="card"><div class="shot">{_image(pair, picture)}</div>'
        f'<p class="caption">{marked_caption(pair.caption, pair.named)}</p>'
        f'<ol class="bars">{concepts}</ol>{more}{empty}'
        f'<p class="key">{escape(pair.key)} <span>in {escape(pair.shard)}</span></p></article>'
    )


def _image(pair: CuratedPair, picture: bytes | None) -> str:
    if picture is None:
        return _PLACEHOLDER
    data = base64.b64encode(picture).decode()
    return f'<img src="data:image/jpeg;base64,{data}" alt="{escape(pair.caption)}">'


def _concept_bar(row: RankedConcept, score_range: tuple[float, float]) -> str:
    low, high = score_range
    # The shortest bar is still a bar.
    share = max((row.score - low) / (high - low), 0.01) if row.score is not None else math.nan
    return bar(row.concept, share, score_text(row.score, score_range), "named" if row.in_caption else "recovered")


def _names(rows: Sequence[RankedConcept]) -> str:
    return ", ".join(row.concept for row in rows)
