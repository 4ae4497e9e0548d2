"""A CLIP of open_clip as a segmenter without further training, by its dense features (files/dense_towers.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from files.dense_modes import DENSE_MODES
from files.dense_towers import Tower, default_mode, dense_tower, modes_of
from files.errors import CocuError, MisuseError
from files.quick_gelu import wants_quick_gelu
from files.remote_code import remote_code
from training.models.learner import DenseFeatures, capped_scale_of
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
    tokenizer: Callable[[list[str]], Tensor]
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
    import open_clip

    if mode is not None:
        DENSE_MODES[mode]  # a mode that nobody has is told before the weights are read
    model_name, pretrained = _named(name)
    try:
        with remote_code(trust_remote_code):
            # From pretrained: else a folder without weights gives a random model.
            given = {"device": device, "return_transform": False}
            given["force_quick_gelu"] = wants_quick_gelu(model_name, pretrained)
            model = open_clip.create_model_from_pretrained(model_name, pretrained, **given)
            tokenizer = open_clip.get_tokenizer(model_name)
    except CocuError:
        raise
    except Exception as error:  # open_clip and the hub raise dozens of kinds
        local = name.removeprefix("local-dir:") if name.startswith("local-dir:") else pretrained
        advice = "without a network give a checkpoint file, open_clip:NAME@FILE, or a folder, local-dir:FOLDER"
        if local and Path(local).exists():
            advice = f"{local}: is damaged, incomplete or of another model; fetch or copy it again, or give another"
        said = "no weights that torch can read" if isinstance(error, UnpicklingError) else " ".join(str(error).split())
        raise CocuError(
            f"{name if name.startswith('local-dir:') else f'open_clip:{name}'}: cannot be loaded "
            f"({type(error).__name__}: {said[:300]}); {advice}"
        ) from error
    preprocessing = open_clip.get_model_preprocess_cfg(model)
    # Channels last: convolutions on the CPU take half the time; transformers do not care.
    model = model.to(memory_format=torch.channels_last).eval()
    mode = mode or default_mode(model.visual)
    tower, how, multiple = dense_tower(model.visual, f"open_clip:{name}", attend, mode)
    return DenseClip(
        name=f"open_clip:{name}",
        module=model,
        mode=mode,
        tower=tower,
        tokenizer=tokenizer,
        kind=_kind(how),
        image_size=min(size) if isinstance(size := preprocessing["size"], tuple | list) else size,
        multiple=multiple,
        mean=tuple(preprocessing["mean"]),
        std=tuple(preprocessing["std"]),
    )


def _kind(how: str) -> str:
    return f"open_clip, not trained further: {how}"


def _unit(x: Tensor) -> Tensor:
    """Unit vectors, of half precision ones in fp32."""
    return F.normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=-1)


def _named(name: str) -> tuple[str, str | None]:
    """(model, pretrained) as open_clip takes them. Raises MisuseError for names that it does not know."""
    import open_clip

    if name.startswith("hf-hub:"):
        return name, None
    if name.startswith("local-dir:"):
        folder = Path(name.removeprefix("local-dir:"))
        if not (folder / "open_clip_config.json").is_file():
            raise MisuseError(f"{name}: no folder with open_clip_config.json in it")
        return name, None
    model, _, pretrained = name.partition("@")
    if model not in open_clip.list_models():
        raise MisuseError(f"open_clip:{name}: open_clip knows no model {model!r}; see open_clip.list_models()")
    known = open_clip.list_pretrained_tags_by_model(model)
    if pretrained not in known and not Path(pretrained).is_file():
        said = f"no weights {pretrained!r}" if pretrained else "no weights are named"
        there = f"give one of {', '.join(known)}, or a file" if known else "give a checkpoint file"
        raise MisuseError(f"open_clip:{name}: {said}; {there}, as open_clip:{model}@WEIGHTS")
    return model, pretrained
