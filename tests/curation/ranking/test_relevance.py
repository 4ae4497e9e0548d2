"""Scores, merging of word families and selection against plain loops."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.speed import plain_loop as oracle
from curation.index.vocabulary import Vocabulary
from curation.ranking.archives import Archives, gather
from curation.ranking.expansion import Retrieved
from curation.ranking.merging import merged_away, word_families
from curation.ranking.options import CurateOptions
from curation.ranking.relevance import RANKINGS, RankingContext, paper_parts, rank
from curation.ranking.seeds import seeds_of
from curation.ranking.selection import select
from files.errors import MisuseError
from tests.curation.small_index import rows_of, small_index
from tests.examples import examples


def archives_of(sizes: list[int], concept: list[int], in_caption: list[bool] | None = None) -> Archives:
    """Archives with these concepts; the numbers of retrieval are of no interest."""
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    count = len(concept)
    ones = np.ones(count, np.int32)
    return Archives(
        offsets,
        np.repeat(np.arange(len(sizes)), sizes),
        np.array(concept, np.int32),
        ones.astype(np.float32),
        ones,
        ones.astype(np.float32),
        ones.astype(np.float32),
        np.array(in_caption if in_caption is not None else [False] * count, bool),
        np.ones(len(sizes), np.int64),
    )


def vocabulary_of(words: list[str]) -> Vocabulary:
    return Vocabulary(pa.array(words), np.ones(len(words), np.int64), np.eye(len(words), dtype=np.float32))


def context_of(words: int, anchors: int, seed: int = 0) -> RankingContext:
    return RankingContext(
        vocabulary_of([f"c{i}" for i in range(words)]), None, seeds_of(list("abcdef")[:anchors], seed)
    )


@pytest.mark.parametrize("paper", [True, False])
@pytest.mark.parametrize("lean", [1.5, 0.0])
@pytest.mark.parametrize("seed", range(4))
def test_scores_are_those_of_the_loop(seed, lean, paper):
    index = small_index(seed=seed, lean=lean)
    rng = np.random.default_rng(seed)
    rows = np.stack([rng.permutation(80)[:8] for _ in range(50)])
    retrieved = Retrieved(rows, np.full(50, paper))
    for anchors, plain in (index.anchors(list(range(50))), index.strangers(50)):
        given_rows = Retrieved(rows, retrieved.counts_anchor & (anchors.rows < 0))
        archives = gather(anchors, given_rows, index.rows, index.concepts)
        found = [
            oracle.archive(a, r, index.corpus(), index.concepts, paper)
            for a, r in zip(plain, rows.tolist(), strict=True)
        ]
        scores = rank(archives, "paper", context_of(25, 1))
        entries = [found[a][c] for a, c in zip(archives.anchor.tolist(), archives.concept.tolist(), strict=True)]
        np.testing.assert_allclose(scores.parts.globally, [e.globally for e in entries], atol=1e-5)
        np.testing.assert_allclose(scores.parts.locally, [e.locally for e in entries], atol=1e-5)
        np.testing.assert_allclose(scores.score, [e.score for e in entries], atol=1e-5)
        kept = select(archives, scores.score, keep=0)
        for i, plain_archive in enumerate(found):
            part = kept.entries[kept.offsets[i] : kept.offsets[i + 1]]
            assert archives.concept[part].tolist() == oracle.ranked(plain_archive)


def test_a_concept_that_nothing_retrieved_names_has_local_one():
    """S(c) is then t(c)·v(x) alone."""
    index = small_index()
    anchors, _ = index.anchors([next(i for i, named in enumerate(index.named) if named)])
    nothing = Retrieved(np.full((1, 8), -1), np.zeros(1, bool))
    _, locally = paper_parts(gather(anchors, nothing, index.rows, index.concepts))
    np.testing.assert_allclose(locally, 1, atol=1e-6)


def test_a_similarity_of_zero_gives_finite_scores():
    index = small_index()
    anchors, _ = index.anchors([next(i for i, named in enumerate(index.named) if named)])
    anchors.image_vectors[:] = 0
    nothing = Retrieved(np.full((1, 1), -1), np.zeros(1, bool))
    scores = rank(gather(anchors, nothing, index.rows, index.concepts), "paper", context_of(25, 1))
    assert np.isfinite(scores.score).all()


def signed_archives(seed: int) -> Archives:
    """Archives by an encoder whose products are of either sign, half of them at most a thousandth."""
    index = small_index(seed=seed, lean=0)
    index.concepts[::2] *= 1e-3
    index.rows.similarity[np.isin(index.rows.concept_ids, np.arange(0, 25, 2))] *= 1e-3
    anchors, _ = index.anchors(list(range(60)))
    rng = np.random.default_rng(seed)
    rows = np.stack([rng.permutation(80)[:8] for _ in range(60)])
    return gather(anchors, Retrieved(rows, np.zeros(60, bool)), index.rows, index.concepts)


@pytest.mark.parametrize("seed", range(4))
def test_cosines_of_either_sign_give_scores_within_bounds(seed):
    """A ratio over a sum near 0 has no bound, and that of two negative cosines is large: both stood first."""
    archives = signed_archives(seed)
    globally, locally = paper_parts(archives)
    away = archives.similarity <= 0
    assert 0 < away.sum() < len(away)
    assert not globally[away].any()
    assert not locally[away].any()
    assert (globally[~away] > 0).all()
    assert (globally <= 1 + 1e-6).all()
    assert (locally <= archives.support + 1 + 1e-5).all()
    kept = select(archives, globally + locally, keep=0)
    for start, stop in itertools.pairwise(kept.offsets.tolist()):
        order = archives.similarity[kept.entries[start:stop]] > 0
        assert order.tolist() == sorted(order.tolist(), reverse=True)  # whatever fits comes before whatever does not


def test_positive_cosines_give_the_papers_ratios_to_the_bit():
    index = small_index()
    anchors, _ = index.anchors(list(range(30)))
    rows = np.arange(240).reshape(30, 8) % 80
    archives = gather(anchors, Retrieved(rows, np.zeros(30, bool)), index.rows, index.concepts)
    own = archives.similarity
    assert own.min() > 0
    assert index.rows.similarity.min() > 0
    most = np.maximum.reduceat(np.maximum(archives.similarity_max, own), archives.offsets[:-1])
    globally, locally = paper_parts(archives)
    np.testing.assert_array_equal(globally, own / np.repeat(most, np.diff(archives.offsets)))
    wanted = own * (archives.support + 1) / (archives.similarity_sum + own)
    np.testing.assert_array_equal(locally, wanted.astype(np.float32))


def test_every_ranking_scores_every_entry():
    index = small_index()
    anchors, _ = index.anchors(list(range(6)))
    rows = np.arange(48).reshape(6, 8)
    retrieved = Retrieved(rows, np.zeros(6, bool))
    archives = gather(anchors, retrieved, index.rows, index.concepts)
    globally, locally = paper_parts(archives)
    context = context_of(25, 6)
    for name, ranking in RANKINGS.items():
        if ranking.fitted:
            continue
        scores = rank(archives, name, context)
        assert scores.score.shape == archives.concept.shape
        assert scores.score.dtype == np.float32
        np.testing.assert_array_equal(scores.parts.globally, globally)
    np.testing.assert_array_equal(rank(archives, "local", context).score, locally)
    np.testing.assert_array_equal(rank(archives, "similarity", context).score, archives.similarity)


def test_the_random_order_depends_on_the_pair_and_the_seed_alone():
    archives = archives_of([4, 4], [0, 1, 2, 3] * 2)
    first, again, other = (rank(archives, "random", context_of(4, 2, seed)).score for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()
    assert (first[:4] != first[4:]).all()
    alone = rank(archives_of([4], [0, 1, 2, 3]), "random", context_of(4, 1)).score
    np.testing.assert_array_equal(first[:4], alone)


def test_an_unknown_ranking_is_refused():
    with pytest.raises(MisuseError, match="--ranking best"):
        CurateOptions(ranking="best")


WORDS = ["truck", "fire truck", "red fire truck", "trucks", "ball", "tennis ball", "balls", "dog", "old dog", "dogs"]
SINGULAR = {"trucks": "truck", "balls": "ball", "dogs": "dog"}
FAMILIES = word_families(vocabulary_of(WORDS), lambda word: SINGULAR.get(word, word))


def families_merged(archives: Archives, score: np.ndarray, gone: np.ndarray | None = None) -> np.ndarray:
    gone = np.zeros(len(score), bool) if gone is None else gone
    return merged_away(archives, score, gone, [FAMILIES], FAMILIES.order)


@examples(300)
@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(0, len(WORDS) - 1), st.integers(-3, 3), st.booleans()),
            max_size=len(WORDS),
            unique_by=lambda entry: entry[0],
        ),
        min_size=1,
        max_size=5,
    )
)
def test_word_families_are_merged_as_the_plain_loop_does(archives):
    archives = [sorted(archive) for archive in archives]
    flat = [entry for archive in archives for entry in archive]
    block = archives_of([len(a) for a in archives], [e[0] for e in flat], [e[2] for e in flat])
    gone = families_merged(block, np.array([e[1] for e in flat], np.float32))
    wanted = []
    for archive in archives:
        words = [WORDS[e[0]] for e in archive]
        score = {WORDS[e[0]]: float(e[1]) for e in archive}
        lost = oracle.merged(words, SINGULAR, score, {WORDS[e[0]] for e in archive if e[2]})
        wanted += [word in lost for word in words]
    assert gone.tolist() == wanted


@pytest.mark.parametrize(
    ("scores", "named", "left"),
    [
        ({"truck": 1.0, "fire truck": 2.0}, "", {"fire truck"}),
        ({"truck": 2.0, "fire truck": 1.0}, "", {"truck"}),
        ({"truck": 2.0, "fire truck": 1.0}, "fire truck", {"fire truck"}),
        ({"truck": 1.0, "fire truck": 2.0}, "truck", {"truck"}),
        ({"dog": 1.0, "dogs": 2.0}, "", {"dogs"}),
        ({"dog": 2.0, "dogs": 2.0}, "", {"dog"}),
        ({"dog": 1.0, "dogs": 2.0}, "dog", {"dog"}),
        ({"truck": 1.0, "red fire truck": 2.0}, "", {"red fire truck"}),
        ({"ball": 1.0, "truck": 2.0}, "", {"ball", "truck"}),
        # "truck" goes for the sake of the best: then it is no reason that "trucks" should
        ({"trucks": 1.0, "truck": 2.0, "red fire truck": 3.0}, "", {"trucks", "red fire truck"}),
    ],
)
def test_merging_by_example(scores, named, left):
    ids = sorted(WORDS.index(word) for word in scores)
    block = archives_of([len(ids)], ids, [WORDS[i] == named for i in ids])
    gone = families_merged(block, np.array([scores[WORDS[i]] for i in ids], np.float32))
    assert {WORDS[i] for i, lost in zip(ids, gone, strict=True) if not lost} == left


@examples(100)
@given(st.integers(0, 10**6))
def test_nothing_goes_for_the_sake_of_what_goes_itself(seed):
    """Whatever the other filters took first: what is merged away has a relative that is kept, and as good."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, len(WORDS) + 1, 5).tolist()
    ids = [sorted(rng.permutation(len(WORDS))[:size].tolist()) for size in sizes]
    block = archives_of(sizes, list(itertools.chain(*ids)), (rng.random(sum(sizes)) < 0.2).tolist())
    score, before = rng.integers(0, 4, sum(sizes)).astype(np.float32), rng.random(sum(sizes)) < 0.3
    before &= ~block.in_caption
    gone = families_merged(block, score, before)
    assert not (before & ~gone).any()
    for entry in np.flatnonzero(gone & ~before):
        others = np.flatnonzero((block.anchor == block.anchor[entry]) & ~gone)
        kin = [i for i in others if akin(WORDS[block.concept[i]], WORDS[block.concept[entry]])]
        assert any(score[i] >= score[entry] or block.in_caption[i] for i in kin)


def akin(one: str, other: str) -> bool:
    tails = one.endswith(f" {other}") or other.endswith(f" {one}")
    return tails or SINGULAR.get(one, one) == SINGULAR.get(other, other)


PHRASES = {("stop", "sign"), ("wine", "glass"), ("fire", "truck")}


@pytest.mark.parametrize(
    ("phrase", "tail", "one_family"),
    [
        ("stop sign", "sign", False),
        ("red stop sign", "sign", False),
        ("red stop sign", "stop sign", True),
        ("stop signs", "sign", False),
        ("street sign", "sign", True),
        ("wine glass", "glass", False),
        ("wine glass set", "set", True),
        ("fire truck", "truck", True),
    ],
)
def test_a_set_phrase_is_no_kind_of_its_tail_unless_captions_say_both(phrase, tail, one_family):
    words = ["sign", "stop sign", "red stop sign", "street sign", "stop signs", "signs", "glass", "wine glass"]
    words += ["wine glass set", "set", "truck", "fire truck"]
    singular = {"stop signs": "stop sign", "signs": "sign"}
    of = {word: i for i, word in enumerate(words)}
    says = [["fire truck", "wine glass", "stop sign"], ["truck", "glass"], *[["wine glass"]] * 3, ["truck"], ["sign"]]
    rows = rows_of([{of[word] for word in caption} for caption in says], [7] * 6 + [8])
    families = word_families(vocabulary_of(words), lambda word: singular.get(word, word), PHRASES, rows)
    ids = sorted((of[phrase], of[tail]))
    block = archives_of([2], ids, [i == of[tail] for i in ids])
    gone = merged_away(block, np.ones(2, np.float32), np.zeros(2, bool), [families], families.order)
    assert gone.any() == one_family


@examples(200)
@given(
    st.lists(
        st.lists(st.tuples(st.floats(-2, 2, width=16), st.booleans(), st.booleans()), max_size=12),
        min_size=1,
        max_size=6,
    ),
    st.integers(0, 5),
    st.one_of(st.none(), st.floats(-1, 1, width=16)),
)
def test_selection_keeps_the_best_and_what_the_caption_names(archives, keep, least):
    flat = [entry for archive in archives for entry in archive]
    concept = [i for archive in archives for i in range(len(archive))]
    block = archives_of([len(a) for a in archives], concept, [e[1] for e in flat])
    score = np.array([e[0] for e in flat], np.float32)
    gone = np.array([e[2] and not e[1] for e in flat], bool)
    kept = select(block, score, keep, least, gone)
    start = 0
    for i, archive in enumerate(archives):
        order = sorted(range(len(archive)), key=lambda j: (-archive[j][0], j))
        order = [j for j in order if not gone[start + j]]
        wanted = [
            j
            for place, j in enumerate(order)
            if archive[j][1] or ((keep == 0 or place < keep) and (least is None or archive[j][0] >= least))
        ]
        part = slice(kept.offsets[i], kept.offsets[i + 1])
        assert (kept.entries[part] - start).tolist() == wanted
        assert kept.rank[part].tolist() == list(range(1, len(wanted) + 1))
        start += len(archive)
