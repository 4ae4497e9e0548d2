"""Expansion: the captions retrieved for an anchor (PAPER, step 1).

A new expansion is one entry of `EXPANSIONS`, here or in a package of its own (entry point `cocu.expansions`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curation.ranking.anchor import Anchors
from curation.ranking.own_captions import is_own
from files.errors import CocuError, MisuseError
from files.registry import Registry

if TYPE_CHECKING:  # the command line's help loads this file: it has to stay light
    from curation.index.caption_rows import CaptionRows
    from curation.index.neighbours import NearestRows

# Retrieved beyond L, so that L are left when the anchor's own captions are taken out.
OWN_MARGIN = 16
MOST_OWN = 1024


@dataclass(frozen=True)
class Retrieved:
    """Rows int64 [B, L] retrieved for B anchors, -1 where there are fewer.

    counts_anchor bool [B]: whether the anchor's own caption counts as retrieved though it is not in `rows` (the
    paper's expansion has the anchor among its neighbours; an anchor from outside the index has to be added).
    left_out int64 [B]: captions of the anchor's own picture, but for its row, that would have been retrieved, too; by
    the expansion that met most. None: nobody counted.
    """

    rows: np.ndarray
    counts_anchor: np.ndarray
    left_out: np.ndarray | None = None

    def part(self, which: slice) -> Retrieved:
        """For the anchors of a slice."""
        left_out = self.left_out[which] if self.left_out is not None else None
        return Retrieved(self.rows[which], self.counts_anchor[which], left_out)


@dataclass(frozen=True)
class Expansion:
    """A way to retrieve captions for an anchor.

    help: for the command line, in a few words. query: what to search with, float32 [B, D].
    pictures: whether the pictures are searched, and the anchor stays among its L neighbours, as in the paper; else the
    captions are, and every one of the anchor's own (same row, same picture, or same words) is left out.
    """

    help: str
    query: Callable[[Anchors], np.ndarray]
    pictures: bool = False


def _sum_of_both(anchors: Anchors) -> np.ndarray:
    both = anchors.image_vectors + anchors.text_vectors
    return both / np.maximum(np.linalg.norm(both, axis=1, keepdims=True), 1e-12)


def _check(entry: object) -> None:
    if not isinstance(entry, Expansion):
        raise ValueError(f"{type(entry).__name__} is no curation.ranking.expansion.Expansion")


EXPANSIONS: Registry[Expansion] = Registry("--expansion", "cocu.expansions", check=_check)
EXPANSIONS.add("image", Expansion("captions of pictures like this one", lambda x: x.image_vectors, pictures=True))
EXPANSIONS.add("caption", Expansion("captions that fit the picture", lambda x: x.image_vectors))
EXPANSIONS.add("language", Expansion("captions like its own", lambda x: x.text_vectors))
EXPANSIONS.add("mixed", Expansion("captions that fit the picture and its caption", _sum_of_both))


def by_picture_alone(names: Sequence[str]) -> tuple[str, ...]:
    """The expansions that search the same pictures or captions as these do, blind to the anchor's own caption."""
    return tuple(dict.fromkeys("image" if EXPANSIONS[name].pictures else "caption" for name in names))


def parse_expansion(text: str) -> tuple[str, ...]:
    """ "image+mixed" -> ("image", "mixed"). Raises MisuseError for an unknown or repeated one."""
    names = tuple(part.strip() for part in text.split("+"))
    unknown = [name for name in names if name not in EXPANSIONS]
    if unknown or len(set(names)) < len(names):
        wrong = unknown[0] if unknown else text
        raise MisuseError(f"--expansion {wrong}: expected {', '.join(EXPANSIONS)}, or different ones joined by '+'")
    for name in names:
        EXPANSIONS[name]  # a package that does not load is told now
    return names


def expand(
    anchors: Anchors,
    expansions: Sequence[str],
    neighbours: int,
    images: NearestRows | None,
    captions: NearestRows,
    rows: CaptionRows,
) -> Retrieved:
    """Rows retrieved by each expansion, joined; a row that two expansions find counts once.

    Raises MisuseError for one that searches pictures where there is no image index.
    """
    found = [_expand_one(anchors, name, neighbours, images, captions, rows) for name in expansions]
    joined = np.concatenate([f.rows for f in found], axis=1)
    if len(found) > 1:
        joined = without_repeats(joined)
    left_out = np.max([f.left_out for f in found if f.left_out is not None], axis=0)
    return Retrieved(joined, np.any([f.counts_anchor for f in found], axis=0), left_out)


def without_repeats(rows: np.ndarray) -> np.ndarray:
    """Rows [B, L] with every later occurrence of a row in its line set to -1."""
    order = np.argsort(rows, axis=1, kind="stable")
    ordered = np.take_along_axis(rows, order, 1)
    again = np.zeros(rows.shape, bool)
    np.put_along_axis(again, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], 1)
    return np.where(again, -1, rows)


def _expand_one(
    anchors: Anchors,
    name: str,
    neighbours: int,
    images: NearestRows | None,
    captions: NearestRows,
    rows: CaptionRows,
) -> Retrieved:
    expansion = EXPANSIONS[name]
    queries = expansion.query(anchors)
    if queries.shape != anchors.image_vectors.shape:
        raise CocuError(f"--expansion {name}: {queries.shape} queries for vectors {anchors.image_vectors.shape}")
    if not expansion.pictures:
        others, left_out = _others(anchors, queries, neighbours, OWN_MARGIN, captions, rows)
        return Retrieved(others, np.zeros(len(anchors), bool), left_out)
    if images is None:
        raise MisuseError(f"--expansion {name}: the index holds no pictures")
    outside = anchors.rows < 0
    _, found = images.search(queries, neighbours)
    if outside.any():  # the anchor itself takes the place of the last
        found = np.where(outside[:, None] & (np.arange(neighbours) == neighbours - 1), -1, found)
    return Retrieved(found, outside, np.zeros(len(anchors), np.int64))


def _others(
    anchors: Anchors, queries: np.ndarray, neighbours: int, margin: int, captions: NearestRows, rows: CaptionRows
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest captions that are not the anchor's own: rows [B, neighbours], -1 at the end.

    And how many own ones [B], but for the anchor's row, stood before the last of these.
    """
    _, found = captions.search(queries, neighbours + margin)
    own = is_own(anchors, found, rows)
    before = np.cumsum(~own, axis=1) < neighbours
    left_out = (own & before & (found != anchors.rows[:, None])).sum(1)
    # Sorting by "own" moves those to the end and keeps the order.
    order = np.argsort(own | (found < 0), axis=1, kind="stable")[:, :neighbours]
    left = np.take_along_axis(np.where(own, -1, found), order, 1)
    # A caption that thousands share fills the margin: look further for those anchors.
    short = np.flatnonzero((left[:, -1] < 0) & (found[:, -1] >= 0))
    if len(short) and margin < MOST_OWN:
        left[short], left_out[short] = _others(
            anchors.take(short), queries[short], neighbours, 8 * margin, captions, rows
        )
    return left, left_out
