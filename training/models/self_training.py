"""Self-training: the cells of a CLIP learn the labels that it gives itself, told what each picture shows.

A cell's label is a concept of its own picture's list: a pseudo-label (Lee, 2013), by the learner's state at that very
step, as in hard EM. From the probabilities of the list's concepts in every cell, each concept is first divided by its
mean over the picture: what is listed is taken to be somewhere, so it gets the cells that speak for it most, and what is
faint everywhere is not drowned by what is strong everywhere. Then it is multiplied by its weight in the list. All
concepts of the batch are what the cell learns to tell its label from, so that at test no list is needed.

At the start the head adds nothing, and the labels are those of the CLIP without training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from files.errors import MisuseError
from training.models.clip_learner import ClipLearner
from training.models.clip_towers import ClipTowers
from training.models.learner import (
    LEARNERS,
    ConceptLists,
    LearnerKind,
    OwnLoss,
    capped_scale_of,
)

LEAST_MEAN = 1e-8  # of a concept over a picture


@dataclass(frozen=True)
class SelfTrainingConfig:
    """Sizes and rules of self-training.

    towers: what the CLIP is like, as in its open_clip_config.json; null: as the one that the run begins with (init).
    dense: how cells are read, a mode of files/dense_modes.py; null: as is best for such a tower. image_size: pixels of
    a side in training; null: those of the CLIP. hidden: width of the head's MLP. presence: how far a concept's mean
    over its picture is divided out, from 0 (not) to 1. same: cosine of two texts from which neither is a negative of
    the other.
    """

    towers: dict[str, Any] | None = None
    dense: str | None = None
    image_size: int | None = None
    hidden: int = 256
    presence: float = 1.0
    same: float = 0.95

    def __post_init__(self) -> None:
        if self.hidden < 1 or (self.image_size is not None and self.image_size < 1):
            raise MisuseError(f"self-training: hidden {self.hidden} and image_size must be 1 or more")
        if not 0 <= self.presence <= 1:
            raise MisuseError(f"self-training: presence {self.presence} must lie in [0, 1]")
        if not 0 < self.same <= 1:
            raise MisuseError(f"self-training: same {self.same} must be above 0 and at most 1")


class SelfTraining(ClipLearner):
    """A CLIP's towers, and a head that moves its cells."""

    takes_lists = True

    def __init__(self, config: SelfTrainingConfig) -> None:
        super().__init__(ClipTowers.of(config.towers, config.dense), config.image_size, config.hidden)
        self.config = config
        for scale in (self.logit_scale, self.concept_logit_scale):
            scale.requires_grad_(False)  # the CLIP's own: with labels of one's own, a sharper one is always better

    def similarity(self, images: Tensor, texts: Tensor) -> Tensor:
        """Unit vectors of pictures [B, D] and of texts [T, D] -> [B, T]: the CLIP's own."""
        return images @ texts.mT

    def own_loss(self, features: Tensor, lists: ConceptLists) -> OwnLoss:
        """Cross-entropy of the cells over the batch's concepts, each weighted by how sure its label is.

        agreement: of the cells, how many have their label for the nearest of all concepts.
        """
        cells = self.project_image(features)
        logits = capped_scale_of(self.logit_scale) * (cells @ lists.vectors.mT)
        with torch.no_grad():
            labels, sure = list_labels(logits.detach(), lists.weights, self.config.presence)
            alike = (lists.vectors @ lists.vectors.mT > self.config.same).fill_diagonal_(False)
        logits = logits.flatten(0, 1).masked_fill(alike[labels.flatten()], -torch.inf)
        losses = F.cross_entropy(logits, labels.flatten(), reduction="none").view_as(sure)
        right = logits.detach().argmax(dim=1).view_as(labels) == labels
        return OwnLoss((sure * losses).sum(), sure.sum(), {"agreement": (sure * right).sum()})


def list_labels(logits: Tensor, weights: Tensor, presence: float = 1.0) -> tuple[Tensor, Tensor]:
    """Logits of cells [B, N, U], weights of U concepts in each picture's list [B, U] -> labels int64 [B, N], how sure.

    p = softmax over the list's concepts; q = p / mean of p over the picture's cells ** presence * weight, made to sum
    to 1 over the list; the label is the best of q, and q how sure it is. 0 where a list is empty.
    """
    listed = weights > 0
    probability = logits.masked_fill(~listed[:, None], -torch.inf).softmax(dim=2).nan_to_num()
    means = probability.mean(dim=1, keepdim=True).clamp(min=LEAST_MEAN)
    shares = probability / means**presence * weights[:, None]
    sure, labels = (shares / shares.sum(dim=2, keepdim=True).clamp(min=LEAST_MEAN)).max(dim=2)
    return labels, sure


LEARNERS.add("self-training", LearnerKind(SelfTrainingConfig, SelfTraining))
