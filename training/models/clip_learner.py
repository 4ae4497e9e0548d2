"""What learners on the towers of a CLIP share: cells of its dense features, moved by a head that learns.

At the start the head adds nothing, and the learner says what the CLIP says without training (files/dense_towers.py).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from files.errors import MisuseError
from training.models.clip_towers import ClipTowers
from training.models.learner import DenseFeatures, Learner
from training.models.patch_alignment import unit
from training.models.text_encoder import TextConfig
from training.models.transformer import MLP


class ClipLearner(Learner):
    """A CLIP's towers and a head over its cells; which losses move it is for those that derive from it.

    image_size: pixels of a side in training; None: those of the CLIP. hidden: width of the head's MLP; 0: there is no
    head. Raises MisuseError for a size that the towers cannot take.
    """

    def __init__(self, towers: ClipTowers, image_size: int | None, hidden: int) -> None:
        size = image_size or towers.image_size
        if size % towers.multiple:
            raise MisuseError(f"model.image_size {size} must be a multiple of the towers' {towers.multiple}")
        super().__init__(size, towers.multiple, TextConfig(towers.vocabulary, towers.context_length))
        self.towers, self.dense_mode = towers, towers.mode
        self.mean, self.std, self.tokenizer = towers.mean, towers.std, towers.tokenizer
        self.head = CellHead(towers.width, hidden) if hidden else nn.Identity()

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
        """Token ids [T, L <= context_length] -> features [T, width]; equal texts go through the tower once."""
        different, place = tokens.unique(dim=0, return_inverse=True)
        return self.towers.texts(different)[place]

    def project_image(self, features: Tensor) -> Tensor:
        """Features of cells [B, N, width] -> unit vectors [B, N, width]."""
        return unit(self.head(features))

    def project_text(self, features: Tensor) -> Tensor:
        """Features [T, width] -> unit vectors."""
        return unit(features)

    def whole(self, cells: Tensor, vectors: Tensor) -> Tensor:
        """A picture as a whole, as `similarity` takes it: its own of the CLIP's vectors [B, width], here."""
        return vectors

    @torch.no_grad()
    def dense(self, pixels: Tensor) -> DenseFeatures:
        """Normalised pixels [B, 3, H, W], sides divisible by `multiple` -> a region of each cell."""
        training = self.training
        self.eval()
        try:
            features, grid, vectors = self.towers.views(pixels)
            cells = self.project_image(features)
            return DenseFeatures(cells, grid, maps=None, whole=self.whole(cells, unit(vectors)))
        finally:
            self.train(training)


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
