"""What a segmenter learns from the curated lists of a few thousand photographs (docs/results.md, "Real photographs").

python -m benchmarks.quality.photographs CURATED --index INDEX --model MODEL --benchmark CARD=PATH --out OUT

CURATED: shards of `cocu curate run INDEX`, whose photographs are shown. MODEL: the encoder of INDEX, whose towers stay
as they are; to each cell of the feature map a linear map of what enters the image tower's last convolution is added,
and learns (a map of the cell itself learns less). Both are computed once and kept in OUT.

A cell is taught what its picture may show. p is the frozen CLIP's own distribution over the index's most frequent
concepts, w how surely the picture shows a concept: 1 where its caption names it, its confidence where it was
recovered, near texts in part, 0 where nothing speaks for it:

    q(concept | cell) ~ p(concept | cell)^SHARPER * (w + UNSEEN) / (mean of w over pictures + UNSEEN)^LIFT

Lists of photographs are incomplete. So what is listed becomes likelier, and what is not stays possible: a head that may
choose from the list alone unlearns all that lists do not name. The arms differ in w alone. captions: 1 for what the
caption names, 0 for all else. shuffled: the lists of other pictures. nothing: 0 everywhere.
"""

from __future__ import annotations

import argparse
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.speed.measure import table
from curation.index.vocabulary import Vocabulary, read_vocabulary_table
from data_cards.cards import Card, benchmarks_of
from data_cards.layouts.benchmark import Benchmark, open_benchmark
from evaluation.figures.bootstrap import mean_iou_difference
from evaluation.figures.confusion import confusion, counts_of, figures
from evaluation.labels import labelling, windows
from evaluation.models.prompts import class_vectors
from evaluation.models.segmenters import Segmenter, load_segmenter
from training.models.learner import DenseFeatures
from training.models.patch_alignment import pooled_similarity

SIDE = 448  # pixels of a side in training: the card's, so that objects are of the size that they will be seen at
CONCEPTS = 800  # of the index, the most frequent
SHARPER, UNSEEN, LIFT = 2.0, 0.02, 0.5
LEVELLING = 0.5  # exponent of a concept's mean over the picture, which its share of each cell is divided by
NEAR = (0.5, 0.9)  # cosines of two texts between which the one begins to speak for the other, and does so wholly
EPOCHS, PICTURES, CELLS, RATE, DECAY = 3, 32, 32, 1e-3, 0.01
STEP = 8  # pixels between two places at which labels are compared
POOLING = 10.0  # of PACL: multiplies cell·text in the softmax over cells
ARMS = ("curated", "captions", "shuffled", "nothing")


@dataclass(frozen=True)
class Listed:
    """A photograph, and how surely it shows each of its concepts: (concept, 0 to 1, whether its caption names it)."""

    jpeg: bytes
    concepts: tuple[tuple[str, float, bool], ...]


def read_pairs(curated: Path) -> Iterator[Listed]:
    """The pairs of curated shards, in order."""
    for shard in sorted((curated / "shards").glob("*.tar")):
        with tarfile.open(shard) as tar:
            jpeg = b""
            for member in tar:
                content = tar.extractfile(member)
                if content is None:
                    continue
                if member.name.endswith(".jpg"):
                    jpeg = content.read()
                elif member.name.endswith(".concepts.json"):
                    listed = json.loads(content.read())["concepts"]
                    sure = [(c["concept"], c.get("confidence", 0.0), c["in_caption"]) for c in listed]
                    yield Listed(jpeg, tuple((name, 1.0 if own else how, own) for name, how, own in sure))


def evidence(pairs: Sequence[Listed], vocabulary: Vocabulary, arm: str, seed: int) -> Tensor:
    """w of the arm, [pairs, CONCEPTS]."""
    vectors = torch.as_tensor(vocabulary.vectors, dtype=torch.float32)
    at = {word: place for place, word in enumerate(vocabulary.words)}
    low, high = NEAR
    spread = ((vectors @ vectors[:CONCEPTS].mT - low) / (high - low)).clamp_(0, 1).square_()
    found = torch.zeros(len(pairs), spread.shape[1])
    for row, pair in zip(found, pairs, strict=True):
        if listed := [(at[name], sure) for name, sure, own in pair.concepts if own or arm != "captions"]:
            places, sure = zip(*listed, strict=True)
            row.copy_((spread[list(places)] * torch.tensor(sure)[:, None]).amax(dim=0))
    if arm == "shuffled":
        found = found[torch.randperm(len(found), generator=torch.Generator().manual_seed(seed))]
    return found * (arm != "nothing")


class Head(nn.Module):
    """A cell and its features [..., D + F] -> unit [..., D]: the cell, and a linear map of the features, 0 at first."""

    def __init__(self, width: int, mean: Tensor, deviation: Tensor) -> None:
        super().__init__()
        self.width, self.mean, self.deviation = width, mean, deviation
        self.linear = nn.Linear(len(mean), width)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[..., D + F] -> unit [..., D]."""
        cells, features = x[..., : self.width], x[..., self.width :]
        return F.normalize(cells + self.linear((features - self.mean) / self.deviation), dim=-1)


def train_head(cells: Tensor, shown: Tensor, texts: Tensor, scale: float, seed: int) -> Head:
    """cells: with features [pairs, N, D + F]. shown: w [pairs, C]. texts: unit [C, D]. scale: before the softmax."""
    chance, width = torch.Generator().manual_seed(seed), texts.shape[1]
    some = cells[:: max(1, len(cells) // 128), :, width:].float().flatten(0, 1)
    head = Head(width, some.mean(dim=0), some.std(dim=0))
    optimizer = torch.optim.AdamW(head.parameters(), lr=RATE, weight_decay=DECAY)
    usual, steps = LIFT * (shown.mean(dim=0) + UNSEEN).log(), EPOCHS * (len(cells) // PICTURES)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(cells), generator=chance).split(PICTURES)[: len(cells) // PICTURES]:
            places = torch.rand(len(chosen), cells.shape[1], generator=chance).topk(CELLS).indices
            seen = cells[chosen[:, None], places].float()
            logits = scale * head(seen) @ texts.mT
            lifted = (shown[chosen] + UNSEEN).log() - usual
            taught = (SHARPER * scale * seen[..., :width] @ texts.mT + lifted[:, None]).softmax(dim=-1)
            taught /= (taught.mean(dim=1, keepdim=True) + 1e-3) ** LEVELLING
            loss = F.cross_entropy(logits.flatten(0, 1), F.normalize(taught, p=1, dim=-1).flatten(0, 1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return head.eval()


class FrozenTower:
    """A frozen segmenter that gives, with its cells, what enters its image tower's last convolution."""

    def __init__(self, segmenter: Segmenter) -> None:
        self.segmenter = segmenter
        self._entered: Tensor | None = None
        last = [one for one in segmenter.module.modules() if isinstance(one, nn.Conv2d)][-1]
        last.register_forward_pre_hook(self._keep)

    def _keep(self, _: nn.Module, entered: tuple[Tensor]) -> None:
        (self._entered,) = entered

    @torch.inference_mode()
    def see(self, pixels: Tensor) -> tuple[DenseFeatures, Tensor]:
        """Normalised pixels [B, 3, H, W] -> regions, and their cells with features, [B, N, D + F]."""
        found = self.segmenter.dense(pixels)
        if self._entered is None or self._entered.shape[2:] != found.grid:
            raise SystemExit("this model has no last convolution over its cells: give one with a convolutional tower")
        return found, torch.cat([found.vectors, self._entered.flatten(2).mT], dim=-1)


def frozen_cells(tower: FrozenTower, pairs: Sequence[Listed], file: Path) -> Tensor:
    """Cells with features of each photograph, float16 [pairs, N, D + F], in a file that is written once."""
    if not file.exists():
        mean, std = (torch.tensor(one).view(3, 1, 1) for one in (tower.segmenter.mean, tower.segmenter.std))
        part, written = file.with_suffix(".part"), None
        for first in range(0, len(pairs), 8):
            images = [Image.open(BytesIO(pair.jpeg)).convert("RGB") for pair in pairs[first : first + 8]]
            levels = np.stack([np.asarray(one.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for one in images])
            _, cells = tower.see((torch.as_tensor(levels).permute(0, 3, 1, 2) / 255 - mean) / std)
            if written is None:
                written = open_memmap(part, "w+", np.float16, (len(pairs), *cells.shape[1:]))
            written[first : first + 8] = cells
        part.rename(file)
    return torch.as_tensor(np.load(file, mmap_mode="c")[: len(pairs)])


@dataclass(frozen=True)
class Seen:
    """A window: cells with features [N, D + F], (h, w), image vector [D], true classes, number of the picture."""

    cells: Tensor
    grid: tuple[int, int]
    whole: Tensor
    truth: Tensor
    picture: int


@torch.inference_mode()
def see_pictures(tower: FrozenTower, pictures: Benchmark, which: Sequence[int]) -> list[Seen]:
    """The windows of `which` pictures of a benchmark; truth at the middle of every square of `STEP` pixels."""
    card, seen = pictures.card, []
    mean, std = (torch.tensor(one).view(3, 1, 1) for one in (tower.segmenter.mean, tower.segmenter.std))
    for place, number in enumerate(which):
        image, truth = pictures.item(number)
        sides = windows.resized_sides(truth.shape[0], truth.shape[1], card.resize)
        levels = windows.resize_picture(torch.as_tensor(image).permute(2, 0, 1), sides).float()
        true = F.interpolate(torch.as_tensor(truth.astype(np.float32))[None, None], sides)[0, 0].long()
        for box in windows.windows_of(*sides, card.window):
            pixels = windows.to_model_sides((box.of(levels)[None] / 255 - mean) / std, tower.segmenter.multiple)
            found, cells = tower.see(pixels)
            seen.append(
                Seen(cells[0], found.grid, found.whole[0], box.of(true)[STEP // 2 :: STEP, STEP // 2 :: STEP], place)
            )
    return seen


@torch.inference_mode()
def measured(
    seen: Sequence[Seen], card: Card, texts: Tensor, scale: float, head: Head | None, pooled: bool
) -> NDArray[np.int64]:
    """Counts [pictures, 3, classes], by the rules of evaluation/labels, each window by itself.

    texts: of the classes. head: moves the cells; None: as they are. pooled: the classes that a window may have are
    chosen by its cells, as in PACL, not by its image vector.
    """
    counts = np.zeros((1 + seen[-1].picture, 3, len(card.classes)), np.int64)
    ignored = -1 if card.ignore_index is None else card.ignore_index
    for window in seen:
        cells = (window.cells[:, : texts.shape[1]] if head is None else head(window.cells))[None]
        whole = pooled_similarity(cells, texts, POOLING) if pooled else window.whole[None] @ texts.mT
        best = labelling.best_classes(whole, 5)
        scores = labelling.region_scores(cells @ texts.mT, best, scale)[0]
        pixels = labelling.scores_by_cell(scores, window.grid, (window.truth.shape[0], window.truth.shape[1]))
        matrix = confusion(best[0][pixels.argmax(dim=0)], window.truth, len(card.classes), ignored)
        counts[window.picture] += counts_of(matrix).numpy()
    return counts


def described(counts: NDArray[np.int64], against: Mapping[str, NDArray[np.int64]], kinds: Sequence[str]) -> list[str]:
    """mIoU, of things, of stuff, pixel accuracy in per cent; differences in mIoU, with what holds 95 % of them."""
    found = figures(counts.sum(0))
    of_kind = [float(np.nanmean(found.iou[[one == kind for one in kinds]])) for kind in ("thing", "stuff")]
    cells = [f"{100 * value:.2f}" for value in [found.mean_iou, *of_kind, found.pixel_accuracy]]
    for other in against.values():
        one = mean_iou_difference(other, counts)
        cells.append(f"{100 * one.value:+.2f} ({100 * one.low:+.2f} to {100 * one.high:+.2f})")
    return cells


def main() -> None:
    """Train and measure every arm; print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("curated", type=Path)
    for option, kind in (("--index", Path), ("--model", str), ("--benchmark", str), ("--out", Path)):
        parser.add_argument(option, type=kind, required=True)
    parser.add_argument("--pairs", type=int, nargs="+", default=[3000, 375, 750, 1500])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--settling", action="store_true", help="every third picture, on which settings were chosen")
    given = parser.parse_args()
    ((card, path),) = benchmarks_of([given.benchmark])
    if missing := next((one for one in (given.curated, given.index, path) if not one.exists()), None):
        raise SystemExit(f"skipped: {missing} is not there; this experiment needs real photographs")
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    pictures = open_benchmark(card, path)
    order = sorted(range(len(pictures)), key=lambda number: pictures.keys[number])
    which = order[::3] if given.settling else [number for place, number in enumerate(order) if place % 3]
    segmenter = load_segmenter(given.model, torch.device("cpu"))
    classes, kinds = class_vectors(segmenter, card), [one.kind for one in card.classes]
    vocabulary, pairs = read_vocabulary_table(given.index / "concepts.parquet"), list(read_pairs(given.curated))
    pairs = pairs[: max(given.pairs)]
    texts = torch.as_tensor(vocabulary.vectors[:CONCEPTS], dtype=torch.float32)
    tower = FrozenTower(segmenter)
    cells = frozen_cells(tower, pairs, given.out / f"cells-{len(pairs)}.npy")
    seen, rows = see_pictures(tower, pictures, which), []
    free, pooled = (measured(seen, card, classes, segmenter.scale, None, by_cells) for by_cells in (False, True))
    columns = ["arm", "pairs", "seed", "mIoU", "things", "stuff", "accuracy", "over training-free", "over captions"]
    rows.append(["training-free", "", "", *described(free, {}, kinds)])
    rows.append(["training-free, classes by cells", "", "", *described(pooled, {"training-free": free}, kinds)])
    for row in rows:
        print(*row, flush=True)
    for count in given.pairs:
        for seed in range(given.seeds):
            against = {"training-free": free}
            for arm in sorted(given.arms, key=["captions", "curated", "shuffled", "nothing"].index):
                shown = evidence(pairs[:count], vocabulary, arm, seed)
                head = train_head(cells[:count], shown, texts, segmenter.scale, seed)
                counts = measured(seen, card, classes, segmenter.scale, head, pooled=True)
                rows.append([arm, f"{len(shown):,}", str(seed), *described(counts, against, kinds)])
                against.setdefault("captions", counts)
                print(*rows[-1], flush=True)
    print(f"{len(which)} pictures of {card.name}\n\n{table(columns, [[*row, '', ''][: len(columns)] for row in rows])}")


if __name__ == "__main__":
    main()
