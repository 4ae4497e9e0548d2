import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, jaccard_score
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from evaluation.figures.confusion import confusion, counts_of, figures, mean_ious
from files.errors import CocuError
from tests.examples import examples


def maps(seed: int, classes: int, *, ignored: bool = True, shape: tuple[int, int] = (23, 31)):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, shape)
    predicted = np.where(rng.random(shape) < 0.6, truth, rng.integers(0, classes, shape))
    if ignored:
        truth[rng.random(shape) < 0.1] = 255
    return torch.from_numpy(predicted), torch.from_numpy(truth)


@examples(50)
@given(seed=st.integers(0, 10**6), classes=st.integers(1, 12))
def test_the_matrix_is_scikit_learns(seed: int, classes: int) -> None:
    predicted, truth = maps(seed, classes)
    kept = truth != 255
    expected = confusion_matrix(truth[kept].numpy(), predicted[kept].numpy(), labels=range(classes))
    assert (confusion(predicted, truth, classes, 255).numpy() == expected).all()


@pytest.mark.parametrize("seed", range(5))
def test_the_figures_are_torchmetrics_and_scikit_learns(seed: int) -> None:
    classes = 7
    predicted, truth = maps(seed, classes)
    found = figures(counts_of(confusion(predicted, truth, classes, 255)).numpy())
    jaccard = MulticlassJaccardIndex(classes, average=None, ignore_index=255)(predicted[None], truth[None])
    np.testing.assert_allclose(found.iou, jaccard.numpy(), atol=1e-6)
    kept = truth != 255
    ious = jaccard_score(truth[kept].numpy(), predicted[kept].numpy(), average=None, labels=range(classes))
    np.testing.assert_allclose(found.iou, ious, atol=1e-12)
    assert found.mean_iou == pytest.approx(ious.mean(), abs=1e-12)
    for average, value in (("micro", found.pixel_accuracy), ("macro", found.mean_accuracy)):
        accuracy = MulticlassAccuracy(classes, average=average, ignore_index=255)(predicted[None], truth[None])
        assert value == pytest.approx(float(accuracy), abs=1e-6)


def test_a_class_that_nobody_names_is_left_out_of_the_mean() -> None:
    predicted, truth = torch.tensor([[0, 0, 1]]), torch.tensor([[0, 1, 1]])
    found = figures(counts_of(confusion(predicted, truth, 3, 255)).numpy())
    np.testing.assert_allclose(found.iou, [0.5, 0.5, np.nan])
    assert found.mean_iou == 0.5


def test_a_class_that_is_only_predicted_counts_as_zero() -> None:
    found = figures(counts_of(confusion(torch.tensor([0, 2]), torch.tensor([0, 0]), 3, 255)).numpy())
    assert found.mean_iou == pytest.approx((0.5 + 0.0) / 2)


def test_the_mean_over_many_data_sets_at_once_is_that_of_each() -> None:
    counts = np.stack([counts_of(confusion(*maps(seed, 5), 5, 255)).numpy() for seed in range(6)])
    counts[2, :, 3] = 0
    alone = [figures(c).mean_iou for c in counts]
    np.testing.assert_allclose(mean_ious(counts.astype(float)), alone)
    some = [np.nanmean(figures(c).iou[[1, 3]]) for c in counts]
    np.testing.assert_allclose(mean_ious(counts.astype(float), [1, 3]), some)


@pytest.mark.parametrize(("predicted", "truth"), [([3], [0]), ([0], [3]), ([-1], [1]), ([5], [0]), ([2], [-1])])
def test_a_class_outside_is_refused(predicted: list[int], truth: list[int]) -> None:
    with pytest.raises(CocuError, match=r"outside 0\.\.2"):
        confusion(torch.tensor(predicted), torch.tensor(truth), 3, 255)


def test_sizes_that_differ_are_refused() -> None:
    with pytest.raises(CocuError, match=r"\(4, 5\).*\(5, 4\)"):
        confusion(torch.zeros(4, 5), torch.zeros(5, 4), 3, 255)


def test_nothing_but_ignored_pixels_gives_no_figure() -> None:
    found = figures(counts_of(confusion(torch.zeros(4), torch.full((4,), 255), 2, 255)).numpy())
    assert np.isnan([found.mean_iou, found.pixel_accuracy, found.mean_accuracy]).all()
