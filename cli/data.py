"""The commands `cocu data ...`: argument handling and printing only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.command import Commands
from cli.named_entries import completion
from cli.printing.lines import tell

if TYPE_CHECKING:
    from data_cards.miniature.shards import Written

app = Commands(help="Data sets: their cards, whether yours fit them, and the one that comes with the package.")


def _cards() -> tuple[str, ...]:
    from data_cards.cards import card_names

    return card_names()


@app.command()
def miniature(
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the shards. Run again with the same options, the run goes on where it stopped.",
        ),
    ] = None,
    pairs: Annotated[int, typer.Option(help="How many pictures with captions.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Seed; the same one gives the same bytes.")] = 0,
    size: Annotated[int, typer.Option(help="Height and width of the pictures, in pixels.")] = 64,
    split: Annotated[
        Literal["train", "val", "clip"],
        typer.Option(
            metavar="NAME",
            help="Which pictures: train, or val, which has masks, or clip, whose captions name whatever shows. They "
            "have no picture in common.",
        ),
    ] = "train",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes that draw.", show_default="the cores")] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Write the first pictures side by side into one image, to look at."),
    ] = None,
) -> None:
    """Draw a small world: pictures, captions that leave most of it unsaid, and the truth to the pixel."""
    from data_cards.miniature.pairs import write_contact_sheet
    from data_cards.miniature.shards import write_miniature

    if out is None and sheet is None:
        raise typer.BadParameter("give a folder, or --sheet FILE.png for a look", param_hint="--out")
    if sheet is not None:
        write_contact_sheet(sheet, split, seed, size)
        tell(f"wrote {sheet}")
    if out is not None:
        with _progress(pairs) as progress:
            written = write_miniature(out, pairs, seed, size, split, workers, progress)
        tell(_summary(out, written))


@app.command()
def cards() -> None:
    """List the data sets that have a card."""
    from cli.printing.cards import print_cards

    print_cards()


@app.command()
def card(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A name of `cocu data cards`, or the Markdown file of a card.",
            autocompletion=completion(_cards),
        ),
    ],
) -> None:
    """Show a card: classes, prompts, how labels map, the folders expected, and what goes wrong."""
    from cli.printing.cards import print_card
    from data_cards.cards import card_text, read_card

    print_card(read_card(name), card_text(name))


@app.command()
def check(
    data: Annotated[
        str, typer.Argument(metavar="NAME=PATH", help="A card, and the folder or tar where its data set lies.")
    ],
    split: Annotated[str | None, typer.Option(help="Split to look at.", show_default="the card's")] = None,
    sample: Annotated[int, typer.Option(min=1, help="Pictures to read, spread over the set.")] = 50,
) -> None:
    """Say whether a data set on disk is what its card says; exit code 1 if not."""
    from cli.printing.cards import print_check
    from data_cards.cards import benchmarks_of
    from data_cards.layouts.checks import check_benchmark

    ((found, path),) = benchmarks_of(data)
    result = check_benchmark(found, path, split, sample)
    print_check(found, path, result)
    if not result.well:
        raise typer.Exit(1)


@contextmanager
def _progress(pairs: int) -> Iterator[Callable[[int], None]]:
    """A bar where somebody watches."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("drawing", total=pairs)
        yield lambda done: bar.advance(task, done)


def _summary(out: Path, written: "Written") -> str:
    tally = written.tally
    drawn, speed = written.pairs_drawn, written.pairs_drawn / written.seconds
    rows = {
        "pairs": f"{tally.pairs:,} in {written.shards:,} shard{'s' if written.shards > 1 else ''}",
        "drawn now": f"{drawn:,} pairs in {written.seconds:.1f} s, {speed:,.0f} pairs/s"
        if drawn
        else "nothing, all was there",
        "visible classes": f"{tally.visible:.2f} per picture, of 1 % of its area or more: "
        f"{tally.stuff / tally.pairs:.2f} stuff, {tally.things / tally.pairs:.2f} things",
        "named by captions": f"{tally.named:.1%} of the visible classes: "
        f"{tally.stuff_named / tally.stuff:.1%} of stuff, {tally.things_named / tally.things:.1%} of things",
        "empty or wrong": f"{tally.silent / tally.pairs:.1%} of the captions name nothing that shows",
        "truth": f"{out / 'truth.parquet'} and {out / 'synonyms.json'}, for `cocu curate score`",
    }
    width = max(map(len, rows))
    return "\n".join([f"miniature {out}", *(f"  {name:<{width}}  {value}" for name, value in rows.items())])
