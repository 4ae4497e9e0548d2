"""The commands `cocu curate ...`: argument handling and printing only."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.explore import export
from cli.named_entries import completion, listing
from cli.printing.lines import tell
from cli.team import AddressOption, EngineOption, GpusOption, ProcessesOption, RetryOption

if TYPE_CHECKING:
    from files.registry import Registry

app = typer.Typer(
    help="Find and rank the concepts that captions leave out.",
    no_args_is_help=True,
)


@app.callback()
def _group() -> None:
    """A group stays a group however many commands it has."""


def _expansions() -> "Registry[Any]":
    from curation.ranking.expansion import EXPANSIONS

    return EXPANSIONS


def _rankings() -> "Registry[Any]":
    from curation.ranking.relevance import RANKINGS

    return RANKINGS


@app.command(cls=listing(expansion=_expansions, ranking=_rankings))
def run(
    index: Annotated[Path, typer.Argument(help="Folder made by `cocu index build`.")],
    out: Annotated[
        Path,
        typer.Option(help="Folder of the result. Run again with the same options, the run goes on where it stopped."),
    ],
    preset: Annotated[
        str,
        typer.Option(
            help="default: captions and pictures, weighed for the index; paper: all as in the paper; clip: the encoder "
            "alone. The options below overrule it."
        ),
    ] = "default",
    expansion: Annotated[
        str | None,
        typer.Option(
            help="What captions to retrieve, of several joined by '+'.", autocompletion=completion(_expansions, "+")
        ),
    ] = None,
    neighbours: Annotated[
        int | None, typer.Option(min=1, help="Captions retrieved by each expansion (L). Default: fitted to the index.")
    ] = None,
    ranking: Annotated[
        str | None, typer.Option(help="What orders the concepts.", autocompletion=completion(_rankings))
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option(
            min=0, help="Best concepts kept of each pair, besides what its caption names (16; paper: all); 0 keeps all."
        ),
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(help="Least score of a concept that the caption does not name.")
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Least probability that another caption of the picture names a concept that its caption does not.",
        ),
    ] = None,
    merge: Annotated[
        bool | None,
        typer.Option("--merge/--no-merge", help="Merge concepts of one word family ('truck', 'fire truck')."),
    ] = None,
    synonyms: Annotated[
        bool | None,
        typer.Option("--merge-synonyms/--keep-synonyms", help="Merge concepts that rank the pictures alike."),
    ] = None,
    grounded: Annotated[
        bool | None,
        typer.Option("--grounded/--ungrounded", help="Leave out what no picture shows ('anniversary', 'friend')."),
    ] = None,
    tags: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="Tags that another model gave the pictures (Parquet or CSV of key, concept, score): one more source, "
            "as reliable as held-out captions show it to be.",
        ),
    ] = None,
    write_caption: Annotated[
        str | None,
        typer.Option(metavar="FIELD", help="Also write an enriched caption to this field of the .json member."),
    ] = None,
    output: Annotated[
        Literal["shards", "sidecar", "tables"],
        typer.Option(
            help="shards: whole curated shards; sidecar: tars of the concepts alone, to be read beside the source; "
            "tables: the tables alone. The last two read no picture.",
        ),
    ] = "shards",
    shards_format: Annotated[
        Literal["webdataset", "parquet"],
        typer.Option(
            help="Of whole shards. parquet: for what came as Parquet with its pictures; the same rows and columns, and "
            "a column of concepts. --write-caption names a column then."
        ),
    ] = "webdataset",
    localise: Annotated[
        bool, typer.Option("--localise", help="Say where each concept shows: box, area, peak. Looks at each picture.")
    ] = False,
    min_peak: Annotated[
        float | None,
        typer.Option(
            help="Of --localise: least cosine of a concept with some part of the picture, unless the caption names it."
        ),
    ] = None,
    anchors: Annotated[
        list[str] | None, typer.Option(help="Curate these shards instead of the indexed pairs; may be repeated.")
    ] = None,
    caption_field: Annotated[
        str | None, typer.Option(help="Of --anchors: dotted path of the caption in the .json member.")
    ] = None,
    all_captions: Annotated[
        bool,
        typer.Option("--all-captions", help="Of --anchors, where --caption-field holds a list: concepts of all."),
    ] = False,
    image_column: Annotated[str | None, typer.Option(help="Of --anchors: column of a table with image paths.")] = None,
    caption_column: Annotated[str | None, typer.Option(help="Of --anchors: column of a table with captions.")] = None,
    images: Annotated[
        str | None, typer.Option(metavar="DIR", help="Of --anchors: folder of a table's pictures, if not its own.")
    ] = None,
    no_header: Annotated[
        bool, typer.Option("--no-header", help="Of --anchors: CSV and TSV begin with no names; --columns gives them.")
    ] = False,
    columns: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Of --no-header: names of all columns, such as caption,url.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of clusters and of the random ranking.")] = 0,
    max_rejects: Annotated[
        float, typer.Option(min=0, max=1, help="Share of rejected --anchors over which the run ends as failed.")
    ] = 0.10,
    device: Annotated[str, typer.Option(help="Encoder of --anchors and --localise: auto, cpu or cuda.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures of both in a forward pass.")] = 64,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Decoding threads and parsing processes of both. Default: the cores.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Of both: the index's model, where it is not built in nor in open_clip's list."),
    ] = None,
    pretrained: Annotated[str | None, typer.Option(help="Of --model, where it takes one.")] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run Python code that the model's folder or repository brings.")
    ] = False,
    tokenizer: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Of --model: folder with its tokenizer, as the index's.")
    ] = None,
    spacy_pipeline: Annotated[
        str | None, typer.Option(help="The index's spaCy pipeline, where it is none that --spacy-pipeline auto takes.")
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Do part I of N of the shards: parts may run at once, on machines that share --out. When all have "
            "ended: --part finish.",
        ),
    ] = None,
    processes: ProcessesOption = None,
    gpus: GpusOption = None,
    engine: EngineOption = "local",
    address: AddressOption = None,
    retry_failed: RetryOption = False,
) -> None:
    """Find the concepts that captions leave out; write tables and curated shards."""
    given = locals()
    import cocu
    from cli.printing.summaries import print_curated

    made = cocu.curate(**given)
    if made.manifest["finished"]:
        print_curated(made.path, made.manifest)


@app.command()
def score(
    curated: Annotated[Path, typer.Argument(help="Folder made by `cocu curate run`.")],
    truth: Annotated[
        Path | None,
        typer.Option(
            help="What the pictures show: Parquet or JSON lines of (key, object, area), "
            "or a WebDataset tar with objects in its .json members."
        ),
    ] = None,
    synonyms: Annotated[
        Path | None, typer.Option(help="JSON of the words for each object, object -> words and phrases.")
    ] = None,
    judged: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="In place of both: judgements of people, as `cocu explore` keeps them."),
    ] = None,
    min_area: Annotated[float, typer.Option(help="Share of the picture from which an object is a gap.")] = 0.01,
    k: Annotated[str, typer.Option(help="Score the k best recovered concepts, for each of these k.")] = "1,3,5,8,16",
    named_by: Annotated[
        str,
        typer.Option(help="What of a caption names objects: its concepts, its words, or either."),
    ] = "either",
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap and the random order.")] = 0,
    against: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="Tags of another model (key, concept, score), to be scored beside."),
    ] = None,
    spacy_pipeline: Annotated[
        str | None, typer.Option(help="The curation's, where it is none of the usual; it may run code of its own.")
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
        ks = [int(part) for part in k.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"{k!r}: give whole numbers with commas between, such as 1,3,5,8,16", param_hint="--k"
        ) from None
    asked = {"judged": judged, "min_area": min_area, "named_by": named_by, "seed": seed, "against": against}
    asked |= {"spacy_pipeline": spacy_pipeline}
    card = cocu.score(curated, truth, synonyms, k=ks, **asked)  # type: ignore[arg-type]
    if as_json:
        tell(json.dumps(card.as_json(), indent=1))
        return
    if isinstance(card, JudgedScore):
        print_judged(card)
    else:
        print_scorecard(card, per_object=per_object)
    for note in card.notes:
        tell(f"note: {note}", err=True)


@app.command()
def balance(
    curated: Annotated[Path, typer.Argument(help="Folder made by `cocu curate run`.")],
    out: Annotated[
        Path,
        typer.Option(
            help="FILE.parquet: a weight for every pair, for `cocu train --weights`. FILE.npy: the uids of a subset, "
            "as DataComp's tools read them. Else a folder: the shards of a subset."
        ),
    ],
    cap: Annotated[
        int | None,
        typer.Option(min=1, help="T: so many pairs come by each concept. Default: where the tail ends (--tail)."),
    ] = None,
    tail: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of the rare concepts in all mentions, which says what is rare."),
    ] = 0.06,
    concepts: Annotated[
        str, typer.Option(help="What counts: shown (recovered or named), recovered, or named by the caption.")
    ] = "shown",
    subset: Annotated[
        bool, typer.Option("--subset", help="Of FILE.parquet: the keys of a subset drawn by the weights.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the subset.")] = 0,
) -> None:
    """Weigh pairs, or draw of them, so that what few pictures show is not drowned by what many do."""
    import cocu
    from cli.printing.balance import print_balance

    made = cocu.open_curated(curated).balance(out, cap=cap, tail=tail, concepts=concepts, subset=subset, seed=seed)
    print_balance(out, made)


@app.command()
def query(
    curated: Annotated[Path, typer.Argument(help="Folder made by `cocu curate run`.")],
    sql: Annotated[
        str,
        typer.Argument(metavar="SQL", help="A query over the views pairs, archives, concepts and rejects."),
    ],
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="table, csv, json or parquet. Without it: what the ending of --out says, else table.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write to instead of printing.")] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Rows at most. A printed table stops at 100 without it."),
    ] = None,
    defuse: Annotated[
        bool,
        typer.Option(
            "--defuse",
            help="Of CSV for a spreadsheet: an apostrophe before texts that it would take for formulas (=, +, -, @).",
        ),
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds that the query may take. What is done with its rows does not count.")
    ] = 300.0,
    memory: Annotated[
        str | None, typer.Option(help="Memory that the query may take, e.g. 2GB. Default: half of what is free.")
    ] = None,
) -> None:
    """Ask the tables with SQL; nothing but these tables can be reached, and nothing changed."""
    import sys

    from cli.printing.sizes import parse_size
    from curation.curated.answers import FORMATS, TABLE_ROWS, first_rows, print_table, write_file, write_stream
    from curation.curated.bounded import bounded_query
    from files.errors import MisuseError

    ending = out.suffix.removeprefix(".").lower() if out else ""
    form = form or (ending if ending in FORMATS else "table")
    if form not in FORMATS:
        raise typer.BadParameter(f"{form!r}: give one of {', '.join(FORMATS)}", param_hint="--format")
    if defuse and form != "csv":
        raise typer.BadParameter(f"is for CSV, not for {form}; give --format csv, too", param_hint="--defuse")
    if form == "parquet" and out is None and sys.stdout.isatty():
        raise MisuseError("Parquet is no text to print: give --out FILE, or send it into a pipe")
    with bounded_query(curated, sql, timeout, parse_size(memory) if memory else None) as answer:
        if out is not None:
            write_file(answer if limit is None else first_rows(answer, limit), form, out, defuse)
        elif form != "table":
            wanted = answer if limit is None else first_rows(answer, limit)
            write_stream(wanted, form, sys.stdout, sys.stdout.buffer, defuse)
        else:
            shown, total = print_table(answer, sys.stdout, limit or TABLE_ROWS)
            if shown < total:
                tell(f"{shown:,} of {total:,} rows; --limit shows more, --format csv gives all", err=True)


@app.command()
def show(
    curated: Annotated[Path, typer.Argument(help="Folder made by `cocu curate run`.")],
    keys: Annotated[list[str], typer.Argument(metavar="KEY...", help="Keys of pairs.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page with the pictures instead.")
    ] = None,
) -> None:
    """Show single pairs: what their captions name and what was recovered."""
    if out is not None:
        from curation.report.report import write_pairs_page

        write_pairs_page(curated, keys, out)
        tell(f"wrote {out}")
        return
    import cocu

    cocu.open_curated(curated).show(*keys)


@app.command()
def report(
    curated: Annotated[Path, typer.Argument(help="Folder made by `cocu curate run`.")],
    out: Annotated[Path, typer.Option(metavar="FILE.html", help="The page to write.")],
    sample: Annotated[int, typer.Option(min=0, help="Pairs in the gallery.")] = 48,
    seed: Annotated[int, typer.Option(min=0, help="Which pairs are drawn.")] = 0,
) -> None:
    """Write a page to look at and to mail: figures, histograms and a gallery, in one HTML file."""
    from cli.printing.summaries import rejects_told
    from curation.report.report import write_report

    figures = write_report(curated, out, sample, seed)
    told = rejects_told({"pairs": figures.pairs, "rejects": figures.rejects})
    tell(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB); pairs left out by the curation: {told}")


app.command()(export)
