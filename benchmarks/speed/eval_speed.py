"""Pictures segmented per second, against transformers' GroupViT with its own segmentation head.

    python -m benchmarks.speed.eval_speed
    python -m benchmarks.speed.eval_speed --window 224 --pictures 16 --processor-time
    python -m benchmarks.speed.eval_speed --device cuda --precision bf16 --pictures 32

Same weights, pictures, windows, windows at once, texts (one prompt for each class of a card) and precision; they take
turns. What is timed goes from pictures uint8 to label maps of their size. Ours does all that the evaluation does: best
classes, background, averaging. The peer does no more than it must: its head's logits of each window, averaged where
windows overlap, resized, arg max. Its forward wants the texts in every call; a second peer, "texts once", is what a
careful caller would make of its parts: texts embedded beforehand, as ours are. Pictures are noise of COCO's usual size.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor
from torch.nn import functional as F

from benchmarks.speed.measure import print_table
from benchmarks.speed.train_speed import RECIPES, config_of
from data_cards.cards import Card, Resize, Window, read_card
from evaluation.labels import windows
from evaluation.labels.inference import Picture, Rules, segment_images
from evaluation.models.prompts import SIMPLE
from evaluation.models.segmenters import Segmenter, learner_segmenter
from training.models.groupvit import GroupViT
from training.models.groupvit_weights import huggingface_config, huggingface_weights

COCO_SIDES = (480, 640)


def main(arguments: list[str] | None = None) -> float:
    """Measure and print; returns how many times the peer's time is ours."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=RECIPES, default="small")
    parser.add_argument("--card", default="coco-object", help="whose classes are told apart")
    parser.add_argument("--window", type=int, default=448, help="side of windows, and short side of pictures")
    parser.add_argument("--pictures", type=int, default=4)
    parser.add_argument("--windows-at-once", type=int, default=8)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--threads", type=int, help="of torch on the CPU")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--processor-time", action="store_true", help="for a CPU that others use too")
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.manual_seed(0)

    card = read_card(given.card).model_copy(
        update={
            "resize": Resize(short_side=given.window),
            "window": Window(size=given.window, stride=given.window // 2),
        }
    )
    learner = GroupViT(config_of(given.size)).to(given.device).eval()
    ours = Ours(learner_segmenter(learner, "random", precision=given.precision), card, given.windows_at_once)
    peer = PeerSegmenter(learner, ours)
    check_agreement(ours, peer)
    random = np.random.default_rng(0)
    pictures: list[Picture] = [random.integers(0, 256, (*COCO_SIDES, 3), np.uint8) for _ in range(given.pictures)]
    runs: dict[str, Callable[[], Any]] = {
        "ours": lambda: ours.segment(pictures),
        "peer": lambda: peer.segment(pictures, texts_once=False),
        "peer, texts once": lambda: peer.segment(pictures, texts_once=True),
    }
    models: dict[str, Callable[[], Any]] = {
        "ours": lambda: [ours.segmenter.dense(pixels) for pixels in peer.batches(pictures)],
        "peer": lambda: [peer.logits(pixels, texts_once=False) for pixels in peer.batches(pictures)],
        "peer, texts once": lambda: [peer.logits(pixels, texts_once=True) for pixels in peer.batches(pictures)],
    }
    clock = time.process_time if given.processor_time else time.perf_counter
    whole, model = (measure(calls, given.repeats, clock) for calls in (runs, models))

    count = sum(map(len, peer.boxes(pictures)))
    place = torch.cuda.get_device_name() if given.device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(
        f"GroupViT {given.size}, {given.precision}, {len(pictures)} pictures in {count} windows of {given.window}, "
        f"{given.windows_at_once} at once, {len(ours.texts)} classes; {place}; torch {torch.__version__}"
    )
    names = list(runs)
    rows = [
        ["pictures per second", *(f"{len(pictures) / whole[name]:.2f}" for name in names)],
        ["milliseconds of a picture", *(f"{1e3 * whole[name] / len(pictures):.0f}" for name in names)],
        ["of them windows through the model", *(f"{1e3 * model[name] / len(pictures):.0f}" for name in names)],
        ["times ours", *(f"{whole[name] / whole['ours']:.2f}" for name in names)],
    ]
    print_table(["", *names], rows)
    return whole["peer"] / whole["ours"]


class Ours:
    """The evaluation, with the vectors of classes made beforehand."""

    def __init__(self, segmenter: Segmenter, card: Card, windows_at_once: int) -> None:
        self.segmenter, self.card = segmenter, card
        self.rules = Rules(windows_at_once=windows_at_once)
        self.texts = [SIMPLE.format(words[0]) for words in card.prompts()]
        self.vectors = segmenter.embed_classes([[text] for text in self.texts])

    def segment(self, pictures: list[Picture]) -> list[Tensor]:
        """Pictures -> label maps."""
        return [found.labels for found in segment_images(self.segmenter, self.card, self.vectors, pictures, self.rules)]


class PeerSegmenter:
    """transformers' GroupViTModel of the same weights, at the size of the windows, which is the only one it takes."""

    def __init__(self, learner: GroupViT, ours: Ours) -> None:
        from transformers import GroupViTModel

        assert ours.card.window is not None
        self.ours = ours
        side, device = ours.card.window.size, ours.segmenter.device
        config = huggingface_config(learner.config)
        config.vision_config.image_size = side
        weights = huggingface_weights(learner)
        positions = "vision_model.embeddings.position_embeddings"
        trained, grid = learner.image_size // learner.config.patch_size, side // learner.config.patch_size
        places = weights[positions].mT.unflatten(2, (trained, trained))
        weights[positions] = F.interpolate(places, (grid, grid), mode="bicubic").flatten(2).mT
        model: Any = GroupViTModel(config)
        model.load_state_dict(weights)
        self.model: Any = model.to(device).eval()
        self.tokens = SimpleTokenizer(context_length=learner.context_length)(ours.texts).to(device)
        with torch.inference_mode(), self.autocast():
            embedded = self.model.text_projection(self.model.text_model(self.tokens).pooler_output)
        self.text_embeds = embedded / embedded.norm(dim=-1, keepdim=True)

    def autocast(self) -> AbstractContextManager[Any]:
        """The precision of ours."""
        return torch.autocast(self.tokens.device.type, torch.bfloat16, enabled=self.ours.segmenter.precision == "bf16")

    @torch.inference_mode()
    def logits(self, pixels: Tensor, *, texts_once: bool) -> Tensor:
        """Normalised windows -> the head's logits [B, T, H, W]; texts_once: by its parts, with texts of beforehand."""
        from transformers.models.groupvit.modeling_groupvit import get_grouping_from_attentions

        with self.autocast():
            if not texts_once:
                return self.model(
                    input_ids=self.tokens, pixel_values=pixels, output_segmentation=True
                ).segmentation_logits
            seen = self.model.vision_model(pixels, output_attentions=True)
            groups = self.model.visual_projection(seen.last_hidden_state.flatten(0, 1))
            groups = (groups / groups.norm(dim=-1, keepdim=True)).unflatten(0, (len(pixels), -1))
            scale = self.model.logit_scale.exp()
            maps = get_grouping_from_attentions(seen.attentions, pixels.shape[2:]).flatten(2)
            similarity = (groups @ self.text_embeds.mT * scale).mT
            return (similarity @ maps * scale).unflatten(2, pixels.shape[2:])

    @torch.inference_mode()
    def segment(self, pictures: list[Picture], *, texts_once: bool) -> list[Tensor]:
        """Pictures -> label maps."""
        of_windows = iter(
            [one for pixels in self.batches(pictures) for one in self.logits(pixels, texts_once=texts_once)]
        )
        labels = []
        for picture, boxes in zip(pictures, self.boxes(pictures), strict=True):
            height, width = self.sides(picture)
            total = torch.zeros(len(self.tokens), height, width, device=self.tokens.device)
            count = total.new_zeros(height, width)
            for box in boxes:
                box.of(total).add_(next(of_windows))
                box.of(count).add_(1)
            mean = total.div_(count)[None]
            labels.append(F.interpolate(mean, tuple(picture.shape[:2]), mode="bilinear")[0].argmax(dim=0))
        return labels

    def batches(self, pictures: list[Picture]) -> list[Tensor]:
        """Normalised windows of all pictures, as many together as ours takes."""
        segmenter = self.ours.segmenter
        mean, std = (
            torch.tensor(x, device=segmenter.device).view(3, 1, 1) * 255 for x in (segmenter.mean, segmenter.std)
        )
        found = []
        for picture, boxes in zip(pictures, self.boxes(pictures), strict=True):
            levels = torch.as_tensor(picture, device=segmenter.device).permute(2, 0, 1)
            resized = (windows.resize_picture(levels, self.sides(picture)).float() - mean) / std
            found += [box.of(resized) for box in boxes]
        size = self.ours.rules.windows_at_once
        return [torch.stack(found[start : start + size]) for start in range(0, len(found), size)]

    def boxes(self, pictures: list[Picture]) -> list[list[windows.Box]]:
        """The windows of each picture."""
        return [windows.windows_of(*self.sides(picture), window=self.ours.card.window) for picture in pictures]

    def sides(self, picture: Picture) -> tuple[int, int]:
        """Of a picture after resizing."""
        return windows.resized_sides(picture.shape[0], picture.shape[1], self.ours.card.resize)


@torch.inference_mode()
def check_agreement(ours: Ours, peer: PeerSegmenter) -> None:
    """Raise ArithmeticError unless the soft mixture of our groups is the peer's logits, and its two ways are one."""
    assert ours.card.window is not None
    pixels = torch.randn(1, 3, ours.card.window.size, ours.card.window.size, device=ours.segmenter.device)
    dense = ours.segmenter.dense(pixels)
    assert dense.maps is not None
    maps = F.interpolate(dense.maps, tuple(pixels.shape[2:]), mode="bilinear")
    mixture = ours.segmenter.scale**2 * torch.einsum("bgd,td,bghw->bthw", dense.vectors, ours.vectors, maps)
    tolerance = 1e-3 if ours.segmenter.precision == "fp32" else 0.1
    for texts_once in (False, True):
        theirs = peer.logits(pixels, texts_once=texts_once).float()
        if (mixture - theirs).abs().max() > tolerance * theirs.abs().max():
            raise ArithmeticError("the models do not compute the same logits")


def measure(calls: dict[str, Callable[[], Any]], repeats: int, clock: Callable[[], float]) -> dict[str, float]:
    """Median seconds by name; all take turns, and one round goes uncounted."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats + 1):
        for name, call in calls.items():
            start = clock()
            call()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds[name].append(clock() - start)
    return {name: statistics.median(times[1:]) for name, times in seconds.items()}


if __name__ == "__main__":
    main()
