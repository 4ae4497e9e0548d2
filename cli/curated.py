"""The commands that ask a curation: score, balance, query, show, report. Argument handling and printing only."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from cli.options import CuratedArgument
from cli.printing.lines import tell

CitedIndexOption = Annotated[
    Path | None,
    typer.Option(
        metavar="INDEX",
        help="The index, whose captions name what was recovered.",
        show_default="looked for beside the folder",
    ),
]


def score(
    curated: CuratedArgument,
    truth: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What the pictures show: Parquet or JSON lines of (key, object, area), or a WebDataset tar with "
            "objects in its .json members.",
        ),
    ] = None,
    synonyms: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The words for each object: JSON of object -> words and phrases."),
    ] = None,
    judged: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Judgements of people as `cocu explore` keeps them, in place of both."),
    ] = None,
    min_area: Annotated[
        float, typer.Option(metavar="SHARE", help="Share of the picture from which an object counts.")
    ] = 0.01,
    top: Annotated[
        str,
        typer.Option("--top", "-k", metavar="N,N,...", help="Score the N best recovered concepts, for each of these."),
    ] = "1,3,5,8,16",
    named_by: Annotated[
        Literal["concepts", "words", "either"],
        typer.Option(metavar="NAME", help="What of a caption names an object: its concepts, its words, or either."),
    ] = "either",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap and of the random order.")] = 0,
    against: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="Score the tags of another model (key, concept, score) beside."),
    ] = None,
    spacy_pipeline: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name the curation's spaCy pipeline again, where it is none of the usual; it may run code of its own.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
    per_object: Annotated[bool, typer.Option("--per-object", help="Print a table of the objects, too.")] = False,
) -> None:
    """Measure on pictures with known content which of the objects left unsaid are recovered."""
    import json

    import cocu
    from cli.printing.scorecard import print_judged, print_scorecard
    from curation.recovery.judged import JudgedScore

    try:
        tops = [int(part) for part in top.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"{top!r}: give whole numbers with commas between, such as 1,3,5,8,16", param_hint="--top"
        ) from None
    asked: dict[str, Any] = {"judged": judged, "min_area": min_area, "named_by": named_by, "seed": seed}
    card = cocu.score(curated, truth, synonyms, top=tops, against=against, spacy_pipeline=spacy_pipeline, **asked)
    if as_json:
        tell(json.dumps(card.as_json(), indent=1))
        return
    if isinstance(card, JudgedScore):
        print_judged(card)
    else:
        print_scorecard(card, per_object=per_object)
    for note in card.notes:
        tell(f"note: {note}", err=True)


def balance(
    curated: CuratedArgument,
    out: Annotated[
        Path,
        typer.Option(
            metavar="PATH",
            help="FILE.parquet gets a weight for every pair, for `cocu train --weights`. FILE.npy gets the uids of a "
            "subset, as DataComp's tools read them. Anything else is a folder, and gets the shards of a subset.",
        ),
    ],
    cap: Annotated[
        int | None,
        typer.Option(
            min=1, help="T: so many pairs come by each concept.", show_default="where the tail ends, by --tail"
        ),
    ] = None,
    tail: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of the rare concepts in all mentions, which says what is rare."),
    ] = 0.06,
    concepts: Annotated[
        Literal["shown", "recovered", "named"],
        typer.Option(
            metavar="NAME", help="What counts: what is shown (recovered or named), recovered, or named by the caption."
        ),
    ] = "shown",
    subset: Annotated[
        bool, typer.Option("--subset", help="FILE.parquet gets the keys of a subset drawn by the weights instead.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the subset.")] = 0,
) -> None:
    """Weigh pairs, or draw of them, so that what few pictures show is not drowned by what many do."""
    import cocu
    from cli.printing.balance import print_balance

    made = cocu.open_curated(curated).balance(out, cap=cap, tail=tail, concepts=concepts, subset=subset, seed=seed)
    print_balance(out, made)


def query(
    curated: CuratedArgument,
    sql: Annotated[
        str,
        typer.Argument(metavar="SQL", help="A query over the views pairs, archives, concepts and rejects."),
    ],
    form: Annotated[
        Literal["table", "csv", "json", "parquet"] | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="Format of the answer: table, csv, json or parquet.",
            show_default="what the ending of --out says, else table",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write to this file instead of printing.")] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Give so many rows at most. A printed table stops at 100 without it."),
    ] = None,
    defuse: Annotated[
        bool,
        typer.Option(
            "--defuse",
            help="Put an apostrophe before texts of a CSV that a spreadsheet would take for formulas (=, +, -, @).",
        ),
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(min=0.1, help="Seconds that the query may take. What is done with its rows does not count."),
    ] = 300.0,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="Memory that the query may take, such as 2GB.", show_default="half of what is free"
        ),
    ] = None,
) -> None:
    """Ask the tables with SQL; nothing but these tables can be reached, and nothing changed."""
    import sys

    from cli.printing.sizes import parse_size
    from curation.curated.answers import FORMATS, TABLE_ROWS, first_rows, print_table, write_file, write_stream
    from curation.curated.bounded import bounded_query
    from files.errors import MisuseError
    from files.remote_folders import local_folder

    ending = out.suffix.removeprefix(".").lower() if out else ""
    chosen = form or (ending if ending in FORMATS else "table")
    if defuse and chosen != "csv":
        raise typer.BadParameter(f"is for CSV, not for {chosen}; give --format csv, too", param_hint="--defuse")
    if chosen == "parquet" and out is None and sys.stdout.isatty():
        raise MisuseError("Parquet is no text to print: give --out FILE, or send it into a pipe")
    with bounded_query(local_folder(curated), sql, timeout, parse_size(memory) if memory else None) as answer:
        if out is not None:
            write_file(answer if limit is None else first_rows(answer, limit), chosen, out, defuse)
        elif chosen != "table":
            wanted = answer if limit is None else first_rows(answer, limit)
            write_stream(wanted, chosen, sys.stdout, sys.stdout.buffer, defuse)
        else:
            shown, total = print_table(answer, sys.stdout, limit or TABLE_ROWS)
            if shown < total:
                tell(f"{shown:,} of {total:,} rows; --limit shows more, --format csv gives all", err=True)


def show(
    curated: CuratedArgument,
    keys: Annotated[list[str], typer.Argument(metavar="KEY...", help="Keys of the pairs.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page with the pictures instead.")
    ] = None,
    index: CitedIndexOption = None,
) -> None:
    """Show single pairs: what their captions name and what was recovered."""
    if out is not None:
        from curation.report.report import write_pairs_page
        from files.remote_folders import local_folder

        unexplained = write_pairs_page(local_folder(curated), keys, out, index and local_folder(index))
        tell(f"wrote {out}")
        _without_captions(unexplained)
        return
    if index is not None:
        raise typer.BadParameter("goes with --out FILE.html only", param_hint="--index")
    import cocu

    cocu.open_curated(curated).show(*keys)


def report(
    curated: CuratedArgument,
    out: Annotated[Path, typer.Option(metavar="FILE.html", help="The page to write.")],
    sample: Annotated[int, typer.Option(min=0, help="Pairs to show in the gallery.")] = 48,
    seed: Annotated[int, typer.Option(min=0, help="Seed by which pairs are drawn.")] = 0,
    index: CitedIndexOption = None,
) -> None:
    """Write a page to look at and to mail: figures, histograms and a gallery, in one HTML file."""
    from cli.printing.summaries import rejects_told
    from curation.report.report import write_report
    from files.remote_folders import local_folder

    figures = write_report(local_folder(curated), out, sample, seed, index and local_folder(index))
    told = rejects_told({"pairs": figures.pairs, "rejects": figures.rejects})
    tell(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB); pairs left out by the curation: {told}")
    _without_captions(figures.unexplained)


def _without_captions(why: str) -> None:
    if why:
        tell(f"note: without the captions that name what was recovered: {why}", err=True)
