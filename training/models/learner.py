"""What the trainer and the evaluator ask of a model, whichever it is, and the door by which a new one enters.

A learner is one file in this room: a frozen dataclass of its sizes, the model, and one line that adds both to
`LEARNERS`. Recipes name it, with its sizes as their section `model`.

Backbone and head are apart so that a long batch can go through the backbone in pieces while batch
norm, similarity and loss see it whole (training/step/gradient_cache.py).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from files.errors import MisuseError
from files.pictures import MEAN, STD
from files.registry import Registry
from training.models.text_encoder import TextConfig, trim_padding

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


@dataclass(frozen=True)
class ConceptLists:
    """The concepts of B pictures.

    vectors: unit [U, D], of the different concepts of all. weights: [B, U], of each in a picture's list, from 0 (not in
    it) to 1.
    """

    vectors: Tensor
    weights: Tensor


@dataclass(frozen=True)
class OwnLoss:
    """Terms of a weighted mean, each summed over this rank's part of a batch, 0-dimensional.

    total: with gradient, of weight * loss. weight: of the weights. figures: of weight * figure, without gradient.
    """

    total: Tensor
    weight: Tensor
    figures: Mapping[str, Tensor]


class Learner(nn.Module, ABC):
    """A dual encoder of pictures and texts with a similarity of its own.

    image_size: pixels of a side in training. multiple: what divides the sides of its pictures. context_length: tokens
    of a text. vocabulary: tokens that there are. logit_scale, concept_logit_scale: logarithms of the inverse
    temperatures of captions and of concepts, 0-dimensional. mean, std: of its pixels, levels 0 to 1. tokenizer: texts
    -> token ids [T, context_length]; None: CLIP's. frozen: towers that do not learn. takes_lists: whether it is taught
    by `own_loss`, from whole lists of concepts, in place of the losses of a recipe. dense_mode: how its cells are read,
    of those that its tower has.
    """

    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    tokenizer: Callable[[Sequence[str]], Tensor] | None = None
    frozen: tuple[str, ...] = ()
    takes_lists = False
    dense_mode = ""

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

    def towers_by_name(self) -> dict[str, nn.Module]:
        """Its towers as recipes call them; what is in none of them is its head."""
        named = {"image_tower": "image_encoder", "text_tower": "text_encoder"}
        return {name: getattr(self, own) for name, own in named.items() if hasattr(self, own)}

    def freeze(self, towers: Sequence[str]) -> None:
        """Keep these towers as they are, statistics of batch norm and all: no gradient, and always in eval mode."""
        self.frozen = tuple(towers)
        for name in towers:
            self.tower(name).requires_grad_(False).eval()

    def tower(self, name: str) -> nn.Module:
        """The tower that recipes call `name`. Raises MisuseError where there is none."""
        towers = self.towers_by_name()
        if name not in towers:
            raise MisuseError(f"{name}: this learner has no such part; it has {', '.join(towers) or 'none'}")
        return towers[name]

    def train(self, mode: bool = True) -> Self:
        """Training mode for all but what is frozen."""
        super().train(mode)
        for name in self.frozen:
            self.tower(name).eval()
        return self

    def trimmed(self, tokens: Tensor, multiple: int = 1) -> Tensor:
        """Token ids [T, L] without what is padding in all of them, where that changes no feature."""
        return trim_padding(tokens, multiple)

    def own_loss(self, features: Tensor, lists: ConceptLists) -> OwnLoss:
        """What it learns by, where it takes lists: from features of pictures before the head [B, ...]."""
        raise NotImplementedError

    def health(self) -> dict[str, float]:
        """Figures of the last training forward pass that show a collapse; empty where there is none to see."""
        return {}


@dataclass(frozen=True)
class LearnerKind:
    """A learner that recipes may name.

    config: a frozen dataclass, the recipe's section `model`; it raises MisuseError for sizes that do not go together.
    build: its model with fresh weights from torch's global random state.
    """

    config: type[Any]
    build: Callable[[Any], Learner]


LEARNERS: Registry[LearnerKind] = Registry("learner", "cocu.learners", room="training.models")
# What writes a learner into a folder in the form of transformers, by its name; some have no place there.
EXPORTS: Registry[Callable[[Any, Path], None]] = Registry("export", room="training.models")


def capped_scale_of(log_scale: Tensor) -> float:
    """What multiplies a cosine before the softmax over classes: exp(log_scale), at most `MAX_SCALE`."""
    return min(float(log_scale.detach().exp()), MAX_SCALE)
