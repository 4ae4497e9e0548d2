"""How well dense modes segment, and how well what can be told without labels ranks them (docs/evaluation.md).

python -m benchmarks.quality.dense_modes MODEL CARD=PATH [--limit N]

For each mode of a CLIP: mIoU and pixel accuracy; the score of `cocu eval --dense auto`; and what it was chosen over:
how sure the cells are (mean of the highest probability), mutual information of cells and classes, agreement of labels
with those of the mirrored picture beyond chance (Cohen's kappa), and likeness of the cells' mean prediction and the
picture's own. Last, for each: Spearman's correlation with mIoU over modes, its pick, and how far that is from the best.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from data_cards.cards import Card, benchmarks_of
from data_cards.layouts.benchmark import Benchmark, open_benchmark
from evaluation.figures.confusion import figures
from evaluation.figures.tally import chosen_pictures, tally
from evaluation.labels.inference import Rules, features_of, levels_of
from evaluation.labels.windows import windows_of
from evaluation.mode_search import PICTURES, ModeSearch
from evaluation.models.prompts import class_vectors
from evaluation.models.segmenters import Segmenter, in_dense_mode, load_segmenter

BATCH = 8


def probabilities(segmenter: Segmenter, levels: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """A view, uint8 [3, h, w] -> of the classes, by cells [h, w, C] and by the whole [C]."""
    seen = features_of(segmenter, levels[None])
    cells = (segmenter.scale * seen.vectors[0] @ vectors.T).softmax(dim=1)
    return cells.unflatten(0, seen.grid), (segmenter.scale * seen.whole[0] @ vectors.T).softmax(dim=0)


def entropy(shares: Tensor) -> Tensor:
    """Of the last axis, in nats."""
    return -(shares * shares.clamp(min=1e-12).log()).sum(dim=-1)


@torch.inference_mode()
def without_labels(segmenter: Segmenter, card: Card, benchmark: Benchmark, vectors: Tensor) -> dict[str, float]:
    """What the cells of a mode look like on unlabelled pictures, by name."""
    cells, labels, mirrored, alike = [], [], [], []
    for index in chosen_pictures(len(benchmark), PICTURES).tolist():
        levels = levels_of(segmenter, card, benchmark.image(index))
        boxes = windows_of(levels.shape[1], levels.shape[2], card.window)
        view = boxes[len(boxes) // 2].of(levels)
        told, whole = probabilities(segmenter, view, vectors)
        cells.append(told.flatten(0, 1))
        labels.append(told.argmax(dim=2).flatten())
        mirrored.append(probabilities(segmenter, view.flip(2), vectors)[0].flip(1).argmax(dim=2).flatten())
        alike.append((told.mean(dim=(0, 1)) * whole).sqrt().sum())
    told, first, second = torch.cat(cells), torch.cat(labels), torch.cat(mirrored)
    often = [torch.bincount(one, minlength=len(vectors)) / len(one) for one in (first, second)]
    chance = float((often[0] * often[1]).sum())
    return {
        "sure": float(told.amax(dim=1).mean()),
        "information": float(entropy(told.mean(dim=0)) - entropy(told).mean()),
        "mirrored": (float((first == second).double().mean()) - chance) / (1 - chance),
        "as the whole": float(torch.stack(alike).mean()),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="of open_clip, as `cocu eval` takes it")
    parser.add_argument("benchmark", metavar="CARD=PATH")
    parser.add_argument("--limit", type=int, help="pictures that mIoU is measured on (default: all)")
    given = parser.parse_args(arguments)
    ((card, path),) = benchmarks_of([given.benchmark])
    benchmark, segmenter = open_benchmark(card, path), load_segmenter(given.model)
    vectors = class_vectors(segmenter, card)
    search = ModeSearch().found(segmenter, [(card, benchmark)])
    chosen = chosen_pictures(len(benchmark), given.limit)
    rows: dict[str, dict[str, float]] = {}
    for name, score in search.scores.items():
        mode = in_dense_mode(segmenter, name)
        found = figures(tally(mode, benchmark, vectors, Rules(), indices=chosen, batch=BATCH, threads=1).counts.sum(0))
        rows[name] = {"mIoU": 100 * found.mean_iou, "pixels": 100 * found.pixel_accuracy, "auto": score}
        rows[name] |= without_labels(mode, card, benchmark, vectors)
    heads = list(next(iter(rows.values())))
    print(f"{'mode':16}" + "".join(f"{head:>14}" for head in heads))
    for name, row in sorted(rows.items(), key=lambda item: -item[1]["mIoU"]):
        print(f"{name:16}" + "".join(f"{value:14.3f}" for value in row.values()), flush=True)
    truth = np.array([row["mIoU"] for row in rows.values()])
    for head in heads[2:]:
        scores = np.array([row[head] for row in rows.values()])
        pick = int(scores.argmax())
        rank = spearmanr(truth, scores).statistic if len(rows) > 1 else float("nan")
        print(
            f"{head:14} rank correlation {rank:+.2f}, picks {list(rows)[pick]}, {truth.max() - truth[pick]:.2f} below"
        )


if __name__ == "__main__":
    main()
