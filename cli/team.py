"""The options that say who does the shards of an index or a curation, or the pictures of an evaluation."""

from typing import Annotated, Literal

import typer

ProcessesOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Processes of each machine that share the shards and the cores. One that dies is replaced.",
        show_default="one a GPU, else one; of many pairs to curate, one for two cores",
    ),
]
GpusOption = Annotated[
    int | None,
    typer.Option(min=1, help="GPUs of a machine, a process with its own encoder for each.", show_default="all"),
]
EngineOption = Annotated[
    Literal["local", "ray"],
    typer.Option(help="Whose machines: this one, or those of a Ray cluster that share the folders with it."),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT", help="Address of the Ray cluster.", show_default="the one that this machine is in"
    ),
]
RetryOption = Annotated[
    bool, typer.Option("--retry-failed", help="Do the shards that failed in an earlier run, and none but these.")
]
