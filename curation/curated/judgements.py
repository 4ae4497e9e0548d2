"""Judgements: whether a picture shows a concept, as a person says; a small SQLite file beside or apart from a curation.

A judgement is *drawn* where the pair came by a draw, blind to what was found for it, and *chosen* where the person went
to it: of these no figure says how the curation is, for people go to what is good, or bad.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

from files.errors import CocuError, MisuseError, one_line
from files.remote_folders import copy_of

NAME = "judged.sqlite"
_APPLICATION = 0x636F6375  # SQLite's own field for whose file it is
_VERSION = 1
_TABLE = """CREATE TABLE judgements (
    shard TEXT NOT NULL, key TEXT NOT NULL, concept TEXT NOT NULL, shown INTEGER NOT NULL CHECK (shown IN (0, 1)),
    drawn INTEGER NOT NULL CHECK (drawn IN (0, 1)), place INTEGER NOT NULL, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (shard, key, concept)) WITHOUT ROWID"""
_SECONDS = 5.0  # to wait for another program that writes


@dataclass(frozen=True)
class Judgement:
    """shown: whether the picture shows the concept; drawn: whether the pair came by a draw.

    place: of the concept among the recovered ones of its pair, from 1, when it was judged; 0 of one that the caption
    names.
    """

    shard: str
    key: str
    concept: str
    shown: bool
    drawn: bool = False
    place: int = 0


class Judgements:
    """The file; it appears with the first judgement, and each one is on the disk when it has been given."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def of(self, shard: str, key: str) -> dict[str, bool]:
        """What is judged of a pair, by concept. Raises CocuError where the file is broken, MisuseError if another's."""
        rows = self._read("SELECT concept, shown FROM judgements WHERE shard = ? AND key = ?", [shard, key])
        return {concept: bool(shown) for concept, shown in rows}

    def all(self) -> list[Judgement]:
        """All, by shard, key and concept. Raises as `of`."""
        columns = "shard, key, concept, shown, drawn, place"
        rows = self._read(f"SELECT {columns} FROM judgements ORDER BY shard, key, concept")
        return [
            Judgement(shard, key, concept, bool(shown), bool(drawn), place)
            for shard, key, concept, shown, drawn, place in rows
        ]

    def count(self) -> int:
        """How many there are. Raises as `of`."""
        return int(next(iter(self._read("SELECT count(*) FROM judgements")), (0,))[0])

    def judge(self, judgement: Judgement) -> None:
        """Write one down, in place of what was said before. Raises as `of`, and where the file cannot be written."""
        with self._opened() as file, file:
            file.execute(
                "INSERT INTO judgements (shard, key, concept, shown, drawn, place) VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET shown = excluded.shown, drawn = max(drawn, excluded.drawn), "
                "place = excluded.place, at = CURRENT_TIMESTAMP",
                list(astuple(judgement)),
            )

    def withdraw(self, shard: str, key: str, concept: str) -> None:
        """Take one back. Raises as `judge`."""
        if self.path.exists():
            with self._opened() as file, file:
                file.execute("DELETE FROM judgements WHERE (shard, key, concept) = (?, ?, ?)", [shard, key, concept])

    def _read(self, sql: str, values: Sequence[str] = ()) -> list[tuple]:
        if not self.path.exists():
            return []
        with self._opened() as file:
            return file.execute(sql, values).fetchall()

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=_SECONDS)) as file:
                self._check(file)
                yield file
        except sqlite3.Error as error:
            raise CocuError(
                f"{self.path}: judgements cannot be kept or read there ({one_line(error)}); name another file by "
                "--judged"
            ) from error

    def _check(self, file: sqlite3.Connection) -> None:
        marks = [file.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
        if marks == [_APPLICATION, _VERSION]:
            return
        with file:
            file.execute("BEGIN IMMEDIATE")  # two may begin it at once
            marks = [file.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
            if marks == [_APPLICATION, _VERSION]:
                return
            if marks != [0, 0] or file.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
                raise MisuseError(f"{self.path}: is no file of judgements of this version; name another by --judged")
            file.execute(_TABLE)
            file.execute(f"PRAGMA application_id = {_APPLICATION}")
            file.execute(f"PRAGMA user_version = {_VERSION}")


def share_drawn(judgements: Iterable[Judgement], depth: int) -> JudgedShare:
    """Of the `depth` best recovered concepts of drawn pairs, as they stood when judged: how many are right."""
    by_pair: dict[tuple[str, str], list[bool]] = {}
    for one in judgements:
        if one.drawn and 1 <= one.place <= depth:
            by_pair.setdefault((one.shard, one.key), []).append(one.shown)
    return share_right([sum(said) for said in by_pair.values()], [len(said) for said in by_pair.values()])


def judged_file(curated: Path, judged: Path | None) -> Path:
    """Where the judgements of a curation are kept. Raises MisuseError where that must be said."""
    if judged is None and copy_of(curated):
        raise MisuseError(f"{curated}: judgements are kept on a disk only; say where by --judged FILE")
    return judged or curated / NAME


def read_judgements(path: Path) -> list[Judgement]:
    """The judgements of a file that must be there. Raises MisuseError for none, CocuError for a broken one."""
    if not path.is_file():
        raise MisuseError(f"--judged {path}: no such file; `cocu explore` makes one when something is judged")
    return Judgements(path).all()


@dataclass(frozen=True)
class JudgedShare:
    """A share of judged concepts and its 95 % interval; NaN where nothing was judged."""

    value: float
    low: float
    high: float
    right: int
    judged: int
    pairs: int


def share_right(right: Sequence[int], judged: Sequence[int]) -> JudgedShare:
    """Right ones among the judged, pair by pair.

    Wilson's interval of as many independent judgements as the pairs' worth: concepts of one picture are right or wrong
    together, so that the ratio's variance over pairs, sum (right - p judged)^2 / M^2, is larger than that of M separate
    ones, p (1 - p) / M; it is never taken for smaller.
    """
    hits, tries = np.asarray(right, np.float64), np.asarray(judged, np.float64)
    hits, tries = hits[tries > 0], tries[tries > 0]
    pairs, total = len(tries), float(tries.sum())
    if not pairs:
        return JudgedShare(np.nan, np.nan, np.nan, 0, 0, 0)
    p = float(hits.sum()) / total
    alone = p * (1 - p) / total
    together = float(((hits - p * tries) ** 2).sum()) / total**2
    n = total / max(1.0, together / alone) if alone else float(pairs)
    z = 1.959964
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return JudgedShare(p, max(0.0, middle - half), min(1.0, middle + half), int(hits.sum()), int(total), pairs)
