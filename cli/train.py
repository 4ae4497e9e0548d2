"""The commands `cocu train ...`: argument handling and printing only."""

from pathlib import Path
from typing import Annotated

import typer

from cli.command import DEFAULT, Commands, RunUnlessNamed
from cli.kept_options import LongWork
from cli.named_entries import completion
from cli.options import DeviceOption
from cli.printing.lines import tell

app = Commands(
    cls=RunUnlessNamed,
    help="Train segmentation from text on curated shards.",
)


def _recipes() -> list[str]:
    from training.recipes.recipe_text import BUILT_IN

    return sorted(path.stem for path in BUILT_IN.glob("*.yaml"))


@app.command(name=DEFAULT, cls=LongWork, hidden=True)
def run(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A built-in recipe, such as miniature or groupvit_cc3m_cocu, or a YAML file.",
            autocompletion=completion(_recipes),
        ),
    ],
    data: Annotated[
        list[str],
        typer.Option(
            metavar="SHARDS",
            help="Tars, Parquet with its pictures, folders, patterns or URLs to train on. May be repeated.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="RUN", help="Folder of the run. Run again with the same options, the run goes on."),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE...", help="Settings in place of the recipe's, such as data.batch=256."),
    ] = None,
    val: Annotated[
        list[str] | None,
        typer.Option(metavar="SHARDS", help="Shards on which the run is measured. May be repeated."),
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=PATH",
            help="A data set's card, and where it lies. Zero-shot mIoU is measured at every validation, and decides "
            "what is best.",
        ),
    ] = None,
    shares: Annotated[
        str | None,
        typer.Option(
            metavar="W,W,...",
            help="How much of what is seen comes from each --data.",
            show_default="every pair once an epoch",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.parquet",
            help="How likely an epoch sees each pair, as `cocu curate balance` writes it.",
            show_default="every pair is seen",
        ),
    ] = None,
    concepts: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CURATED",
            help="A folder of `cocu curate run --output sidecar` or tables, whose concepts are read beside the shards "
            "of --data, and of --val as far as it knows them. May be repeated.",
        ),
    ] = None,
    resume: Annotated[
        str,
        typer.Option(
            metavar="FOLDER",
            help="Where to go on from: auto is the newest checkpoint in RUN, never begins anew, and a checkpoint's "
            "folder is itself.",
            autocompletion=completion(lambda: ("auto", "never")),
        ),
    ] = "auto",
    init: Annotated[
        str | None,
        typer.Option(
            metavar="WEIGHTS",
            help="What a new run begins with: a checkpoint, a GroupViT (a Hugging Face folder, the release's .pth), or "
            "a CLIP (miniature, open_clip:NAME@WEIGHTS, hf-hub:NAME, local-dir:FOLDER).",
            show_default="the recipe's init",
        ),
    ] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run the Python code that comes with the model of --init.")
    ] = False,
    tokenizer: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder with the tokenizer of the CLIP of --init.")
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where features of a frozen image tower are kept. Runs may share it.",
            show_default="RUN/features",
        ),
    ] = None,
    device: DeviceOption = "auto",
    compile: Annotated[bool, typer.Option("--compile", help="Compile the encoders (torch.compile).")] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Loading processes of each rank.", show_default="fitted to the cores"),
    ] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard/--no-tensorboard", help="Write RUN/tensorboard.")] = True,
    wandb: Annotated[bool, typer.Option("--wandb", help="Log to Weights & Biases, too.")] = False,
) -> None:
    """Train a recipe. Under torchrun, on as many GPUs and nodes as it starts processes for."""
    given = locals()
    import cocu

    outcome = cocu.train(**given | {"shares": _numbers(shares) if shares else None}).outcome
    from training.processes import Wish

    if not outcome.leads:
        return
    progress, best = outcome.progress, outcome.best
    if outcome.asked == Wish.TERMINATE:
        saved = f"step {progress.step:,} is saved, the same command goes on from it"
        tell(f"asked to end; {saved if progress.step else 'give the same command to go on'}", err=True)
        return
    skipped = f", {progress.skipped:,} of them skipped" if progress.skipped else ""
    tell(f"{out}: trained {progress.step:,} steps{skipped}")
    if best is not None:
        step = int(best.name.removeprefix("step-"))
        measured = [f"validation {name} {value:.4f}" for name, value in progress.best.items() if name != "step"]
        how = f"the best, {measured[0]}" if step == progress.best.get("step") else "the last, not validated (--val)"
        tell(f"model: {out / 'best'}, step {step:,}, {how}")


def _numbers(shares: str) -> list[float]:
    """ "0.7,0.3" -> its numbers. Raises typer.BadParameter."""
    try:
        return [float(part) for part in shares.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"{shares!r}: give a number for each --data, with commas between, such as 0.7,0.3", param_hint="--shares"
        ) from None


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of a GroupViT, such as RUN/best.")],
    out: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Folder to write, which transformers' GroupViTModel.from_pretrained takes."),
    ],
) -> None:
    """Write a GroupViT in the layout of Hugging Face's transformers."""
    from files.errors import MisuseError
    from training.models.learner import EXPORTS
    from training.run.checkpoint import load_learner

    learner, recipe = load_learner(checkpoint)
    if recipe.learner not in EXPORTS:
        raise MisuseError(
            f"{checkpoint}: holds {recipe.learner}; only {', '.join(EXPORTS)} has a place in transformers"
        )
    EXPORTS[recipe.learner](learner, out)
    tell(f"wrote {out}")
