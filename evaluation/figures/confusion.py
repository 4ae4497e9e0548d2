"""The confusion matrix of a segmentation, and the figures that follow from it.

One matrix over a whole data set gives mIoU (PASCAL VOC's way: IoU over all pixels of all pictures,
then the mean over classes). Counts for each picture are kept beside it, so that intervals can be
drawn by resampling pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from files.errors import CocuError

# What is kept of one picture for each class: pixels right, pixels of the truth, pixels predicted.
RIGHT, TRUE, PREDICTED = range(3)
# Pixels that are counted at once: indices take 8 bytes each, several times.
AT_ONCE = 1 << 22


def confusion(predicted: Tensor, truth: Tensor, classes: int, ignore_index: int) -> Tensor:
    """Class indices [H, W] (or any equal shapes) -> counts int64 [classes, classes], rows the truth.

    Pixels whose truth is `ignore_index` are left out. Computed where the tensors lie.
    Raises CocuError: shapes that differ, a class outside 0..classes-1.
    """
    if predicted.shape != truth.shape:
        raise CocuError(
            f"the prediction is {tuple(predicted.shape)} and the truth {tuple(truth.shape)}: "
            "label maps must be of one size"
        )
    matrix = torch.zeros(classes * classes, dtype=torch.int64, device=truth.device)
    for parts in zip(predicted.reshape(-1).split(AT_ONCE), truth.reshape(-1).split(AT_ONCE), strict=True):
        matrix += _confusion(*parts, classes, ignore_index)
    return matrix.view(classes, classes)


def _confusion(predicted: Tensor, truth: Tensor, classes: int, ignore_index: int) -> Tensor:
    """Of so few pixels that their indices may take some room."""
    valid = truth != ignore_index
    rows, columns = truth[valid].long(), predicted[valid].long()
    # A wrong index would move its pixel into another cell unseen.
    if rows.numel() and not all(_within(labels, classes) for labels in (rows, columns)):
        raise CocuError(f"a label map holds a class outside 0..{classes - 1} (ignored: {ignore_index})")
    return torch.bincount(rows * classes + columns, minlength=classes * classes)


def _within(labels: Tensor, classes: int) -> bool:
    low, high = torch.aminmax(labels)
    return int(low) >= 0 and int(high) < classes


def counts_of(matrix: Tensor) -> Tensor:
    """Confusion matrix [C, C] -> counts int64 [3, C]: right, of the truth, predicted."""
    return torch.stack([matrix.diagonal(), matrix.sum(1), matrix.sum(0)])


@dataclass(frozen=True)
class IouFigures:
    """What a confusion matrix tells; shares 0..1, NaN where there is nothing to divide by.

    iou [C]: right / (of the truth + predicted - right); NaN for a class that neither truth nor prediction
    holds, and such classes are left out of mean_iou. pixel_accuracy: right pixels over all.
    mean_accuracy: mean over the classes of the truth of right / of the truth.
    """

    iou: NDArray[np.float64]
    mean_iou: float
    pixel_accuracy: float
    mean_accuracy: float


def figures(counts: NDArray[np.int64]) -> IouFigures:
    """Counts [3, C] of a whole data set -> its figures."""
    right, true, _ = counts.astype(np.float64)
    iou = ious(counts.astype(np.float64))
    return IouFigures(
        iou=iou,
        mean_iou=mean_present(iou),
        pixel_accuracy=float(_ratio(right.sum(), true.sum())),
        mean_accuracy=mean_present(_ratio(right, true)),
    )


def mean_ious(counts: NDArray[np.float64], members: Sequence[int] | None = None) -> NDArray[np.float64]:
    """Counts [..., 3, C] -> mean IoU [...] over the classes of `members` (all if None) that occur."""
    iou = ious(counts if members is None else counts[..., list(members)])
    present = ~np.isnan(iou)
    return _ratio(np.where(present, iou, 0.0).sum(-1), present.sum(-1))


def ious(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Counts [..., 3, C] -> IoU of each class [..., C]; NaN for one that neither truth nor prediction holds."""
    right, true, predicted = counts[..., RIGHT, :], counts[..., TRUE, :], counts[..., PREDICTED, :]
    return _ratio(right, true + predicted - right)


def mean_present(values: NDArray[np.float64]) -> float:
    """The mean of what is not NaN; NaN of nothing."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else float("nan")


def _ratio(over: NDArray[np.float64] | float, under: NDArray[np.float64] | float) -> NDArray[np.float64]:
    over, under = np.asarray(over, np.float64), np.asarray(under, np.float64)
    return np.divide(over, under, out=np.full(under.shape, np.nan), where=under > 0)
