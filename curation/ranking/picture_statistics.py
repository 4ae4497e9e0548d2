"""Mean and deviation of t(c)·v over the indexed pictures: what a similarity is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    pass

STATISTICS_PICTURES = 50_000


def similarity_statistics(concepts: np.ndarray, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of t(c)·v over pictures, float32 [C] each, from their mean and covariance.

    concepts: t(c), float32 [C, D]. pictures: v, float16 [M, D], of which at most `STATISTICS_PICTURES` are read.
    """
    if len(pictures) < 2:
        return np.zeros(len(concepts), np.float32), np.ones(len(concepts), np.float32)
    mean, covariance = picture_moments(pictures)
    variance = np.einsum("cd,cd->c", concepts @ covariance, concepts)
    return concepts @ mean, np.sqrt(np.maximum(variance, 1e-8))


def picture_moments(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean float32 [D] and covariance float32 [D, D] of v, float16 [M, D], of which `STATISTICS_PICTURES` are read."""
    if len(pictures) < 2:
        return np.zeros(pictures.shape[1], np.float32), np.eye(pictures.shape[1], dtype=np.float32)
    step = -(-len(pictures) // STATISTICS_PICTURES)
    sample = np.asarray(pictures[::step], np.float32)
    return sample.mean(0), np.cov(sample.T).astype(np.float32)
