"""Grounding on a world where it is known which concepts the pictures show."""

import numpy as np
import pytest

from curation.index.caption_rows import CaptionRows, pair_similarity
from curation.ranking.grounding import LEAST, grounded
from curation.ranking.picture_statistics import PictureStatistics


def world(pairs: int = 400, seen: int = 6, unseen: int = 6) -> tuple[np.ndarray, CaptionRows]:
    """Pictures of one of `seen` concepts each; captions name it, and at random one of `unseen` others."""
    rng = np.random.default_rng(0)
    texts = rng.standard_normal((seen + unseen + 1, 24))
    shown = rng.integers(0, seen, pairs)
    pictures = texts[shown] + 0.5 * rng.standard_normal((pairs, 24))
    # what no picture shows is as near to all of them as can be
    texts[seen:-1] = pictures.mean(0) + 0.2 * rng.standard_normal((unseen, 24))
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    pictures /= np.linalg.norm(pictures, axis=1, keepdims=True)
    ids = np.stack([shown, seen + rng.integers(0, unseen, pairs)], 1).ravel().astype(np.int32)
    offsets = np.arange(0, 2 * pairs + 1, 2)
    vectors, hashes = pictures.astype(np.float16), np.arange(1, pairs + 1).astype(np.uint64)
    similarity = pair_similarity(texts.astype(np.float32), ids, vectors, np.repeat(np.arange(pairs), 2))
    return texts.astype(np.float32), CaptionRows(offsets, ids, similarity, hashes, hashes, vectors, vectors)


def test_what_pictures_show_is_grounded_and_what_they_do_not_is_not() -> None:
    texts, rows = world()
    found = grounded(PictureStatistics(texts, rows.image_vectors), rows)
    assert found[:6].all()
    assert not found[6:12].any()


def test_the_rule_is_that_of_a_plain_loop() -> None:
    texts, rows = world(pairs=60)
    pictures = np.asarray(rows.image_vectors, np.float32)
    for concept in range(12):
        named = [i for i in range(60) if concept in rows.concept_ids[rows.offsets[i] : rows.offsets[i + 1]]]
        similarity = pictures @ texts[concept]
        z = (similarity[named] - similarity.mean()) / similarity.std(ddof=1)
        assert grounded(PictureStatistics(texts, rows.image_vectors), rows)[concept] == (
            z.sum() / (len(named) + 1) >= LEAST
        )


def test_a_concept_that_no_pair_names_has_the_benefit_of_the_doubt() -> None:
    texts, rows = world()
    assert grounded(PictureStatistics(texts, rows.image_vectors), rows)[12]


@pytest.mark.parametrize("noise", [0.0, 1e-4])
@pytest.mark.parametrize("pairs", [40, 1])
def test_pictures_that_are_all_alike_ground_everything(pairs: int, noise: float) -> None:
    texts, rows = world()
    pictures = np.repeat(np.asarray(rows.image_vectors[:1], np.float32), pairs, 0)
    pictures += noise * np.random.default_rng(0).standard_normal(pictures.shape)
    same = (pictures / np.linalg.norm(pictures, axis=1, keepdims=True)).astype(np.float16)
    offsets, named = rows.offsets[: pairs + 1], rows.concept_ids[: 2 * pairs]
    similarity = pair_similarity(texts, named, same, np.repeat(np.arange(pairs), 2))
    hashes = rows.text_hash[:pairs]
    statistics = PictureStatistics(texts, same)
    assert statistics.alike
    assert grounded(statistics, CaptionRows(offsets, named, similarity, hashes, hashes, same, same)).all()
    assert np.isfinite(statistics.z(texts @ same[0].astype(np.float32), slice(None))).all()


def test_pictures_that_differ_are_not_alike() -> None:
    texts, rows = world()
    assert not PictureStatistics(texts, rows.image_vectors).alike
    two = np.repeat(rows.image_vectors[:2], [39, 1], 0)
    assert not PictureStatistics(texts, two).alike


def test_two_pictures_ground_everything() -> None:
    """No z of two is over 0.71, so that the rule would leave out all that they show."""
    texts, rows = world()
    few = slice(0, 2)
    offsets, named = rows.offsets[:3], rows.concept_ids[:4]
    arrays = rows.text_hash[few], rows.image_hash[few], rows.image_vectors[few], rows.text_vectors[few]
    two = CaptionRows(offsets, named, rows.similarity[:4], *arrays)
    assert grounded(PictureStatistics(texts, two.image_vectors), two).all()
