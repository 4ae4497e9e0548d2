"""The command `cocu curate run`, and the group that it leads: argument handling and printing only."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.command import Commands
from cli.curated import balance, query, report, score, show
from cli.dry_run import DryRunOption, curated_disk, try_run
from cli.explore import export
from cli.kept_options import working
from cli.named_entries import completion
from cli.options import (
    DeviceOption,
    IndexArgument,
    IndexModelOption,
    IndexPipelineOption,
    PartOption,
    PretrainedOption,
    TokenizerOption,
    TrustOption,
)
from cli.team import AddressOption, EngineOption, GpusOption, ProcessesOption, RetryOption

if TYPE_CHECKING:
    from files.registry import Registry

app = Commands(help="Find and rank the concepts that captions leave out.")


def _presets() -> list[str]:
    from curation.ranking.options import PRESETS

    return list(PRESETS)


def _expansions() -> "Registry[Any]":
    from curation.ranking.expansion import EXPANSIONS

    return EXPANSIONS


def _rankings() -> "Registry[Any]":
    from curation.ranking.relevance import RANKINGS

    return RANKINGS


@app.command(cls=working(expansion=_expansions, ranking=_rankings))
def run(
    index: IndexArgument,
    out: Annotated[
        Path,
        typer.Option(
            metavar="CURATED",
            help="Folder of the result. Run again with the same options, the run goes on where it stopped.",
        ),
    ],
    preset: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Options set together, as the table below has them; what is given beside it overrules it. default "
            "weighs captions and pictures for the index, paper does all as in the paper, clip lets the encoder decide "
            "alone.",
            autocompletion=completion(_presets),
        ),
    ] = "default",
    expansion: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What captions to retrieve: one of these, or several joined by '+'.",
            autocompletion=completion(_expansions, "+"),
        ),
    ] = None,
    neighbours: Annotated[
        int | None,
        typer.Option(min=1, help="Captions that each expansion retrieves (L)."),
    ] = None,
    ranking: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What orders the concepts: one of these.",
            autocompletion=completion(_rankings),
        ),
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Keep so many of a pair's best concepts besides what its caption names. 0 keeps all.",
        ),
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(help="Leave out what scores less, unless the caption names it.")
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Leave out what another caption of the picture would name with less than this probability, unless "
            "the caption names it.",
        ),
    ] = None,
    merge: Annotated[
        bool | None,
        typer.Option(
            "--merge/--no-merge",
            help="Merge concepts of one word family, such as 'truck' and 'fire truck'.",
        ),
    ] = None,
    synonyms: Annotated[
        bool | None,
        typer.Option(
            "--merge-synonyms/--no-merge-synonyms",
            help="Merge concepts that rank the pictures alike.",
        ),
    ] = None,
    grounded: Annotated[
        bool | None,
        typer.Option(
            "--grounded/--no-grounded",
            help="Leave out what no picture shows, such as 'anniversary' or 'friend'.",
        ),
    ] = None,
    tags: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE",
            help="Take tags that another model gave the pictures (Parquet or CSV of key, concept, score) for one more "
            "source, as reliable as held-out captions show it to be.",
        ),
    ] = None,
    write_caption: Annotated[
        str | None,
        typer.Option(metavar="FIELD", help="Write an enriched caption to this field of the .json member, too."),
    ] = None,
    output: Annotated[
        Literal["shards", "sidecar", "tables"],
        typer.Option(
            metavar="KIND",
            help="What to leave: shards are whole curated shards; sidecar is tars of the concepts alone, to be read "
            "beside the source; tables are the tables alone. The last two read no picture.",
        ),
    ] = "shards",
    shards_format: Annotated[
        Literal["webdataset", "parquet"],
        typer.Option(
            metavar="NAME",
            help="Format of whole shards, webdataset or parquet. The latter is for what came as Parquet with its "
            "pictures: the same rows and columns, a column of concepts, and one of keys where there is none; "
            "--write-caption names a column then.",
        ),
    ] = "webdataset",
    localise: Annotated[
        bool,
        typer.Option("--localise", help="Say where each concept shows (box, area, peak). This looks at each picture."),
    ] = False,
    min_peak: Annotated[
        float | None,
        typer.Option(
            help="With --localise, leave out a concept whose cosine with each part of the picture is less, unless the "
            "caption names it."
        ),
    ] = None,
    anchors: Annotated[
        list[str] | None,
        typer.Option(metavar="SHARDS", help="Curate these instead of the indexed pairs. May be repeated."),
    ] = None,
    caption_field: Annotated[
        str | None, typer.Option(help="Take their captions from this dotted path of the .json member.")
    ] = None,
    all_captions: Annotated[
        bool,
        typer.Option("--all-captions", help="Where --caption-field holds a list, take concepts of all its captions."),
    ] = False,
    image_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column of their table that holds image paths.")
    ] = None,
    caption_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column of their table that holds captions.")
    ] = None,
    images: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder of their table's pictures, if it is not the table's own.")
    ] = None,
    no_header: Annotated[
        bool,
        typer.Option("--no-header", help="CSV and TSV begin with no names of columns; --columns gives them instead."),
    ] = False,
    columns: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="With --no-header, the names of all columns, such as caption,url."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the clusters and of the random ranking.")] = 0,
    max_rejects: Annotated[
        float, typer.Option(min=0, max=1, help="Share of rejected pairs over which the run ends as failed.")
    ] = 0.10,
    device: DeviceOption = "auto",
    batch_size: Annotated[
        int, typer.Option(min=1, help="Pictures of --anchors and --localise that go through the model at once.")
    ] = 64,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Decoding threads and parsing processes of --anchors and --localise.", show_default="the cores"
        ),
    ] = None,
    model: IndexModelOption = None,
    pretrained: PretrainedOption = None,
    trust_remote_code: TrustOption = False,
    tokenizer: TokenizerOption = None,
    spacy_pipeline: IndexPipelineOption = None,
    part: PartOption = None,
    processes: ProcessesOption = None,
    gpus: GpusOption = None,
    engine: EngineOption = "local",
    address: AddressOption = None,
    retry_failed: RetryOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Find the concepts that captions leave out; write tables and curated shards."""
    given = {name: value for name, value in locals().items() if name != "dry_run"}
    import cocu
    from cli.printing.summaries import print_curated

    if dry_run:
        try_run(cocu.curate, given, curated_disk(output, bool(anchors)))
        return
    made = cocu.curate(**given)
    if made.manifest["finished"]:
        print_curated(made.path, made.manifest)


for command in (score, balance, query, show, report, export):
    app.command()(command)
