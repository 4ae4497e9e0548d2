"""What the commands print when they are done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curation.search import Neighbour


def _table(title: str, rows: list[tuple[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(soft_wrap=True)
    if not console.is_terminal:
        print(title)
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            print(f"  {name:<{width}}  {value}")
        return
    table = Table(title=title, show_header=False, title_justify="left")
    for name, value in rows:
        table.add_row(name, value)
    console.print(table)


def _rejects(rejects: dict[str, int]) -> str:
    if not rejects:
        return "0"
    listed = ", ".join(f"{count:,} {reason}" for reason, count in rejects.items())
    return f"{sum(rejects.values()):,} ({listed})"


def print_index(path: Path, manifest: dict[str, Any]) -> None:
    """The closing summary of `cocu index build`, and `cocu index info`."""
    summary, parameters = manifest["summary"], manifest["parameters"]
    rows = [
        ("pairs", f"{summary['pairs']:,}"),
        ("extra captions", f"{summary['extra_captions']:,}"),
        ("rejects", _rejects(summary["rejects"])),
        ("concepts", f"{summary['concepts']:,} named by at least {parameters['min_count']} captions"),
        ("encoder", f"{parameters['model']} {parameters['pretrained'] or ''} ({parameters['precision']})".strip()),
        ("dimensions", str(manifest["dim"])),
    ]
    for name, built in manifest["indexes"].items():
        rows.append(
            (
                f"{name}.faiss",
                f"{built['factory']}, {built['vectors']:,} vectors, {built['bytes'] / 1e6:,.1f} MB, "
                f"recall@{built['recall_k']} {built['recall']:.4f} on {built['recall_queries']:,} queries",
            )
        )
    if summary["cut_captions"]:
        rows.append(("long captions", f"{summary['cut_captions']:,} were read only at their beginning"))
    if summary["repeated_keys"]:
        rows.append(("repeated keys", f"{summary['repeated_keys']:,} keys occur in several shards; all are kept"))
    seconds = summary["stage_seconds"]
    rows.append(("seconds", ", ".join(f"{name} {value:,.1f}" for name, value in seconds.items())))
    rows.append(("pipeline", parameters["noun_pipeline"]))
    _table(str(path), rows)


def print_curated(path: Path, manifest: dict[str, Any]) -> None:
    """The closing summary of `cocu curate run`."""
    summary = manifest["summary"]
    recovered = ", ".join(f"{concept} {count:,}" for concept, count in summary["top_recovered"])
    rows = [
        ("pairs", f"{summary['pairs']:,}"),
        ("rejects", _rejects(summary["rejects"])),
        ("concepts per pair", f"{summary['concepts_per_pair']:.1f}"),
        ("gained a concept", f"{summary['gained_share']:.1%} of the pairs"),
        ("most recovered", recovered),
        ("seconds", ", ".join(f"{name} {value:,.1f}" for name, value in summary["stage_seconds"].items())),
    ]
    _table(str(path), rows)


def print_nearest(found: list[Neighbour]) -> None:
    """The table of `cocu index search`."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        for neighbour in found:
            print(f"{neighbour.similarity:.4f}\t{neighbour.shard}\t{neighbour.key}\t{neighbour.caption}")
        return
    table = Table("similarity", "caption", "key", "shard")
    for neighbour in found:
        table.add_row(
            f"{neighbour.similarity:.4f}", Text(neighbour.caption), Text(neighbour.key), Text(neighbour.shard)
        )
    console.print(table)
