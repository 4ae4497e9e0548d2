"""Boundary IoU (Cheng et al., CVPR 2021): IoU of what lies near an outline, which mIoU hardly weighs."""

from __future__ import annotations

import torch
from torch import Tensor

from evaluation.figures.confusion import AT_ONCE

# The paper's width of a boundary, as a share of the picture's diagonal.
WIDTH = 0.02


def boundary_width(height: int, width: int, share: float = WIDTH) -> int:
    """Pixels that a boundary is wide in a picture of this size; at least 1."""
    return max(1, round(share * float(height**2 + width**2) ** 0.5))


def near_boundary(labels: Tensor, distance: int) -> Tensor:
    """Class indices [H, W] -> bool [H, W]: pixels of a class within `distance` of its outline.

    The distance is the larger of the two axes', as repeated erosion by a 3 x 3 square measures it;
    the picture's border is an outline. Inside means that all labels around are equal, so one pass
    of a sliding maximum and minimum serves all classes at once.
    """
    height, width = labels.shape
    near = torch.ones(height, width, dtype=torch.bool, device=labels.device)
    rows, columns = height - 2 * distance, width - 2 * distance  # of what is not near the border
    if rows > 0 and columns > 0:
        size, several = 2 * distance + 1, max(2 * distance, AT_ONCE // width)
        for first in range(0, rows, several):
            last = min(first + several, rows)
            around = labels[first : last + 2 * distance]
            differ = _highest(around, size) != ~_highest(~around, size)  # ~ turns the order of whole numbers
            near[distance + first : distance + last, distance : distance + columns] = differ
    return near


def _highest(values: Tensor, size: int) -> Tensor:
    """The highest of each square of `size` x `size` that lies in [H, W]; by doubling, in a few steps."""
    for axis in range(2):
        known = 1
        while known < size:
            step = min(known, size - known)
            length = values.shape[axis] - step
            values = torch.maximum(values.narrow(axis, 0, length), values.narrow(axis, step, length))
            known += step
    return values


def boundary_counts(predicted: Tensor, truth: Tensor, classes: int, ignore_index: int) -> Tensor:
    """Class indices [H, W] -> counts int64 [3, classes] near the outlines: right, of the truth, predicted.

    Right: both name the class, and both are near an outline of theirs. Ignored pixels count nowhere;
    where they begin, the truth has an outline.
    """
    distance = boundary_width(*truth.shape)
    of_truth, of_prediction = near_boundary(truth, distance), near_boundary(predicted, distance)
    found = torch.zeros(3, classes, dtype=torch.int64, device=truth.device)
    whole = (predicted, truth, of_prediction, of_truth)
    for named, true, near, truly_near in zip(*(one.reshape(-1).split(AT_ONCE) for one in whole), strict=True):
        valid = true != ignore_index
        truly_near, near = truly_near & valid, near & valid
        right = truly_near & near & (named == true)
        for row, (labels, chosen) in enumerate(((true, right), (true, truly_near), (named, near))):
            found[row] += torch.bincount(labels[chosen].long(), minlength=classes)
    return found
