"""Co-occurrence: whether two words are for one thing or for two, by what captions name together.

One caption does not name a thing twice: what single captions name together beyond chance are two things, a chair and
its table. Several captions of one picture do: where one says "tennis racket" and another "racket", the two are one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from curation.index.caption_rows import CaptionRows

# A caption that names more tells nothing of two of them.
MOST_NAMED = 64
# Rows, and pairs of concepts, that are looked at together: bounds the memory.
_ROWS = 1 << 16
_PAIRS = 1 << 22
# Named together so many times as often as by chance, and by so many captions at least.
BEYOND_CHANCE = 1.0
LEAST_TOGETHER = 2
# A phrase is also called by its tail where the other captions of its pictures say the tail as often as the phrase.
ALSO_CALLED = 1.0
# Pictures that are looked at for it, at most.
MOST_PICTURES = 200_000


@dataclass(frozen=True)
class ConceptPairs:
    """A set of pairs of concepts, as sorted keys int64 of a vocabulary of so many."""

    keys: np.ndarray
    concepts: int

    def holds(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """bool [P]: which of the pairs of ids, in either order, are in it."""
        wanted = _key(one, other, self.concepts)
        if not len(self.keys):
            return np.zeros(len(wanted), bool)
        return self.keys[np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)] == wanted


def named_together(
    rows: CaptionRows, concepts: int, of_interest: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> ConceptPairs:
    """Pairs of concepts that single captions name together beyond chance, of those that are of interest.

    of_interest: bool [P] of ids [P] and [P]. Memory is that of the pairs of interest that are found, not of the rows.
    """
    keys, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for one, other in _pairs_named(rows):
        found, times = np.unique(_key(one, other, concepts), return_counts=True)
        wanted = of_interest(found // concepts, found % concepts)
        found, times = found[wanted], times[wanted]
        keys, place = np.unique(np.concatenate([keys, found]), return_inverse=True)
        counts = np.bincount(place, np.concatenate([counts, times]), len(keys)).astype(np.int64)
    each = np.bincount(rows.concept_ids, minlength=concepts).astype(np.float64)
    chance = each[keys // concepts] * each[keys % concepts] / max(1, len(rows))
    return ConceptPairs(keys[(counts >= LEAST_TOGETHER) & (counts > BEYOND_CHANCE * chance)], concepts)


def _key(one: np.ndarray, other: np.ndarray, concepts: int) -> np.ndarray:
    return np.minimum(one, other).astype(np.int64) * concepts + np.maximum(one, other)


def _pairs_named(rows: CaptionRows) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every two concepts that a row names, the smaller id first; blocks of at most about `_PAIRS`."""
    for start in range(0, len(rows), _ROWS):
        first = rows.offsets[start : start + _ROWS + 1]
        lengths = np.diff(first)
        several = np.flatnonzero((lengths > 1) & (lengths <= MOST_NAMED))
        parts = np.cumsum(lengths[several] ** 2) // _PAIRS
        for part in np.split(several, np.flatnonzero(np.diff(parts)) + 1):
            one, other = places_within(first[part], lengths[part])
            one, other = rows.concept_ids[one], rows.concept_ids[other]
            yield one[one < other], other[one < other]


def places_within(first: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs of places -> every two places of each run, in both orders, and each with itself."""
    one = places(first, lengths)
    width = np.repeat(lengths, lengths)
    return np.repeat(one, width), places(np.repeat(first, lengths), width)


def places(first: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """first[0], first[0] + 1 ... for each run of so many."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(first - ends + lengths, lengths)


def also_called(rows: CaptionRows, phrases: np.ndarray, tails: np.ndarray) -> np.ndarray:
    """bool [P]: whether captions of the pictures of a phrase call them by its tail, too.

    phrases, tails: concept ids [P]. Over every two captions of one picture of which one names the phrase, the other
    names the tail and not the phrase at least `ALSO_CALLED` times as often as the phrase. In captions of Flickr30k and
    COCO a swimming pool is a "pool" 2.4 times as often, a wine glass a "glass" 0.6 and a stop sign a "sign" 0.06 times.
    Nothing tells where no picture has two captions: False.
    """
    row, picture = _rows_of_pictures(rows, np.unique(phrases))
    mentions, concept = mentions_of(rows, row)
    picture, row = picture[mentions], row[mentions]
    size = int(max(phrases.max(), tails.max(), concept.max(initial=0))) + 1
    in_row, in_picture = np.sort(row * size + concept), np.sort(picture * size + concept)

    def count(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        return np.searchsorted(keys, wanted, "right") - np.searchsorted(keys, wanted)

    # Each row that names a phrase, once for each of its tails.
    order = np.argsort(phrases, kind="stable")
    first, stop = (np.searchsorted(phrases[order], concept, side) for side in ("left", "right"))
    which = order[places(first, stop - first)]
    row, picture = np.repeat(row, stop - first), np.repeat(picture, stop - first)
    phrase, tail = phrases[which], tails[which]
    by_phrase = count(in_picture, picture * size + phrase)  # captions of its picture, this one among them
    both = count(in_row, row * size + tail)
    by_tail = count(in_picture, picture * size + tail) - both * by_phrase
    again, otherwise = (np.bincount(which, times, len(phrases)) for times in (by_phrase - 1, by_tail))
    return (otherwise >= LEAST_TOGETHER) & (otherwise >= ALSO_CALLED * again)


def _rows_of_pictures(rows: CaptionRows, concepts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows int64 [R] of the pictures of which some caption names one of these, and their picture's number [R].

    Of more than `MOST_PICTURES` those with the smallest hashes, which is as good as by lot.
    """
    hashes = np.zeros(0, np.uint64)
    for start in range(0, len(rows), _ROWS):
        first = rows.offsets[start : start + _ROWS + 1]
        mentions = np.append(np.isin(rows.concept_ids[first[0] : first[-1]], concepts), False)
        names = np.logical_or.reduceat(mentions, first[:-1] - first[0]) & (np.diff(first) > 0)
        named = np.asarray(rows.image_hash[start : start + _ROWS])[names]
        hashes = np.union1d(hashes, named[named != 0])[:MOST_PICTURES]
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
    for start in range(0, len(rows), _ROWS):
        part = np.asarray(rows.image_hash[start : start + _ROWS])
        place = np.minimum(np.searchsorted(hashes, part), max(0, len(hashes) - 1))
        at = np.flatnonzero(hashes[place] == part) if len(hashes) else place[:0]
        found.append((start + at, place[at]))
    row, picture = (np.concatenate(side) for side in zip(*found, strict=True))
    return row, picture


def mentions_of(rows: CaptionRows, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What rows [R] name: the place in `row` of each mention, and the concept."""
    lengths = rows.offsets[row + 1] - rows.offsets[row]
    return np.repeat(np.arange(len(row)), lengths), rows.concept_ids[places(rows.offsets[row], lengths)]
