"""Tags as a witness: looked up, joined to archives, and believed as far as held-out captions bear them out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import curation.ranking.tags
from curation.index.vocabulary import Vocabulary
from curation.ranking.archives import Archives, gather, with_concepts
from curation.ranking.expansion import Retrieved
from curation.ranking.tags import WEIGHTS, PairTags, Tags, fit_tags, read_tags, shifted
from files.errors import MisuseError
from tests.curation.small_index import small_index

WORDS = ["dog", "grass", "fire truck", "sky"]
VOCABULARY = Vocabulary(pa.array(WORDS), np.ones(4, np.int64), np.eye(4, dtype=np.float32))


def read(folder: Path, rows: list[tuple], *names: str) -> Tags:
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns), folder / "tags.parquet")
    return read_tags(folder / "tags.parquet", VOCABULARY, lambda tag: tag.lower().removesuffix("s"))


def test_tags_are_looked_up_by_key(tmp_path: Path) -> None:
    rows = [("b", "Dogs", 0.5), ("a", "sky", 0.1), ("a", "dog", 0.2), ("a", "dogs", 0.9), ("c", "zebra", 0.3)]
    tags = read(tmp_path, rows, "key", "concept", "score")
    found = tags.of("any", ["x", "a", "c", "b"])
    assert found.pair.tolist() == [1, 1, 3]
    assert found.concept.tolist() == [0, 3, 0]
    assert found.score.tolist() == pytest.approx([0.9, 0.1, 0.5])
    assert found.looked.tolist() == [False, True, True, True]
    assert tags.known.tolist() == [True, False, False, True]
    assert (tags.unknown, tags.repeated, tags.examples()) == ({"zebra": 1}, 1, "zebra 1")
    assert read(tmp_path, rows[1:], "key", "concept", "score").digest != tags.digest


def test_a_shard_tells_equal_keys_apart(tmp_path: Path) -> None:
    tags = read(tmp_path, [("0", "a", "dog"), ("0", "b", "sky")], "key", "shard", "concept")
    assert [tags.of(shard, ["0"]).concept.tolist() for shard in "abc"] == [[0], [3], []]


def test_tags_of_nothing_known_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match=r"none of its 2 tags names a concept of the vocabulary \(such as 'zebra'\)"):
        read(tmp_path, [("0", "zebra"), ("1", "")], "key", "concept")


def test_tagged_concepts_join_the_archive() -> None:
    index = small_index(seed=3)
    anchors, _ = index.anchors(list(range(12)))
    retrieved = Retrieved(np.arange(36).reshape(12, 3), np.zeros(12, bool))
    before = gather(anchors, retrieved, index.rows, index.concepts)
    # Nothing is retrieved more: entries of all concepts are those of the archive, and those that join.
    pair, concept = np.repeat(np.arange(12), 25), np.tile(np.arange(25, dtype=np.int32), 12)
    after = with_concepts(before, anchors, index.concepts, pair, concept)
    assert after.concept.tolist() == concept.tolist()
    assert after.anchor.tolist() == pair.tolist()
    assert np.diff(after.offsets).tolist() == [25] * 12
    expected = (anchors.image_vectors @ index.concepts.T).ravel()
    assert after.similarity == pytest.approx(expected, abs=1e-6)
    old = np.isin(pair * 25 + concept, before.anchor * 25 + before.concept)
    for name in ("support", "similarity_sum", "similarity_max", "in_caption"):
        assert getattr(after, name)[old].tolist() == getattr(before, name).tolist()
        assert getattr(after, name).dtype == getattr(before, name).dtype
    assert not after.support[~old].any()
    assert with_concepts(before, anchors, index.concepts, pair[old], concept[old]) is before


def world(
    seed: int, tells: float, pairs: int = 800, concepts: int = 60
) -> tuple[Archives, np.ndarray, PairTags, np.ndarray]:
    """Archives of all concepts with true probabilities of being named; tags of score z + tells where it is named.

    Tells 0: tags are drawn without a look. Also gives the shift that is true of each entry.
    """
    rng = np.random.default_rng(seed)
    count = pairs * concepts
    p = rng.beta(0.4, 4, count).clip(1e-4, 0.9)
    named = rng.random(count) < p
    z = rng.standard_normal(count) + tells * named
    tagged = rng.random(count) < np.where(named, 0.2 + 0.1 * tells, 0.2)
    zeros, ones = np.zeros(count, np.float32), np.ones(count, np.int32)
    anchor, concept = np.divmod(np.arange(count), concepts)
    archives = Archives(
        np.arange(pairs + 1) * concepts,
        anchor,
        concept.astype(np.int32),
        zeros,
        ones,
        zeros,
        zeros,
        named,
        np.full(pairs, 9),
    )
    tags = PairTags(
        anchor[tagged], concept[tagged].astype(np.int32), z[tagged].astype(np.float32), np.ones(pairs, bool)
    )
    drawn = np.log((0.2 + 0.1 * tells) / 0.2)
    true = np.where(tagged, tells * z - tells**2 / 2 + drawn, np.log((0.8 - 0.1 * tells) / 0.8))
    return archives, p.astype(np.float32), tags, true


@pytest.mark.parametrize("tells", [0.5, 2.0])
def test_the_fit_finds_what_tags_tell(tells: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curation.ranking.tags, "WEIGHTS", (1.0,))
    archives, score, tags, true = world(0, tells)
    known = np.ones(60, bool)
    model = fit_tags([(archives, score, tags)], known)
    added = model.added(archives, tags, known)
    assert (np.diff(model.log_odds) > 0).all()
    assert np.corrcoef(added, true)[0, 1] > 0.8
    assert model.silent == pytest.approx(np.log((0.8 - 0.1 * tells) / 0.8), abs=0.1)
    # Calibrated in every step: as many are named as expected.
    other, prior, others, _ = world(1, tells)
    shift = model.added(other, others, known)
    expected = shifted(prior, shift)
    for value in np.unique(shift):
        these = shift == value
        spread = np.sqrt((expected[these] * (1 - expected[these])).sum())
        assert abs(expected[these].sum() - other.in_caption[these].sum()) < 6 * spread + 0.05 * these.sum() ** 0.5


def test_the_weight_is_the_largest_that_costs_little_of_what_captions_name() -> None:
    archives, score, tags, _ = world(0, 2.0)
    known = np.ones(60, bool)
    model = fit_tags([(archives, score, tags)], known)
    shares = model.report["named_among_best"]
    assert model.report["weight"] > 1
    assert {float(weight) for weight, share in shares.items() if share < 0.969 * max(shares.values())} <= {
        weight for weight in WEIGHTS if weight > model.report["weight"]
    }
    moved = shifted(score, model.added(archives, tags, known)).reshape(800, 60)
    named = archives.in_caption.reshape(800, 60)
    order = (-moved).argsort(1, kind="stable")[:, :32]
    share = sum(named[i, order[i]].sum() for i in range(800)) / named.sum()
    assert share == pytest.approx(shares[f"{model.report['weight']:g}"], abs=0.01)


def test_tags_that_tell_nothing_are_not_believed() -> None:
    archives, score, tags, _ = world(0, 0.0)
    model = fit_tags([(archives, score, tags)], np.ones(60, bool))
    assert np.abs(model.log_odds / model.report["weight"]).max() < 0.12
    assert abs(model.silent / model.report["weight"]) < 0.05


def test_too_few_mentions_add_nothing() -> None:
    archives, score, tags, _ = world(0, 2.0, pairs=4)
    model = fit_tags([(archives, score, tags)], np.ones(60, bool))
    assert not model.added(archives, tags, np.ones(60, bool)).any()
    assert model.report["of_them_named"] < 50
    assert fit_tags([], np.ones(60, bool)).report["tags"] == 0


def test_silence_counts_only_where_the_tagger_speaks() -> None:
    archives, score, tags, _ = world(0, 2.0)
    known = np.arange(60) < 40
    half = np.arange(800) < 400
    keep = half[tags.pair] & known[tags.concept]
    some = PairTags(tags.pair[keep], tags.concept[keep], tags.score[keep], half)
    model = fit_tags([(archives, score, some)], known)
    added = model.added(archives, some, known)
    speaks = half[archives.anchor] & known[archives.concept]
    assert not added[~speaks].any()
    assert added[speaks].all()
    assert model.silent < 0


def test_a_shift_is_of_log_odds_and_leaves_the_others_to_the_bit() -> None:
    score = np.array([0.1, 0.5, 0.9, 0.3, 0.0, 1.0], np.float32)
    moved = shifted(score, np.array([1, -2, 0, 0, 3, -3], np.float32))
    assert moved[:2] == pytest.approx([1 / (1 + 9 * np.exp(-1)), 1 / (1 + np.exp(2))])
    assert moved[2:4].tolist() == score[2:4].tolist()
    assert 0 < moved[4] < 1e-4
    assert 0.999 < moved[5] < 1
