"""What the trainer and the evaluator ask of a model, whichever it is: GroupViT or patch alignment.

Backbone and head are apart so that a long batch can go through the backbone in pieces while batch
norm, similarity and loss see it whole (training/step/gradient_cache.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class DenseFeatures:
    """A picture as G regions in the space of texts, on a grid of cells.

    vectors: unit [B, G, D]. grid: (h, w). maps: [B, G, h, w], how far a cell belongs to a region; sums to 1 over G
    (GroupViT: product of the soft assignments); None where every cell is a region of its own, row by row (patch
    alignment: G = h * w). whole: the picture as a whole, as `Learner.similarity` takes it.
    """

    vectors: Tensor
    grid: tuple[int, int]
    maps: Tensor | None
    whole: Tensor


class Learner(Protocol):
    """A dual encoder of pictures and texts with a similarity of its own.

    image_size: pixels of a side in training. context_length: tokens of a text.
    """

    image_size: int
    context_length: int

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Normalised pixels [B, 3, H, W] -> features before the head, [B, ...]."""

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Token ids [T, context_length] -> features before the head, [T, width]."""

    def project_image(self, features: Tensor) -> Tensor:
        """Features -> unit vectors: [B, D], or [B, N, D] where every patch has its own."""

    def project_text(self, features: Tensor) -> Tensor:
        """Features -> unit vectors [T, D]."""

    def similarity(self, images: Tensor, texts: Tensor) -> Tensor:
        """Projected images and texts -> [B, T], from -1 to 1."""

    def dense(self, pixels: Tensor) -> DenseFeatures:
        """Normalised pixels [B, 3, H, W] of any size divisible by the patch -> regions, without noise or dropout."""

    def health(self) -> dict[str, float]:
        """Figures of the last training forward pass that show a collapse; empty where there is none to see."""
