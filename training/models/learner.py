"""What the trainer and the evaluator ask of a model, whichever it is, and the door by which a new one enters.

A learner is one file in this room: a frozen dataclass of its sizes, the model, and one line that adds both to
`LEARNERS`. Recipes name it, with its sizes as their section `model`.

Backbone and head are apart so that a long batch can go through the backbone in pieces while batch
norm, similarity and loss see it whole (training/step/gradient_cache.py).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from files.registry import Registry
from training.models.text_encoder import TextConfig

TEMPERATURE = 0.07  # of both losses, at the start
MAX_SCALE = 100.0  # of a similarity before the softmax; exp(logit_scale) is capped there


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


class Learner(nn.Module, ABC):
    """A dual encoder of pictures and texts with a similarity of its own.

    image_size: pixels of a side in training. multiple: what divides the sides of its pictures. context_length: tokens
    of a text. vocabulary: tokens that there are. logit_scale, concept_logit_scale: logarithms of the inverse
    temperatures of captions and of concepts, 0-dimensional.
    """

    def __init__(self, image_size: int, multiple: int, text: TextConfig) -> None:
        super().__init__()
        self.image_size, self.multiple = image_size, multiple
        self.context_length, self.vocabulary = text.context_length, text.vocabulary
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / TEMPERATURE)))
        self.concept_logit_scale = nn.Parameter(torch.tensor(math.log(1 / TEMPERATURE)))

    @abstractmethod
    def encode_image(self, pixels: Tensor) -> Tensor:
        """Normalised pixels [B, 3, H, W] -> features before the head, [B, ...]."""

    @abstractmethod
    def encode_text(self, tokens: Tensor) -> Tensor:
        """Token ids [T, L <= context_length] -> features before the head, [T, width]."""

    @abstractmethod
    def project_image(self, features: Tensor) -> Tensor:
        """Features -> unit vectors: [B, D], or [B, N, D] where every patch has its own."""

    @abstractmethod
    def project_text(self, features: Tensor) -> Tensor:
        """Features -> unit vectors [T, D]."""

    @abstractmethod
    def similarity(self, images: Tensor, texts: Tensor) -> Tensor:
        """Projected images and texts -> [B, T], from -1 to 1."""

    @abstractmethod
    def dense(self, pixels: Tensor) -> DenseFeatures:
        """Normalised pixels [B, 3, H, W] of any size divisible by `multiple` -> regions, without noise or dropout."""

    def health(self) -> dict[str, float]:
        """Figures of the last training forward pass that show a collapse; empty where there is none to see."""
        return {}


@dataclass(frozen=True)
class LearnerKind:
    """A learner that recipes may name.

    config: a frozen dataclass, the recipe's section `model`; it raises MisuseError for sizes that do not go together.
    build: its model with fresh weights from torch's global random state. export: writes a model into a folder in the
    form of transformers; None where it has no place there.
    """

    config: type[Any]
    build: Callable[[Any], Learner]
    export: Callable[[Any, Path], None] | None = None


LEARNERS: Registry[LearnerKind] = Registry("learner", "cocu.learners", room="training.models")


def capped_scale_of(log_scale: Tensor) -> float:
    """What multiplies a cosine before the softmax over classes: exp(log_scale), at most `MAX_SCALE`."""
    return min(float(log_scale.detach().exp()), MAX_SCALE)
