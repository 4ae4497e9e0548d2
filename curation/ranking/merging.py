"""Merging: of two concepts of an archive that say the same of a picture, one is enough.

What says the same is told by relations between concepts, each in a class of its own: word families by their words,
"truck" and "fire truck", "dog" and "dogs"; synonyms by what they rank. Which of two related ones stays is told here,
for all relations at once, so that nothing goes for the sake of what goes itself.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from curation.index.caption_rows import CaptionRows, pair_similarity
from curation.index.vocabulary import Vocabulary
from curation.ranking.archives import Archives
from curation.ranking.cooccurrence import also_called, named_together, places
from curation.ranking.picture_statistics import PictureStatistics

# Agreement from which one concept stands for another.
SAME = 0.9
# Of each archive so many entries are looked at for each that is to be kept; those behind them go for want of room.
LOOKED_AT_EACH = 4
# A concept's tails that are looked for, the longest first.
MOST_TAILS = 3
# Agreements computed, and twins looked for, at a time: bounds the memory.
_CELLS = 1 << 20
# Agreements of a whole vocabulary that cost no more than those of one archive.
_EACH_PAIR = 1000

Entries = tuple[np.ndarray, np.ndarray]


class Relation(Protocol):
    """What tells that two concepts say the same."""

    def related(self, archives: Archives, gone: np.ndarray) -> Entries:
        """Entries of which each says the same as the other, of the same archive: int64 [E] each, in either order.

        Those that are `gone` may be left out.
        """


def merged_away(
    archives: Archives, score: np.ndarray, gone: np.ndarray, relations: Sequence[Relation], order: np.ndarray
) -> np.ndarray:
    """bool [P]: `gone`, and the entries that a better one of their archive stands for, which is kept itself.

    Best first, each entry goes that is related to one kept before it. What the caption names comes before all and never
    goes, so that another word for it is no gap. order: of concepts with even scores, int64 [C], the first the smallest.
    """
    found = [relation.related(archives, gone) for relation in relations]
    one, other = (np.concatenate(side) for side in zip(*found, strict=True))
    open_ = ~(gone[one] | gone[other] | (archives.in_caption[one] & archives.in_caption[other]))
    one, other = one[open_], other[open_]
    first = _first(archives, score, order, one, other)
    better, worse = np.where(first, one, other), np.where(first, other, one)
    gone = gone.copy()
    while len(better):  # as often as the longest row of entries of which each is beaten by the next
        beaten = np.zeros(len(gone), bool)
        beaten[worse] = True
        lost = worse[~beaten[better]]
        gone[lost] = True
        left = ~(gone[better] | gone[worse])
        better, worse = better[left], worse[left]
        if not len(lost):  # scores without an order, not numbers
            break
    return gone


def _first(archives: Archives, score: np.ndarray, order: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """bool [E]: whether of two entries the one comes before the other."""
    named, by_score = archives.in_caption[one], score[one] - score[other]
    even = order[archives.concept[one]] < order[archives.concept[other]]
    better = np.where(by_score == 0, even, by_score > 0)
    return np.where(named == archives.in_caption[other], better, named)


@dataclass(frozen=True)
class WordFamilies:
    """Concepts of which one is the tail of the other, "truck" and "fire truck", and singulars and their plurals.

    tails int32 [C, MOST_TAILS], same int32 [C]: of each concept its tails, -1 for none, and its singular, or itself.
    order: of concepts with even scores, int64 [C]: the longer before its tail, the singular before its plural.
    """

    tails: np.ndarray
    same: np.ndarray
    order: np.ndarray

    def related(self, archives: Archives, gone: np.ndarray) -> Entries:
        """As `Relation`."""
        key = archives.anchor * len(self.same) + archives.concept
        relatives = [*self.tails.T, np.where(self.same == np.arange(len(self.same)), -1, self.same)]
        found = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
        for relative in relatives:
            wanted = relative[archives.concept]
            some = np.flatnonzero(wanted >= 0)
            at, there = _find(key, archives.anchor[some] * len(self.same) + wanted[some])
            found.append((some[there], at[there]))
        one, other = (np.concatenate(side) for side in zip(*found, strict=True))
        return one, other


def word_families(
    vocabulary: Vocabulary,
    singular_of: Callable[[str], str],
    set_phrases: Container[tuple[str, ...]] = (),
    rows: CaptionRows | None = None,
) -> WordFamilies:
    """The families of a vocabulary.

    A set phrase, "stop sign", is a word of its own and no kind of its tail, unless captions call its pictures by both
    (`cooccurrence.also_called`). singular_of: the normal form of a word. set_phrases: phrases in that form. rows: None
    where nothing is known of what captions say.
    """
    words = vocabulary.words
    ids = {word: i for i, word in enumerate(words)}
    tails = np.full((len(words), MOST_TAILS), -1, np.int32)
    same = np.array([ids.get(singular_of(word), i) for i, word in enumerate(words)], np.int32)
    doubtful: list[tuple[int, int]] = []  # of set phrases: concept, and which of its tails
    for i, word in enumerate(words):
        parts = tuple(word.split())
        phrase = False
        for depth in range(min(len(parts) - 1, MOST_TAILS)):
            phrase |= tuple(singular_of(" ".join(parts[depth:])).split()) in set_phrases
            tails[i, depth] = ids.get(" ".join(parts[depth + 1 :]), -1)
            if phrase and tails[i, depth] >= 0:
                doubtful.append((i, depth))
    if doubtful:
        concept, depths = np.array(doubtful).T
        tail = tails[concept, depths]
        apart = ~also_called(rows, concept, tail) if rows is not None else np.ones(len(tail), bool)
        tails[concept[apart], depths[apart]] = -1
    length = np.array([len(word.split()) for word in words], np.int64)
    plural = same != np.arange(len(words))
    order = np.empty(len(words), np.int64)
    order[np.lexsort((plural, -length))] = np.arange(len(words))
    return WordFamilies(tails, same, order)


class Synonyms:
    """Concepts that stand for each other by what they rank.

    The agreement of two concepts is the correlation of their similarities t(a)·v and t(b)·v over the indexed pictures.
    It follows from the pictures' covariance S alone, t(a)' S t(b) over the two deviations, and tells synonyms from
    neighbours far better than the cosine of the texts, most of which is the same for all texts. But what is seen
    together ranks alike, too, a chair and its table: two concepts that single captions name together beyond chance
    are two things (`cooccurrence.named_together`).

    profiles: unit float32 [C, D], whose products are the agreements. twins: of each concept the ones with greater ids
    that stand for it, as CSR int64 [C+1], int32 [nnz]; None where the pairs are too few for so many concepts, or these
    too much alike: then each archive's agreements are computed.
    """

    def __init__(self, statistics: PictureStatistics, rows: CaptionRows) -> None:
        values, vectors = np.linalg.eigh(statistics.moments[1].astype(np.float64))
        root = (vectors * np.sqrt(np.maximum(values, 0))).astype(np.float32)
        profiles = statistics.concepts @ root
        self.profiles = profiles / np.maximum(np.linalg.norm(profiles, axis=1, keepdims=True), 1e-12)
        self.apart = named_together(rows, len(profiles), self._agree)
        self.twins = self._all_twins() if len(profiles) ** 2 <= _EACH_PAIR * rows.images else None

    def _all_twins(self) -> tuple[np.ndarray, np.ndarray] | None:
        count, total = len(self.profiles), 0
        found = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
        for start in range(0, count, block := max(1, _CELLS // max(1, count))):
            one, other = np.nonzero(self.profiles[start : start + block] @ self.profiles[start:].T > SAME)
            one, other = start + one[one < other], start + other[one < other]
            twins = ~self.apart.holds(one, other)
            found.append((one[twins], other[twins]))
            if (total := total + int(twins.sum())) > _CELLS:
                return None
        one, other = (np.concatenate(side) for side in zip(*found, strict=True))
        return np.concatenate([[0], np.cumsum(np.bincount(one, minlength=count))]), other.astype(np.int32)

    def _agree(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return pair_similarity(self.profiles, one, self.profiles, other) > SAME

    def related(self, archives: Archives, gone: np.ndarray) -> Entries:
        """As `Relation`."""
        left = np.flatnonzero(~gone)
        if self.twins is not None:
            concept, (offsets, twins) = archives.concept[left], self.twins
            times = np.diff(offsets)[concept]
            if times.sum() <= _CELLS:
                key = archives.anchor[left] * len(self.profiles) + concept
                one = np.repeat(np.arange(len(left)), times)
                wanted = twins[places(offsets[concept], times)]
                at, there = _find(key, archives.anchor[left[one]] * len(self.profiles) + wanted)
                return left[one[there]], left[at[there]]
        return self._related_by_products(archives, left)

    def _related_by_products(self, archives: Archives, left: np.ndarray) -> Entries:
        none = np.zeros(0, np.int64)
        if not len(left):
            return none, none
        anchors = archives.anchor[left]
        sizes = np.bincount(anchors, minlength=len(archives.offsets) - 1)
        starts = np.cumsum(sizes) - sizes
        width = int(sizes.max())
        some = np.flatnonzero(sizes)
        found = [(none, none)]
        for first in range(0, len(some), block := max(1, _CELLS // width**2)):
            chosen = some[first : first + block]
            entries = left[np.minimum(starts[chosen][:, None] + np.arange(width), len(left) - 1)]
            profiles = self.profiles[archives.concept[entries]]
            archive, one, other = np.nonzero(profiles @ profiles.transpose(0, 2, 1) > SAME)
            real = (one < other) & (other < sizes[chosen][archive])
            archive, one, other = archive[real], one[real], other[real]
            one, other = entries[archive, one], entries[archive, other]
            twins = ~self.apart.holds(archives.concept[one], archives.concept[other])
            found.append((one[twins], other[twins]))
        one, other = (np.concatenate(side) for side in zip(*found, strict=True))
        return one, other


def within_reach(archives: Archives, score: np.ndarray, gone: np.ndarray, keep: int) -> np.ndarray:
    """bool [P]: `gone`, and what stands so far behind that there is no room for it: bounds what is compared.

    keep: as in `selection.select`; 0 leaves all. What the caption names comes first, and stays.
    """
    left = np.flatnonzero(~gone)
    if keep == 0 or not len(left):
        return gone
    captioned = archives.in_caption[left]
    left = left[np.lexsort((-score[left], ~captioned, archives.anchor[left]))]
    sizes = np.bincount(archives.anchor[left], minlength=len(archives.offsets) - 1)
    place = np.arange(len(left)) - (np.cumsum(sizes) - sizes)[archives.anchor[left]]
    gone = gone.copy()
    gone[left[(place >= LOOKED_AT_EACH * keep) & ~archives.in_caption[left]]] = True
    return gone


def _find(sorted_keys: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not len(sorted_keys):
        return np.zeros(0, np.int64), np.zeros(0, bool)
    at = np.minimum(np.searchsorted(sorted_keys, wanted), len(sorted_keys) - 1)
    return at, sorted_keys[at] == wanted
