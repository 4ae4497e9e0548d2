"""Pixels that distractors take: counted pixel by pixel."""

import numpy as np
import torch

from evaluation.figures.confusion import mean_ious
from evaluation.figures.distraction import distracted_counts, most_taken, of_the_same_classes, taken_pixels

CLASSES, DISTRACTORS = 3, 4


def drawn(ignored: int) -> tuple[torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(0)
    labels = torch.randint(0, CLASSES + DISTRACTORS, (40, 50), generator=chance).to(torch.int16)
    truth = torch.randint(0, CLASSES + 1, (40, 50), generator=chance).int()
    truth[truth == CLASSES] = ignored
    return labels, truth


def test_pixels_of_distractors_are_of_no_class() -> None:
    for ignored in (255, CLASSES):  # the value beside the last class may be the ignored one
        labels, truth = drawn(ignored)
        found = distracted_counts(labels, truth, CLASSES, ignored).numpy()
        counted = truth != ignored
        for one in range(CLASSES):
            assert found[0, one] == ((labels == one) & (truth == one)).sum()
            assert found[1, one] == (truth == one).sum()
            assert found[2, one] == ((labels == one) & counted).sum()
        taken = taken_pixels(labels, truth, CLASSES, DISTRACTORS, ignored).numpy()
        for distractor in range(DISTRACTORS):
            for one in range(CLASSES):
                assert taken[distractor, one] == ((labels == CLASSES + distractor) & (truth == one)).sum()
        assert found[2].sum() + taken.sum() == counted.sum()


def test_those_that_took_the_most() -> None:
    taken = np.array([[0, 0, 0], [1, 5, 0], [9, 1, 0], [0, 0, 6]])
    assert most_taken(taken, 3) == [(2, 10, 0), (1, 6, 1), (3, 6, 2)]
    assert most_taken(taken, 9) == [(2, 10, 0), (1, 6, 1), (3, 6, 2)]


def test_a_class_without_truth_that_is_driven_out_does_not_raise_the_mean() -> None:
    alone = np.array([[[8, 5, 0], [10, 10, 0], [9, 6, 5]]])  # the third class is only predicted
    beside = np.array([[[6, 5, 0], [10, 10, 0], [7, 6, 0]]])
    same = of_the_same_classes(beside, alone)
    assert mean_ious(same.sum(0).astype(float)) < mean_ious(alone.sum(0).astype(float))
    assert mean_ious(beside.sum(0).astype(float)) > mean_ious(alone.sum(0).astype(float))
    assert np.array_equal(same[..., :2], beside[..., :2])
