"""Prototypes of concepts, against loops over the pictures that name them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from curation.ranking import witness as module
from curation.ranking.picture_statistics import PictureStatistics
from curation.ranking.witness import DOUBT, OUTSIDE, fit_witness
from tests.curation.small_index import small_index


@pytest.mark.parametrize("left_out", [[], [0, 5, 17]])
def test_likeness_is_that_of_the_plain_loop(left_out: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 7)
    index = small_index(pairs=60, concepts=9, lean=0.3)
    rows = index.rows
    statistics = PictureStatistics(index.concepts, rows.image_vectors)
    got = fit_witness(statistics, rows, np.array(left_out, np.int64))
    pictures = rows.image_vectors.astype(np.float32)
    mean, covariance = pictures.mean(0), np.cov(pictures.T)
    for concept in range(9):
        shown = [v for i, v in enumerate(pictures) if concept in index.named[i] and i not in left_out]
        first = np.mean(shown, axis=0) - mean
        likeness = np.array([v @ first for v in shown]) / np.linalg.norm(first)
        inside = [
            v for v, near in zip(shown, likeness, strict=True) if near >= likeness.mean() - OUTSIDE * likeness.std()
        ]
        assert len(inside) < len(shown)  # some lie outside
        direction = np.mean(inside, axis=0) - mean
        direction /= np.linalg.norm(direction)
        spread = np.sqrt(direction @ covariance @ direction)
        trust = len(inside) / (len(inside) + DOUBT)
        wanted = [trust * (v - mean) @ direction / spread for v in pictures[:4]]
        given = got.likeness(pictures, np.arange(4), np.full(4, concept))
        assert given == pytest.approx(wanted, rel=1e-3, abs=1e-4)


def test_of_what_no_pair_names_nothing_is_known() -> None:
    index = small_index(pairs=10, extra=0, concepts=4)
    rows = replace(index.rows, concept_ids=np.where(index.rows.concept_ids == 3, 2, index.rows.concept_ids))
    got = fit_witness(PictureStatistics(index.concepts, rows.image_vectors), rows)
    pictures = rows.image_vectors.astype(np.float32)
    assert got.likeness(pictures, np.arange(10), np.full(10, 3)).tolist() == [0.0] * 10


def test_without_pictures_there_is_no_likeness_and_no_warning() -> None:
    index = small_index(pairs=0, extra=12, concepts=4)
    with np.errstate(all="raise"):
        got = fit_witness(PictureStatistics(index.concepts, index.rows.image_vectors), index.rows)
    assert got.trust.tolist() == [0.0] * 4
