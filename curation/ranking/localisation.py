"""Where a concept shows: a box, an area and a peak from its heat map, the cosines of t(c) with the picture's cells.

The region is what reaches `LEVEL` of the way from the map's least value to its greatest, the cells' values joined
bilinearly; the box goes round all of it, for several dogs are one concept; the area is its share of the picture. The
peak is the greatest cosine: a concept of a low one lights up nowhere. What all this is worth: docs/localisation.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curation.encoding.dense import DenseEncoder
from curation.index.vocabulary import Vocabulary
from curation.ranking.archives import Archives
from curation.ranking.selection import Selection
from files.pictures import BadPicture

LEVEL = 0.7
# Points from the centre of a cell to the next: edges of boxes fall on quarters of cells.
FINE = 4


@dataclass(frozen=True)
class Regions:
    """Where K concepts show, in shares of the picture; NaN where there was none to look at.

    boxes: float32 [K, 4], x0, y0, x1, y1 from the upper left. area, peak: float32 [K].
    """

    boxes: np.ndarray
    area: np.ndarray
    peak: np.ndarray

    def columns(self) -> dict[str, np.ndarray]:
        """As tables name them."""
        return {**dict(zip(("x0", "y0", "x1", "y1"), self.boxes.T, strict=True)), "area": self.area, "peak": self.peak}

    def only(self, stays: np.ndarray) -> Regions:
        """Those of some of the concepts, bool [K]."""
        return Regions(self.boxes[stays], self.area[stays], self.peak[stays])


def regions_of(heat: np.ndarray) -> Regions:
    """Heat maps [K, h, w] -> the regions of their concepts; that of a flat map is the whole picture."""
    if not len(heat):
        return _unseen(0)
    fine = enlarged(heat)
    least, greatest = fine.min((1, 2)), fine.max((1, 2))
    # Of the greatest itself rounding may make less.
    inside = fine >= np.minimum(greatest, least + LEVEL * (greatest - least))[:, None, None]
    (x0, x1), (y0, y1) = _extent(inside.any(1)), _extent(inside.any(2))
    boxes = np.stack([x0, y0, x1, y1], 1).astype(np.float32)
    return Regions(boxes, inside.mean((1, 2), dtype=np.float32), greatest.astype(np.float32))


def enlarged(heat: np.ndarray) -> np.ndarray:
    """[K, h, w] -> [K, FINE * h, FINE * w], linear between centres of cells and flat beyond the outer ones."""
    for axis in (1, 2):
        count = heat.shape[axis]
        at = np.clip((np.arange(FINE * count) + 0.5) / FINE - 0.5, 0, count - 1)
        low = at.astype(np.int64)
        weight = (at - low).astype(heat.dtype).reshape((-1, 1) if axis == 1 else -1)
        below, above = (heat.take(where, axis) for where in (low, np.minimum(low + 1, count - 1)))
        heat = below + weight * (above - below)
    return heat


@dataclass(frozen=True)
class Localiser:
    """Looks at pictures for the concepts kept of them. least: peak of those that the caption does not name, if any."""

    encoder: DenseEncoder
    vocabulary: Vocabulary
    least: float | None = None

    def look(
        self, pictures: Sequence[bytes], archives: Archives, kept: Selection, counts: Counter[str]
    ) -> tuple[Selection, Regions]:
        """Encoded pictures of archives, what is kept of them -> what stays, and where it shows.

        counts: of what was "looked for", and of pictures "unreadable".
        """
        concept = np.split(archives.concept[kept.entries], kept.offsets[1:-1])
        decoded = self.encoder.decode(pictures)
        good = {i: picture for i, picture in enumerate(decoded) if not isinstance(picture, BadPicture)}
        found = [_unseen(len(ids)) for ids in concept]
        if good:
            texts = [self.vocabulary.vectors[concept[i]] for i in good]
            for i, heat in zip(good, self.encoder.heat(np.stack(list(good.values())), texts), strict=True):
                found[i] = regions_of(heat)
        regions = Regions(*map(np.concatenate, zip(*((r.boxes, r.area, r.peak) for r in found), strict=True)))
        counts.update({"looked for": len(kept.entries), "unreadable": len(pictures) - len(good)})
        if self.least is None:
            return kept, regions
        stays = archives.in_caption[kept.entries] | ~(regions.peak < self.least)
        return kept.only(stays), regions.only(stays)


def _extent(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bool [K, n], a true one in each row -> where the first begins and the last ends, as shares of the row."""
    count = inside.shape[1]
    return inside.argmax(1) / count, 1 - inside[:, ::-1].argmax(1) / count


def _unseen(count: int) -> Regions:
    return Regions(*(np.full(shape, np.nan, np.float32) for shape in ((count, 4), count, count)))
