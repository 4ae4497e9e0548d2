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
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol

import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from data_cards.miniature.clip import built_in
from files.errors import CocuError, MisuseError
from files.pictures import MEAN, STD
from training.models.groupvit_weights import load_huggingface, load_original
from training.models.learner import DenseFeatures, Learner, capped_scale_of
from training.models.text_encoder import trim_padding
from training.run.checkpoint import CONFIG, WEIGHTS, load_learner, near, no_checkpoint, what_to_give

Precision = Literal["fp32", "bf16"]
TEXTS_AT_ONCE = 256
DENSE = "?dense="
# The release's files, as torch saves them.
TORCH_SUFFIXES = (".pth", ".pt")


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
    texts -> unit vectors [T, D]. mean, std: of its pixels, levels 0 to 1. multiple: what divides the sides of its
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
    _embedded: dict[tuple[tuple[str, ...], ...], Tensor] = field(default_factory=dict, repr=False)

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
    def embed_classes(self, prompts: Sequence[Sequence[str]]) -> Tensor:
        """Prompts of each class -> its vector, the unit mean of the prompts' unit vectors, [C, D]; kept for next time.

        Raises ValueError for a class without prompts.
        """
        key = tuple(tuple(texts) for texts in prompts)
        if not all(key):
            raise ValueError(f"class {key.index(())} has no prompt")
        if key not in self._embedded:
            texts = list(dict.fromkeys(text for texts in key for text in texts))
            with self._autocast():
                vectors = torch.cat(
                    [
                        self.encode_texts(texts[start : start + TEXTS_AT_ONCE])
                        for start in range(0, len(texts), TEXTS_AT_ONCE)
                    ]
                )
            of_text = dict(zip(texts, vectors, strict=True))
            means = torch.stack([torch.stack([of_text[text] for text in texts]).mean(dim=0) for texts in key])
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
    if model_name := _open_clip_name(source):
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
    learner, kind = _learner(name)
    return learner_segmenter(learner.to(device), name, kind, precision)


def in_dense_mode(segmenter: Segmenter, mode: str) -> Segmenter:
    """A model of open_clip read in another mode. Raises MisuseError for one that it has not."""
    from evaluation.models.dense_clip import DenseClip

    if not isinstance(segmenter.model, DenseClip):
        raise MisuseError(f"{segmenter.name}: has no dense modes; those are of models of open_clip")
    model = segmenter.model.in_mode(mode)
    return replace(segmenter, model=model, kind=model.kind, multiple=model.multiple)


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

    Raises CocuError for a vocabulary that is not CLIP's.
    """
    tokenizer = SimpleTokenizer(context_length=learner.context_length)
    device = learner.logit_scale.device
    if learner.vocabulary != tokenizer.vocab_size:
        raise CocuError(
            f"{name}: its vocabulary has {learner.vocabulary} tokens, CLIP's {tokenizer.vocab_size}; "
            "no text can be put to it"
        )

    def encode_texts(texts: Sequence[str]) -> Tensor:
        tokens = trim_padding(tokenizer(list(texts))).to(device)
        training = learner.training
        learner.eval()
        try:
            return learner.project_text(learner.encode_text(tokens))
        finally:
            learner.train(training)

    return Segmenter(
        name=name,
        kind=kind or type(learner).__name__,
        model=learner,
        module=learner,
        encode_texts=encode_texts,
        mean=MEAN,
        std=STD,
        multiple=learner.multiple,
        scale=capped_scale_of(learner.logit_scale),
        device=device,
        precision=precision,
    )


def _open_clip_name(name: str) -> str | None:
    """How open_clip calls it, or None where it is none of open_clip's."""
    if name == built_in.NAME:
        return f"local-dir:{built_in.FOLDER}"
    if name.startswith("open_clip:"):
        return name.removeprefix("open_clip:")
    if name.startswith("local-dir:"):
        return name
    if (Path(name) / "open_clip_config.json").is_file():
        return f"local-dir:{name}"
    return None


def _learner(name: str) -> tuple[Learner, str]:
    """A learner on the CPU in eval mode, and what it is. Raises MisuseError for a path that holds something else."""
    path = Path(name)
    if path.is_dir():
        if (path / CONFIG).is_file() and (path / WEIGHTS).is_file():
            learner, recipe = load_learner(path)
            return learner, f"{recipe.learner}, concepts: {recipe.concepts}"
        if (path / "config.json").is_file():
            return load_huggingface(path), "GroupViT, Hugging Face's form"
        raise MisuseError(f"{path}: {_what_is_in(path)}")
    if path.is_file():
        if path.suffix in TORCH_SUFFIXES:
            return load_original(path), "GroupViT, the original release's form"
        raise MisuseError(
            f"{path}: is a file, not a checkpoint; give the folder of a checkpoint (RUN/best), or a file .pth of the "
            "GroupViT release"
        )
    if near(path):
        raise no_checkpoint(path, WEIGHTS)
    if name.count("/") == 1 and not path.suffix and not name.startswith((".", "/", "~")):
        return load_huggingface(name), "GroupViT, Hugging Face's form"
    raise MisuseError(
        f"{name}: there is no such folder or file, and it is no model's name; give a checkpoint (RUN/best), a folder "
        "or a name (owner/name) of a GroupViT on Hugging Face, a file .pth of the GroupViT release, "
        "open_clip:NAME[@PRETRAINED], local-dir:FOLDER, or miniature"
    )


def _what_is_in(folder: Path) -> str:
    """What a folder that is no checkpoint is instead, and what to give."""
    if (folder / "best").is_dir() or (folder / "checkpoints").is_dir():
        return f"is the folder of a run; {what_to_give(folder)}"
    if (folder / CONFIG).is_file():
        return f"is no checkpoint, it has {CONFIG} but no {WEIGHTS}; {what_to_give(folder)}"
    found = sorted(one.name for one in folder.iterdir())
    named = (
        f"it has {', '.join(found[:4])}{f' and {len(found) - 4} more' if len(found) > 4 else ''}"
        if found
        else "it is empty"
    )
    return (
        f"is no checkpoint, {named}; expected {WEIGHTS} with {CONFIG} (cocu train), with config.json (GroupViT on "
        "Hugging Face), or open_clip_config.json"
    )
