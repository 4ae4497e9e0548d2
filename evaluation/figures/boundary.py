"""Boundary IoU (Cheng et al., CVPR 2021): IoU of what lies near an outline, which mIoU hardly weighs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

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
    padded = pad(labels.float()[None, None], (distance,) * 4, value=-1.0)
    size = 2 * distance + 1
    highest = max_pool2d(padded, size, stride=1)
    lowest = -max_pool2d(-padded, size, stride=1)
    return (highest != lowest)[0, 0]


def boundary_counts(predicted: Tensor, truth: Tensor, classes: int, ignore_index: int) -> Tensor:
    """Class indices [H, W] -> counts int64 [3, classes] near the outlines: right, of the truth, predicted.

    Right: both name the class, and both are near an outline of theirs. Ignored pixels count nowhere;
    where they begin, the truth has an outline.
    """
    distance = boundary_width(*truth.shape)
    valid = truth != ignore_index
    of_truth = near_boundary(truth, distance) & valid
    of_prediction = near_boundary(predicted, distance) & valid
    right = of_truth & of_prediction & (predicted == truth)
    found = [
        torch.bincount(labels[chosen].long(), minlength=classes)
        for labels, chosen in ((truth, right), (truth, of_truth), (predicted, of_prediction))
    ]
    return torch.stack(found)
