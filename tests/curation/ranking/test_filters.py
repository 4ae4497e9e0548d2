"""Filters: each leaves out what its own rule says, one after the other, and nothing that the caption names."""

import itertools

import numpy as np
import pyarrow as pa
import pytest

from curation.index.vocabulary import Vocabulary
from curation.ranking.archives import gather
from curation.ranking.expansion import Retrieved
from curation.ranking.filters import filters_of
from curation.ranking.grounding import grounded
from curation.ranking.merging import Synonyms, merged_away, within_reach, word_families
from curation.ranking.options import CurateOptions
from curation.ranking.picture_statistics import PictureStatistics
from tests.curation.small_index import small_index

WORDS = [f"{'old ' if i % 2 else ''}thing{i // 2}" for i in range(25)]  # every second is a tail of the one after it


@pytest.mark.parametrize(("merge", "ground", "synonyms"), list(itertools.product([False, True], repeat=3)))
def test_each_filter_adds_to_what_is_gone(merge: bool, ground: bool, synonyms: bool) -> None:
    index = small_index()
    vocabulary = Vocabulary(pa.array(WORDS), np.ones(25, np.int64), index.concepts)
    statistics = PictureStatistics(index.concepts, index.rows.image_vectors)
    anchors, _ = index.anchors(list(range(30)))
    rng = np.random.default_rng(0)
    rows = np.stack([rng.permutation(80)[:9] for _ in range(30)])
    archives = gather(anchors, Retrieved(rows, np.zeros(30, bool)), index.rows, index.concepts)
    score = rng.random(len(archives.concept)).astype(np.float32)
    before = (rng.random(len(score)) < 0.1) & ~archives.in_caption

    wanted = before.copy()
    if ground:
        shown = grounded(statistics, index.rows)
        assert 0 < shown.sum() < len(shown)
        wanted |= [not shown[c] and not own for c, own in zip(archives.concept, archives.in_caption, strict=True)]
    families, twins = word_families(vocabulary, str), Synonyms(statistics, index.rows)
    if synonyms:
        wanted = within_reach(archives, score, wanted, 3)
    if merge or synonyms:
        relations = [*([families] if merge else []), *([twins] if synonyms else [])]
        order = families.order if merge else np.arange(25)
        wanted = merged_away(archives, score, wanted, relations, order)

    options = CurateOptions(keep=3, merge=merge, grounded=ground, synonyms=synonyms)
    gone = before
    for leave_out in filters_of(options, index.rows, statistics, families if merge else None):
        assert not (gone & ~leave_out(archives, score, gone)).any()
        gone = leave_out(archives, score, gone)
    np.testing.assert_array_equal(gone, wanted)
    assert not (gone & archives.in_caption).any()
    assert (gone.sum() > before.sum()) == (merge or ground or synonyms)
