"""What an evaluation leaves behind: results.json, results.md, and for each benchmark classes.csv and counts.npz.

The counts of every picture are kept, so that two results can be compared picture by picture (comparison.py).
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from data_cards.cards import Card
from evaluation.figures.bootstrap import Interval, mean_iou_interval
from evaluation.figures.confusion import IouFigures, figures
from evaluation.figures.tally import PictureTally
from evaluation.results.distractors import Distraction, distracted_summary
from evaluation.results.doubts import doubts_about
from files.atomic import atomic, write_text
from files.errors import CocuError, MisuseError, one_line
from files.plain_names import plain_name
from files.shapes import ShapeFault, check_shape
from files.strict_json import JsonFault, read_json

RESULTS, TABLE, CLASSES, COUNTS = "results.json", "results.md", "classes.csv", "counts.npz"
FORM = 1  # of results.json
# What is read of it again; a name is a folder's.
_COMPARED = {"benchmarks": [{"name": plain_name, "card_sha256": str, "split": str, "rules": dict}]}


@dataclass(frozen=True)
class Result:
    """A benchmark that was measured.

    path, split: what was opened; available: how many pictures it has. keys: of the pictures counted, in the order of
    tally. rules: what the run chose, by name. seconds: of segmenting and counting. distraction: which names stood
    beside the classes.
    """

    card: Card
    path: Path
    split: str
    available: int
    keys: tuple[str, ...]
    tally: PictureTally
    rules: Mapping[str, Any]
    seconds: float
    distraction: Distraction | None = None

    @property
    def total(self) -> NDArray[np.int64]:
        """Counts over all pictures [3, C]."""
        return self.tally.counts.sum(0)

    @property
    def figures(self) -> IouFigures:
        """Over all pictures."""
        return figures(self.total)

    @property
    def boundary(self) -> IouFigures:
        """The same near outlines."""
        return figures(self.tally.boundary.sum(0))

    def interval(self) -> Interval:
        """mIoU with its 95 % interval over pictures."""
        return mean_iou_interval(self.tally.counts)


def card_digest(card: Card) -> str:
    """SHA-256 of all that a card's front matter says, however it is written down, hexadecimal.

    What it says of the protocol clip counts where that is in use, in the places that it then takes (Card.under).
    """
    unused: dict[str, Any] = {"clip": True, "classes": {"__all__": {"clip"}}}
    said = json.dumps(card.model_dump(mode="json", exclude=unused), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(said.encode()).hexdigest()


def members_of_kind(card: Card, kind: Literal["stuff", "thing"]) -> list[int]:
    """Indices of the classes that the card calls stuff or things; the background, which no text names, is neither."""
    return [index for index, one in enumerate(card.classes) if one.kind == kind and index != card.background_index]


def summary(result: Result) -> dict[str, Any]:
    """A benchmark's part of results.json. Shares 0 to 1; null where there is nothing to divide by."""
    found, near, counts = result.figures, result.boundary, result.tally.counts
    pictures = len(counts)
    return {
        "name": result.card.name,
        "pretty_name": result.card.pretty_name,
        "card_sha256": card_digest(result.card),
        "path": str(result.path),
        "split": result.split,
        "pictures": pictures,
        "pictures_in_split": result.available,
        "left_out": [asdict(one) for one in result.tally.bad],
        "mean_iou": _interval(result.interval()),
        "pixel_accuracy": _number(found.pixel_accuracy),
        "mean_accuracy": _number(found.mean_accuracy),
        "boundary_mean_iou": _number(near.mean_iou),
        "stuff_mean_iou": _of_kind(result, "stuff"),
        "things_mean_iou": _of_kind(result, "thing"),
        "classes": class_rows(result),
        "warnings": list(doubts_about(counts, result.card)),
        "rules": dict(result.rules),
        **_distractors(result),
        "seconds": round(result.seconds, 3),
        "pictures_per_second": round(pictures / result.seconds, 3) if result.seconds else None,
    }


def class_rows(result: Result) -> list[dict[str, Any]]:
    """For each class its figures, in the order of the card."""
    right, true, predicted = result.total
    found, near = result.figures, result.boundary
    return [
        {
            "class": one.name,
            "kind": "background" if index == result.card.background_index else one.kind,
            "iou": _number(found.iou[index]),
            "accuracy": _number(right[index] / true[index]) if true[index] else None,
            "boundary_iou": _number(near.iou[index]),
            "pixels": int(true[index]),
            "pixels_predicted": int(predicted[index]),
            "pixels_right": int(right[index]),
            "pictures": int((result.tally.counts[:, 1, index] > 0).sum()),
        }
        for index, one in enumerate(result.card.classes)
    ]


def header(checkpoint: Mapping[str, Any], command: Sequence[str], date: str, **more: Any) -> dict[str, Any]:
    """What results.json says of the run as a whole."""
    return {
        "form": FORM,
        "cocu": version("cocu"),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "command": list(command),
        "date": date,
        "checkpoint": dict(checkpoint),
        **more,
    }


def write_benchmark(folder: Path, result: Result) -> None:
    """Write classes.csv and counts.npz."""
    rows = class_rows(result)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / CLASSES, text.getvalue())
    with atomic(folder / COUNTS) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            keys=np.array(result.keys, dtype=np.str_),
            classes=np.array([one.name for one in result.card.classes], dtype=np.str_),
            counts=result.tally.counts,
            boundary=result.tally.boundary,
            confusion=result.tally.matrix,
        )


def read_results(folder: Path) -> dict[str, Any]:
    """results.json of a folder. Raises MisuseError where there is none, CocuError for one that is damaged."""
    path = folder / RESULTS
    if not path.is_file():
        raise MisuseError(f"{folder}: holds no {RESULTS}; give the --out folder of a `cocu eval` that has ended")
    try:
        content: dict[str, Any] = read_json(path)
        check_shape(content, {"form": int})
        if content["form"] == FORM:
            check_shape(content, _COMPARED)
    except (OSError, JsonFault, ShapeFault) as error:
        raise CocuError(f"{path}: cannot be read ({error})") from error
    if content["form"] != FORM:
        raise CocuError(f"{path}: is not of form {FORM}, the one that this version of cocu reads")
    return content


@dataclass(frozen=True)
class PictureCounts:
    """counts.npz: keys of N pictures, names of C classes, counts int64 [N, 3, C]."""

    keys: tuple[str, ...]
    classes: tuple[str, ...]
    counts: NDArray[np.int64]


def read_counts(folder: Path) -> PictureCounts:
    """The counts of a benchmark. Raises CocuError where they are missing or damaged."""
    path = folder / COUNTS
    try:
        with np.load(path, allow_pickle=False) as found:
            keys, classes, counts = (found[name] for name in ("keys", "classes", "counts"))
        if (counts.shape, counts.dtype.kind, keys.dtype.kind) != ((len(keys), 3, len(classes)), "i", "U"):
            raise ValueError(f"counts {list(counts.shape)} of {len(keys)} pictures and {len(classes)} classes")
        return PictureCounts(tuple(keys.tolist()), tuple(classes.tolist()), counts)
    except Exception as error:  # zip, numpy and the system each raise kinds of their own
        raise CocuError(f"{path}: cannot be read ({one_line(error)}); evaluate again") from error


def _distractors(result: Result) -> dict[str, Any]:
    told = result.distraction
    return {"distractors": distracted_summary(told, result.tally, result.card)} if told and told.words else {}


def _of_kind(result: Result, kind: Literal["stuff", "thing"]) -> dict[str, Any] | None:
    members = members_of_kind(result.card, kind)
    if not members:
        return None
    return {"classes": len(members), **_interval(mean_iou_interval(result.tally.counts, members))}


def _interval(interval: Interval) -> dict[str, float | None]:
    return {"value": _number(interval.value), "low": _number(interval.low), "high": _number(interval.high)}


def _number(value: float | np.floating[Any]) -> float | None:
    return float(value) if math.isfinite(value) else None
