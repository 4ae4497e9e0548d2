"""Expansion and archives against the plain loop of the benchmarks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.speed import plain_loop as oracle
from curation.index.caption_rows import concept_ids_of, pair_similarity
from curation.index.vocabulary import Vocabulary
from curation.ranking.anchor import Anchors
from curation.ranking.archives import Archives, gather
from curation.ranking.expansion import EXPANSIONS, Retrieved, expand, parse_expansion
from files.errors import MisuseError
from tests.curation.small_index import SmallIndex, small_index
from tests.examples import examples


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> SmallIndex:
    return small_index(tmp_path_factory.mktemp("index"))


def plain_retrieval(index: SmallIndex, anchors: Anchors, i: int, expansion: str, count: int) -> list[int]:
    """What an expansion retrieves for anchor i, by brute force."""
    if expansion == "image":
        found = oracle.most_similar(index.rows.image_vectors.astype(np.float32), anchors.image_vectors[i], count)
        return found if anchors.rows[i] >= 0 else found[: count - 1]
    image, text = anchors.image_vectors[i], anchors.text_vectors[i]
    query = {"caption": image, "language": text, "mixed": image + text}[expansion]
    order = oracle.most_similar(index.rows.text_vectors.astype(np.float32), query, len(index.rows))
    rows = index.rows
    return [
        row
        for row in order
        if row != anchors.rows[i]
        and rows.text_hash[row] != anchors.text_hash[i]
        and (rows.image_hash[row] != anchors.image_hash[i] or rows.image_hash[row] == 0)
    ][:count]


def search(index: SmallIndex, anchors: Anchors, expansions, count: int) -> Retrieved:
    assert index.captions is not None
    return expand(anchors, expansions, count, index.images, index.captions, index.rows)


def row_sets(retrieved: Retrieved) -> list[list[int]]:
    return [[row for row in rows if row >= 0] for rows in retrieved.rows.tolist()]


@pytest.mark.parametrize("expansion", EXPANSIONS)
@pytest.mark.parametrize("count", [1, 5, 8])
def test_an_expansion_retrieves_what_brute_force_does(index, expansion, count):
    for anchors, _ in (index.anchors(list(range(20))), index.strangers(20)):
        found = row_sets(search(index, anchors, [expansion], count))
        assert found == [plain_retrieval(index, anchors, i, expansion, count) for i in range(20)]


def test_joined_expansions_retrieve_each_row_once(index):
    anchors, _ = index.anchors(list(range(20)))
    names = ("image", "caption", "mixed")
    for i, rows in enumerate(row_sets(search(index, anchors, names, 6))):
        single = [set(plain_retrieval(index, anchors, i, name, 6)) for name in names]
        assert len(rows) == len(set(rows))
        assert set(rows) == set.union(*single)


def test_the_anchors_own_captions_are_left_out_except_in_image(index):
    anchors, _ = index.anchors([1, 2, 3, 4])
    others = {1: {1, 2}, 2: {1, 2}, 3: {3, 4}, 4: {3, 4}}
    for expansion in ("caption", "language", "mixed"):
        rows = row_sets(search(index, anchors, [expansion], len(index.rows)))
        for anchor, found in zip(others, rows, strict=True):
            assert set(found) == set(range(len(index.rows))) - others[anchor]
    assert all(row in found for row, found in zip(others, row_sets(search(index, anchors, ["image"], 3)), strict=True))


def test_an_unknown_picture_name_is_nobodys_own(index):
    anchors, _ = index.strangers(3)
    anchors.image_hash[:] = 0
    rows = row_sets(search(index, anchors, ["caption"], len(index.rows)))
    assert all(len(found) == len(index.rows) for found in rows)


def test_a_caption_repeated_very_often_still_leaves_enough_neighbours(tmp_path):
    index = small_index(tmp_path, pairs=150, extra=0)
    index.rows.text_hash[:100] = 7
    index.rows.text_vectors[:100] = index.rows.text_vectors[0]
    anchors, _ = index.anchors(list(range(5)))
    from curation.index.inverted_lists import build
    from curation.index.neighbours import NearestRows, SearchSettings

    build(tmp_path / "again.faiss", index.rows.text_vectors, "Flat")
    index.captions = NearestRows(tmp_path / "again.faiss", index.rows.text_vectors, SearchSettings(), gpu=False)
    rows = row_sets(search(index, anchors, ["language"], 8))
    assert rows == [plain_retrieval(index, anchors, i, "language", 8) for i in range(5)]
    assert all(len(found) == 8 for found in rows)


def test_more_neighbours_than_rows_are_missing_rows(index):
    anchors, _ = index.anchors([0, 5])
    found = search(index, anchors, ["image"], 100)
    assert found.rows.shape == (2, 100)
    assert (found.rows[:, 60:] == -1).all()
    assert (found.rows[:, :60] >= 0).all()


def test_image_needs_pictures(index):
    anchors, _ = index.anchors([0])
    with pytest.raises(MisuseError, match="no pictures"):
        expand(anchors, ["image"], 8, None, index.captions, index.rows)


@pytest.mark.parametrize("text", ["", "images", "image+", "image+image", "caption + nothing"])
def test_a_wrong_expansion_is_refused_by_name(text):
    with pytest.raises(MisuseError, match="--expansion"):
        parse_expansion(text)


def test_expansions_are_joined_by_plus():
    assert parse_expansion("image + mixed") == ("image", "mixed")


def agree(archives: Archives, plain: list[dict[int, oracle.Entry]]) -> None:
    """The archives hold what the loop found."""
    assert len(archives.offsets) == len(plain) + 1
    for i, found in enumerate(plain):
        part = slice(archives.offsets[i], archives.offsets[i + 1])
        assert archives.concept[part].tolist() == sorted(found)
        assert (archives.anchor[part] == i).all()
        entries = [found[c] for c in sorted(found)]
        np.testing.assert_allclose(archives.similarity[part], [e.similarity for e in entries], atol=1e-5)
        assert archives.support[part].tolist() == [e.support for e in entries]
        assert archives.in_caption[part].tolist() == [e.in_caption for e in entries]
        retrieved = [e.similarities[:-1] for e in entries]
        np.testing.assert_allclose(archives.similarity_sum[part], [sum(s) for s in retrieved], atol=1e-5)
        np.testing.assert_allclose(
            archives.similarity_max[part], [max(s, default=-np.inf) for s in retrieved], atol=1e-5
        )


@pytest.mark.parametrize("expansions", [[name] for name in EXPANSIONS] + [["image", "mixed"], list(EXPANSIONS)])
def test_archives_are_those_of_the_loop(index, expansions):
    corpus = index.corpus()
    for anchors, plain in (index.anchors(list(range(30))), index.strangers(30)):
        retrieved = search(index, anchors, expansions, 8)
        found = [
            oracle.archive(anchor, rows, corpus, index.concepts, "image" in expansions)
            for anchor, rows in zip(plain, row_sets(retrieved), strict=True)
        ]
        agree(gather(anchors, retrieved, index.rows, index.concepts), found)


def test_an_anchor_among_its_neighbours_counts_twice():
    """S(c) of a concept that only the anchor names holds t(c)·v(x) twice: as retrieved and as anchor."""
    index = small_index()
    index.named[0] = {7}
    row = next(i for i, named in enumerate(index.named) if named and i)
    anchors, _ = index.anchors([row])
    retrieved = Retrieved(np.array([[row]]), np.zeros(1, bool))
    archives = gather(anchors, retrieved, index.rows, index.concepts)
    assert archives.support.tolist() == [1] * len(archives.concept)
    np.testing.assert_allclose(archives.similarity_sum, archives.similarity, atol=1e-6)
    np.testing.assert_allclose(archives.similarity_max, archives.similarity, atol=1e-6)


def test_an_anchor_from_elsewhere_counts_as_its_own_neighbour_in_image():
    index = small_index()
    anchors, plain = index.strangers(6)
    nothing = Retrieved(np.full((6, 8), -1), np.ones(6, bool))
    archives = gather(anchors, nothing, index.rows, index.concepts)
    agree(archives, [oracle.archive(a, [], index.corpus(), index.concepts, paper=True) for a in plain])
    assert (archives.support == 1).all()


def test_no_anchors_no_neighbours_and_no_concepts_give_empty_archives():
    index = small_index()
    anchors, _ = index.anchors([])
    none = Retrieved(np.zeros((0, 8), np.int64), np.zeros(0, bool))
    archives = gather(anchors, none, index.rows, index.concepts)
    assert archives.offsets.tolist() == [0]
    assert len(archives.concept) == 0

    silent = [i for i, named in enumerate(index.named[:60]) if not named][:2]
    anchors, _ = index.anchors(silent)
    alone = Retrieved(np.array([[silent[0], -1], [-1, -1]]), np.zeros(2, bool))
    assert gather(anchors, alone, index.rows, index.concepts).offsets.tolist() == [0, 0, 0]


@examples(40)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 59), min_size=1, max_size=30), st.integers(1, 9), st.data())
def test_blocks_of_any_size_give_the_same_archives(seed, which, count, data):
    index = small_index(seed=seed % 5)
    rng = np.random.default_rng(seed)
    rows = np.stack([rng.permutation(80)[:count] for _ in which])
    rows = np.where(rng.random(rows.shape) < 0.2, -1, rows)
    whole = Retrieved(rows, rng.random(len(which)) < 0.3)
    cut = data.draw(st.integers(0, len(which)))
    anchors, _ = index.anchors(which)
    archives = gather(anchors, whole, index.rows, index.concepts)
    parts = []
    for part in (slice(0, cut), slice(cut, len(which))):
        some, _ = index.anchors(which[part])
        retrieved = Retrieved(rows[part], whole.counts_anchor[part])
        parts.append(gather(some, retrieved, index.rows, index.concepts))
    for name in ("concept", "similarity", "support", "similarity_sum", "similarity_max"):
        together = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(getattr(archives, name), together, err_msg=name)


def test_a_concept_is_a_member_of_a_set_and_not_a_part_of_a_word():
    """The paper's release finds "car" in "carpet"."""
    import pyarrow as pa

    vocabulary = Vocabulary(pa.array(["car", "carpet"]), np.array([2, 2]), np.eye(2, 4, dtype=np.float32))
    captions = pa.array([["carpet"], ["car", "unheard of"], []], pa.list_(pa.string()))
    ids, counts = concept_ids_of(captions, vocabulary)
    assert ids.tolist() == [1, 0]
    assert counts.tolist() == [1, 1, 0]


@given(st.integers(0, 300), st.integers(0, 5))
def test_pair_similarity_is_the_product_of_the_named_rows(pairs, seed):
    rng = np.random.default_rng(seed)
    left, right = rng.standard_normal((7, 12)).astype(np.float32), rng.standard_normal((5, 12)).astype(np.float16)
    i, j = rng.integers(0, 7, pairs), rng.integers(0, 5, pairs).astype(np.int32)
    wanted = np.array([left[a] @ right[b].astype(np.float32) for a, b in zip(i, j, strict=True)])
    np.testing.assert_allclose(pair_similarity(left, i, right, j), wanted.reshape(-1), atol=1e-5)


@pytest.mark.parametrize("bad", [-1, 7])
def test_pair_similarity_refuses_rows_that_are_not_there(bad):
    vectors = np.ones((7, 4), np.float32)
    with pytest.raises(IndexError):
        pair_similarity(vectors, np.array([0, bad]), vectors, np.array([0, 0]))
