"""A CLIP of open_clip as a segmenter without further training, by its dense features (files/dense_towers.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from files.dense_modes import read_mode
from files.dense_towers import Tower, default_mode, dense_tower, modes_of
from training.models.learner import DenseFeatures, capped_scale_of
from training.models.pretrained import TextTokenizer, load_open_clip
from training.models.transformer import attend


@dataclass(frozen=True, eq=False)
class DenseClip:
    """A CLIP whose cells are compared with texts; every cell is its own region.

    name: what errors call it. tower: its dense features in a mode of files/dense_modes.py. kind: what they are, in
    words. image_size: pixels of a side in its training. multiple: what divides the sides of its pictures.
    """

    name: str
    module: nn.Module
    mode: str
    tower: Tower
    tokenizer: TextTokenizer
    kind: str
    image_size: int
    multiple: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def dense(self, pixels: Tensor) -> DenseFeatures:
        """Normalised pixels [B, 3, H, W] -> a unit vector of every cell."""
        cells, grid, whole = self.tower(pixels)
        return DenseFeatures(_unit(cells), grid, maps=None, whole=_unit(whole))

    @property
    def modes(self) -> tuple[str, ...]:
        """The dense modes that it has."""
        model: Any = self.module
        return modes_of(model.visual)

    def in_mode(self, mode: str) -> DenseClip:
        """The same model, read in another mode. Raises MisuseError for one that its tower has not."""
        model: Any = self.module
        tower, how, multiple = dense_tower(model.visual, self.name, attend, mode)
        return replace(self, mode=mode, tower=tower, kind=_kind(how), multiple=multiple)

    def similarity(self, images: Tensor, texts: Tensor) -> Tensor:
        """Unit vectors [B, D], [T, D] -> cosines [B, T]."""
        return images @ texts.mT

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Texts -> unit vectors [T, D]."""
        model: Any = self.module
        return _unit(model.encode_text(self.tokenizer(list(texts)).to(model.logit_scale.device)))

    @property
    def scale(self) -> float:
        """What multiplies a cosine before the softmax over classes: CLIP's own, at most 100."""
        model: Any = self.module
        return capped_scale_of(model.logit_scale)


def load_dense_clip(
    name: str, device: torch.device, trust_remote_code: bool = False, mode: str | None = None
) -> DenseClip:
    """A model of open_clip, in eval mode: NAME@PRETRAINED (a tag or a file), local-dir:FOLDER, hf-hub:NAME.

    trust_remote_code: whether Python code that comes with it may run. mode: of files/dense_modes.py; None: the one for
    its kind of tower. Raises MisuseError for a name that leads nowhere, code that is not trusted, or a tower without
    dense features or the mode, CocuError for weights that cannot be had or read.
    """
    if mode is not None:
        read_mode(mode)  # one that nobody has is told before the weights are read
    clip = load_open_clip(name, device, trust_remote_code)
    # Channels last: convolutions on the CPU take half the time; transformers do not care.
    model: Any = clip.model.to(memory_format=torch.channels_last)
    mode = mode or default_mode(model.visual)
    tower, how, multiple = dense_tower(model.visual, f"open_clip:{name}", attend, mode)
    return DenseClip(
        name=f"open_clip:{name}",
        module=model,
        mode=mode,
        tower=tower,
        tokenizer=clip.tokenizer,
        kind=_kind(how),
        image_size=clip.image_size,
        multiple=multiple,
        mean=clip.mean,
        std=clip.std,
    )


def _kind(how: str) -> str:
    return f"open_clip, not trained further: {how}"


def _unit(x: Tensor) -> Tensor:
    """Unit vectors, of half precision ones in fp32."""
    return F.normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=-1)
