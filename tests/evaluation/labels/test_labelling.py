"""Each rule from regions to labels, by hand-made cases and against the plain transcription."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evaluation.labels import labelling
from tests.evaluation.plain_inference import Seen, bilinear, softmax, window_scores


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_best_classes_of_a_window_ascend() -> None:
    similarity = torch.tensor([[0.1, 0.9, 0.3, 0.2, 0.8], [0.5, 0.1, 0.2, 0.4, 0.3]])
    assert labelling.best_classes(similarity, 3).tolist() == [[1, 2, 4], [0, 3, 4]]
    assert labelling.best_classes(similarity, 9).tolist() == [[0, 1, 2, 3, 4]] * 2


def test_a_score_is_the_product_of_both_probabilities() -> None:
    similarity = torch.tensor([[[0.0, 1.0, 2.0]]], dtype=torch.float64)
    e = np.e
    all_three, best_two = 1 + e + e**2, 1 + e
    found = labelling.region_scores(similarity, torch.tensor([[0, 1]]), scale=1.0)
    expected = [1 / all_three * 1 / best_two, e / all_three * e / best_two]
    assert found[0, 0].tolist() == pytest.approx(expected)


@given(st.integers(1, 12), st.integers(1, 6), st.floats(0.1, 100))
def test_scores_equal_masking_with_minus_infinity(classes: int, regions: int, scale: float) -> None:
    similarity, whole = random(2, regions, classes) * 2 - 1, random(2, classes, seed=1)
    best = labelling.best_classes(whole, 5)
    found = labelling.region_scores(similarity, best, scale)
    for picture in range(2):
        mask = np.full(classes, -np.inf)
        mask[best[picture].numpy()] = 0
        for region in range(regions):
            logits = scale * similarity[picture, region].numpy()
            expected = softmax(logits + mask) * softmax(logits)
            np.testing.assert_allclose(found[picture, region].numpy(), expected[best[picture].numpy()], atol=1e-12)


def test_a_pixel_belongs_to_the_group_that_is_most_there() -> None:
    maps = torch.tensor([[[[0.9, 0.1]], [[0.1, 0.9]]]])  # left cell: group 0, right cell: group 1
    assert labelling.region_of_pixel(maps, (2, 6)).tolist() == [[[0, 0, 0, 1, 1, 1]] * 2]
    maps = random(2, 4, 5, 7)
    found = labelling.region_of_pixel(maps, (11, 20)).numpy()
    for picture in range(2):
        np.testing.assert_array_equal(found[picture], bilinear(maps[picture].numpy(), 11, 20).argmax(axis=0))


def test_pixels_of_a_group_have_its_scores() -> None:
    scores, groups = random(3, 4), torch.tensor([[0, 2, 1], [1, 1, 0]])
    found = labelling.scores_by_region(scores, groups)
    assert found.shape == (4, 2, 3)
    for y, x in np.ndindex(2, 3):
        assert torch.equal(found[:, y, x], scores[groups[y, x]])


def test_scores_of_cells_run_smoothly_from_cell_to_cell() -> None:
    scores = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    found = labelling.scores_by_cell(scores, (1, 2), (1, 8))[0, 0].tolist()
    assert found == pytest.approx([0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1])
    scores = random(15, 2)
    expected = bilinear(scores.T.reshape(2, 3, 5).numpy(), 9, 31)
    np.testing.assert_allclose(labelling.scores_by_cell(scores, (3, 5), (9, 31)).numpy(), expected, atol=1e-12)


def test_background_is_what_is_below_the_threshold_or_the_highest_score() -> None:
    best = torch.tensor([[0.2, 0.6], [0.95, 0.97]])
    assert labelling.background_of_pixels(best, 0.95, best.max()).tolist() == [[1, 1], [0, 0]]
    assert labelling.background_of_pixels(best, 0.6, best.max()).tolist() == [[1, 0], [0, 0]]
    unsure = best / 2
    assert labelling.background_of_pixels(unsure, 0.95, unsure.max()).tolist() == [[1, 1], [1, 0]]
    assert labelling.background_of_pixels(best, 0.0, best.max()).sum() == 0


def test_the_highest_score_wins_and_of_equal_ones_the_lower_class() -> None:
    best, classes = torch.tensor([[0.5, 0.5, 0.5, 0.5]]), torch.tensor([[1, 1, 4, 4]], dtype=torch.int16)
    background = torch.tensor([[0.4, 0.6, 0.5, 0.6]])
    labels = labelling.choose_labels(best, classes, background, 2)
    assert labels.tolist() == [[1, 2, 2, 2]]
    assert labels.dtype == torch.int16
    equal = torch.full_like(best, 0.5)
    assert labelling.choose_labels(best, classes, equal, 2).tolist() == [[1, 1, 2, 2]]
    assert labelling.choose_labels(best, classes, equal, 0).tolist() == [[0, 0, 0, 0]]
    assert labelling.choose_labels(best, classes) is classes


@pytest.mark.parametrize("with_maps", [True, False])
def test_a_window_scored_for_its_best_classes_alone_is_scored_for_all(with_maps: bool) -> None:
    """The others have score 0: what evaluation/labels/inference.py leaves out could not have won."""
    grid, count = (3, 4), 5 if with_maps else 12
    similarity, whole = random(count, 9) * 2 - 1, random(9, seed=1)
    maps = random(count, *grid, seed=2) if with_maps else None
    seen = Seen(similarity.numpy(), None if maps is None else maps.numpy(), grid, whole.numpy())
    expected, _ = window_scores(seen, (10, 15), [""] * 9, None, None, 6.0)

    best = labelling.best_classes(whole[None], 5)
    scores = labelling.region_scores(similarity[None], best, 6.0)[0]
    if maps is None:
        found = labelling.scores_by_cell(scores, grid, (10, 15))
    else:
        found = labelling.scores_by_region(scores, labelling.region_of_pixel(maps[None], (10, 15))[0])
    np.testing.assert_allclose(found.numpy(), expected[best[0].numpy()], atol=1e-12)
    others = sorted(set(range(9)) - set(best[0].tolist()))
    assert not expected[others].any()
