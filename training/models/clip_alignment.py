"""Patch alignment on the towers of a CLIP: cells of its dense features, moved by a head that learns.

At the start the head adds nothing, and the learner says what the CLIP says without training (files/dense_towers.py).
From there the loss of patch alignment (training/models/patch_alignment.py) moves the cells towards the texts that speak
of them: of the head alone where the towers are frozen, as in PACL (Mukhoti et al., CVPR 2023), else of the towers too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from files.errors import MisuseError
from training.models.clip_towers import ClipTowers
from training.models.learner import LEARNERS, DenseFeatures, Learner, LearnerKind
from training.models.patch_alignment import HIGHEST_TEMPERATURE, pooled_similarity, unit
from training.models.text_encoder import TextConfig
from training.models.transformer import MLP


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


class ClipAlignment(Learner):
    """A CLIP's towers and a head over its cells."""

    def __init__(self, config: ClipAlignmentConfig) -> None:
        towers = ClipTowers.of(config.towers, config.dense)
        size = config.image_size or towers.image_size
        if size % towers.multiple:
            raise MisuseError(f"clip alignment: image_size {size} must be a multiple of the towers' {towers.multiple}")
        super().__init__(size, towers.multiple, TextConfig(towers.vocabulary, towers.context_length))
        self.config, self.towers, self.dense_mode = config, towers, towers.mode
        self.mean, self.std, self.tokenizer = towers.mean, towers.std, towers.tokenizer
        self.head = CellHead(towers.width, config.hidden) if config.hidden else nn.Identity()
        self._last_means: Tensor | None = None

    def towers_by_name(self) -> dict[str, nn.Module]:
        """The CLIP's two."""
        return {"image_tower": self.towers.visual, "text_tower": self.towers.text}

    def trimmed(self, tokens: Tensor, multiple: int = 1) -> Tensor:
        """Token ids [T, L] without what is padding in all of them, where that changes no feature."""
        return self.towers.trimmed(tokens, multiple)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Normalised pixels [B, 3, H, W] -> features of cells row by row, [B, N, width]."""
        return self.towers.cells(pixels)[0]

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Token ids [T, L <= context_length] -> features [T, width]."""
        return self.towers.texts(tokens)

    def project_image(self, features: Tensor) -> Tensor:
        """Features of cells [B, N, width] -> unit vectors [B, N, width]."""
        cells = unit(self.head(features))
        if self.training:
            self._last_means = cells.detach().mean(dim=1)
        return cells

    def project_text(self, features: Tensor) -> Tensor:
        """Features [T, width] -> unit vectors."""
        return unit(features)

    def similarity(self, images: Tensor, texts: Tensor) -> Tensor:
        """Unit vectors of cells [B, N, D] and of texts [T, D] -> [B, T], as in patch alignment.

        Of whole pictures, [B, D]: cosines, the CLIP's own.
        """
        if images.ndim == 2:
            return images @ texts.mT
        with torch.autocast(images.device.type, enabled=False):
            return pooled_similarity(images, texts, self.config.temperature)

    @torch.no_grad()
    def dense(self, pixels: Tensor) -> DenseFeatures:
        """Normalised pixels [B, 3, H, W], sides divisible by `multiple` -> a region of each cell."""
        training = self.training
        self.eval()
        try:
            features, grid, whole = self.towers.views(pixels)
            vectors = self.project_image(features)
        finally:
            self.train(training)
        return DenseFeatures(vectors, grid, maps=None, whole=vectors if self.config.whole == "cells" else unit(whole))

    def health(self) -> dict[str, float]:
        """patch_agreement: mean cosine of two cells of a picture, in the last training pass; 1 when all are alike."""
        if self._last_means is None:
            return {}
        return {"patch_agreement": float(self._last_means.square().sum(dim=-1).mean())}


class CellHead(nn.Module):
    """x + MLP(norm(x)), the MLP zero at the start, its result on the scale of x."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mlp = MLP(width, hidden, width, F.gelu)
        nn.init.zeros_(self.mlp.down.weight)
        nn.init.zeros_(self.mlp.down.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] -> [..., width]."""
        return unit(x) + self.mlp(self.norm(x))


LEARNERS.add("clip-alignment", LearnerKind(ClipAlignmentConfig, ClipAlignment))
