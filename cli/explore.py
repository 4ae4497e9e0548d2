"""The commands `cocu explore` and `cocu curate export`: argument handling and printing only."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import (
    CuratedArgument,
    DeviceOption,
    IndexModelOption,
    PretrainedOption,
    TokenizerOption,
    TrustOption,
)
from cli.printing.lines import tell


def explore(
    curated: Annotated[
        list[Path],
        typer.Argument(metavar="CURATED [CURATED]", help="Folder made by `cocu curate run`; two are compared."),
    ],
    index: Annotated[
        Path | None,
        typer.Option(
            metavar="INDEX", help="The index they were made from.", show_default="looked for beside the folder"
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8400,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on. Any other than this machine's own lets everybody who reaches it look and judge."
        ),
    ] = "127.0.0.1",
    name: Annotated[
        list[str] | None,
        typer.Option(help="Name that the server goes by besides --host, such as that of a proxy. May be repeated."),
    ] = None,
    judged: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where judgements are kept.", show_default="judged.sqlite in the folder"),
    ] = None,
    device: DeviceOption = "auto",
    model: IndexModelOption = None,
    pretrained: PretrainedOption = None,
    trust_remote_code: TrustOption = False,
    tokenizer: TokenizerOption = None,
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
    curated: CuratedArgument,
    atlas: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.parquet",
            help="Write a map of the pairs for Embedding Atlas: their places, neighbours and concepts.",
        ),
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option(
            metavar="INDEX",
            help="With --atlas, the index it was made from.",
            show_default="looked for beside the folder",
        ),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.parquet", help="Write judged pairs as truth for `cocu curate score`, and their synonyms."
        ),
    ] = None,
    judged: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --truth, the judgements.", show_default="judged.sqlite in the folder"),
    ] = None,
    top: Annotated[
        int,
        typer.Option(
            "--top", "-k", min=1, help="With --truth, take pairs of which the N best recovered are all judged."
        ),
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
    from curation.curated.judgements import judged_file
    from curation.recovery.judged_truth import write_judged_truth

    written = write_judged_truth(curated, judged_file(curated, judged), truth, top)
    tell(f"wrote {truth} and {written.synonyms}: {written.pairs:,} pairs, {written.shown:,} concepts that they show")
    for note in written.notes:
        tell(f"note: {note}", err=True)
    tell(f"cocu curate score {curated} --truth {truth} --synonyms {written.synonyms} --top {top}")
