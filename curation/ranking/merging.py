"""Merging: of two concepts of an archive that say the same of a picture, one is enough.

Word families say the same by their words: "truck" and "fire truck", "dog" and "dogs". Synonyms do by what they rank:
the agreement of two concepts is the correlation of their similarities t(a)·v and t(b)·v over the indexed pictures. It
follows from the pictures' covariance S alone, t(a)' S t(b) over the two deviations, and tells synonyms from neighbours
far better than the cosine of the texts, most of which is the same for all texts.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from curation.index.vocabulary import Vocabulary
from curation.ranking.archives import Archives
from curation.ranking.picture_statistics import PictureStatistics

# Agreement from which one concept stands for another.
SAME = 0.85
# Of each archive so many entries are looked at for each that is to be kept; those behind them go for want of room.
LOOKED_AT_EACH = 4
# Agreements computed at a time: bounds the memory.
_CELLS = 1 << 20


class Synonyms:
    """Which concepts of a vocabulary stand for each other.

    profiles: unit float32 [C, D], whose products are the agreements.
    """

    def __init__(self, statistics: PictureStatistics) -> None:
        values, vectors = np.linalg.eigh(statistics.moments[1].astype(np.float64))
        root = (vectors * np.sqrt(np.maximum(values, 0))).astype(np.float32)
        profiles = statistics.concepts @ root
        self.profiles = profiles / np.maximum(np.linalg.norm(profiles, axis=1, keepdims=True), 1e-12)

    def merged_away(self, archives: Archives, score: np.ndarray, gone: np.ndarray, keep: int = 0) -> np.ndarray:
        """bool [P]: `gone`, and the entries that a better one of their archive stands for.

        Best first, each entry that agrees with one kept before it goes. What the caption names comes before all and
        never goes, so that a synonym of it is no gap. keep: as in `selection.select`; 0 looks at all entries.
        """
        found = gone.copy()
        left = np.flatnonzero(~found)
        if not len(left):
            return found
        captioned = archives.in_caption[left]
        left = left[np.lexsort((-score[left], ~captioned, archives.anchor[left]))]
        anchors = archives.anchor[left]
        sizes = np.bincount(anchors, minlength=len(archives.offsets) - 1)
        starts = np.cumsum(sizes) - sizes
        place = np.arange(len(left)) - starts[anchors]
        width = min(int(sizes.max()), LOOKED_AT_EACH * keep or len(left))
        found[left[(place >= width) & ~archives.in_caption[left]]] = True
        some = np.flatnonzero(sizes)
        block = max(1, _CELLS // width**2)
        for first in range(0, len(some), block):
            chosen = some[first : first + block]
            at = starts[chosen][:, None] + np.arange(width)
            real = np.arange(width) < sizes[chosen][:, None]
            entries = left[np.minimum(at, len(left) - 1)]
            lost = self._lost(archives.concept[entries], archives.in_caption[entries], real)
            found[entries[lost]] = True
        return found

    def _lost(self, concepts: np.ndarray, captioned: np.ndarray, real: np.ndarray) -> np.ndarray:
        """Concept ids [B, M], best first -> bool [B, M], those that one before them stands for."""
        profiles = self.profiles[concepts]
        same = (profiles @ profiles.transpose(0, 2, 1)) > SAME
        alive = real.copy()
        for column in range(concepts.shape[1] - 1):
            behind = slice(column + 1, None)
            alive[:, behind] &= ~(same[:, column, behind] & alive[:, column, None]) | captioned[:, behind]
        return real & ~alive


class WordFamilies:
    """Which concepts of a vocabulary are the same word family: tails of longer concepts, and plurals."""

    def __init__(self, vocabulary: Vocabulary, singular_of: Callable[[str], str]) -> None:
        words = vocabulary.words
        ids = {word: i for i, word in enumerate(words)}
        tails = np.full((len(words), 3), -1, np.int32)
        same = np.arange(len(words), dtype=np.int32)
        for i, word in enumerate(words):
            parts = word.split()
            for depth, start in enumerate(range(1, min(len(parts), 4))):
                tails[i, depth] = ids.get(" ".join(parts[start:]), -1)
            same[i] = ids.get(singular_of(word), i)
        self.tails = tails
        self.same = same

    def merged_away(self, archives: Archives, score: np.ndarray) -> np.ndarray:
        """bool [P]: entries that another of their archive stands for.

        Of a concept and a longer one that ends in it ("truck", "fire truck") the better one stays, the longer where
        they are even; of a singular and its plural the better one, the singular where they are even. One that the
        caption names stands for its whole family, and never goes itself.

        What stands for another is kept wherever the other would have been: it has at least its score, or the caption
        names it, which is always kept.
        """
        size = len(self.same)
        key = archives.anchor * size + archives.concept
        gone = np.zeros(len(key), bool)
        if not len(key):
            return gone
        for depth in range(self.tails.shape[1]):
            tail = self.tails[archives.concept, depth]
            longer = np.flatnonzero(tail >= 0)
            at, found = _find(key, archives.anchor[longer] * size + tail[longer])
            at, longer = at[found], longer[found]
            gone[at[(score[longer] >= score[at]) | archives.in_caption[longer]]] = True
            gone[longer[(score[longer] < score[at]) | archives.in_caption[at]]] = True
        singular = self.same[archives.concept]
        plural = np.flatnonzero(singular != archives.concept)
        at, found = _find(key, archives.anchor[plural] * size + singular[plural])
        at, plural = at[found], plural[found]
        plural_loses = ((score[at] >= score[plural]) & ~archives.in_caption[plural]) | archives.in_caption[at]
        gone[plural[plural_loses]] = True
        gone[at[~plural_loses]] = True
        return gone & ~archives.in_caption


def _find(sorted_keys: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    at = np.minimum(np.searchsorted(sorted_keys, wanted), len(sorted_keys) - 1)
    return at, sorted_keys[at] == wanted
