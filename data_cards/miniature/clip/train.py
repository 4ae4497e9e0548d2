"""Train the tiny CLIP of the miniature: `python -m data_cards.miniature.clip.train --out FOLDER`.

It plays the part that a CLIP of 400 million pairs plays outside: it has seen other pictures of this world, with
captions that name whatever is to be seen. Two losses share a step. The captions' is CLIP's own, except that a caption
weighs little as a negative of a picture that shows every class it names. The classes' asks of every picture and every
"a photo of a {class}", by any of the class's words, whether the one shows the other (SigLIP's sigmoid loss): that is
what the model is for, and what a large CLIP learns from very many captions.

What comes out is an ordinary open_clip model, a folder for `--model local-dir:FOLDER`, with its model card.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import Optimizer

from data_cards.cards import Card, read_card
from data_cards.miniature.captions.writer import VISIBLE
from data_cards.miniature.clip.card import Training, write_card
from data_cards.miniature.clip.measures import ClipFigures, measure
from data_cards.miniature.clip.pairs import ClipPairs, DrawnSource, draw_pairs, tokenise
from data_cards.miniature.pairs import check_request
from data_cards.prompt import PROMPT
from files.errors import MisuseError

MODEL: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {
        "image_size": 64,
        "patch_size": 8,
        "width": 128,
        "layers": 6,
        "head_width": 32,
        "pool_type": "avg",
    },
    # The embeddings of CLIP's 49,408 tokens are most of the weights, hence so narrow a text tower.
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 48, "heads": 3, "layers": 3},
}
PREPROCESSING = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic", "resize_mode": "shortest"}
HIGHEST_SCALE = 100.0
WITHOUT_PATCH_DROPOUT = 0.2  # share of the steps, the last ones
HELD_OUT = 1000
HELD_OUT_SEED = 1


@dataclass(frozen=True)
class ClipRecipe:
    """How the model is trained.

    pairs: pictures to draw, each seen `epochs` times. captions: of a picture in a step. learning_rate: of Muon, for
    the matrices of the blocks; other_rate: of AdamW, for all else. class_weight: of the classes' loss beside the
    captions'. near_weight: of a negative that names nothing but what the picture shows, where any other weighs 1.
    patch_dropout: share of the patches left out in all steps but the last. pool: what a picture's vector is made of,
    the mean of its patches (avg) or a class token (tok).
    """

    pairs: int = 60_000
    epochs: float = 4.0
    batch_size: int = 128
    captions: int = 2
    learning_rate: float = 0.02
    other_rate: float = 0.003
    weight_decay: float = 0.05
    warmup_steps: int = 50
    class_weight: float = 0.25
    near_weight: float = 0.1
    patch_dropout: float = 0.0
    pool: str = "avg"
    seed: int = 0

    @property
    def steps(self) -> int:
        """Batches in all."""
        return max(1, round(self.pairs * self.epochs / self.batch_size))


def caption_loss(images: Tensor, texts: Tensor, owner: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """CLIP's loss where a picture has several captions: the mean of picture to text and text to picture.

    images: unit [B, D]. texts: unit [T, D]. owner: the picture of each text, int [T]. weight: of each pair in the
    sums of negatives, at most 1, float [B, T]; that of a picture's own texts is not used.
    """
    own = owner[None, :] == torch.arange(len(images), device=owner.device)[:, None]
    logits = scale * images @ texts.T + weight.masked_fill(own, 1.0).log()
    to_text = logits.logsumexp(1) - logits.masked_fill(~own, -math.inf).logsumexp(1)
    return (to_text.mean() + F.cross_entropy(logits.T, owner)) / 2


def negative_weight(area: Tensor, named: Tensor, near_weight: float) -> Tensor:
    """What each text weighs as a negative of each picture, float [B, T].

    A text that names classes, all of which the picture shows, is true of it and weighs `near_weight`. One that names
    none says nothing of any picture, so it weighs as much as one that is wrong.
    area: share of each picture that each class covers, [B, C]. named: whether a text names a class, bool [T, C].
    """
    missing = (area == 0).float() @ named.float().T
    near = (missing == 0) & named.any(1)
    return torch.where(near, near_weight, 1.0)


def class_loss(images: Tensor, prompts: Tensor, area: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Whether a picture shows a class, by the sigmoid of scale * cosine + bias: summed over classes, mean of pictures.

    images: unit [B, D]. prompts: unit [C, D]. area: share of each picture that each class covers, [B, C]; what is
    there but hardly to be seen counts neither way.
    """
    visible = area >= VISIBLE
    certain = visible | (area == 0)
    logits = scale * images @ prompts.T + bias
    loss = F.binary_cross_entropy_with_logits(logits, visible.to(logits), weight=certain.to(logits), reduction="sum")
    return loss / len(images)


class TinyCLIP:
    """The model and its use in training: unit vectors, float32, of pixels and token ids, computed in bfloat16."""

    def __init__(self, device: torch.device, patch_dropout: float = 0.0, pool: str = "avg") -> None:
        import open_clip

        self.form = MODEL | {"vision_cfg": MODEL["vision_cfg"] | {"pool_type": pool}}
        vision = self.form["vision_cfg"] | {"patch_dropout": patch_dropout}
        self.model = open_clip.CustomTextCLIP(**self.form | {"vision_cfg": vision}).to(device)
        self.device = device
        self._causal = self.model.text.attn_mask

    def images(self, pixels: NDArray[np.uint8]) -> Tensor:
        """uint8 [B, H, W, 3] -> unit vectors [B, D]."""
        batch = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2)
        with self._fast():
            return F.normalize(self.model.encode_image(batch.float().div(127.5).sub(1)).float(), dim=-1)

    def texts(self, tokens: NDArray[np.uint16]) -> Tensor:
        """Token ids [T, L], zero behind the end -> unit vectors [T, D]."""
        length = int((tokens > 0).sum(1).max())
        batch = torch.from_numpy(tokens[:, :length].astype(np.int64)).to(self.device)
        # open_clip's text tower holds a mask of its full length.
        self.model.text.attn_mask = self._causal[:length, :length]
        try:
            with self._fast():
                return F.normalize(self.model.encode_text(batch).float(), dim=-1)
        finally:
            self.model.text.attn_mask = self._causal

    @contextlib.contextmanager
    def _fast(self) -> Iterator[None]:
        # On the CPU, fused attention is several times slower than plain products, backward in bfloat16.
        plain = sdpa_kernel(SDPBackend.MATH) if self.device.type == "cpu" else contextlib.nullcontext()
        with plain, torch.autocast(self.device.type, torch.bfloat16):
            yield


class ClassPrompts:
    """ "a photo of a {word}" for all words of all classes, as token ids."""

    def __init__(self, card: Card) -> None:
        length = MODEL["text_cfg"]["context_length"]
        self._tokens = [tokenise([PROMPT.format(word) for word in said], length) for said in card.synonyms().values()]

    def own(self) -> NDArray[np.uint16]:
        """One of each class, with its own name, [C, L]."""
        return np.stack([tokens[0] for tokens in self._tokens])

    def draw(self, rng: np.random.Generator) -> NDArray[np.uint16]:
        """One of each class, its own name at least as likely as all its synonyms together, [C, L]."""
        return np.stack([said[rng.integers(len(said)) if rng.random() < 0.5 else 0] for said in self._tokens])


def train(pairs: ClipPairs, recipe: ClipRecipe, device: torch.device) -> tuple[TinyCLIP, list[float]]:
    """A model trained on these pairs, and the loss of every step.

    The same arguments give the same weights on one machine, with one number of threads.
    """
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    clip = TinyCLIP(device, recipe.patch_dropout, recipe.pool)
    # The classes' scale and bias serve training alone; what the model keeps is the captions' scale.
    scale, bias = (nn.Parameter(torch.tensor(start, device=device)) for start in (math.log(10), -3.0))
    optimizers = make_optimizers(clip.model, [scale, bias], recipe)
    prompts = ClassPrompts(read_card("miniature"))
    clip.model.train()
    losses: list[float] = []
    for step, rows in enumerate(batches(len(pairs), recipe, rng)):
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * rate(step, recipe)
        if recipe.patch_dropout:
            late = step >= (1 - WITHOUT_PATCH_DROPOUT) * recipe.steps
            clip.model.visual.patch_dropout.prob = 0.0 if late else recipe.patch_dropout
        picked = rng.random((len(rows), pairs.tokens.shape[1])).argsort(1)[:, : recipe.captions]
        tokens = pairs.tokens[rows[:, None], picked].reshape(picked.size, -1)
        named = torch.from_numpy(pairs.named[rows[:, None], picked].reshape(picked.size, -1)).to(device)
        area = torch.from_numpy(pairs.area[rows]).to(device)
        owner = torch.arange(len(rows), device=device).repeat_interleave(picked.shape[1])
        weight = negative_weight(area, named, recipe.near_weight)
        images = clip.images(pairs.pixels[rows])
        loss = caption_loss(images, clip.texts(tokens), owner, weight, clip.model.logit_scale.exp())
        classes = class_loss(images, clip.texts(prompts.draw(rng)), area, scale.exp(), bias)
        total = loss + recipe.class_weight * classes
        total.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        with torch.no_grad():
            clip.model.logit_scale.clamp_(max=math.log(HIGHEST_SCALE))
        losses.append(total.item())
        if (step + 1) % 100 == 0:
            print(f"step {step + 1} of {recipe.steps}: loss {np.mean(losses[-100:]):.3f}", flush=True)
    clip.model.eval()
    return clip, losses


def make_optimizers(model: nn.Module, others: Sequence[nn.Parameter], recipe: ClipRecipe) -> list[Optimizer]:
    """Muon for the matrices of both towers' blocks, AdamW for the rest; embeddings and vectors do not decay."""
    matrices, projections, free = [], [], list(others)
    for name, parameter in model.named_parameters():
        if ".resblocks." in name and parameter.ndim == 2:
            matrices.append(parameter)
        elif parameter.ndim < 2 or "embedding" in name:
            free.append(parameter)
        else:
            projections.append(parameter)
    optimizers = [
        torch.optim.Muon(matrices, recipe.learning_rate, recipe.weight_decay),
        torch.optim.AdamW(
            [{"params": projections, "weight_decay": recipe.weight_decay}, {"params": free, "weight_decay": 0.0}],
            recipe.other_rate,
            betas=(0.9, 0.95),
        ),
    ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def rate(step: int, recipe: ClipRecipe) -> float:
    """Share of the learning rate at a step: linear warm-up, then half a cosine down to zero."""
    warm = min(1.0, (step + 1) / recipe.warmup_steps)
    return warm * (1 + math.cos(math.pi * step / recipe.steps)) / 2


def batches(pairs: int, recipe: ClipRecipe, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Rows of each batch: all pairs in a new order in every epoch, a batch across two of them where it comes so."""
    left = np.empty(0, np.int64)
    for _ in range(recipe.steps):
        while len(left) < recipe.batch_size:
            left = np.concatenate([left, rng.permutation(pairs)])
        yield left[: recipe.batch_size]
        left = left[recipe.batch_size :]


def evaluate(clip: TinyCLIP, held_out: ClipPairs, card: Card, styles: Sequence[str]) -> ClipFigures:
    """Figures on held-out pairs, whose captions come in these styles."""
    with torch.inference_mode():
        images = np.concatenate([clip.images(part).cpu().numpy() for part in _parts(held_out.pixels)])
        prompts = clip.texts(ClassPrompts(card).own()).cpu().numpy()
        captions = {
            style: np.concatenate([clip.texts(part).cpu().numpy() for part in _parts(held_out.tokens[:, place])])
            for place, style in enumerate(styles)
        }
    return measure(images, prompts, captions, held_out.area, card)


def save(clip: TinyCLIP, folder: Path) -> None:
    """Write the model as open_clip's `local-dir:` reads it, the weights in float16."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": clip.form | {"custom_text": True}, "preprocess_cfg": PREPROCESSING}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    weights = {name: value.detach().cpu().half().contiguous() for name, value in clip.model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")


def main(arguments: list[str] | None = None) -> ClipFigures:
    """Draw, train, measure, and write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--pairs", type=int, default=ClipRecipe.pairs, help="pictures to draw and train on")
    parser.add_argument("--epochs", type=float, default=ClipRecipe.epochs, help="how often each is seen")
    parser.add_argument("--batch-size", type=int, default=ClipRecipe.batch_size)
    parser.add_argument("--patch-dropout", type=float, default=ClipRecipe.patch_dropout)
    parser.add_argument("--pool", choices=("avg", "tok"), default=ClipRecipe.pool, help="mean of patches, class token")
    parser.add_argument("--seed", type=int, default=ClipRecipe.seed, help="of the pictures and of the training")
    parser.add_argument("--held-out", type=int, default=HELD_OUT, help="pictures to measure on")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="processes that draw")
    given = parser.parse_args(arguments)
    size, length = MODEL["vision_cfg"]["image_size"], MODEL["text_cfg"]["context_length"]
    try:
        check_request("clip", given.seed, given.pairs, size)
    except MisuseError as error:
        parser.error(str(error))
    if given.epochs <= 0:
        parser.error(f"--epochs {given.epochs}: give more than 0")
    if given.pairs < given.batch_size:
        parser.error(f"--pairs {given.pairs}: give at least one batch, {given.batch_size}")
    recipe = ClipRecipe(
        pairs=given.pairs,
        epochs=given.epochs,
        batch_size=given.batch_size,
        patch_dropout=given.patch_dropout,
        pool=given.pool,
        seed=given.seed,
    )
    started = time.perf_counter()
    pairs = draw_pairs(DrawnSource("clip", given.seed, size, ("web",), length), given.pairs, given.workers)
    held_out = draw_pairs(DrawnSource("val", HELD_OUT_SEED, size, ("full",), length), given.held_out, given.workers)
    drawn = time.perf_counter()
    print(f"{given.pairs + given.held_out} pairs drawn in {drawn - started:.0f} s", flush=True)
    clip, _ = train(pairs, recipe, torch.device(given.device))
    seconds = time.perf_counter() - drawn
    # What is measured is what is stored.
    clip.model.half().float()
    figures = evaluate(clip, held_out, read_card("miniature"), ("web", "full"))
    save(clip, given.out)
    write_card(
        given.out,
        figures,
        Training(
            recipe=asdict(recipe),
            steps=recipe.steps,
            model=clip.form,
            parameters=sum(parameter.numel() for parameter in clip.model.parameters()),
            held_out_seed=HELD_OUT_SEED,
            drawing_seconds=drawn - started,
            training_seconds=seconds,
            device=device_name(given.device),
        ),
        asdict(ClipRecipe()),
    )
    print(f"{given.out}: mean average precision {figures.ranking:.3f}; more in its README.md")
    return figures


def device_name(device: str) -> str:
    """What the model card calls a device."""
    return f"the CPU (threads: {torch.get_num_threads()})" if device == "cpu" else torch.cuda.get_device_name()


def _parts(rows: NDArray[Any], size: int = 250) -> list[NDArray[Any]]:
    return [rows[first : first + size] for first in range(0, len(rows), size)]


if __name__ == "__main__":
    main()
