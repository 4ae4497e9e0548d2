"""Models that segment with words, whichever they are: what the inference asks of them, and how they are loaded.

RUN/best                      a checkpoint of cocu train, either learner
FOLDER or owner/name          GroupViT in Hugging Face's form, on the disk or on the hub
group_vit_....pth             GroupViT's original release
open_clip:NAME[@PRETRAINED]   any CLIP of open_clip, without further training (evaluation/models/dense_clip.py)
local-dir:FOLDER              the same, from a folder in open_clip's form
miniature                     the same: the tiny CLIP that comes with the package

Behind the last three, ?dense=MODE reads their cells in another mode (files/dense_modes.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from files.errors import CocuError, MisuseError
from files.remote_code import trusting
from training.models.groupvit import GroupViT
from training.models.learner import DenseFeatures, Learner, capped_scale_of
from training.models.pretrained import open_clip_name
from training.run.given import load_given

Precision = Literal["fp32", "bf16"]
TEXTS_AT_ONCE = 256
DENSE = "?dense="


class DenseModel(Protocol):
    """What a model computes, on its own device; a Learner does."""

    def dense(self, pixels: Tensor) -> DenseFeatures:
        """Normalised pixels [B, 3, H, W], sides divisible by the segmenter's `multiple` -> regions."""

    def similarity(self, images: Tensor, texts: Tensor) -> Tensor:
        """DenseFeatures.whole and unit vectors of texts [T, D] -> [B, T]."""


@dataclass(frozen=True, eq=False)
class Segmenter:
    """A model that segments with words.

    name: as it was asked for. kind: what it is, in words, for reports. module: where its weights are. encode_texts:
    texts -> unit vectors [T, D]; before_norm: the same before they have unit length, for published figures; None where
    the model has none. mean, std: of its pixels, levels 0 to 1. multiple: what divides the sides of its
    pictures. scale: multiplies a cosine before the softmax over classes.
    """

    name: str
    kind: str
    model: DenseModel
    module: nn.Module
    encode_texts: Callable[[Sequence[str]], Tensor]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    multiple: int
    scale: float
    device: torch.device
    precision: Precision = "fp32"
    before_norm: Callable[[Sequence[str]], Tensor] | None = None
    _embedded: dict[Any, Tensor] = field(default_factory=dict, repr=False)

    @torch.inference_mode()
    def dense(self, pixels: Tensor) -> DenseFeatures:
        """Normalised pixels [B, 3, H, W], sides divisible by `multiple` -> regions."""
        with self._autocast():
            return self.model.dense(pixels)

    @torch.inference_mode()
    def similarity(self, whole: Tensor, texts: Tensor) -> Tensor:
        """DenseFeatures.whole and unit vectors of texts [T, D] -> similarity [B, T], never in half precision."""
        return self.model.similarity(whole, texts)

    @torch.inference_mode()
    def embed_classes(self, prompts: Sequence[Sequence[str]], as_released: bool = False) -> Tensor:
        """Prompts of each class -> its vector, the unit mean of the prompts' unit vectors, [C, D]; kept for next time.

        as_released: the unit mean of the prompts' vectors before they have unit length. Raises ValueError for a class
        without prompts.
        """
        of_classes = tuple(tuple(texts) for texts in prompts)
        if not all(of_classes):
            raise ValueError(f"class {of_classes.index(())} has no prompt")
        encode = self.before_norm if as_released and self.before_norm else self.encode_texts
        key = of_classes, as_released
        if key not in self._embedded:
            texts = list(dict.fromkeys(text for texts in of_classes for text in texts))
            with self._autocast():
                vectors = torch.cat(
                    [encode(texts[start : start + TEXTS_AT_ONCE]) for start in range(0, len(texts), TEXTS_AT_ONCE)]
                )
            of_text = dict(zip(texts, vectors, strict=True))
            means = torch.stack([torch.stack([of_text[text] for text in texts]).mean(dim=0) for texts in of_classes])
            self._embedded[key] = F.normalize(means, dim=1)
        return self._embedded[key]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of names and values of all weights, hexadecimal; equal weights have it whatever file they are in."""
        found = hashlib.sha256()
        for name, value in sorted(self.module.state_dict().items()):
            found.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
            found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return found.hexdigest()

    @property
    def dtype(self) -> torch.dtype:
        """Of its weights, and so of the pixels that it takes."""
        return next(self.module.parameters()).dtype

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")


def load_segmenter(
    name_or_path: str | Path,
    device: str | torch.device = "cpu",
    precision: Precision = "fp32",
    trust_remote_code: bool = False,
    dense: str | None = None,
) -> Segmenter:
    """Load a model by what it is called (see above), in eval mode, onto a device.

    precision: bf16 runs its encoders under autocast; scores are fp32 either way. trust_remote_code: whether Python code
    that comes with a model of open_clip's may run. dense: the dense mode of such a model, as ?dense= has it. Raises
    MisuseError where there is no such model, it is of a kind that does not segment, has no such mode or needs code that
    is not trusted, CocuError where its files are damaged.
    """
    name, device = str(name_or_path), torch.device(device)
    source, dense = asked_mode(name, dense)
    if precision not in ("fp32", "bf16"):
        raise MisuseError(f"precision {precision!r}: give fp32 or bf16")
    if model_name := open_clip_name(source):
        from evaluation.models.dense_clip import load_dense_clip

        clip = load_dense_clip(model_name, device, trust_remote_code, dense)
        return Segmenter(
            name=name,
            kind=clip.kind,
            model=clip,
            module=clip.module,
            encode_texts=clip.encode_texts,
            mean=clip.mean,
            std=clip.std,
            multiple=clip.multiple,
            scale=clip.scale,
            device=device,
            precision=precision,
        )
    if dense is not None:
        raise MisuseError(f"{name}: dense mode {dense}: is for models of open_clip, which were not trained to segment")
    with trusting(trust_remote_code):
        learner, kind = load_given(name)
    return learner_segmenter(learner.to(device), name, kind, precision)


def in_dense_mode(segmenter: Segmenter, mode: str) -> Segmenter:
    """A model of open_clip read in another mode. Raises MisuseError for one that it has not."""
    from evaluation.models.dense_clip import DenseClip

    if not isinstance(segmenter.model, DenseClip):
        raise MisuseError(f"{segmenter.name}: has no dense modes; those are of models of open_clip")
    model = segmenter.model.in_mode(mode)
    return replace(segmenter, model=model, kind=model.kind, multiple=model.multiple)


def dense_modes(segmenter: Segmenter) -> tuple[str, ...]:
    """The dense modes of a model of open_clip. Raises MisuseError for another."""
    from evaluation.models.dense_clip import DenseClip

    if not isinstance(segmenter.model, DenseClip):
        raise MisuseError(f"{segmenter.name}: has no dense modes; those are of models of open_clip")
    return segmenter.model.modes


def asked_mode(name: str, dense: str | None = None) -> tuple[str, str | None]:
    """A model's name without ?dense=MODE, and the mode, from there or `dense`. Raises MisuseError if they differ."""
    source, mark, mode = name.rpartition(DENSE)
    if not mark or Path(name).exists():
        return name, dense
    if dense not in (None, mode):
        raise MisuseError(f"{name}: asks for the dense mode {mode}, and --dense for {dense}; give one of them")
    return source, mode


def learner_segmenter(learner: Learner, name: str, kind: str = "", precision: Precision = "fp32") -> Segmenter:
    """A segmenter of a learner where it is, whose mode is left alone; make another when it has learnt more.

    Raises CocuError for a vocabulary that is not CLIP's where it brings no tokenizer.
    """
    clips = SimpleTokenizer(context_length=learner.context_length)
    tokenizer, device = learner.tokenizer or clips, learner.logit_scale.device
    if not learner.tokenizer and learner.vocabulary != clips.vocab_size:
        raise CocuError(
            f"{name}: its vocabulary has {learner.vocabulary} tokens, CLIP's {clips.vocab_size}; "
            "no text can be put to it"
        )

    def encoded(project: Callable[[Tensor], Tensor], texts: Sequence[str]) -> Tensor:
        tokens = learner.trimmed(tokenizer(list(texts))).to(device)
        training = learner.training
        learner.eval()
        try:
            return project(learner.encode_text(tokens))
        finally:
            learner.train(training)

    return Segmenter(
        name=name,
        kind=kind or type(learner).__name__,
        model=learner,
        module=learner,
        encode_texts=partial(encoded, learner.project_text),
        before_norm=partial(encoded, learner.text_head.before_norm) if isinstance(learner, GroupViT) else None,
        mean=learner.mean,
        std=learner.std,
        multiple=learner.multiple,
        scale=capped_scale_of(learner.logit_scale),
        device=device,
        precision=precision,
    )
