"""Prints the scorecard of `cocu curate score`: tables on a terminal, aligned text elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cli.printing.lines import tell

if TYPE_CHECKING:
    from rich.console import Console

    from curation.curated.judgements import JudgedShare
    from curation.recovery.judged import JudgedScore
    from curation.recovery.measures import Figure
    from curation.recovery.scorecard import Scorecard

LEGEND = """\
new@k        share of the k best recovered concepts that name an object which the caption does not
             name, whose object is there: what a claim of something new is worth
recall@k     share of the gap objects that one of the k best recovered concepts names
precision@k  share of the k best recovered concepts that name an object, whose object is there: other
             words for what the caption names are right, too
large@k      the same, where only objects of at least the gap objects' area count as there
mAP          mean average precision of the gap objects, over the pairs that have any
Each with its bootstrap 95 % interval over pairs; recovered: not named by the caption.
random order shuffles the concepts that the archives keep; caption alone ranks the caption's own."""


def print_scorecard(card: Scorecard, *, per_object: bool) -> None:
    """Print what is scored, the figures of each ranking and, if wanted, of each object."""
    from rich.console import Console

    from curation.recovery.scorecard import CURATED

    console = Console(highlight=False)
    scores = card.scores[CURATED]
    naming = {
        "either": "concepts and words",
        "concepts": "concepts",
        "words": "words",
    }
    others = [f"{n} by its {naming[way]}" for way, n in card.gaps_by.items() if way != card.named_by]
    console.print(
        f"{scores.pairs} pairs with truth, {scores.pairs_with_gaps} of them with gaps: "
        f"{scores.gaps} objects of area {card.min_area:g} or more that the caption does not name,\n"
        f"going by its {naming[card.named_by]} ({', '.join(others)})",
        markup=False,
        soft_wrap=True,
    )
    _print_table(console, ["", *card.scores], _figure_rows(card))
    console.print(LEGEND, markup=False, soft_wrap=True)
    if card.curve:
        console.print("Claims of new objects by their confidence, over all pairs:", markup=False, soft_wrap=True)
        _print_table(console, ["confidence", "claims", "right", "recall"], _curve_rows(card))
    rows = card.object_rows()
    if per_object and rows:
        _print_table(console, list(rows[0]), [[str(v) for v in r.values()] for r in rows])


JUDGED_LEGEND = """\
right@k      share of the k best recovered concepts that the picture shows, of those that were judged,
             with its 95 % interval over pairs
drawn        pairs as they came by a draw: the figure for the whole set
all          and those that somebody went to, which may be better or worse than the rest"""


def print_judged(score: JudgedScore) -> None:
    """Print what people's judgements say."""
    from rich.console import Console

    console = Console(highlight=False)
    rows = [
        [f"right@{k}", *(cell for share in shares for cell in (_text(share), f"{share.judged:,} of {share.pairs:,}"))]
        for k, *shares in zip(score.ks, score.drawn, score.everything, strict=True)
    ]
    _print_table(console, ["", "drawn", "concepts of pairs", "all", "concepts of pairs"], rows)
    console.print(JUDGED_LEGEND, markup=False, soft_wrap=True)


def _figure_rows(card: Scorecard) -> list[list[str]]:
    scores = list(card.scores.values())
    rows = [
        [f"{name}@{k}", *(_text(getattr(one, field)[i]) for one in scores)]
        for name, field in (
            ("new", "precision_new"),
            ("recall", "recall"),
            ("precision", "precision"),
            ("large", "precision_strict"),
        )
        for i, k in enumerate(scores[0].ks)
    ]
    return [*rows, ["mAP", *(_text(one.mean_average_precision) for one in scores)]]


def _curve_rows(card: Scorecard) -> list[list[str]]:
    """A line for each tenth of recall."""
    shown = {int(point.recall * 10): point for point in reversed(card.curve) if point.recall >= 0.1}
    return [
        [f"{point.confidence:.2f} or more", f"{point.claims:,}", f"{point.precision_new:.2f}", f"{point.recall:.2f}"]
        for _, point in sorted(shown.items())
    ]


def _text(figure: Figure | JudgedShare) -> str:
    if figure.value != figure.value:  # NaN
        return "-"
    return f"{figure.value:.2f} {figure.low:.2f}-{figure.high:.2f}"


def _print_table(console: Console, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from files.printable import printable

    rows = [[printable(cell) for cell in row] for row in rows]
    if console.is_terminal:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for i, name in enumerate(header):
            table.add_column(name, justify="right" if i else "left", no_wrap=True)
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        console.print(table)
        return
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    tell()
    for row in (header, *rows):
        cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        tell("  ".join([row[0].ljust(widths[0]), *cells]).rstrip())
    tell()
