"""The measures of localisation, against hand-made cases and plain loops."""

import numpy as np
import pytest

from benchmarks.quality.localisation import auc, box_of, iou, precision_of_half


def test_intersection_over_union() -> None:
    boxes = np.array([[0, 0, 1, 1], [0, 0, 0.5, 0.5], [0, 0, 0.2, 1], [0.1, 0.2, 0.3, 0.4]])
    others = np.array([[0, 0, 0.5, 0.5], [0.25, 0.25, 0.75, 0.75], [0.5, 0, 1, 1], [0.1, 0.2, 0.3, 0.4]])
    np.testing.assert_allclose(iou(boxes, others), [0.25, 1 / 7, 0, 1])


def test_the_box_of_a_mask() -> None:
    mask = np.zeros((4, 10), bool)
    mask[1, 2] = mask[3, 6] = True
    assert box_of(mask) == [0.2, 0.25, 0.7, 1]


def test_right_against_wrong() -> None:
    rng = np.random.default_rng(0)
    right, wrong = rng.integers(0, 9, 40).tolist(), rng.integers(0, 7, 30).tolist()
    pairs = [(a > b) + (a == b) / 2 for a in right for b in wrong]
    assert auc(right, wrong) == pytest.approx(np.mean(pairs))
    assert precision_of_half([9, 8, 1], [7, 2, 3]) == pytest.approx(2 / 3)
