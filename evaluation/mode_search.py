"""The dense mode that suits a CLIP best, found on pictures without labels, the tower itself being the judge.

What a CLIP was trained for is its vector of a whole picture. So it is shown parts of pictures: alone, the rest painted
in the picture's mean colour, and enlarged to the whole. How near each class is to such a vector tells what the part
holds, and a mode is good where its cells say the same of the part while they see all of the picture:

    score(mode) = mean over both ways, over pictures, and over the five classes that are nearest to the picture, of the
                  correlation over its parts of
                  the cosine of the class with the vector of the part, and
                  the mean of its probability by the mode's cells in the part

How sure the cells are, or how alike in two views of a picture, tells less: an attention that spreads the whole picture
over all cells makes them sure, alike and wrong (docs/evaluation.md has the figures).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from data_cards.cards import Card
from data_cards.layouts.benchmark import Benchmark
from data_cards.layouts.decoding import BadItem, decode_picture
from evaluation.figures.tally import chosen_pictures
from evaluation.labels import windows
from evaluation.labels.inference import features_of, levels_of, too_large
from evaluation.labels.windows import Box
from evaluation.models.prompts import class_vectors
from evaluation.models.segmenters import Segmenter, dense_modes, in_dense_mode
from files.errors import CocuError, MisuseError
from files.pictures import FIELDS

AUTO = "auto"
JUDGE = "cells agree with the vector of each part of a picture shown alone"
PICTURES = 64  # of each benchmark that are looked at
BEST = 5  # classes of a picture
ROUNDING = 1e-6  # what differs less over all parts is the same
# Parts: their share of the sides, and how many of them along a side.
ALONE, ENLARGED = (0.5, 3), (0.625, 4)
AT_ONCE = 8


@dataclass(frozen=True)
class FoundMode:
    """What was found. scores: of each mode, the best first. pictures: looked at; left_out: further ones, bad."""

    mode: str
    chosen_by: str
    chosen_on: str
    pictures: int
    left_out: int
    scores: Mapping[str, float]


@dataclass(frozen=True)
class ModeSearch:
    """A search on the pictures of a folder, or, without one, on those of the benchmarks; no mask is read."""

    folder: Path | None = None

    @torch.inference_mode()
    def found(self, segmenter: Segmenter, benchmarks: Sequence[tuple[Card, Benchmark]]) -> FoundMode:
        """The mode of the highest score, meant over benchmarks; the first of equal ones.

        Raises MisuseError for a model without modes, a folder without pictures; CocuError where all are bad.
        """
        scores = dict.fromkeys(dense_modes(segmenter), 0.0)
        looked = bad = 0
        for card, benchmark in benchmarks:
            batches, left_out = self._batches(segmenter, card, benchmark)
            vectors, count = class_vectors(segmenter, card), sum(map(len, batches))
            looked, bad = looked + count, bad + left_out
            for levels in batches if len(scores) > 1 else ():
                seen = _evidence(segmenter, levels, vectors)
                for mode in scores:
                    score = float(_score(in_dense_mode(segmenter, mode), seen).sum())
                    scores[mode] += score / count / len(benchmarks)
        ranked = dict(sorted(scores.items(), key=lambda item: -item[1]))
        on = f"the pictures in {self.folder}" if self.folder else "the benchmarks' pictures"
        return FoundMode(next(iter(ranked)), JUDGE, on, looked, bad, {mode: round(s, 4) for mode, s in ranked.items()})

    def _batches(self, segmenter: Segmenter, card: Card, benchmark: Benchmark) -> tuple[list[Tensor], int]:
        """Views of pictures as the card has them, uint8 [B, 3, h, w], alike in size; and how many pictures were bad."""
        by_size: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)
        bad: list[BadItem] = []
        for picture in _pictures(self.folder, benchmark, bad):
            if reason := too_large(card, picture.shape[:2]):
                bad.append(BadItem("", reason))
                continue
            levels = levels_of(segmenter, card, picture)
            boxes = windows.windows_of(levels.shape[1], levels.shape[2], card.window)
            view = boxes[len(boxes) // 2].of(levels).clone()
            by_size[tuple(view.shape)].append(view)
        if not by_size:
            why = f"; the first: {bad[0]}" if bad else ""
            raise CocuError(f"--dense {AUTO}: no picture of {self.folder or card.name} could be looked at{why}")
        alike = [views[i : i + AT_ONCE] for views in by_size.values() for i in range(0, len(views), AT_ONCE)]
        return [torch.stack(views) for views in alike], len(bad)


def agreement(told: Tensor, shown: Tensor, whole: Tensor) -> Tensor:
    """What cells and vectors say of P parts [B, P, C], and of the whole [B, C] -> [B].

    The mean over the classes nearest to the whole of the correlation over parts; 0 where all parts are the same.
    """
    best = whole.topk(min(BEST, whole.shape[1]), dim=1).indices[:, None]
    told, shown = (one.gather(2, best.expand(-1, one.shape[1], -1)) for one in (told, shown))
    told, shown = (one - one.mean(dim=1, keepdim=True) for one in (told, shown))
    told, shown = (one / one.norm(dim=1, keepdim=True).clamp(min=ROUNDING) for one in (told, shown))
    return (told * shown).sum(dim=1).mean(dim=1)


def parts_of(height: int, width: int, share: float, steps: int) -> list[Box]:
    """Parts of this share of the sides, row by row, so many along a side, from end to end."""
    tall, wide = max(1, round(share * height)), max(1, round(share * width))
    places = [step / (steps - 1) for step in range(steps)]
    return [Box(round(y * (height - tall)), round(x * (width - wide)), tall, wide) for y in places for x in places]


@dataclass(frozen=True)
class _Evidence:
    """Pictures [B, 3, h, w], and cosines of classes with vectors of them [B, C] and of their parts [B, P, C]."""

    levels: Tensor
    vectors: Tensor
    whole: Tensor
    parts: Sequence[tuple[list[Box], Tensor]]


def _evidence(segmenter: Segmenter, levels: Tensor, vectors: Tensor) -> _Evidence:
    """What the tower says of pictures, and of their parts alone and enlarged."""

    def cosines(views: Tensor) -> Tensor:
        whole = features_of(segmenter, views).whole
        return segmenter.similarity(whole, vectors.to(whole.dtype))

    levels = levels.float()
    mean, sides = levels.mean(dim=(2, 3), keepdim=True), (levels.shape[2], levels.shape[3])

    def alone(box: Box) -> Tensor:
        view = mean.expand(levels.shape).clone()
        box.of(view).copy_(box.of(levels))
        return view

    def enlarged(box: Box) -> Tensor:
        return F.interpolate(box.of(levels), sides, mode="bilinear", align_corners=False)

    parts = []
    for view, (share, steps) in ((alone, ALONE), (enlarged, ENLARGED)):
        boxes = parts_of(*sides, share, steps)
        parts.append((boxes, torch.stack([cosines(view(box)) for box in boxes], dim=1)))
    return _Evidence(levels, vectors, cosines(levels), parts)


def _score(segmenter: Segmenter, seen: _Evidence) -> Tensor:
    """How well the cells agree with the evidence [B]."""
    regions = features_of(segmenter, seen.levels)
    of_cells = (segmenter.scale * regions.vectors @ seen.vectors.to(regions.vectors.dtype).T).softmax(dim=2)
    sides = (seen.levels.shape[2], seen.levels.shape[3])
    # Where the centre of each cell lies, row by row.
    y, x = ((torch.arange(count) + 0.5) * side / count for count, side in zip(regions.grid, sides, strict=True))
    down, right = (one.flatten() for one in torch.meshgrid(y, x, indexing="ij"))
    scores = []
    for boxes, shown in seen.parts:
        inside = torch.stack(
            [
                (down >= box.top) & (down < box.top + box.height) & (right >= box.left) & (right < box.left + box.width)
                for box in boxes
            ]
        ).to(of_cells)
        told = (inside / inside.sum(dim=1, keepdim=True).clamp(min=1)) @ of_cells
        scores.append(agreement(told, shown, seen.whole))
    return torch.stack(scores).mean(dim=0)


def _pictures(folder: Path | None, benchmark: Benchmark, bad: list[BadItem]) -> Iterator[NDArray[np.uint8]]:
    """Pictures uint8 [H, W, 3], spread evenly over all that there are; what is wrong with bad ones goes to `bad`."""
    if folder is None:
        total, read = len(benchmark), benchmark.image
    else:
        files = _picture_files(folder)
        total = len(files)

        def read(index: int) -> NDArray[np.uint8]:
            return decode_picture(files[index].read_bytes(), str(files[index]))

    for index in chosen_pictures(total, PICTURES).tolist():
        try:
            yield read(index)
        except BadItem as error:
            bad.append(error)


def _picture_files(folder: Path) -> list[Path]:
    """Pictures in a folder and those within. Raises MisuseError where there are none."""
    if not folder.is_dir():
        raise MisuseError(f"--dense-pictures {folder}: is no folder; give one with pictures in it")
    files = sorted(path for path in folder.rglob("*") if path.suffix[1:].lower() in FIELDS and path.is_file())
    if not files:
        raise MisuseError(f"--dense-pictures {folder}: holds no picture ({', '.join(FIELDS)}); give another folder")
    return files
