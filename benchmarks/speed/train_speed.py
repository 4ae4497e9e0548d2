"""GroupViT's training step against the same step of transformers' GroupViTModel.

    python -m benchmarks.speed.train_speed --size small
    python -m benchmarks.speed.train_speed --size tiny --concepts 0
    python -m benchmarks.speed.train_speed --device cuda --precision bf16 --compile --batch 256

Both models have the same weights, sizes, batch, precision, loss (training/step/losses.py) and optimiser (fused AdamW),
and take turns. The peer gets its texts as the release makes them, padded to the whole context; a second peer gets them
cut to the longest of the batch, as a careful caller might. Sizes are those of recipes: small is the paper's ViT-S
(groupvit_cc3m), tiny is miniature_groupvit. Stochastic depth is off: the peer has none.

Lengths of texts, in tokens with the two that enclose them: captions log-normal around 13, as in CC3M; prompted concepts
7 to 12. Times are medians over rounds in which each takes its turn, and so are ratios, within a round; a part's time is
from a step with a pause for the device between its parts.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.speed.measure import print_table
from training.models.groupvit import GroupViT, GroupViTConfig
from training.models.groupvit_weights import huggingface_config, huggingface_weights
from training.models.learner import Learner
from training.models.text_encoder import trim_padding
from training.recipes.recipe_file import load_recipe
from training.run.throughput import peak_of
from training.step.losses import total_loss

RECIPES = {"small": "groupvit_cc3m", "tiny": "miniature_groupvit"}
BATCH = {"small": 16, "tiny": 128}
PARTS = ["image forward", "texts forward", "heads and loss, both ways", "image backward", "texts backward", "optimiser"]
WHOLE = "whole step, without pauses"


def main(arguments: list[str] | None = None) -> float:
    """Measure and print; returns the ratio of whole steps, peer to ours."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=RECIPES, default="small")
    parser.add_argument("--batch", type=int, help=f"pairs of a step; {BATCH} unless told")
    parser.add_argument("--concepts", type=int, default=3, help="concepts of an image; 0: the caption loss alone")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--compile", action="store_true", help="torch.compile the encoders of both")
    parser.add_argument("--threads", type=int, help="of torch on the CPU")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--processor-time", action="store_true", help="for a CPU that others use too")
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.manual_seed(0)

    config = config_of(given.size)
    batch = make_batch(config, given.batch or BATCH[given.size], given.concepts, given.device)
    ours = GroupViT(config).to(given.device).train()
    peer = PeerLearner(ours)
    # On the CPU our model cuts by itself, unless it is compiled; then, and for a device, it is the caller who does.
    cut = batch.cut(multiple=8) if given.compile or given.device == "cuda" else batch
    runs = {
        "ours": TimedStep(ours, cut, given.precision, given.compile),
        "peer": TimedStep(peer, batch, given.precision, given.compile),
        "peer, texts cut": TimedStep(PeerLearner(ours), batch.cut(), given.precision, given.compile),
    }
    check_agreement(list(runs.values()))
    clock = time.process_time if given.processor_time else time.perf_counter
    seconds = measure(runs, given.repeats, clock)

    what = f"{given.size}, {len(batch.pixels)} pairs with {given.concepts} concepts, {given.precision}"
    compiled = ", compiled" if given.compile else ""
    place = torch.cuda.get_device_name() if given.device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"GroupViT {what}{compiled}, {place}; torch {torch.__version__}")
    names = list(runs)
    rows = [row(part, [seconds[name][part] for name in names]) for part in [*PARTS, WHOLE]]
    print_table(["milliseconds", *names, "peer / ours", "peer, texts cut / ours"], rows)
    if given.device == "cuda":
        print(share_of_peak(runs["ours"], statistics.median(seconds["ours"][WHOLE])))
    return ratio(seconds["peer"][WHOLE], seconds["ours"][WHOLE])


def config_of(size: str) -> GroupViTConfig:
    """The recipe's GroupViT, without stochastic depth."""
    model = load_recipe(RECIPES[size]).model
    assert isinstance(model, GroupViTConfig)
    return replace(model, drop_path=0.0)


def row(name: str, seconds: list[list[float]]) -> list[str]:
    """A line of the table: times, and how many times ours the peer takes, with all and with cut texts."""
    ours, peer, peer_cut = seconds
    times = [f"{1e3 * statistics.median(s):.1f}" for s in seconds]
    return [name, *times, f"{ratio(peer, ours):.2f}", f"{ratio(peer_cut, ours):.2f}"]


def ratio(peer: list[float], ours: list[float]) -> float:
    """Median over rounds of the peer's time over ours: what slows a whole round down weighs on both."""
    return statistics.median(p / o for p, o in zip(peer, ours, strict=True))


@dataclass(frozen=True)
class NoiseBatch:
    """pixels [B, 3, H, W]; texts int64 [B * (1 + K), context]: captions, then the concepts of each image."""

    pixels: Tensor
    texts: Tensor

    def cut(self, multiple: int = 1) -> NoiseBatch:
        """With texts as long as the longest."""
        return NoiseBatch(self.pixels, trim_padding(self.texts, multiple))


def make_batch(config: GroupViTConfig, pairs: int, concepts: int, device: str) -> NoiseBatch:
    """Noise for pictures, and texts of lengths as they come (see above)."""
    text = config.text
    captions = torch.empty(pairs).log_normal_(2.55, 0.35).round()
    prompts = torch.randint(7, 13, (pairs * concepts,)).float()
    lengths = torch.cat([captions, prompts]).clamp(5, text.context_length).long()
    tokens = torch.randint(1, text.vocabulary - 2, (len(lengths), text.context_length))
    place = torch.arange(text.context_length)
    tokens[place == lengths[:, None] - 1] = text.vocabulary - 1
    tokens[place >= lengths[:, None]] = 0
    return NoiseBatch(torch.randn(pairs, 3, config.image_size, config.image_size, device=device), tokens.to(device))


class PeerLearner(Learner):
    """transformers' GroupViTModel as a learner, with the weights of ours: what its own forward computes, in parts."""

    def __init__(self, ours: GroupViT) -> None:
        super().__init__(ours.image_size, ours.multiple, ours.config.text)
        from transformers import GroupViTModel

        self.model: Any = GroupViTModel(huggingface_config(ours.config))
        self.model.load_state_dict(huggingface_weights(ours))
        nn.Module.to(self.model, ours.logit_scale.device).train()
        self.logit_scale = self.model.logit_scale
        self.concept_logit_scale = nn.Parameter(ours.concept_logit_scale.detach().clone())

    def encode_image(self, pixels: Tensor) -> Tensor:
        """As `Learner` says."""
        return self.model.vision_model(pixels).pooler_output

    def encode_text(self, tokens: Tensor) -> Tensor:
        """As `Learner` says."""
        return self.model.text_model(tokens).pooler_output

    def project_image(self, features: Tensor) -> Tensor:
        """As `Learner` says."""
        return F.normalize(self.model.visual_projection(features), dim=-1)

    def project_text(self, features: Tensor) -> Tensor:
        """As `Learner` says."""
        return F.normalize(self.model.text_projection(features), dim=-1)

    def similarity(self, images: Tensor, texts: Tensor) -> Tensor:
        """As `Learner` says."""
        return images @ texts.T

    def dense(self, pixels: Tensor) -> Any:
        """No part of a training step. Raises TypeError."""
        raise TypeError("transformers' GroupViT is here for its training step alone")


class TimedStep:
    """A training step of a learner on a batch, whole or with a stop after each part."""

    def __init__(self, learner: Learner, batch: NoiseBatch, precision: str, compiled: bool) -> None:
        self.learner, self.batch = learner, batch
        self.half = precision == "bf16"
        self.encode_image: Callable[[Tensor], Tensor] = learner.encode_image
        self.encode_text: Callable[[Tensor], Tensor] = learner.encode_text
        if compiled:
            self.encode_image, self.encode_text = torch.compile(self.encode_image), torch.compile(self.encode_text)
        self.optimizer = torch.optim.AdamW(learner.parameters(), 1e-4, fused=True)

    def autocast(self) -> AbstractContextManager[Any]:
        """bfloat16 where it is asked for."""
        return torch.autocast(self.batch.pixels.device.type, torch.bfloat16, enabled=self.half)

    def loss(self, image: Tensor, texts: Tensor) -> Tensor:
        """The loss of the features before the heads."""
        pairs = len(image)
        concepts = texts[pairs:].unflatten(0, (pairs, -1)) if len(texts) > pairs else None
        return total_loss(self.learner, image, texts[:pairs], concepts).total

    def whole(self) -> None:
        """One step."""
        self.optimizer.zero_grad(set_to_none=True)
        with self.autocast():
            loss = self.loss(self.encode_image(self.batch.pixels), self.encode_text(self.batch.texts))
        loss.backward()
        self.optimizer.step()

    def in_parts(self, lap: Callable[[], float]) -> list[float]:
        """One step; what `lap` gives after each of PARTS."""
        self.optimizer.zero_grad(set_to_none=True)
        lap()
        with self.autocast():
            image = self.encode_image(self.batch.pixels)
            laps = [lap()]
            texts = self.encode_text(self.batch.texts)
            laps.append(lap())
            leaves = [x.detach().requires_grad_() for x in (image, texts)]
            loss = self.loss(*leaves)
        loss.backward()
        laps.append(lap())
        for features, leaf in zip((image, texts), leaves, strict=True):
            features.backward(leaf.grad)
            laps.append(lap())
        self.optimizer.step()
        return [*laps, lap()]


def check_agreement(steps: list[TimedStep]) -> None:
    """Raise ArithmeticError unless all have the same loss, without noise."""
    losses = []
    for step in steps:
        step.learner.eval()
        with torch.no_grad():
            image, texts = step.learner.encode_image(step.batch.pixels), step.learner.encode_text(step.batch.texts)
            losses.append(float(step.loss(image, texts)))
        step.learner.train()
    if max(losses) - min(losses) > 1e-3 * abs(losses[0]):
        raise ArithmeticError(f"the models do not compute the same: losses {losses}")


def measure(runs: dict[str, TimedStep], repeats: int, clock: Callable[[], float]) -> dict[str, dict[str, list[float]]]:
    """Seconds of parts and of whole steps in each round, by name and part; all take turns, one round goes uncounted."""
    cuda = torch.cuda.is_available()
    last = clock()

    def lap() -> float:
        """Seconds since the last call, with the device at rest."""
        nonlocal last
        if cuda:
            torch.cuda.synchronize()
        before, last = last, clock()
        return last - before

    seconds: dict[str, dict[str, list[float]]] = {name: {part: [] for part in [*PARTS, WHOLE]} for name in runs}
    for uncounted in [True] + [False] * repeats:
        for name, step in runs.items():
            lap()
            step.whole()
            laps = {WHOLE: lap()}
            laps |= zip(PARTS, step.in_parts(lap), strict=True)
            if not uncounted:
                for part, lapped in laps.items():
                    seconds[name][part].append(lapped)
    return seconds


def share_of_peak(step: TimedStep, seconds: float) -> str:
    """How much of the GPU's bfloat16 peak the step's matrix products and attention make, by their count."""
    from torch.utils.flop_counter import FlopCounterMode

    plain = TimedStep(step.learner, step.batch, "bf16", compiled=False)
    with FlopCounterMode(display=False) as counter:
        plain.whole()
    rate = counter.get_total_flops() / seconds / 1e12
    name = torch.cuda.get_device_name()
    peak = (peak_of(name) or 0) / 1e12
    share = f", {rate / peak:.1%} of the bf16 peak of {peak:.0f}" if peak else f"; the peak of {name} is not known here"
    return f"ours: {rate:.1f} TFLOP/s{share}"


if __name__ == "__main__":
    main()
