"""One of N parts of a command's shards: what it does of a folder that several processes, on any machines, fill at once.

cocu index build ... --part 3/8        each of the 8, at once or not, in any order, again where one died
cocu index build ... --part finish     then the rest, once; without --part what is missing is done before

A large index may be finished in parts, too: --part train trains lists, each part again finds those of its rows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapreplace

from curation.reading.shards import Shard
from curation.runs.run_folder import RunFolder, counts_text
from files.errors import CocuError, MisuseError
from files.saying import say

FINISH, TRAIN = "finish", "train"
SHOWN_MISSING = 10


@dataclass(frozen=True)
class RunPart:
    """Part `number`, from 1, of `count`. Number 0: none of them, but what comes when all are done; trains: of an index,
    only up to its trained lists."""

    number: int
    count: int
    trains: bool = False

    @property
    def name(self) -> str:
        """As it is given, "3/8"; "" for what comes when all are done."""
        return f"{self.number}/{self.count}" if self.number else ""

    def of(self, shards: Sequence[Shard]) -> list[Shard]:
        """Its own shards, in their order: the largest are dealt first, each to the part that has least by then."""
        loads = [(0, number) for number in range(1, self.count + 1)]
        mine = set()
        for shard in sorted(shards, key=lambda shard: -shard.size):
            load, number = loads[0]
            heapreplace(loads, (load + max(1, shard.size), number))
            if number == self.number:
                mine.add(shard.name)
        return [shard for shard in shards if shard.name in mine]


@dataclass(frozen=True)
class Chosen:
    """Which shards a run does of all: those of a part, or those that failed. Else all that are not done."""

    part: RunPart | None = None
    retry_failed: bool = False

    def __post_init__(self) -> None:
        if self.retry_failed and self.finishes:
            raise MisuseError(f"--part {FINISH} --retry-failed: it does none of the shards; leave one of them out")

    @property
    def name(self) -> str:
        """Of the part; "" for none."""
        return self.part.name if self.part else ""

    @property
    def finishes(self) -> bool:
        """Whether it is what comes when all parts are done."""
        return self.part is not None and not self.part.number

    def of(self, folder: RunFolder, shards: Sequence[Shard]) -> list[Shard]:
        """The shards to do. Raises CocuError where it is to finish, and some are missing."""
        if self.finishes:
            check_all_there(folder, shards)
        mine = self.part.of(shards) if self.part and self.name else list(shards)
        return folder.to_retry(mine) if self.retry_failed else mine

    def ends_here(self, folder: RunFolder, mine: Sequence[Shard], shards: Sequence[Shard]) -> bool:
        """Whether shards are left to others, which is said then: what comes after all of them is not done.

        Raises CocuError where all are its own, and some did neither fail before nor are done: 0 is of a whole folder.
        """
        if self.part and self.name:
            tell_part(folder, self.part, shards)
            return True
        missing = folder.missing(shards) if self.retry_failed else ()
        if missing:
            raise CocuError(
                f"{folder.path}: {len(missing):,} of {len(shards):,} shards are missing still: leave out --retry-failed"
            )
        return False


ALL = Chosen()


def parse_part(text: str | None, trains: bool = False) -> RunPart | None:
    """The part named "I/N" or "finish", or "train" where a command has that; None for None. Raises MisuseError."""
    if text is None:
        return None
    if text == FINISH or (trains and text == TRAIN):
        return RunPart(0, 0, text == TRAIN)
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise MisuseError(f"--part {text}: give I/N, such as 1/8 to 8/8, or {FINISH} when all N have ended")
    return RunPart(int(found[1]), int(found[2]))


def tell_part(folder: RunFolder, part: RunPart, shards: Sequence[Shard]) -> None:
    """Say how far a part has come, and all of them."""
    missing = set(folder.missing(shards))
    left = f"{len(missing):,} are missing still" if missing else f"none is missing: --part {FINISH} comes next"
    mine = part.of(shards)
    done = sum(shard.name not in missing for shard in mine)
    its = f"{done:,} of its {len(mine):,}" if done < len(mine) else f"its {done:,}"
    rejects = counts_text(folder.reject_counts(mine))
    told = f", with rejects: {rejects}" if rejects else ""
    say(f"{folder.path}: part {part.name} has {its} of {len(shards):,} shards{told}; {left}")


def check_all_there(folder: RunFolder, shards: Sequence[Shard]) -> None:
    """Before parts are put together. Raises CocuError that names the shards that are missing."""
    missing = folder.missing(shards)
    if missing:
        more = len(missing) - SHOWN_MISSING
        raise CocuError(
            f"{folder.path}: {len(missing):,} of {len(shards):,} shards are missing: "
            + ", ".join(missing[:SHOWN_MISSING])
            + (f" and {more:,} more" if more > 0 else "")
            + "; run their parts again (what they have done is kept), or the same command without --part, which does "
            "them itself"
        )
