"""Own captions: of what is retrieved for an anchor, the captions of its own picture, which tell nothing new.

They are: the anchor's row; a caption of nearly the same text; a caption of the same picture by name; and the captions
of any picture that a caption of the same text belongs to, for pictures go about under several names. A text that many
captions share tells no picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from curation.index.identity import FOLDER, NEAR, NEAR_FIRST, same_picture, shared_bytes

if TYPE_CHECKING:
    from curation.index.caption_rows import CaptionRows
    from curation.ranking.anchor import Anchors

# Captions of one text, besides the anchor's, that still tell its picture.
MOST_COPIES = 4


def is_own(anchors: Anchors, found: np.ndarray, rows: CaptionRows) -> np.ndarray:
    """bool [B, L]: whether a retrieved row [B, L] is a caption of the anchor's own picture; False where it is -1."""
    safe = np.maximum(found, 0)
    same_text, image = _same_text(anchors, safe, rows), rows.image_hash[safe]
    own = (found == anchors.rows[:, None]) | same_text | _same_name(anchors, safe, image, rows)
    anchor, picture = _other_names(anchors, found, same_text, image, rows)
    for _ in range(MOST_COPIES):  # an anchor's first other name, its second ...
        if not len(anchor):
            break
        first = np.append(True, anchor[1:] != anchor[:-1])
        own[anchor[first]] |= (image[anchor[first]] == picture[first, None]) & (safe[anchor[first]] >= rows.images)
        anchor, picture = anchor[~first], picture[~first]
    return own & (found >= 0)


def _same_text(anchors: Anchors, safe: np.ndarray, rows: CaptionRows) -> np.ndarray:
    same = rows.text_hash[safe] == anchors.text_hash[:, None]
    if rows.sketch is None or anchors.sketch is None:
        return same
    near = np.argwhere(shared_bytes(rows.sketch[:, 0][safe], anchors.sketch[:, :1]) >= NEAR_FIRST)
    anchor, row = near[:, 0], safe[near[:, 0], near[:, 1]]
    agree = shared_bytes(rows.sketch[row], anchors.sketch[anchor]).sum(1) >= NEAR
    same[near[agree, 0], near[agree, 1]] = True
    return same


def _same_name(anchors: Anchors, safe: np.ndarray, image: np.ndarray, rows: CaptionRows) -> np.ndarray:
    """Pairs of one source have a picture in common where their names are the same, and pairs of two sources never."""
    same = same_picture(image, anchors.image_hash[:, None])
    at, place = np.nonzero(same & (safe < rows.images) & (anchors.rows[:, None] >= 0))
    same[at, place] = (rows.source_of(safe[at, place]) == rows.source_of(anchors.rows[at])) & (
        image[at, place] == anchors.image_hash[at]
    )
    return same


def _other_names(
    anchors: Anchors, found: np.ndarray, same_text: np.ndarray, image: np.ndarray, rows: CaptionRows
) -> tuple[np.ndarray, np.ndarray]:
    """Other pictures' hashes under which an anchor's picture goes: anchors int64 [K], ascending, and hashes [K]."""
    at, place = np.nonzero(same_text & (found >= rows.images))
    texts, of_row = rows.by_text
    first, stop = (np.searchsorted(texts, anchors.text_hash, side) for side in ("left", "right"))
    copies = np.where(stop - first <= MOST_COPIES + 1, stop - first, 0)
    row = of_row[np.repeat(first - (np.cumsum(copies) - copies), copies) + np.arange(copies.sum())]
    anchor = np.concatenate([at, np.repeat(np.arange(len(anchors)), copies)])
    picture = np.concatenate([image[at, place], rows.image_hash[row]])
    known = (picture != 0) & np.concatenate([np.ones(len(at), bool), row >= rows.images])
    names = np.unique(np.rec.fromarrays([anchor[known], picture[known]]))
    anchor, picture = names["f0"].astype(np.int64), names["f1"].astype(np.uint64)
    few = np.bincount(anchor, minlength=len(anchors)) <= MOST_COPIES
    return anchor[few[anchor]], picture[few[anchor]]


def second_captions(rows: CaptionRows, pairs: np.ndarray) -> np.ndarray:
    """A caption of the same picture by name, but not of nearly the same text, for each pair: rows int64 [B], or -1."""
    stems = np.asarray(rows.image_hash[rows.images :]) & ~FOLDER
    order = np.argsort(stems, kind="stable")
    image, found = rows.image_hash[pairs], np.full(len(pairs), -1)
    first = np.searchsorted(stems[order], image & ~FOLDER)
    for nth in range(MOST_COPIES if len(order) else 0):
        place = np.minimum(first + nth, len(order) - 1)
        row = rows.images + order[place]
        text = rows.text_hash[row] != rows.text_hash[pairs]
        if rows.sketch is not None:
            text &= shared_bytes(rows.sketch[row], rows.sketch[pairs]).sum(1) < NEAR
        fits = (found < 0) & text & (first + nth < len(order)) & same_picture(rows.image_hash[row], image)
        found = np.where(fits, row, found)
    return found
