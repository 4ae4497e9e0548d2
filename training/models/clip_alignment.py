"""Patch alignment on the towers of a CLIP: cells of its dense features, moved by a head that learns.

At the start the head adds nothing, and the learner says what the CLIP says without training (files/dense_towers.py).
From there the loss of patch alignment (training/models/patch_alignment.py) moves the cells towards the texts that speak
of them: of the head alone where the towers are frozen, as in PACL (Mukhoti et al., CVPR 2023), else of the towers too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from files.errors import MisuseError
from training.models.clip_learner import ClipLearner
from training.models.clip_towers import ClipTowers
from training.models.learner import LEARNERS, LearnerKind
from training.models.patch_alignment import HIGHEST_TEMPERATURE, pooled_similarity


@dataclass(frozen=True)
class ClipAlignmentConfig:
    """Sizes of patch alignment on a CLIP.

    towers: what the CLIP is like, as in its open_clip_config.json; null: as the one that the run begins with (init).
    dense: how its cells are read, a mode of files/dense_modes.py; null: as is best for such a tower. image_size: pixels
    of a side in training; null: those of the CLIP. hidden: width of the head's MLP; 0: there is no head. temperature:
    multiplies cell·text in the softmax over cells. whole: what tells the classes of a whole picture, the CLIP's own
    vector (clip) or the pooled cells (cells).
    """

    towers: dict[str, Any] | None = None
    dense: str | None = None
    image_size: int | None = None
    hidden: int = 512
    temperature: float = 10.0
    whole: Literal["clip", "cells"] = "clip"

    def __post_init__(self) -> None:
        if self.hidden < 0 or (self.image_size is not None and self.image_size < 1):
            raise MisuseError(f"clip alignment: hidden {self.hidden} must not be negative, image_size 1 or more")
        if not 0 < self.temperature <= HIGHEST_TEMPERATURE:
            raise MisuseError(
                f"clip alignment: temperature {self.temperature} must be above 0 and at most {HIGHEST_TEMPERATURE:g}"
            )


class ClipAlignment(ClipLearner):
    """A CLIP's towers and a head over its cells."""

    def __init__(self, config: ClipAlignmentConfig) -> None:
        super().__init__(ClipTowers.of(config.towers, config.dense), config.image_size, config.hidden)
        self.config = config
        self._last_means: Tensor | None = None

    def project_image(self, features: Tensor) -> Tensor:
        """Features of cells [B, N, width] -> unit vectors [B, N, width]."""
        cells = super().project_image(features)
        if self.training:
            self._last_means = cells.detach().mean(dim=1)
        return cells

    def similarity(self, images: Tensor, texts: Tensor) -> Tensor:
        """Unit vectors of cells [B, N, D] and of texts [T, D] -> [B, T], as in patch alignment.

        Of whole pictures, [B, D]: cosines, the CLIP's own.
        """
        if images.ndim == 2:
            return images @ texts.mT
        with torch.autocast(images.device.type, enabled=False):
            return pooled_similarity(images, texts, self.config.temperature)

    def whole(self, cells: Tensor, vectors: Tensor) -> Tensor:
        """A picture as a whole: all of its cells, or the CLIP's vector, as the recipe has it."""
        return cells if self.config.whole == "cells" else vectors

    def health(self) -> dict[str, float]:
        """patch_agreement: mean cosine of two cells of a picture, in the last training pass; 1 when all are alike."""
        if self._last_means is None:
            return {}
        return {"patch_agreement": float(self._last_means.square().sum(dim=-1).mean())}


LEARNERS.add("clip-alignment", LearnerKind(ClipAlignmentConfig, ClipAlignment))
