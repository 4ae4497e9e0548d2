"""How well boxes, peaks and their heights tell where a concept shows, and whether it does (docs/localisation.md).

python -m benchmarks.quality.localisation masks CARD=PATH --model MODEL [--half 0|1]
python -m benchmarks.quality.localisation claims CURATED --index INDEX --truth TRUTH --synonyms FILE

masks: the classes of a card, each by its name, on pictures whose masks are known. Pointing: the peak lies in the
class's mask. IoU: of the box with the box round the mask, for classes from `AREA` of the picture; beside them the
picture's centre, and boxes around it of the size that is best on these very pictures. AUC: the class shows, or not.
claims: of the recovered concepts of a curated folder that name an object, right ones against wrong ones, beside what
the score and the whole picture's cosine tell. CURATED is of --anchors, or of all pairs of INDEX.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.stats import rankdata

import cocu
from curation.encoding.dense import DenseEncoder
from curation.encoding.encoder import Encoder
from curation.encoding.model_names import EncoderSpec
from curation.index.vocabulary import read_vocabulary_table
from curation.ranking.localisation import enlarged, regions_of
from curation.recovery.truth import read_truth
from curation.runs.parquet_parts import arrow_to_vectors, parquet_batches
from data_cards.cards import benchmarks_of
from data_cards.layouts.benchmark import open_benchmark

AREA = 0.01
CENTRES = np.arange(0.3, 1.01, 0.05)
BATCH = 32


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """[K, 4], x0, y0, x1, y1 each -> intersection over union [K]."""
    shared = np.prod(
        np.clip(np.minimum(boxes[:, 2:], others[:, 2:]) - np.maximum(boxes[:, :2], others[:, :2]), 0, 1), 1
    )
    areas = [np.prod(one[:, 2:] - one[:, :2], 1) for one in (boxes, others)]
    return shared / (areas[0] + areas[1] - shared)


def auc(right: Sequence[float], wrong: Sequence[float]) -> float:
    """Share of the pairs of a right and a wrong one of which the right one is higher; ties are half."""
    ranks = rankdata([*right, *wrong])[: len(right)]
    return float((ranks.sum() - len(right) * (len(right) + 1) / 2) / (len(right) * len(wrong)))


def box_of(mask: np.ndarray) -> list[float]:
    """The box round what is true of a mask [H, W]."""
    y, x = np.nonzero(mask)
    height, width = mask.shape
    return [x.min() / width, y.min() / height, (x.max() + 1) / width, (y.max() + 1) / height]


def against_masks(benchmark: str, model: str, half: int | None) -> dict[str, Any]:
    """The figures of `masks`; half: of every second picture, from the first or from the second."""
    ((card, path),) = benchmarks_of([benchmark])
    pictures = open_benchmark(card, path)
    names = [(number, one.name) for number, one in enumerate(card.classes) if one.name != "background"]
    encoder = Encoder(EncoderSpec(model))
    dense, texts = DenseEncoder(encoder), encoder.encode_concepts([name for _, name in names]).astype(np.float32)
    which = range(len(pictures))[slice(half, None, None if half is None else 2)]
    hits, centre, boxes, truth = [], [], [], []
    scores: dict[str, tuple[list[float], list[float]]] = {"peak": ([], []), "whole picture": ([], [])}
    for first in range(0, len(which), BATCH):
        items = [pictures.item(number) for number in which[first : first + BATCH]]
        images = [Image.fromarray(np.asarray(image)) for image, _ in items]
        heats = dense.heat(np.stack([np.asarray(dense.squashed(one)) for one in images]), [texts] * len(items))
        sides = (encoder.image_size, encoder.image_size)
        whole = encoder.encode_pixels(np.stack([np.asarray(one.resize(sides)) for one in images])) @ texts.T
        for (_, mask), heat, likeness in zip(items, heats, whole, strict=True):
            regions, fine = regions_of(heat), enlarged(heat)
            for place, (number, _) in enumerate(names):
                shown = mask == number
                area = shown.mean()
                if 0 < area < AREA:
                    continue
                for name, value in (("peak", regions.peak[place]), ("whole picture", likeness[place])):
                    scores[name][int(area == 0)].append(float(value))
                if area:
                    at = np.unravel_index(fine[place].argmax(), fine[place].shape)
                    y, x = (int((p + 0.5) / n * s) for p, n, s in zip(at, fine[place].shape, shown.shape, strict=True))
                    hits.append(shown[y, x])
                    centre.append(shown[shown.shape[0] // 2, shown.shape[1] // 2])
                    boxes.append(regions.boxes[place])
                    truth.append(box_of(shown))
    found, wanted = np.array(boxes), np.array(truth)
    middle = {
        side: iou(np.tile([0.5 - side / 2] * 2 + [0.5 + side / 2] * 2, (len(found), 1)), wanted) for side in CENTRES
    }
    best = max(middle, key=lambda side: middle[side].mean())
    return {
        **{"pictures": len(which), "objects": len(hits), "features": dense.how, "side": dense.side},
        **{"pointing": mean(hits), "pointing of the centre": mean(centre)},
        **{"IoU": mean(iou(found, wanted)), f"IoU of a centre box of {best:.2f}": mean(middle[best])},
        **{f"AUC of {name}": round(auc(*values), 3) for name, values in scores.items()},
    }


def mean(values: Any) -> str:
    """A mean and its standard error."""
    return f"{np.mean(values):.3f} +- {np.std(values) / len(values) ** 0.5:.3f}"


def against_truth(curated: Path, index: Path, truth: Path, synonyms: Path) -> dict[str, Any]:
    """The figures of `claims`: a claim is right where the object takes `AREA` of the picture, wrong where it is not."""
    known = read_truth(truth)
    rows_of, columns_of = ({name: at for at, name in enumerate(names)} for names in (known.keys, known.objects))
    listed = json.loads(synonyms.read_text(encoding="utf-8"))
    objects = {word: name for name, words in listed.items() for word in (name, *words)}
    vocabulary = read_vocabulary_table(index / "concepts.parquet")
    embedded = (curated / "anchors" if (curated / "anchors").is_dir() else index) / "embeddings"
    vectors = {
        (file.stem, key): vector
        for file in embedded.glob("*.parquet")
        for batch in parquet_batches(file, 1024, ["key", "image_vec"])
        for key, vector in zip(batch["key"].to_pylist(), arrow_to_vectors(batch["image_vec"]), strict=True)
    }
    scores: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in ("peak", "score", "whole picture")}
    asked = (
        "SELECT shard, key, concept, concept_id, peak, score FROM archives WHERE NOT in_caption AND peak IS NOT NULL"
    )
    for shard, key, concept, number, *values in cocu.open_curated(curated).sql(asked).fetchall():
        column = columns_of.get(objects.get(concept, ""))
        if column is None or key not in rows_of:
            continue
        area = known.area[rows_of[key], column]
        if not area < AREA:
            values.append(float(vectors[shard, key].astype(np.float32) @ vocabulary.vectors[number]))
            for name, value in zip(scores, values, strict=True):
                scores[name][int(np.isnan(area))].append(value)
    right, wrong = map(len, scores["peak"])
    return {
        **{"right": right, "wrong": wrong, "precision": round(right / (right + wrong), 3)},
        **{f"AUC of {name}": round(auc(*pair), 3) for name, pair in scores.items()},
        **{f"precision of the half by {name}": round(precision_of_half(*pair), 3) for name, pair in scores.items()},
    }


def precision_of_half(right: Sequence[float], wrong: Sequence[float]) -> float:
    """Share of right ones in the higher half of all."""
    best = np.argsort([*right, *wrong], kind="stable")[::-1][: (len(right) + len(wrong)) // 2]
    return float((best < len(right)).mean())


def main() -> None:
    """Measure one, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ways = parser.add_subparsers(required=True)
    masks = ways.add_parser("masks")
    masks.add_argument("benchmark", metavar="CARD=PATH")
    masks.add_argument("--model", required=True)
    masks.add_argument("--half", type=int, choices=(0, 1))
    masks.set_defaults(measure=lambda given: against_masks(given.benchmark, given.model, given.half))
    claims = ways.add_parser("claims")
    claims.add_argument("curated", type=Path)
    claims.add_argument("--index", type=Path, required=True)
    claims.add_argument("--truth", type=Path, required=True)
    claims.add_argument("--synonyms", type=Path, required=True)
    claims.set_defaults(measure=lambda given: against_truth(given.curated, given.index, given.truth, given.synonyms))
    given = parser.parse_args()
    for name, value in given.measure(given).items():
        print(f"{name:40} {value}")


if __name__ == "__main__":
    main()
