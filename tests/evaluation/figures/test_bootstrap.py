import numpy as np
import pytest

from evaluation.figures.bootstrap import mean_iou_difference, mean_iou_interval
from evaluation.figures.confusion import mean_ious


def pictures(seed: int, number: int = 60, classes: int = 5, skill: float = 0.6) -> np.ndarray:
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 200, (number, classes))
    right = (true * rng.beta(20 * skill, 20 * (1 - skill), true.shape)).astype(np.int64)
    predicted = right + rng.integers(0, 100, true.shape)
    return np.stack([right, true, predicted], 1)


def test_the_interval_is_that_of_a_plain_loop_over_resamples() -> None:
    counts = pictures(0)
    found = mean_iou_interval(counts, resamples=4000)
    rng = np.random.default_rng(99)
    drawn = [float(mean_ious(counts[rng.integers(0, 60, 60)].sum(0).astype(float))) for _ in range(4000)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    assert found.value == pytest.approx(float(mean_ious(counts.sum(0).astype(float))))
    assert [found.low, found.high] == pytest.approx([low, high], abs=0.004)
    assert found.low < found.value < found.high


def test_a_figure_less_itself_is_nothing() -> None:
    found = mean_iou_difference(pictures(1), pictures(1))
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_pairing_narrows_the_interval() -> None:
    worse = pictures(2)
    better = worse.copy()
    better[:, 0] = np.minimum(better[:, 1], (better[:, 0] * 1.05).astype(np.int64))
    better[:, 2] = np.maximum(better[:, 2], better[:, 0])
    paired = mean_iou_difference(worse, better)
    alone = mean_iou_interval(better)
    assert 0 < paired.low < paired.value < paired.high
    assert paired.high - paired.low < (alone.high - alone.low) / 3


def test_it_covers_the_truth_about_as_often_as_it_says() -> None:
    everything = pictures(3, number=4000)
    target = float(mean_ious(everything.sum(0).astype(float)))
    rng = np.random.default_rng(4)
    inside = 0
    for trial in range(100):
        found = mean_iou_interval(everything[rng.integers(0, 4000, 80)], resamples=300, seed=trial)
        inside += found.low <= target <= found.high
    assert 86 <= inside <= 100


def test_other_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="same pictures"):
        mean_iou_difference(pictures(0), pictures(0, number=50))
