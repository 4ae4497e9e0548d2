"""Grounding on a world where it is known which concepts the pictures show."""

import numpy as np

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
