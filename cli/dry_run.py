"""`--dry-run`: what a command would read, and how long it would take, by a trial of about a minute."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.printing.lines import tell

if TYPE_CHECKING:
    from curation.runs.trial import Trial, TriedStage

MOST_SECONDS = 50.0  # what is begun then still ends
ONE_PROCESS = {"processes": 1, "gpus": None, "engine": "local", "address": None, "quiet": True}

DryRunOption = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Tell what would be read, how many pairs there are, and what time, memory and disk they take, by a trial "
        "of about a minute. Nothing comes into --out.",
    ),
]


def try_run(run: Callable[..., Any], given: Mapping[str, Any], disk: Callable[[Trial, float], str]) -> None:
    """Try what `run` would do with these arguments, and print what it takes. disk: what so many pairs leave there."""
    from curation.runs.part import FINISH, TRAIN
    from curation.runs.trial import trying
    from files.errors import MisuseError

    if given.get("part") in (FINISH, TRAIN):
        raise MisuseError(f"--dry-run --part {given['part']}: it does none of the shards, which a trial is of")
    if given.get("retry_failed"):
        raise MisuseError("--dry-run --retry-failed: a trial does not look at what has failed; leave one of them out")
    tell(f"trying it for about a minute; nothing comes into {given['out']}", err=True)
    with TemporaryDirectory(prefix="cocu-trial-") as folder, trying(MOST_SECONDS) as trial:
        run(**{**given, **ONE_PROCESS, "out": Path(folder) / "trial"})
    if not trial.stages:
        tell("no shard is left to do")
        return
    for stage in trial.stages:
        tell(stage.name)
        for name, words in _rows(stage, trial).items():
            tell(f"  {name:<7} {words}")
    pairs = sum(stage.pairs for stage in trial.stages)
    tell(f"memory    {_size(trial.peak_bytes)} by now, with the model and a batch{_helpers(given)}")
    tell(f"disk      {disk(trial, pairs)}")
    if Path(given["out"]).exists():
        tell(f"note: {given['out']} is there: a run goes on with it, and what it holds is not looked at here", err=True)


def _rows(stage: TriedStage, trial: Trial) -> dict[str, str]:
    exact = stage.sampled == 0
    by = "" if exact else f", by {stage.sampled:,} that were read ({stage.rejects:,} of them rejects)"
    rows = {"reads": _reads(stage), stage.unit: f"{'' if exact else 'about '}{stage.pairs:,.0f}{by}"}
    if stage.tried and stage.seconds:
        rate = stage.tried / stage.seconds
        rows["time"] = (
            f"about {duration(trial.before + stage.pairs / rate)}: {trial.before:.0f} s until the first, then "
            f"{rate:,.0f} a second by one process here"
        )
    return rows


def _reads(stage: TriedStage) -> str:
    """Shards, and the bytes of their files."""
    from curation.reading.captioned_tables import CaptionedTable
    from files.shard_names import sizes_of

    tars = [shard for shard in stage.shards if not isinstance(shard.reader, CaptionedTable)]
    tables = sorted({shard.url for shard in stage.shards} - {shard.url for shard in tars})
    told = [f"{_count(tars, 'tar')}, {_size(sum(shard.size for shard in tars))}"] if tars else []
    if tables:
        told.append(f"{_count(tables, 'table')}, {_size(sum(sizes_of(tables)))}")
    if tables and stage.picture_bytes:
        told.append(f"pictures of {_size(stage.picture_bytes)} each")
    return "; ".join(told)


def _count(things: Sequence[Any], name: str) -> str:
    return f"{len(things):,} {name}{'' if len(things) == 1 else 's'}"


def _helpers(given: Mapping[str, Any]) -> str:
    wanted = given["engine"] != "local" or given["gpus"] or (given["processes"] or 1) > 1
    return "; for each process, where several share the work" if wanted else ""


def _size(size: float) -> str:
    from curation.runs.progress import size_text

    return size_text(size)


def duration(seconds: float) -> str:
    """Seconds as people say them: 4,000 -> "1 h 7 min"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{hours / 24:,.1f} days"


def index_disk(memory: int | None, factory: str) -> Callable[[Trial, float], str]:
    """What an index of so many pairs takes: its vectors twice, in tables and in arrays, and the FAISS indexes."""

    def told(trial: Trial, pairs: float) -> str:
        from curation.index.neighbours import auto_factory, index_bytes
        from files.machine import memory as of_machine

        rows, most = max(1, round(pairs)), (memory or of_machine() // 2) // 2
        form = auto_factory(rows, trial.dim, most) if factory == "auto" else factory
        faiss = 2 * index_bytes(form, rows, trial.dim)
        vectors = rows * 2 * trial.dim * 2
        return (
            f"about {_size(2 * vectors + faiss)}: vectors of {trial.dim} dimensions, and FAISS indexes ({form}), which "
            f"take {_size(faiss)} of memory, too. Building these comes on top of the time"
        )

    return told


def curated_disk(output: str, anchors: bool) -> Callable[[Trial, float], str]:
    """What a curation leaves."""

    def told(trial: Trial, pairs: float) -> str:
        size = sum(shard.size for stage in trial.stages for shard in stage.shards if shard.rows is None)
        whole = f"about {_size(size)} of shards, and tables" if output == "shards" and size else f"{output} alone"
        return whole + (". Curating the --anchors comes on top of the time" if anchors else "")

    return told
