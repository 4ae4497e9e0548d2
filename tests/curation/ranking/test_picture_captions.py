"""What any caption of a picture names, by plain loops over names and captions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from curation.index.caption_rows import CaptionRows
from curation.index.identity import picture_hashes
from curation.ranking.picture_captions import (
    PictureCaptions,
    group_captions,
    pictures_of,
    share_of_pictures,
    texts_of,
)
from tests.curation.small_index import rows_of
from tests.examples import examples

NAMES = [None, "1", "a/1", "b/1", "2", "a/3", "4", "5"]


def index_of(pairs: list[int], extra: list[int], named: list[set[int]], texts: list[int]) -> CaptionRows:
    """Captions of pictures by these names, of which the first have one."""
    rows = rows_of(named)
    return replace(
        rows,
        image_hash=picture_hashes([NAMES[name] for name in pairs + extra]),
        text_hash=np.array(texts, np.uint64),
        image_vectors=rows.image_vectors[: len(pairs)],
    )


def grouped_captions(rows: CaptionRows) -> PictureCaptions | None:
    picture = pictures_of(rows)
    return group_captions(rows, picture, texts_of(rows, picture))


def plain_pictures(pairs: list[int], extra: list[int]) -> list[object]:
    """A name for the picture of each caption: its own where nobody can tell."""
    others = {NAMES[name] for name in extra} - {None}
    called: list[object] = []
    for pair in pairs:
        name = NAMES[pair]
        if name is None:
            called.append(None)
            continue
        like = [other for other in others if other.rpartition("/")[2] == name.rpartition("/")[2]]
        folder = name.rpartition("/")[0]
        fits = len(like) == 1 and (not folder or not like[0].rpartition("/")[0] or like[0].rpartition("/")[0] == folder)
        called.append(like[0] if fits else name)
    twice = {name for name in called if called.count(name) > 1}
    called = [("pair", i) if name is None or name in twice else name for i, name in enumerate(called)]
    return called + [NAMES[name] or ("extra", i) for i, name in enumerate(extra)]


names = st.lists(st.integers(0, len(NAMES) - 1), max_size=7)


@examples(200)
@given(names, names)
def test_captions_are_of_one_picture_where_their_names_say_so(pairs: list[int], extra: list[int]) -> None:
    total = len(pairs) + len(extra)
    got = pictures_of(index_of(pairs, extra, [set()] * total, list(range(total)))).tolist()
    wanted = plain_pictures(pairs, extra)
    assert [[a == b for b in got] for a in got] == [[a == b for b in wanted] for a in wanted]
    assert set(got) == set(range(len(set(got))))


@examples(200)
@given(st.data())
def test_the_share_is_that_of_the_plain_loop(data: st.DataObject) -> None:
    pairs = data.draw(st.lists(st.integers(1, 7), min_size=1, max_size=6))
    extra = data.draw(st.lists(st.integers(1, 7), min_size=6, max_size=14))
    total = len(pairs) + len(extra)
    named = data.draw(st.lists(st.sets(st.integers(0, 4), max_size=3), min_size=total, max_size=total))
    texts = data.draw(st.lists(st.integers(0, 6), min_size=total, max_size=total))
    rows = index_of(pairs, extra, named, texts)
    called = plain_pictures(pairs, extra)
    captions = {name: [i for i in range(total) if called[i] == name] for name in called}
    several = {name for name, of in captions.items() if len({texts[i] for i in of}) > 1}
    grouped = grouped_captions(rows)
    if sum(name in several for name in called) < total / 4:
        assert grouped is None
        return
    assert grouped is not None
    own = np.array([0, -1])
    found = data.draw(st.lists(st.lists(st.integers(-1, total - 1), min_size=5, max_size=5), min_size=2, max_size=2))
    anchor, concept = np.repeat([0, 1], 5), np.tile(np.arange(5), 2)
    got = share_of_pictures(grouped, np.array(found), own, anchor, concept)
    for a, c, share in zip(anchor, concept, got, strict=True):
        seen = {called[i] for i in found[a] if i >= 0 and called[i] in several}
        seen -= {called[own[a]]} if own[a] >= 0 else set()
        names_it = [name for name in seen if any(c in named[i] for i in captions[name])]
        assert share == len(names_it) / (len(seen) + 1)


def test_an_empty_index_has_no_pictures() -> None:
    assert grouped_captions(index_of([], [], [], [])) is None
