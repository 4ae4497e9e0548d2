"""The figures of a curated folder: what its summary says, and from the tables what it does not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb

from curation.curated.pairs import CuratedPair
from curation.report.vague import vague_concepts
from curation.runs.manifest import read_manifest

TOP_CONCEPTS = 20
# The picture's weight over which captions no longer tell what is shown.
MOST_WEIGHT = 0.5
_BINS = 32
_MOST_WHOLE_BINS = 25


@dataclass(frozen=True)
class Histogram:
    """Counts per bin of two groups of things on one axis; bin i starts at `low + i * width`.

    open_end: the last bin holds everything beyond it, too.
    """

    title: str
    axis: str
    low: float
    width: float
    recovered: tuple[int, ...]
    named: tuple[int, ...]
    groups: tuple[str, str]
    open_end: bool = False


@dataclass(frozen=True)
class ReportFigures:
    """What a report says in numbers. score_range: where nearly all scores (998 of 1,000) lie.

    cocu: its version, "" where the manifest has none; finished: the day (UTC) on which the manifest was written;
    vague: of the top recovered those with little to say so, and why; confidence: what the manifest says of its fit;
    unexplained: why no captions are shown for what was recovered, "" where they are.
    """

    pairs: int
    rejects: dict[str, int]
    concepts_per_pair: float
    gained_share: float
    top_recovered: tuple[tuple[str, int], ...]
    vague: dict[str, str]
    stage_seconds: dict[str, float]
    score_range: tuple[float, float]
    histograms: tuple[Histogram, ...]
    parameters: dict[str, Any]
    cocu: str
    finished: date
    confidence: dict[str, Any]
    unexplained: str = ""


def read_figures(curated: Path, connection: duckdb.DuckDBPyConnection) -> ReportFigures:
    """All figures of a curated folder. Raises MisuseError for a folder that is none."""
    manifest = read_manifest(curated, "curated")
    summary = _mapping(manifest.get("summary"))
    pairs = _scalar(connection, "SELECT count(*) FROM pairs")
    rows = _scalar(connection, "SELECT count(*) FROM archives")
    recovered_per_pair = _counts(
        connection,
        "SELECT n, count(*) FROM (SELECT count(*) FILTER (NOT in_caption) AS n FROM archives "
        "GROUP BY shard, key) GROUP BY n",
    )
    # A pair with an empty archive has no rows to be counted.
    recovered_per_pair[0] = pairs - sum(n for got, n in recovered_per_pair.items() if got)
    score_range = read_score_range(connection)
    top = _top_recovered(summary, connection)
    return ReportFigures(
        pairs=pairs,
        rejects=_rejects(summary, connection),
        concepts_per_pair=_number(summary.get("concepts_per_pair"), rows / max(pairs, 1)),
        gained_share=_number(summary.get("gained_share"), 1 - recovered_per_pair[0] / max(pairs, 1)),
        top_recovered=top,
        vague=vague_concepts(
            connection, [concept for concept, _ in top], by_confidence=not _pictures_count_most(manifest)
        ),
        stage_seconds={
            str(stage): _number(seconds, 0.0) for stage, seconds in _mapping(summary.get("stage_seconds")).items()
        },
        score_range=score_range,
        histograms=(
            _score_histogram(connection, score_range),
            _per_pair_histogram(connection, recovered_per_pair),
            _support_histogram(connection),
        ),
        parameters=_mapping(manifest.get("parameters")),
        cocu=str(_mapping(manifest.get("versions")).get("cocu", "")),
        finished=datetime.fromtimestamp((curated / "manifest.json").stat().st_mtime, UTC).date(),
        confidence=_mapping(manifest.get("confidence")),
    )


def as_told(curated: Path, pairs: Iterable[CuratedPair]) -> list[CuratedPair]:
    """The pairs; without confidence where pictures count for more than captions, as it is of being named.

    What captions leave out is no doubt there.
    """
    if not _pictures_count_most(read_manifest(curated, "curated")):
        return list(pairs)
    return [replace(pair, archive=tuple(replace(row, confidence=None) for row in pair.archive)) for pair in pairs]


def _pictures_count_most(manifest: Mapping[str, Any]) -> bool:
    return _number(_mapping(manifest.get("picture")).get("weight"), 0.0) > MOST_WEIGHT


def _rejects(summary: Mapping[str, Any], connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    counted = summary.get("rejects")
    if isinstance(counted, dict):
        return {str(reason): int(_number(count, 0)) for reason, count in counted.items()}
    # What follows a colon in a reason are its particulars.
    rows = connection.execute(
        "SELECT split_part(reason, ':', 1) AS why, count(*) FROM rejects GROUP BY why ORDER BY count(*) DESC, why"
    ).fetchall()
    return dict(rows)


def _top_recovered(summary: Mapping[str, Any], connection: duckdb.DuckDBPyConnection) -> tuple[tuple[str, int], ...]:
    top = summary.get("top_recovered")
    if isinstance(top, list) and all(isinstance(row, list) and len(row) == 2 for row in top):
        return tuple((str(concept), int(_number(n, 0))) for concept, n in top[:TOP_CONCEPTS])
    rows = connection.execute(
        "SELECT concept, count(*) AS n FROM archives WHERE NOT in_caption GROUP BY concept "
        "ORDER BY n DESC, concept LIMIT ?",
        [TOP_CONCEPTS],
    ).fetchall()
    return tuple((str(concept), int(n)) for concept, n in rows)


def read_score_range(connection: duckdb.DuckDBPyConnection) -> tuple[float, float]:
    """Lowest and highest score but for the outermost thousandth; 0 and 1 for probabilities."""
    row = connection.execute(
        "SELECT quantile_cont(score, [0.001, 0.999]) FROM archives WHERE isfinite(score)"
    ).fetchone()
    low, high = row[0] if row and row[0] else (0.0, 1.0)
    if low >= 0 and high <= 1:
        return 0.0, 1.0  # probabilities: their own ends tell more than the ends of these ones
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def score_text(score: float | None, score_range: tuple[float, float]) -> str:
    """A score with as many decimals as tell scores of this range apart; "" for none."""
    if score is None:
        return ""
    low, high = score_range
    decimals = 1 - math.floor(math.log10(high - low))
    return f"{score:.{min(max(decimals, 2), 9)}f}"


def _score_histogram(connection: duckdb.DuckDBPyConnection, score_range: tuple[float, float]) -> Histogram:
    low, high = score_range
    width = (high - low) / _BINS
    rows = connection.execute(
        "SELECT in_caption, least(greatest(floor((score - ?) / ?), 0), ?)::INT AS bin, count(*) "
        "FROM archives WHERE isfinite(score) GROUP BY ALL",
        [low, width, _BINS - 1],
    ).fetchall()
    return Histogram(
        title="Scores",
        axis="score of a concept",
        low=low,
        width=width,
        recovered=_filled(((b, n) for named, b, n in rows if not named), _BINS),
        named=_filled(((b, n) for named, b, n in rows if named), _BINS),
        groups=("recovered concepts", "concepts that the caption names"),
    )


def _per_pair_histogram(connection: duckdb.DuckDBPyConnection, recovered: Mapping[int, int]) -> Histogram:
    named = _counts(
        connection,
        "SELECT coalesce(len(caption_concepts), 0) AS n, count(*) FROM pairs GROUP BY n",
    )
    return _whole_numbers(
        "Concepts per pair",
        "concepts of a pair",
        recovered,
        named,
        ("recovered for the pair", "named by its caption"),
    )


def _support_histogram(connection: duckdb.DuckDBPyConnection) -> Histogram:
    groups = {
        named: _counts(
            connection,
            f"SELECT support, count(*) FROM archives WHERE in_caption = {named} GROUP BY support",
        )
        for named in ("false", "true")
    }
    return _whole_numbers(
        "Support",
        "captions of similar pairs that name the concept",
        groups["false"],
        groups["true"],
        ("recovered concepts", "concepts that the caption names"),
    )


def _whole_numbers(
    title: str,
    axis: str,
    recovered: Mapping[int, int],
    named: Mapping[int, int],
    groups: tuple[str, str],
) -> Histogram:
    most, common = (max(_quantile(recovered, q), _quantile(named, q)) for q in (1.0, 0.995))
    width = common // _MOST_WHOLE_BINS + 1
    last = common // width
    return Histogram(
        title,
        axis,
        low=0,
        width=width,
        recovered=_filled(((min(n // width, last), c) for n, c in recovered.items()), last + 1),
        named=_filled(((min(n // width, last), c) for n, c in named.items()), last + 1),
        groups=groups,
        open_end=most // width > last,
    )


def _quantile(counts: Mapping[int, int], share: float) -> int:
    """Smallest value that at least this share of all things does not exceed."""
    left = share * sum(counts.values())
    for value, count in sorted(counts.items()):
        left -= count
        if left <= 0 and count:
            return value
    return 0


def _filled(counts: Iterable[tuple[int, int]], bins: int) -> tuple[int, ...]:
    filled = [0] * bins
    for place, count in counts:
        filled[max(place, 0)] += count
    return tuple(filled)


def _counts(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[int, int]:
    return {int(value): int(n) for value, n in connection.execute(sql).fetchall() if value is not None}


def _scalar(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    row = connection.execute(sql).fetchone()
    return int(row[0]) if row else 0


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any, otherwise: float) -> float:
    """A figure of the manifest, which people edit, or else the one counted here."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if usable else otherwise
