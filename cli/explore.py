"""The commands `cocu explore` and `cocu curate export`: argument handling and printing only."""

from pathlib import Path
from typing import Annotated

import typer

from cli.printing.lines import tell


def explore(
    curated: Annotated[
        list[Path],
        typer.Argument(metavar="CURATED [CURATED]", help="Folder made by `cocu curate run`; two are compared."),
    ],
    index: Annotated[
        Path | None,
        typer.Option(help="The index they were made from. Default: looked for beside the folder."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 takes a free port.")] = 8400,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on. Any other than this machine's own lets everybody who reaches it look and judge."
        ),
    ] = "127.0.0.1",
    name: Annotated[
        list[str] | None,
        typer.Option(help="Name that the server goes by besides --host, as of a proxy before it; may be repeated."),
    ] = None,
    judged: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where judgements are kept. Default: judged.sqlite in the folder."),
    ] = None,
    device: Annotated[str, typer.Option(help="Of the encoder: auto, cpu or cuda.")] = "auto",
    model: Annotated[
        str | None, typer.Option(help="The index's model, where it is not built in nor in open_clip's list.")
    ] = None,
    pretrained: Annotated[str | None, typer.Option(help="Of --model, where it takes one.")] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run Python code that the model's folder or repository brings.")
    ] = False,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder with the model's tokenizer, where the hub that has it cannot be reached."
        ),
    ] = None,
) -> None:
    """Look at a curation in the browser: search it, see why each concept is there, and judge it."""
    from curation.encoding.model_names import named_encoder
    from curation.explorer.explore import explore_folders
    from files.remote_folders import local_folder

    encoder = named_encoder(model, pretrained, trust_remote_code, tokenizer)

    def ready(address: str, notes: list[str]) -> None:
        tell(f"{address}  (Ctrl-C ends it)")
        for note in notes:
            tell(f"note: {note}", err=True)

    folders, opened = [local_folder(one) for one in curated], local_folder(index) if index else None
    explore_folders(folders, opened, host, port, name or (), judged, device, encoder, ready)


def export(
    curated: Annotated[Path, typer.Argument(help="Folder made by `cocu curate run`.")],
    atlas: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.parquet", help="A map of the pairs for Embedding Atlas: places, neighbours, concepts."
        ),
    ] = None,
    index: Annotated[
        Path | None, typer.Option(help="Of --atlas: the index it was made from. Default: looked for beside the folder.")
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(metavar="FILE.parquet", help="Judged pairs as truth for `cocu curate score`, and their synonyms."),
    ] = None,
    judged: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Of --truth: the judgements. Default: judged.sqlite in the folder."),
    ] = None,
    k: Annotated[
        int, typer.Option("--k", min=1, help="Of --truth: take pairs of which the k best recovered are all judged.")
    ] = 5,
) -> None:
    """Write what other programs read: a map of the pairs, or judged pairs as truth."""
    if (atlas is None) == (truth is None):
        raise typer.BadParameter("give one of --atlas FILE.parquet and --truth FILE.parquet")
    from files.remote_folders import local_folder

    curated, index = local_folder(curated), local_folder(index) if index else None
    if atlas is not None:
        from curation.explorer.atlas import COLUMNS, write_atlas

        pairs = write_atlas(curated, index, atlas)
        tell(f"wrote {atlas}: {pairs:,} pairs\nembedding-atlas {atlas} {COLUMNS}")
        return
    assert truth is not None
    from curation.curated.judgements import NAME
    from curation.recovery.judged_truth import write_judged_truth

    written = write_judged_truth(curated, judged or curated / NAME, truth, k)
    tell(f"wrote {truth} and {written.synonyms}: {written.pairs:,} pairs, {written.shown:,} concepts that they show")
    for note in written.notes:
        tell(f"note: {note}", err=True)
    tell(f"cocu curate score {curated} --truth {truth} --synonyms {written.synonyms} --k {k}")
