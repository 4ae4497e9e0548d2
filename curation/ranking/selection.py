"""Selection: which entries of ranked archives are kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation.ranking.archives import Archives


@dataclass(frozen=True)
class Selection:
    """Entries kept, best first in each archive: their index int64 [K] in the block, offsets int64 [B+1], rank [K]."""

    entries: np.ndarray
    offsets: np.ndarray
    rank: np.ndarray

    def only(self, stays: np.ndarray) -> Selection:
        """What stays, bool [K], of the entries kept, ranked anew without holes."""
        before = np.concatenate([[0], np.cumsum(stays)])
        offsets = before[self.offsets]
        sizes = np.diff(offsets)
        return Selection(self.entries[stays], offsets, np.arange(offsets[-1]) - np.repeat(offsets[:-1], sizes) + 1)


def select(
    archives: Archives,
    score: np.ndarray,
    keep: int,
    min_score: float | None = None,
    gone: np.ndarray | None = None,
) -> Selection:
    """The `keep` best entries of each archive (0: all) with at least `min_score`; ties fall to the commoner concept.

    What the caption names is always kept: it is the baseline that curation is measured against.
    """
    left = np.flatnonzero(~gone) if gone is not None else np.arange(len(score))
    anchors = len(archives.offsets) - 1
    # entries come by anchor and concept, so that a stable sort of (anchor, descending score) is all it takes
    key = (archives.anchor[left] << 32) | _descending(score[left])
    left = left[np.argsort(key, kind="stable")]
    sizes = np.bincount(archives.anchor[left], minlength=anchors)
    rank = np.arange(len(left)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + 1
    wanted = np.ones(len(left), bool) if keep == 0 else rank <= keep
    if min_score is not None:
        wanted &= score[left] >= min_score
    wanted |= archives.in_caption[left]
    kept = left[wanted]
    sizes = np.bincount(archives.anchor[kept], minlength=anchors)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    # ranks are of the kept: a table's ranks have no holes
    return Selection(kept, offsets, np.arange(len(kept)) - np.repeat(offsets[:-1], sizes) + 1)


def _descending(score: np.ndarray) -> np.ndarray:
    """int64 in [0, 2^32) that orders float32 scores from the highest to the lowest; NaN and -0.0 do not occur."""
    bits = (score + np.float32(0)).view(np.int32).astype(np.int64)
    # a negative float's bits grow with its magnitude, and its sign bit makes the integer negative
    return np.where(bits < 0, (bits & 0x7FFFFFFF) + 2**31, 2**31 - 1 - bits)
