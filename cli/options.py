"""Options that several commands have, by one name and with one meaning."""

from pathlib import Path
from typing import Annotated, Literal

import typer

IndexArgument = Annotated[Path, typer.Argument(metavar="INDEX", help="Folder made by `cocu index build`.")]
CuratedArgument = Annotated[Path, typer.Argument(metavar="CURATED", help="Folder made by `cocu curate run`.")]
DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option(help="What computes: auto takes a CUDA GPU where there is one, else the CPU."),
]
TrustOption = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run Python code that the model's folder or repository brings.")
]
TokenizerOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder with the model's tokenizer, where the hub that has it cannot be reached."),
]
IndexModelOption = Annotated[
    str | None,
    typer.Option(help="Name the index's model again, where it is neither built in nor in open_clip's list."),
]
PretrainedOption = Annotated[str | None, typer.Option(metavar="TAG", help="Weights of --model, where it takes any.")]
IndexPipelineOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Name the index's spaCy pipeline again, where it is none that auto takes."),
]
PartOption = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        help="Do part I of N of the shards. Parts may run at once, on machines that share --out; when all have ended, "
        "give --part finish.",
    ),
]
BuildPartOption = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        help="Do part I of N of the shards. Parts may run at once, on machines that share --out; when all have ended, "
        "give --part finish. Before that a large index takes --part train, and each part once more.",
    ),
]
