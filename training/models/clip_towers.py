"""The two towers of a CLIP inside a learner of ours: features of cells and of texts, in the space that they share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from files.dense_towers import Tower, default_mode, dense_tower
from files.errors import MisuseError
from training.models.pretrained import Form, PretrainedClip, build_open_clip
from training.models.transformer import attend


class ClipTowers(nn.Module):
    """A CLIP's image tower `visual` and text tower `text`, with fresh weights until `begin_from` gives them its own.

    image_size: pixels of a side in its training. multiple: what divides the sides of its pictures. width: dimensions of
    the space of cells and texts. mean, std: of its pixels. tokenizer: texts -> token ids [T, context_length]. mode: how
    cells are read (files/dense_modes.py); None: as is best for its kind of tower.
    """

    def __init__(self, form: Form, mode: str | None = None) -> None:
        super().__init__()
        clip = build_open_clip(form)
        model: Any = clip.model
        self.mode = mode or default_mode(model.visual)
        self.visual, self.text = model.visual, model.text
        self.image_size, self.mean, self.std = clip.image_size, clip.mean, clip.std
        self.tokenizer, self._padding = clip.tokenizer, _padding(model.text)
        self.width = int(form["model_cfg"]["embed_dim"])
        self.context_length = int(form["model_cfg"]["text_cfg"].get("context_length", 77))
        self.vocabulary = int(model.text.vocab_size)
        self._read, self.multiple = self._reader()

    @classmethod
    def of(cls, form: Form | None, mode: str | None = None) -> ClipTowers:
        """Towers of a recipe's section `model`. Raises MisuseError where it does not say of which kind."""
        if form is None:
            raise MisuseError(
                "model.towers is not given: name the CLIP to begin with, such as init: miniature, "
                "local-dir:FOLDER or open_clip:NAME@WEIGHTS (or --init)"
            )
        return cls(form, mode)

    def save_text_form(self, folder: Path) -> None:
        """Write what a text tower and a tokenizer of transformers are rebuilt from, besides the form."""
        parts: list[Any] = [getattr(self.text, "config", None), getattr(self.tokenizer, "tokenizer", None)]
        for part in parts:
            if hasattr(part, "save_pretrained"):
                part.save_pretrained(folder)

    def begin_from(self, clip: PretrainedClip) -> None:
        """Take the weights of a CLIP of the same form, loaded with `custom_text`."""
        model: Any = clip.model
        self.visual.load_state_dict(model.visual.state_dict())
        self.text.load_state_dict(model.text.state_dict())

    def cells(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Normalised pixels [B, 3, H, W] -> features of cells row by row [B, h * w, width], not unit, and (h, w)."""
        cells, grid, _ = self.views(pixels)
        return cells, grid

    def views(self, pixels: Tensor) -> tuple[Tensor, tuple[int, int], Tensor]:
        """As `cells`, and vectors of the pictures as wholes, [B, width], not unit."""
        if self._read[1] != id(self.visual):  # this module is a copy
            self._read, _ = self._reader()
        return self._read[0](pixels)

    def texts(self, tokens: Tensor) -> Tensor:
        """Token ids [T, L <= context_length] -> features [T, width], not unit."""
        text: Any = self.text
        mask = getattr(text, "attn_mask", None)
        if mask is None or mask.ndim != 2 or tokens.shape[1] >= len(mask):
            found = text(tokens)
        else:  # it holds a mask of its full length; texts cut shorter need a part of it
            text.attn_mask = mask[: tokens.shape[1], : tokens.shape[1]]
            try:
                found = text(tokens)
            finally:
                text.attn_mask = mask
        return found[0] if isinstance(found, tuple) else found

    def trimmed(self, tokens: Tensor, multiple: int = 1) -> Tensor:
        """Token ids [T, L] without what is padding in all of them, where that changes no feature; a multiple long."""
        if self._padding is None or not len(tokens):
            return tokens
        used = int((tokens != self._padding).any(dim=0).nonzero().max()) + 1
        return tokens[:, : -(-used // multiple) * multiple]

    def _reader(self) -> tuple[tuple[Tower, int], int]:
        """What reads cells, with the identity of the tower of which it does, and what divides its pictures' sides."""
        training = self.visual.training
        self.visual.eval()  # it may be tried on a picture, of which batch norm is to keep nothing
        try:
            tower, _, multiple = dense_tower(self.visual, "model.towers", attend, self.mode)
        finally:
            self.visual.train(training)
        return (tower, id(self.visual)), multiple


def _padding(text: Any) -> int | None:
    """What stands behind a text's end, where attention never looks at it: causal towers, and those with a mask."""
    if hasattr(text, "config"):  # of transformers
        return int(text.config.pad_token_id or 0)
    if getattr(text, "attn_mask", None) is not None and text.cls_emb is None and text.pool_type in ("argmax", "eos"):
        return int(text.pad_id)
    return None
