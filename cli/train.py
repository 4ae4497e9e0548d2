"""The commands `cocu train ...`: argument handling and printing only."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.default_command import DEFAULT, RunUnlessNamed

app = typer.Typer(
    cls=RunUnlessNamed,
    help="Train segmentation from text on curated shards: `cocu train RECIPE --data SHARDS --out RUN`.",
    no_args_is_help=True,
)


@app.callback()
def _group() -> None:
    """A group stays a group however many commands it has."""


@app.command(name=DEFAULT)
def run(
    recipe: Annotated[
        str, typer.Argument(help="A built-in recipe, such as miniature or groupvit_cc3m_cocu, or a YAML file.")
    ],
    data: Annotated[
        list[str],
        typer.Option(metavar="SHARDS", help="Tars, folders, patterns or URLs to train on; may be repeated."),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="RUN", help="Folder of the run. Run again with the same options, it goes on."),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Overrides of the recipe, such as data.batch=256 steps=1000."),
    ] = None,
    val: Annotated[
        list[str] | None,
        typer.Option(metavar="SHARDS", help="Shards on which the run is measured; may be repeated."),
    ] = None,
    benchmark: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=PATH",
            help="A data set's card, and where it lies: zero-shot mIoU at every validation, which then decides what is "
            "best.",
        ),
    ] = None,
    shares: Annotated[
        str | None,
        typer.Option(
            metavar="W,W,...",
            help="How much of what is seen comes from each --data. Default: every pair once an epoch.",
        ),
    ] = None,
    resume: Annotated[
        str,
        typer.Option(help="auto: go on from the newest checkpoint in RUN; never: begin; or a checkpoint's folder."),
    ] = "auto",
    init: Annotated[
        Path | None, typer.Option(metavar="CHECKPOINT", help="Begin a new run with the weights of this checkpoint.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    compiled: Annotated[bool, typer.Option("--compile", help="Compile the encoders (torch.compile).")] = False,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Loading processes of each rank. Default: fitted to the cores.")
    ] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard/--no-tensorboard", help="Write RUN/tensorboard.")] = True,
    wandb: Annotated[bool, typer.Option("--wandb", help="Log to Weights & Biases, too.")] = False,
) -> None:
    """Train a recipe. Under torchrun, on as many GPUs and nodes as it starts processes for."""
    from training.processes import Wish
    from training.recipes.recipe_file import load_recipe
    from training.run.trainer import TrainOptions, train

    measure = _measure(benchmark, val)
    outcome = train(
        load_recipe(recipe, settings or []),
        TrainOptions(
            run=out,
            data=_sources(data, shares),
            val=_sources(val or [], None),
            resume=resume,
            init=init,
            device=device,
            compile=compiled,
            workers=workers,
            tensorboard=tensorboard,
            wandb=wandb,
            measure=measure,
        ),
    )
    if outcome.asked == Wish.INTERRUPT:
        raise KeyboardInterrupt
    if not outcome.leads:
        return
    progress, best = outcome.progress, outcome.best
    if outcome.asked == Wish.TERMINATE:
        typer.echo(f"asked to end; step {progress.step:,} is saved, the same command goes on from it", err=True)
        return
    skipped = f", {progress.skipped:,} of them skipped" if progress.skipped else ""
    typer.echo(f"{out}: trained {progress.step:,} steps{skipped}")
    if best is not None:
        name, value = next((name, value) for name, value in progress.best.items() if name != "step")
        typer.echo(f"best: {out / 'best'}, step {progress.best['step']:,.0f}, validation {name} {value:.4f}")


def _measure(benchmark: str | None, val: list[str] | None) -> Any:
    """What measures mIoU, if it is wanted."""
    if benchmark is None:
        return None
    if not val:
        raise typer.BadParameter("is measured at every validation; give --val, too", param_hint="--benchmark")
    from cli.evaluate import benchmark_of
    from evaluation.training_measure import validation_measure

    return validation_measure(*benchmark_of(benchmark))


def _sources(names: list[str], shares: str | None) -> Any:
    """Each --data with its share."""
    from training.shards.found import Source

    if shares is None:
        return [Source((name,)) for name in names]
    try:
        weights = [float(part) for part in shares.split(",")]
    except ValueError:
        weights = []
    if len(weights) != len(names):
        raise typer.BadParameter(
            f"{shares!r}: give a number for each of the {len(names)} --data, with commas between, such as 0.7,0.3",
            param_hint="--shares",
        )
    return [Source((name,), weight) for name, weight in zip(names, weights, strict=True)]


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of a GroupViT, such as RUN/best.")],
    out: Annotated[Path, typer.Option(help="Folder that transformers' GroupViTModel.from_pretrained takes.")],
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
    typer.echo(f"wrote {out}")
