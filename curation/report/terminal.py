"""Single pairs for the terminal: caption, and the archive with scores, bars and support."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from curation.curated.pairs import CuratedPair, find_pairs
from curation.curated.query import connected
from curation.report.caption_marks import mark_concepts, shown
from curation.report.figures import as_told, read_score_range, score_text
from files.printable import printable

_BAR_CELLS = 20


def show_pairs(curated: Path, keys: Sequence[str]) -> list[RenderableType]:
    """One panel for each pair with one of these keys, to be printed by a rich console.

    A key that several shards have gives one panel a shard. Raises MisuseError for an unknown key,
    naming the nearest, and for a folder that is missing or unfinished.
    """
    with connected(curated) as connection:
        pairs = as_told(curated, find_pairs(connection, keys))
        score_range = read_score_range(connection)
    return [_panel(pair, score_range) for pair in pairs]


def _panel(pair: CuratedPair, score_range: tuple[float, float]) -> Panel:
    title = Text.assemble((printable(pair.key), "bold"), (f"  {printable(pair.shard)}", "dim"))
    content: RenderableType = Text("no concept was found for this pair", style="dim")
    if pair.archive:
        content = _archive(pair, score_range)
    return Panel(Group(_caption(pair), Text(), content), title=title, title_align="left")


def _caption(pair: CuratedPair) -> Text:
    caption = Text()
    for text, concept in mark_concepts(shown(pair.caption), pair.named):
        caption.append(printable(text), style="underline" if concept else "")
    return caption


def _archive(pair: CuratedPair, score_range: tuple[float, float]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("concept", overflow="fold")
    table.add_column("score", justify="right")
    confident = any(row.confidence is not None for row in pair.archive)
    if confident:
        table.add_column("confidence", justify="right")
    table.add_column("", width=_BAR_CELLS, no_wrap=True)
    table.add_column("support", justify="right")
    table.add_column("cluster", justify="right")
    table.add_column("")
    low, high = score_range
    for row in pair.archive:
        share = (row.score - low) / (high - low) if row.score is not None else math.nan
        filled = round(_BAR_CELLS * min(max(share, 0.0), 1.0)) if math.isfinite(share) else 0
        table.add_row(
            Text(printable(row.concept), style="" if row.in_caption else "bold"),
            score_text(row.score, score_range),
            *([f"{row.confidence:.0%}" if row.confidence is not None else ""] if confident else []),
            Text("█" * filled, style="bright_black" if row.in_caption else "green"),
            str(row.support),
            str(row.cluster),
            Text("in the caption") if row.in_caption else Text("recovered", style="green"),
            style="dim" if row.in_caption else None,
        )
    return table
