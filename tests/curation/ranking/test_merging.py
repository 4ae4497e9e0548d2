"""Synonyms against numpy's correlation and a plain greedy loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.ranking import merging
from curation.ranking.archives import Archives, gather
from curation.ranking.cooccurrence import BEYOND_CHANCE, LEAST_TOGETHER
from curation.ranking.expansion import Retrieved as Found
from curation.ranking.merging import LOOKED_AT_EACH, SAME, Synonyms, merged_away, within_reach
from curation.ranking.picture_statistics import PictureStatistics
from tests.curation.small_index import SmallIndex, small_index
from tests.examples import examples


def with_twins(seed: int) -> tuple[SmallIndex, np.ndarray]:
    """A small index, and concept vectors of which every third is nearly the one before it."""
    small = small_index(seed=seed)
    texts = small.concepts.copy()
    rng = np.random.default_rng(seed)
    for twin in range(2, len(texts), 3):
        texts[twin] = texts[twin - 1] + 0.02 * rng.standard_normal(texts.shape[1])
    return small, texts


def archives_of(small: SmallIndex, texts: np.ndarray, seed: int) -> Archives:
    rng = np.random.default_rng(seed)
    anchors, _ = small.anchors(list(range(20)))
    rows = np.stack([rng.choice(80, 12, replace=False) for _ in range(20)])
    return gather(anchors, Found(rows, np.zeros(20, bool)), small.rows, texts)


def test_agreement_is_the_correlation_over_the_pictures() -> None:
    small, texts = with_twins(0)
    profiles = Synonyms(PictureStatistics(texts, small.rows.image_vectors), small.rows).profiles
    expected = np.corrcoef(texts @ np.asarray(small.rows.image_vectors, np.float32).T)
    np.testing.assert_allclose(profiles @ profiles.T, expected, atol=1e-3)


def apart(small: SmallIndex) -> np.ndarray:
    """bool [C, C]: which two concepts two captions or more name together, and more than by chance; by plain counts."""
    named = np.array([[c in ids for c in range(len(small.concepts))] for ids in small.named], float)
    both, each = named.T @ named, named.sum(0)
    return (both >= LEAST_TOGETHER) & (both > BEYOND_CHANCE * np.outer(each, each) / len(named))


def synonyms_merged(
    synonyms: Synonyms, archives: Archives, score: np.ndarray, gone: np.ndarray, keep: int = 0
) -> np.ndarray:
    order = np.arange(len(synonyms.profiles))
    return merged_away(archives, score, within_reach(archives, score, gone, keep), [synonyms], order)


def plainly_merged(
    archives: Archives, agreement: np.ndarray, score: np.ndarray, gone: np.ndarray, looked_at: int
) -> list[bool]:
    lost = gone.tolist()
    for anchor in range(len(archives.offsets) - 1):
        entries = [i for i in range(archives.offsets[anchor], archives.offsets[anchor + 1]) if not gone[i]]
        entries.sort(key=lambda i: (not archives.in_caption[i], -score[i], i))
        kept: list[int] = []
        for place, i in enumerate(entries):
            twin = any(agreement[archives.concept[i], archives.concept[j]] > SAME for j in kept)
            if not archives.in_caption[i] and (twin or place >= looked_at):
                lost[i] = True
            else:
                kept.append(i)
    return lost


@examples(40)
@given(seed=st.integers(0, 10**6), keep=st.sampled_from([0, 1, 2, 16]))
def test_what_goes_is_what_a_plain_greedy_loop_drops(seed: int, keep: int) -> None:
    small, texts = with_twins(seed % 50)
    archives = archives_of(small, texts, seed)
    rng = np.random.default_rng(seed)
    score = rng.permutation(len(archives.concept)).astype(np.float32)
    gone = (rng.random(len(score)) < 0.1) & ~archives.in_caption
    synonyms = Synonyms(PictureStatistics(texts, small.rows.image_vectors), small.rows)
    agreement = synonyms.profiles @ synonyms.profiles.T
    agreement[apart(small)] = 0
    most = LOOKED_AT_EACH * keep or len(score)
    found = synonyms_merged(synonyms, archives, score, gone, keep)
    assert found.tolist() == plainly_merged(archives, agreement, score, gone, most)


@pytest.mark.parametrize(("most", "each"), [(1 << 20, 0), (40, 1000), (3, 1000)])
@pytest.mark.parametrize("seed", range(4))
def test_twins_of_the_vocabulary_are_those_of_each_archive(
    seed: int, most: int, each: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are too few pairs for them, too many twins for one time, or in all."""
    small, texts = with_twins(seed)
    archives = archives_of(small, texts, seed)
    gone = np.random.default_rng(seed).random(len(archives.concept)) < 0.1
    statistics = PictureStatistics(texts, small.rows.image_vectors)
    found = [Synonyms(statistics, small.rows).related(archives, gone)]
    monkeypatch.setattr(merging, "_CELLS", most)
    monkeypatch.setattr(merging, "_EACH_PAIR", each)
    found.append(Synonyms(statistics, small.rows).related(archives, gone))
    one, other = ({frozenset(two) for two in zip(*side, strict=True)} for side in found)
    assert one
    assert one == other


def test_a_synonym_of_what_the_caption_names_is_no_gap() -> None:
    small, texts = with_twins(3)
    archives = archives_of(small, texts, 3)
    synonyms = Synonyms(PictureStatistics(texts, small.rows.image_vectors), small.rows)
    split = apart(small)
    best_for_strangers = np.where(archives.in_caption, 0.0, 1.0).astype(np.float32)
    gone = synonyms_merged(synonyms, archives, best_for_strangers, np.zeros(len(best_for_strangers), bool))
    pairs = 0
    for anchor in range(20):
        part = slice(archives.offsets[anchor], archives.offsets[anchor + 1])
        concepts, said, lost = archives.concept[part], archives.in_caption[part], gone[part]
        assert not lost[said].any()
        for twin in range(2, len(texts), 3):
            if twin in concepts[said] and twin - 1 in concepts[~said] and not split[twin, twin - 1]:
                pairs += 1
                assert lost[concepts == twin - 1].all()
    assert pairs


@pytest.mark.parametrize("keep", [0, 4])
def test_nothing_to_merge(keep: int) -> None:
    small, texts = with_twins(1)
    archives = archives_of(small, texts, 1)
    everything = np.ones(len(archives.concept), bool)
    synonyms = Synonyms(PictureStatistics(texts, small.rows.image_vectors), small.rows)
    found = synonyms_merged(synonyms, archives, np.zeros(len(everything), np.float32), everything, keep)
    assert found.all()
