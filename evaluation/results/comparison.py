"""Results side by side: each benchmark and class, with paired bootstrap differences from the first result.

Differences are of the same pictures under both, drawn together, which is far sharper than two intervals side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.figures.bootstrap import (
    ClassIntervals,
    Interval,
    iou_differences,
    mean_iou_difference,
    mean_iou_interval,
)
from evaluation.figures.confusion import ious
from evaluation.results.result import PictureCounts, read_counts, read_results
from files.errors import CocuError, MisuseError

OLDER = "groupvit"  # the protocol of results that name none


@dataclass(frozen=True)
class Compared:
    """A benchmark under R results, on the N pictures that all of them measured.

    names: of the results. classes: of the benchmark. miou: of each result. iou: of each class [R, C]. difference,
    class_differences: of results 1.. from the first. notes: what was measured otherwise, and pictures left out.
    """

    benchmark: str
    names: tuple[str, ...]
    pictures: int
    classes: tuple[str, ...]
    miou: tuple[Interval, ...]
    iou: NDArray[np.float64]
    difference: tuple[Interval, ...]
    class_differences: tuple[ClassIntervals, ...]
    notes: tuple[str, ...]


def compare(folders: Sequence[Path]) -> list[Compared]:
    """Compare result folders, the first is what the others are held against.

    Raises MisuseError: fewer than two folders, one without results, no benchmark or no picture in common, a benchmark
    that was measured under other protocols.
    CocuError: results that are damaged.
    """
    if len(folders) < 2:
        raise MisuseError("give two or more result folders to compare")
    contents = [read_results(folder) for folder in folders]
    by_name = [{one["name"]: one for one in content["benchmarks"]} for content in contents]
    common = [name for name in by_name[0] if all(name in each for each in by_name)]
    if not common:
        listed = "; ".join(
            f"{folder} has {', '.join(each) or 'none'}" for folder, each in zip(folders, by_name, strict=True)
        )
        raise MisuseError(f"the results have no benchmark in common: {listed}")
    names = result_names(folders)
    return [_compared(name, folders, names, [each[name] for each in by_name]) for name in common]


def result_names(folders: Sequence[Path]) -> tuple[str, ...]:
    """What the results are called: the folders' last parts, as many as it takes to tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return tuple(names)
    return tuple(f"{folder} ({number})" for number, folder in enumerate(folders, 1))


def _compared(
    benchmark: str, folders: Sequence[Path], names: tuple[str, ...], said: Sequence[Mapping[str, Any]]
) -> Compared:
    protocols = [one["rules"].get("protocol", OLDER) for one in said]
    for folder, protocol in zip(folders, protocols, strict=True):
        if protocol != protocols[0]:
            raise MisuseError(
                f"{folder}: {benchmark} was measured under the protocol {protocol}, {folders[0]} under {protocols[0]}: "
                "such figures cannot be compared; measure both with one --protocol"
            )
    found = [read_counts(folder / benchmark) for folder in folders]
    for folder, one in zip(folders, found, strict=True):
        if one.classes != found[0].classes:
            raise CocuError(
                f"{folder / benchmark}: its classes are not those of {folders[0] / benchmark}; "
                "evaluate both with one card"
            )
    keys, counts = paired(found)
    if not keys:
        raise MisuseError(f"{benchmark}: the results have no picture in common")
    return Compared(
        benchmark=benchmark,
        names=names,
        pictures=len(keys),
        classes=found[0].classes,
        miou=tuple(mean_iou_interval(one) for one in counts),
        iou=np.stack([ious(one.sum(0, dtype=np.float64)) for one in counts]),
        difference=tuple(mean_iou_difference(counts[0], one) for one in counts[1:]),
        class_differences=tuple(iou_differences(counts[0], one) for one in counts[1:]),
        notes=tuple(_notes(names, said, [len(one.keys) for one in found], len(keys))),
    )


def paired(found: Sequence[PictureCounts]) -> tuple[tuple[str, ...], list[NDArray[np.int64]]]:
    """The keys that all have, in the order of the first, and the counts of these pictures under each."""
    others = [set(one.keys) for one in found[1:]]
    keys = tuple(key for key in found[0].keys if all(key in other for other in others))
    places = [{key: place for place, key in enumerate(one.keys)} for one in found]
    chosen = [one.counts[[place[key] for key in keys]] for one, place in zip(found, places, strict=True)]
    return keys, chosen


def _notes(names: Sequence[str], said: Sequence[Mapping[str, Any]], measured: Sequence[int], common: int) -> list[str]:
    notes = [
        f"{name} measured {count:,} pictures; {common:,} are compared, those that all have"
        for name, count in zip(names, measured, strict=True)
        if count != common
    ]
    for name, one in zip(names[1:], said[1:], strict=True):
        if one["card_sha256"] != said[0]["card_sha256"]:
            notes.append(f"{name} was measured with another card than {names[0]}")
        rules = [{"protocol": OLDER, **each["rules"], "split": each["split"]} for each in (said[0], one)]
        for rule in dict.fromkeys([*rules[0], *rules[1]]):
            if (first := rules[0].get(rule)) != (other := rules[1].get(rule)):
                notes.append(f"{name} was measured with {rule} {other}, {names[0]} with {first}")
    return notes
