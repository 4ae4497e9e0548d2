"""Captions grouped by their pictures: what *any* caption of a picture names, which is nearer to what it shows.

A caption leaves out what another of the same picture names. So among the pictures of the captions retrieved for an
anchor, the share of which any caption names c tells better what the anchor's own caption leaves out than the share of
the captions themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curation.index.caption_rows import CaptionRows
from curation.index.identity import FOLDER, same_picture
from curation.ranking.archives import CONCEPT_BITS

# Captions are grouped where at least this share of them belongs to pictures with several.
WORTH_IT = 0.25


@dataclass(frozen=True)
class PictureCaptions:
    """Pictures of the N indexed captions, G in all.

    picture int64 [N]: of each caption. several bool [G]: whether a picture has captions of different texts.
    offsets int64 [G+1], concepts int32 [nnz]: what any caption of a picture names, each concept once, ascending.
    """

    picture: np.ndarray
    several: np.ndarray
    offsets: np.ndarray
    concepts: np.ndarray


def pictures_of(rows: CaptionRows) -> np.ndarray:
    """Picture of each caption, int64 [N], numbered from 0. A caption whose picture is unknown has one for itself."""
    name = np.array(rows.image_hash)
    own, others = name[: rows.images], np.unique(name[rows.images :])
    # a pair goes by the name that captions without pictures have for it, which may tell a folder, where there is one
    stem = others & ~FOLDER
    first = np.searchsorted(stem, own & ~FOLDER)
    one = (np.searchsorted(stem, own & ~FOLDER, "right") - first) == 1
    there = np.flatnonzero(one)
    there = there[same_picture(others[first[there]], own[there])]
    own[there] = others[first[there]]
    _, at, times = np.unique(own, return_inverse=True, return_counts=True)
    alone = name == 0
    alone[: rows.images] |= times[at] > 1  # of several sources: nobody knows whose the other captions are
    _, picture = np.unique(name, return_inverse=True)
    picture = picture.astype(np.int64)
    picture[alone] = picture.max(initial=0) + 1 + np.arange(alone.sum())
    return np.unique(picture, return_inverse=True)[1].astype(np.int64)


def texts_of(rows: CaptionRows, picture: np.ndarray) -> np.ndarray:
    """How many captions of different texts each picture has, int64 [G]. picture: as `pictures_of` has it."""
    order = np.lexsort((rows.text_hash, picture))
    new = np.ones(len(picture), bool)
    new[1:] = (np.diff(picture[order]) != 0) | (np.diff(rows.text_hash[order]) != 0)
    return np.bincount(picture[order][new])


def group_captions(rows: CaptionRows, picture: np.ndarray, texts: np.ndarray) -> PictureCaptions | None:
    """The indexed captions by picture; None where hardly any picture has several, so that there is nothing to gain.

    picture, texts: as `pictures_of` and `texts_of` have them.
    """
    several = texts > 1
    if not len(picture) or several[picture].mean() < WORTH_IT:
        return None
    owner = np.repeat(picture, np.diff(rows.offsets))
    keys = np.sort(owner << CONCEPT_BITS | rows.concept_ids)
    keys = keys[np.diff(keys, prepend=-1) != 0]
    sizes = np.bincount(keys >> CONCEPT_BITS, minlength=len(several))
    concepts = (keys & ((1 << CONCEPT_BITS) - 1)).astype(np.int32)
    return PictureCaptions(picture, several, np.concatenate([[0], np.cumsum(sizes)]), concepts)


def share_of_pictures(
    captions: PictureCaptions, rows: np.ndarray, own: np.ndarray, anchor: np.ndarray, concept: np.ndarray
) -> np.ndarray:
    """Share of the pictures retrieved for an anchor of which any caption names a concept, float64 [P].

    Of pictures with several captions alone, for the others tell less, and never of the anchor's own. rows int64 [B, L]:
    captions retrieved, -1 for none; own int64 [B]: the anchors' rows, -1 for none; anchor, concept int [P]: entries.
    """
    seen = captions.picture[rows]
    mine = np.where(own >= 0, captions.picture[own], -1)
    seen[(rows < 0) | ~captions.several[seen] | (seen == mine[:, None])] = -1
    seen.sort(axis=1)
    new = seen >= 0
    new[:, 1:] &= seen[:, 1:] != seen[:, :-1]
    at, picture = np.nonzero(new)[0], seen[new]
    start, sizes = captions.offsets[picture], np.diff(captions.offsets)[picture]
    ends = np.cumsum(sizes)
    where = np.arange(ends[-1] if len(ends) else 0) + np.repeat(start - ends + sizes, sizes)
    keys = np.sort(np.repeat(at << CONCEPT_BITS, sizes) | captions.concepts[where])
    wanted = anchor.astype(np.int64) << CONCEPT_BITS | concept
    count = np.searchsorted(keys, wanted, "right") - np.searchsorted(keys, wanted)
    # one more that names nothing: few pictures prove little
    return count / (np.bincount(at, minlength=len(rows)) + 1)[anchor]
