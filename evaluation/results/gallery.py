"""gallery.html: the best, the worst and a random sample of pictures, with truth, prediction and groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from data_cards.layouts.benchmark import Benchmark
from evaluation.figures.confusion import mean_ious
from evaluation.gallery_page import page
from evaluation.labels.inference import Labelled, Rules, segment_images
from evaluation.models.segmenters import Segmenter
from evaluation.results.overlay import Colours, labels_at, overlay, palette, picture_at, shown_sides
from evaluation.results.result import Result
from evaluation.results.text import percent
from training.run.checkpoint import write_atomically

GALLERY, PICTURES = "gallery.html", "gallery"
SIDE = 384  # pixels of a picture's longer side in the gallery
SEED = 0
HEADINGS = {
    "best": "The best, by the mean IoU within the picture",
    "worst": "The worst",
    "random": "A random sample, whatever came of it",
}


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
    folder: Path, result: Result, benchmark: Benchmark, segmenter: Segmenter, vectors: Tensor, count: int
) -> str:
    """Segment the chosen pictures once more, groups and all, and write their PNGs; the benchmark's part of the page."""
    scores = mean_ious(result.tally.counts.astype(np.float64))
    chosen = choose(scores, count)
    (folder / PICTURES).mkdir(parents=True, exist_ok=True)
    colours = palette(len(result.card.classes), result.card.background_index)
    rules = replace(Rules(), best=result.rules["best classes"], groups=True)
    parts = [_head(result)]
    for kind, places in chosen.items():
        cards = []
        for place in places:
            image, truth = benchmark.item(int(result.tally.indices[place]))
            (labelled,) = segment_images(segmenter, result.card, vectors, [image], rules)
            files = _write_shots(folder / PICTURES, f"{place:06d}", image, truth, labelled, colours)
            cards.append(_card(result, place, float(scores[place]), folder.name, files, colours))
        if cards:
            parts.append(f'<h3>{HEADINGS[kind]}</h3>\n<div class="cards">\n{"".join(cards)}</div>')
    return "\n".join(parts)


def write_page(out: Path, head: Mapping[str, Any], sections: Sequence[str]) -> None:
    """Write gallery.html of all benchmarks done so far."""
    checkpoint = head["checkpoint"]
    lead = (
        f"<h1>{escape(checkpoint['name'])}</h1>\n"
        f'<p class="lead">{escape(checkpoint["kind"])}, weights {escape(checkpoint["sha256"][:12])}; '
        f"{escape(head['date'])}. Pictures segmented by the names of classes; figures in per cent.</p>"
    )
    write_atomically(out / GALLERY, page(f"Segmented by {checkpoint['name']}", "\n".join([lead, *sections])))


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
        Image.fromarray(shot).save(folder / names[kind], "PNG")
    return names


def _head(result: Result) -> str:
    found, interval = result.figures, result.interval()
    tiles = [
        (percent(found.mean_iou), f"mIoU, {percent(interval.low)} to {percent(interval.high)}"),
        (percent(found.pixel_accuracy), "of the pixels right"),
        (percent(result.boundary.mean_iou), "boundary IoU"),
        (f"{len(result.keys):,}", f"pictures of {result.available:,}"),
    ]
    shown = "".join(f'<div class="tile"><b>{value}</b><span>{escape(said)}</span></div>' for value, said in tiles)
    left_out = f'<p class="quiet">{len(result.tally.bad):,} bad pictures were left out.</p>' if result.tally.bad else ""
    return f'<h2>{escape(result.card.pretty_name)}</h2>\n<div class="tiles">{shown}</div>\n{left_out}'


def _card(result: Result, place: int, score: float, folder: str, files: Mapping[str, str], colours: Colours) -> str:
    key = result.keys[place]
    shots = "".join(
        f'<figure><img src="{quote(folder)}/{PICTURES}/{quote(name)}" alt="{kind} of {escape(key)}" loading="lazy">'
        f"<figcaption>{kind}</figcaption></figure>"
        for kind, name in files.items()
    )
    return (
        f'<article class="card"><div class="shots">{shots}</div>{_legend(result, place, colours)}'
        f'<p class="key"><b>{percent(score)}</b> mean IoU of the picture · {escape(key)}</p></article>\n'
    )


def _legend(result: Result, place: int, colours: Colours) -> str:
    """The classes of a picture, the largest first: those of the truth with their IoU, then those only predicted."""
    right, true, predicted = result.tally.counts[place]
    rows = []
    for index in sorted(np.flatnonzero(true + predicted), key=lambda one: (-true[one], -predicted[one])):
        name = escape(result.card.classes[index].name)
        swatch = f'<i style="background:rgb({",".join(str(level) for level in colours[index])})"></i>'
        if true[index]:
            iou = right[index] / (true[index] + predicted[index] - right[index])
            rows.append(f"<li>{swatch}{name} <span>{percent(iou)}</span></li>")
        else:
            rows.append(f'<li class="wrong">{swatch}{name} <span>not there</span></li>')
    return f'<ul class="legend">{"".join(rows)}</ul>'
