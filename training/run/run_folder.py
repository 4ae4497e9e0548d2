"""The folder of a run: one recipe for good, and where it goes on from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from files.atomic import sweep, write_text
from files.errors import MisuseError
from training.recipes.recipe import Recipe
from training.recipes.recipe_file import config_text
from training.run.checkpoint import CONFIG, WEIGHTS, Checkpoints, load_config, load_state


def enter(run: Path, recipe: Recipe, resume: str) -> Path | None:
    """Check that the locked folder is this recipe's, and find the checkpoint to go on from; None: begin.

    resume: auto, never, or a checkpoint's folder. Raises MisuseError where the folder is another recipe's, or where
    going on as asked would lose checkpoints.
    """
    sweep(run)
    checkpoints = Checkpoints(run, recipe.checkpoints.keep)
    if (run / WEIGHTS).exists():
        raise MisuseError(f"{run}: is a checkpoint; give another folder for the run")
    if not checkpoints.steps():  # nothing to lose, if it was begun at all
        write_text(run / CONFIG, config_text(recipe))
    elif resume == "never":
        raise MisuseError(f"{run}: holds a run, which --resume never would write over; give another folder")
    _same_recipe(run, recipe)
    if resume == "never":
        return None
    if resume == "auto":
        newest = checkpoints.newest()
        if newest is None:
            return None
        checkpoints.drop_after(newest)
        return checkpoints.path(newest)
    source = Path(resume)
    _same_recipe(source, recipe)
    its_step = load_state(source)["step"]
    later = [step for step in checkpoints.steps() if step > its_step]
    if later:
        raise MisuseError(
            f"{run}: has a checkpoint of step {later[-1]}, behind step {its_step} of {source}; "
            "give another --out, or --resume auto"
        )
    return source


def _same_recipe(folder: Path, recipe: Recipe) -> None:
    """Raise MisuseError that names every value that differs, but for those that may."""
    there, now = (dict(_flat(r.model_dump(mode="json"))) for r in (load_config(folder), recipe))
    changes = [
        f"{key}: {there.get(key)} there, {now.get(key)} now"
        for key in sorted({*there, *now})
        if there.get(key) != now.get(key) and not any(f"{key}.".startswith(f"{free}.") for free in recipe.FREE)
    ]
    if changes:
        raise MisuseError(
            f"{folder}: was begun with another recipe:\n  "
            + "\n  ".join(changes)
            + "\ngive the same values to go on, or another --out"
        )


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
