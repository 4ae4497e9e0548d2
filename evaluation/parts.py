"""`cocu eval --part I/N`: pictures are dealt to parts, on any machines that share --out, and each leaves its counts.

`--part finish` adds them up: the figures are those of one run, as every picture is counted by itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.figures.tally import Bad, PictureTally, Share, merged
from files.atomic import atomic
from files.errors import CocuError, MisuseError
from files.npy import load_npy

PARTS = "parts"
FINISH = "finish"
ARRAYS = [field.name for field in fields(PictureTally) if field.name != "bad"]


@dataclass(frozen=True)
class EvalPart:
    """Part `number`, from 1, of `count`. Number 0: none of them, but what comes when all are done."""

    number: int
    count: int

    @property
    def name(self) -> str:
        """As it is given."""
        return f"{self.number}/{self.count}" if self.number else FINISH

    def share(self, rank: int, world: int) -> Share:
        """Its batches, or those of one of so many processes that share them."""
        return Share(self.number - 1 + rank * self.count, self.count * world)


def parse_eval_part(text: str | None) -> EvalPart | None:
    """The part that is named "I/N" or "finish"; None for None. Raises MisuseError."""
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if found and 1 <= int(found[1]) <= int(found[2]):
        return EvalPart(int(found[1]), int(found[2]))
    if text != FINISH:
        raise MisuseError(f"--part {text}: give I/N, such as 1/8 to 8/8, or {FINISH} when all N have ended")
    return EvalPart(0, 0)


def keep_counts(
    out: Path, part: EvalPart, benchmark: str, setting: Mapping[str, Any], tally: PictureTally, seconds: float
) -> None:
    """Leave what a part counted of a benchmark. setting: what must be the same in all parts."""
    arrays = {name: getattr(tally, name) for name in ARRAYS}
    told = {"setting": setting, "bad": [asdict(one) for one in tally.bad], "seconds": seconds}
    folder = out / PARTS / benchmark / f"{part.number} of {part.count}"
    (folder / "told.json").unlink(missing_ok=True)  # of an earlier run, maybe with other options
    for name, array in arrays.items():
        with atomic(folder / f"{name}.npy") as temporary, temporary.open("wb") as file:
            np.save(file, array)
    with atomic(folder / "told.json") as temporary:  # the last: with it the part is whole
        temporary.write_text(json.dumps(told), encoding="utf-8")


def all_counts(out: Path, benchmark: str, setting: Mapping[str, Any]) -> tuple[PictureTally, float]:
    """What all parts counted, and their seconds. Raises CocuError for missing parts, MisuseError for other ones."""
    folder = out / PARTS / benchmark
    there = {path.parent.name: path for path in folder.glob("* of */told.json")}
    counts = {name.partition(" of ")[2] for name in there}
    if len(counts) > 1:
        listed = ", ".join(f"'{min(name for name in there if name.endswith(f' of {one}'))}'" for one in sorted(counts))
        raise MisuseError(
            f"{folder}: holds parts of {' and of '.join(sorted(counts))}, such as {listed}; keep those of one number"
        )
    wanted = [f"{number} of {count}" for count in counts for number in range(1, int(count) + 1)]
    missing = [name.replace(" of ", "/") for name in wanted if name not in there]
    if missing or not wanted:
        raise CocuError(f"{folder}: parts are missing: {', '.join(missing[:10]) or 'all'}; run them, and this again")
    tallies, seconds = [], 0.0
    for name in wanted:
        try:
            told = json.loads(there[name].read_text("utf-8"))
            if told["setting"] != json.loads(json.dumps(setting)):
                raise MisuseError(f"{folder / name}: was counted with other options, or of another model; run it again")
            arrays = {array: load_npy(folder / name / f"{array}.npy") for array in ARRAYS}
            tallies.append(PictureTally(**arrays, bad=tuple(Bad(**one) for one in told["bad"])))
            seconds += float(told["seconds"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CocuError(f"{folder / name}: cannot be read ({error}); run this part again") from error
    return merged(tallies), seconds
