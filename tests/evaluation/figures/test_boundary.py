import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion

from evaluation.figures.boundary import boundary_counts, boundary_width, near_boundary
from tests.examples import examples


def blobs(seed: int, classes: int = 4, shape: tuple[int, int] = (40, 52)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, classes, (5, 6))
    return np.kron(coarse, np.ones((8, 9), int))[: shape[0], : shape[1]]


def eroded_boundary(mask: np.ndarray, distance: int) -> np.ndarray:
    """The definition: a mask less what is left of it after `distance` erosions by a 3 x 3 square."""
    return mask & ~binary_erosion(mask, np.ones((3, 3)), iterations=distance, border_value=0)


@examples(40)
@given(seed=st.integers(0, 10**6), distance=st.integers(1, 6))
def test_a_boundary_is_what_erosion_takes_away_of_every_class(seed: int, distance: int) -> None:
    labels = blobs(seed)
    found = near_boundary(torch.from_numpy(labels), distance).numpy()
    for label in np.unique(labels):
        assert (found & (labels == label) == eroded_boundary(labels == label, distance)).all()


@pytest.mark.parametrize("seed", range(4))
def test_the_counts_are_those_of_a_loop_over_classes(seed: int) -> None:
    truth, predicted = blobs(seed), np.roll(blobs(seed), 3, axis=1)
    distance = boundary_width(*truth.shape)
    found = boundary_counts(torch.from_numpy(predicted), torch.from_numpy(truth), 4, 255).numpy()
    for label in range(4):
        of_truth, of_prediction = (eroded_boundary(m == label, distance) for m in (truth, predicted))
        expected = [(of_truth & of_prediction).sum(), of_truth.sum(), of_prediction.sum()]
        assert found[:, label].tolist() == expected


def test_ignored_pixels_count_nowhere() -> None:
    truth = torch.full((20, 20), 255)
    assert boundary_counts(torch.zeros(20, 20, dtype=torch.long), truth, 3, 255).sum() == 0


def test_a_perfect_map_is_perfect_near_its_outlines() -> None:
    labels = torch.from_numpy(blobs(7))
    right, true, predicted = boundary_counts(labels, labels, 4, 255)
    assert (right == true).all()
    assert (right == predicted).all()
