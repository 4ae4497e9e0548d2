"""How far mIoU falls when further names stand beside the classes: pixels given to them are of no class, so wrong."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluation.figures.confusion import TRUE, confusion, counts_of


def distracted_counts(labels: Tensor, truth: Tensor, classes: int, ignore_index: int) -> Tensor:
    """Labels [H, W], of which those from `classes` on are distractors, and the truth -> counts int64 [3, classes]."""
    none = torch.as_tensor(classes, dtype=labels.dtype, device=labels.device)
    matrix = confusion(torch.minimum(labels, none), truth, classes + 1, ignore_index)
    return counts_of(matrix)[:, :classes]


def taken_pixels(labels: Tensor, truth: Tensor, classes: int, distractors: int, ignore_index: int) -> Tensor:
    """Which distractor took how many pixels from which class, int64 [distractors, classes]."""
    taken = (labels >= classes) & (truth != ignore_index)
    cells = (labels[taken].long() - classes) * classes + truth[taken].long()
    return torch.bincount(cells, minlength=distractors * classes).view(distractors, classes)


def most_taken(taken: NDArray[np.int64], most: int) -> list[tuple[int, int, int]]:
    """Of distractors [N, C] those that took the most pixels: which, how many, and the class that lost most of them."""
    pixels = taken.sum(1)
    order = np.argsort(-pixels, kind="stable")[:most]
    return [(int(one), int(pixels[one]), int(taken[one].argmax())) for one in order if pixels[one]]


def of_the_same_classes(beside: NDArray[np.int64], alone: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts [N, 3, C] beside distractors, such that mIoU is over the classes that count without them.

    A class that the truth lacks has an IoU of 0 where it is predicted and is left out where it is not: without this,
    mIoU would rise with every such class that distractors drive out.
    """
    absent = alone[:, TRUE].sum(0) == 0
    return np.where(absent, alone, beside)
