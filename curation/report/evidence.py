"""Evidence for what was recovered: of each concept captions of similar pairs that name it, as it was curated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from curation.curated.pairs import CuratedPair
from curation.index.opened import Index
from curation.index.search import read_captions
from curation.reasons.as_curated import anchors_of_shard
from curation.reasons.made_from import find_index, open_index_of
from curation.reasons.witnesses import how_retrieved, witnesses
from curation.report.caption_marks import mark_concepts, shown
from files.errors import CocuError

CAPTIONS = 2  # of each concept
_BEFORE, _LETTERS = 60, 160  # of a caption: before the word, and in all


@dataclass(frozen=True)
class QuotedReason:
    """Why a concept was recovered: pieces of captions, each with the concept that it names or None.

    note: without any, what there is to say of the concept.
    """

    concept: str
    quotes: Sequence[Sequence[tuple[str, str | None]]]
    note: str = ""


@dataclass(frozen=True)
class Evidence:
    """Of each pair, by shard and key, its reasons; without the index none, and `missing` says why."""

    reasons: dict[tuple[str, str], tuple[QuotedReason, ...]]
    missing: str = ""


def read_evidence(curated: Path, pairs: Sequence[CuratedPair], index: Path | None) -> Evidence:
    """The reasons of all that was recovered for these pairs; index: None looks for it beside the folder.

    Raises MisuseError for an index that is given and is another's, CocuError for a given one that is broken.
    """
    try:
        found = index or find_index(curated)
        if found is None:
            return Evidence({}, f"the index is not beside {curated}; give it by --index")
        opened = open_index_of(curated, found)
        by_shard: dict[str, list[CuratedPair]] = {}
        for pair in pairs:
            by_shard.setdefault(pair.shard, []).append(pair)
        return Evidence(
            {
                (shard, pair.key): reasons
                for shard, some in by_shard.items()
                for pair, reasons in zip(some, _reasons(curated, shard, some, opened), strict=True)
            }
        )
    except CocuError as error:
        if index is not None:
            raise
        return Evidence({}, str(error))


def _reasons(curated: Path, shard: str, pairs: Sequence[CuratedPair], index: Index) -> list[tuple[QuotedReason, ...]]:
    number = {word: number for number, word in enumerate(index.vocabulary.words)}
    recovered = [[row for row in pair.archive if not row.in_caption] for pair in pairs]
    wanted = [[number.get(row.concept, -1) for row in rows] for rows in recovered]
    anchors = anchors_of_shard(curated, shard, pairs, index)
    found = witnesses(index, how_retrieved(curated), anchors, wanted, CAPTIONS)
    said = read_captions(index, sorted({row for by_concept in found for rows in by_concept.values() for row in rows}))
    return [
        tuple(
            _reason(one.concept, [said[row][-1] for row in by_concept[concept]], one.support)
            for one, concept in zip(rows, concepts, strict=True)
        )
        for rows, concepts, by_concept in zip(recovered, wanted, found, strict=True)
    ]


def _reason(concept: str, captions: Sequence[str], support: int) -> QuotedReason:
    none = "Named by other words of the family only" if support else "No retrieved caption names"
    return QuotedReason(concept, [_quoted(caption, concept) for caption in captions], "" if captions else none)


def _quoted(caption: str, concept: str) -> list[tuple[str, str | None]]:
    """What stands around the first word that names the concept, marked."""
    caption = shown(" ".join(caption.split()))
    before, named = 0, False
    for text, names in mark_concepts(caption, [concept]):
        named = names is not None
        if named:
            break
        before += len(text)
    start = max(0, min(before - _BEFORE, len(caption) - _LETTERS)) if named else 0
    end = start + _LETTERS
    cut = f"{'…' if start else ''}{caption[start:end]}{'…' if end < len(caption) else ''}"
    return mark_concepts(cut, [concept])
