"""From regions and texts to labels: the rules of GroupViT's zero-shot evaluation, one function each.

A region is a group of GroupViT, or a single cell of the grid where the model has no groups. All rules hold within one
window; averaging over windows comes after them, and the arg max over classes last.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from evaluation.labels.windows import Box, bilinear


def best_classes(similarity: Tensor, count: int) -> Tensor:
    """Similarity of a window as a whole to each class [B, C] -> indices of the best classes [B, K], ascending.

    K = min(count, C). The others cannot be in the window: this is what keeps a region from being called by a class
    that fits nothing else in sight.
    """
    best = similarity.topk(min(count, similarity.shape[1]), dim=1).indices
    return best.sort(dim=1).values


def region_scores(similarity: Tensor, best: Tensor, scale: float) -> Tensor:
    """Similarity of regions to classes [B, G, C], best classes [B, K] -> scores of the best [B, G, K]; others have 0.

    A score is the region's probability of the class among all classes, times that among the best ones.
    """
    logits = scale * similarity
    of_best = best[:, None].expand(-1, logits.shape[1], -1)
    among_all = logits.softmax(dim=2).gather(2, of_best)
    among_best = logits.gather(2, of_best).softmax(dim=2)
    return among_all * among_best


def region_of_pixel(maps: Tensor, sides: tuple[int, int], box: Box | None = None) -> Tensor:
    """Soft maps of regions [B, G, h, w] -> the region that every pixel belongs to most, int64 [B, *sides].

    box: the part of the picture that is wanted; None: all.
    """
    # torch's argmax over any but the last axis takes ten times as long as its max.
    return bilinear(maps, sides, box or Box(0, 0, *sides)).max(dim=1).indices


def scores_by_region(scores: Tensor, regions: Tensor) -> Tensor:
    """Scores [G, K] and each pixel's region [H, W] -> scores of pixels [K, H, W]."""
    return F.embedding(regions, scores).permute(2, 0, 1)


def scores_by_cell(scores: Tensor, grid: tuple[int, int], sides: tuple[int, int]) -> Tensor:
    """Scores of cells [h * w, K] -> scores of pixels [K, *sides], bilinear between the cells' centres.

    Where every cell is its own region, the arg max of the regions' maps would only be the nearest cell, in blocks.
    A group has an extent of its own that pixels are in or out of; cells are samples of a field that varies smoothly.
    """
    field = scores.mT.unflatten(1, grid)
    return F.interpolate(field[None], sides, mode="bilinear", align_corners=False)[0]


def background_of_pixels(best: Tensor, threshold: float, highest: Tensor) -> Tensor:
    """Best score of each pixel [H, W] -> 1 where it is below min(threshold, highest), else 0; in the type of scores.

    highest: the window's highest score, [] ; without it a window that is unsure everywhere would be all background.
    """
    return (best < highest.clamp(max=threshold)).to(best.dtype)


def choose_labels(
    best: Tensor, classes: Tensor, background: Tensor | None = None, background_class: int | None = None
) -> Tensor:
    """Best score of each pixel [H, W], its class [H, W], the background's score [H, W] -> labels [H, W].

    The highest score wins; of equal ones the class with the lower index.
    """
    if background is None or background_class is None:
        return classes
    wins = (background > best) | ((background == best) & (classes > background_class))
    return torch.where(wins, torch.as_tensor(background_class, dtype=classes.dtype, device=classes.device), classes)
