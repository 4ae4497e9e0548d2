"""Which captions are an anchor's own: by a plain loop over names, texts and sources."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curation.index.caption_rows import CaptionRows
from curation.index.identity import picture_hashes, sketches, text_hashes
from curation.ranking.anchor import Anchors
from curation.ranking.own_captions import MOST_COPIES, is_own
from tests.curation.small_index import rows_of
from tests.examples import examples

TEXTS = [
    "Two brown dogs run side by side through the tall green grass .",
    "Two brown dogs run side by side through the tall green gras",
    "A child in a pink dress is climbing up a set of stairs .",
    "An office cubicle with four different types of computers .",
]
NEARLY = [{0, 1}, {0, 1}, {2}, {3}]
NAMES = ["1", "a/1", "b/1", "2", None]


def index_of(captions: list[tuple[int, int]], images: int, sources: list[int]) -> CaptionRows:
    """Captions of these texts and names of pictures, of which the first so many are pairs."""
    rows = rows_of([set() for _ in captions])
    texts = [TEXTS[text] for text, _ in captions]
    return replace(
        rows,
        text_hash=text_hashes(texts),
        sketch=sketches(texts),
        image_hash=picture_hashes([NAMES[name] for _, name in captions]),
        image_vectors=rows.image_vectors[:images],
        sources=np.array(sources),
    )


def anchors_of(rows: CaptionRows, which: np.ndarray) -> Anchors:
    assert rows.sketch is not None
    vectors = np.zeros((len(which), 2), np.float32)
    none = np.zeros(0, np.int32), np.zeros(len(which), np.int64)
    return Anchors(vectors, vectors, which, rows.text_hash[which], rows.image_hash[which], *none, rows.sketch[which])


def one_name(one: int, other: int) -> bool:
    a, b = NAMES[one], NAMES[other]
    if a is None or b is None:
        return False
    (folder, name), (elsewhere, also) = a.rpartition("/")[::2], b.rpartition("/")[::2]
    return name == also and (not folder or not elsewhere or folder == elsewhere)


caption = st.tuples(st.integers(0, 3), st.integers(0, 4))


@examples(200)
@given(st.lists(caption, min_size=1, max_size=6), st.lists(caption, max_size=8), st.integers(0, 6), st.booleans())
def test_own_captions_are_those_of_the_plain_loop(
    pairs: list[tuple[int, int]], extra: list[tuple[int, int]], border: int, outside: bool
) -> None:
    captions = pairs + extra
    sources = [0, *([border] if 0 < border < len(pairs) else [])]
    rows = index_of(captions, len(pairs), sources)
    which = np.arange(len(pairs))
    anchors = anchors_of(rows, which)
    if outside:
        anchors = replace(anchors, rows=np.full(len(pairs), -1))
    found = np.tile(np.arange(len(captions)), (len(pairs), 1))
    own = is_own(anchors, found, rows)
    for x, (text, name) in enumerate(pairs):
        copies = [c for c in captions if c[0] == text]
        near = [c for c in extra if c[0] in NEARLY[text]]
        exact = extra if len(copies) <= MOST_COPIES + 1 else near
        other_names = {NAMES[c[1]] for c in exact if c[0] == text} | {NAMES[c[1]] for c in near}
        other_names.discard(None)
        if len(other_names) > MOST_COPIES:
            other_names = set()
        for row, (also, called) in enumerate(captions):
            wanted = also in NEARLY[text] or (row == x and not outside)
            if row >= len(pairs):
                wanted |= one_name(name, called) or NAMES[called] in other_names
            elif outside:
                wanted |= one_name(name, called)
            else:
                source = [sum(i >= start for start in sources) for i in (x, row)]
                wanted |= source[0] == source[1] and name == called and NAMES[name] is not None
            assert own[x, row] == wanted, (x, row)


def test_a_picture_under_another_name_is_known_by_its_caption_though_that_is_not_retrieved() -> None:
    """An index of one pair, and a copy of its five captions under another name; a picture finds the other four."""
    copy = [(0, 3), (2, 3), (3, 3)]
    rows = index_of([(0, 0), *copy, (2, 1)], 1, [0])
    anchors = anchors_of(rows, np.array([0]))
    assert is_own(anchors, np.array([[2, 3, -1, 4]]), rows).tolist() == [[True, True, False, True]]
    bare = replace(rows, sketch=None)
    assert is_own(anchors, np.array([[2, 3]]), bare).tolist() == [[True, True]]


def test_a_text_that_many_share_tells_no_picture() -> None:
    many = [(0, 3)] * (MOST_COPIES + 2)
    rows = index_of([(0, 0), *many, (2, 3)], 1, [0])
    assert is_own(anchors_of(rows, np.array([0])), np.array([[len(many) + 1]]), rows).tolist() == [[False]]
