"""gallery.html: the best, the worst and a random sample of pictures, with truth, prediction and groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from data_cards.layouts.benchmark import Benchmark
from evaluation.figures.confusion import mean_ious
from evaluation.labels.inference import Labelled, Rules, segment_images
from evaluation.models.segmenters import Segmenter
from evaluation.results.overlay import Colours, colours_of, labels_at, overlay, palette, picture_at, shown_sides
from evaluation.results.result import Result
from evaluation.results.text import percent
from files.atomic import atomic, write_text
from files.page import page

GALLERY, PICTURES = "gallery.html", "gallery"
SIDE = 384  # pixels of a picture's longer side in the gallery
SEED = 0
HEADINGS = {
    "best": "The best, by the mean IoU within the picture",
    "worst": "The worst",
    "random": "A random sample, whatever came of it",
}
_TEMPLATE = Path(__file__).parent / "templates" / "gallery.html.j2"


@dataclass(frozen=True)
class PictureCard:
    """A picture as the page shows it; iou: of the picture, in per cent.

    shots: what is shown -> its address; classes: name, colour, IoU in per cent or "" for one only predicted.
    """

    key: str
    iou: str
    shots: Mapping[str, str]
    classes: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class BenchmarkGallery:
    """A benchmark's part of the page; tiles: value and what it is; cards: heading -> pictures; bad: left out."""

    name: str
    tiles: Sequence[tuple[str, str]]
    bad: int
    cards: Mapping[str, Sequence[PictureCard]]


def choose(scores: NDArray[np.float64], count: int, seed: int = SEED) -> dict[str, list[int]]:
    """Scores of N pictures, NaN where nothing was counted -> `count` each of best, worst and random, without repeats.

    Where there are few pictures, none is both among the best and the worst.
    """
    order = [int(index) for index in np.argsort(-scores, kind="stable") if not np.isnan(scores[index])]
    best = order[: min(count, -(-len(order) // 2))]
    worst = order[len(best) :][::-1][:count]
    rest = sorted(set(range(len(scores))) - set(best) - set(worst))
    chance = np.random.default_rng(seed)
    sample = chance.permutation(rest)[:count].tolist() if rest else []
    return {"best": best, "worst": worst, "random": [int(index) for index in sample]}


def write_pictures(
    folder: Path,
    result: Result,
    benchmark: Benchmark,
    segmenter: Segmenter,
    vectors: Tensor,
    rules: Rules,
    count: int,
) -> BenchmarkGallery:
    """Segment the chosen pictures once more, groups and all, and write their PNGs; the benchmark's part of the page."""
    scores = mean_ious(result.tally.counts.astype(np.float64))
    chosen = choose(scores, count)
    colours = colours_of(result.card)
    rules = replace(rules, groups=True)
    cards: dict[str, list[PictureCard]] = {}
    for kind, places in chosen.items():
        for place in places:
            image, truth = benchmark.item(int(result.tally.indices[place]))
            (labelled,) = segment_images(segmenter, result.card, vectors, [image], rules)
            files = _write_shots(folder / PICTURES, f"{place:06d}", image, truth, labelled, colours)
            shots = {shown: f"{quote(folder.name)}/{PICTURES}/{quote(name)}" for shown, name in files.items()}
            card = PictureCard(
                result.keys[place], percent(float(scores[place])), shots, _classes(result, place, colours)
            )
            cards.setdefault(HEADINGS[kind], []).append(card)
    return BenchmarkGallery(result.card.pretty_name, _tiles(result), len(result.tally.bad), cards)


def write_page(out: Path, head: Mapping[str, Any], benchmarks: Sequence[BenchmarkGallery]) -> None:
    """Write gallery.html of all benchmarks done so far."""
    html = page(_TEMPLATE, checkpoint=head["checkpoint"], date=head["date"], benchmarks=benchmarks)
    write_text(out / GALLERY, html)


def _write_shots(
    folder: Path,
    stem: str,
    image: NDArray[np.uint8],
    truth: NDArray[np.unsignedinteger],
    labelled: Labelled,
    colours: Colours,
) -> dict[str, str]:
    """What is shown -> the name of its file."""
    sides = shown_sides(truth.shape[0], truth.shape[1], SIDE)
    image = picture_at(image, sides)
    shots = {
        "picture": image,
        "truth": overlay(image, labels_at(truth, sides), colours),
        "prediction": overlay(image, labels_at(labelled.labels.cpu().numpy(), sides), colours),
    }
    if labelled.groups is not None:
        groups = labels_at(labelled.groups.cpu().numpy(), sides)
        shots["groups"] = overlay(image, groups, palette(int(groups.max()) + 1))
    names = {}
    for kind, shot in shots.items():
        names[kind] = f"{stem}-{kind}.png"
        with atomic(folder / names[kind]) as temporary:
            Image.fromarray(shot).save(temporary, "PNG")
    return names


def _tiles(result: Result) -> list[tuple[str, str]]:
    found, interval = result.figures, result.interval()
    return [
        (percent(found.mean_iou), f"mIoU, {percent(interval.low)} to {percent(interval.high)}"),
        (percent(found.pixel_accuracy), "of the pixels right"),
        (percent(result.boundary.mean_iou), "boundary IoU"),
        (f"{len(result.keys):,}", f"pictures of {result.available:,}"),
    ]


def _classes(result: Result, place: int, colours: Colours) -> list[tuple[str, str, str]]:
    """The classes of a picture, the largest first: those of the truth with their IoU, then those only predicted."""
    right, true, predicted = result.tally.counts[place]
    rows = []
    for index in sorted(np.flatnonzero(true + predicted), key=lambda one: (-true[one], -predicted[one])):
        iou = percent(right[index] / (true[index] + predicted[index] - right[index])) if true[index] else ""
        rows.append((result.card.classes[index].name, f"rgb({','.join(map(str, colours[index]))})", iou))
    return rows
