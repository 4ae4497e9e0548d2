"""Checkpoints: a folder with the weights, the recipe that rebuilds the model, and the state that the run goes on from.

    model.safetensors   weights
    config.yaml         the whole recipe
    trainer.pt          optimizer, step, random states, position in the data; read with weights_only=True
                        where a running mean is kept, which then is model.safetensors: the weights themselves, too
    text_tower/         settings and tokenizer of a text tower of transformers, where a CLIP has one

A checkpoint appears under its name only when all of it is on the disk.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from files.atomic import naming
from files.errors import CocuError, MisuseError, one_line
from files.locks import check_held
from files.shapes import ShapeFault, check_shape, count
from files.synced import sync
from training.models.clip_towers import ClipTowers
from training.models.learner import Learner
from training.models.pretrained import with_text_form
from training.processes import Place, random_states, set_random_states
from training.recipes.recipe import Recipe, build_learner
from training.recipes.recipe_file import config_text, read_config
from training.run.ema import Ema

WEIGHTS, CONFIG, STATE, TEXT_TOWER = "model.safetensors", "config.yaml", "trainer.pt", "text_tower"
STATE_SHAPE = {
    "step": count,
    "progress": {"step": count, "skipped": count, "skipped_in_a_row": count, "best": {str: float}},
    "optimizer": {"state": {int: {str: Tensor}}, "param_groups": [{"params": [int]}]},
    "weights?": {str: Tensor},
    "scaler?": {"scale": float},
    "ranks": [{"random": {"cpu": Tensor, "cuda?": Tensor}}],
    "streams": {int: {"stream": {"taken": count, "collections": [{str: count}]}, "skip": count}},
}
NAME = re.compile(r"step-(\d{8})")


def load_learner(folder: str | Path, device: str | torch.device = "cpu") -> tuple[Any, Recipe]:
    """The learner of a checkpoint with its weights, in eval mode, and its recipe; trainer.pt is not needed.

    Raises MisuseError where `folder` is no checkpoint, CocuError where its weights are damaged or do not fit.
    """
    folder = Path(folder)
    recipe = load_config(folder)
    learner = rebuilt(recipe, folder)
    load_weights(learner, folder)
    return learner.to(device).eval(), recipe


def rebuilt(recipe: Recipe, folder: Path) -> Learner:
    """The learner of a checkpoint with fresh weights; what its text tower is like may lie in the folder."""
    form = getattr(recipe.model, "towers", None)
    if form and (folder / TEXT_TOWER).is_dir():
        model: Any = replace(recipe.model, towers=with_text_form(form, folder / TEXT_TOWER))
        recipe = recipe.model_copy(update={"model": model})
    return build_learner(recipe)


def load_config(folder: Path) -> Recipe:
    """The recipe of a checkpoint or of a run's folder."""
    path = folder / CONFIG
    if not path.is_file():
        raise no_checkpoint(folder, CONFIG)
    return read_config(path)


def load_weights(learner: nn.Module, folder: Path) -> None:
    """Put a checkpoint's weights into `learner`. Raises CocuError where they are damaged or of other shapes."""
    path = folder / WEIGHTS
    try:
        weights = load_file(path)
    except FileNotFoundError:
        raise no_checkpoint(folder, WEIGHTS) from None
    except SafetensorError as error:
        raise CocuError(f"{path}: cannot be read ({error}); use another checkpoint") from error
    if wrong := misfits(learner.state_dict(), weights):
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise CocuError(f"{path}: does not fit {CONFIG} beside it: {'; '.join(wrong[:3])}{more}")
    learner.load_state_dict(weights)


def misfits(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> list[str]:
    """What keeps `weights` from taking the place of `own`, a line each."""
    wrong = [f"{name} is missing" for name in own if name not in weights]
    wrong += [f"{name} is not of this model" for name in weights if name not in own]
    return wrong + [
        f"{name} is {list(weights[name].shape)}, not {list(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]


def _check_weights(path: Path) -> None:
    """Raise CocuError unless the file is whole, by its header, without reading the tensors."""
    try:
        with safe_open(path, "pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise CocuError(f"{path}: cannot be read ({error})") from error


def load_state(folder: Path) -> dict[str, Any]:
    """What the run goes on from. Raises CocuError where it is missing or damaged."""
    path = folder / STATE
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CocuError(f"{path}: is missing; a run cannot go on without it; {what_to_give(folder)}") from None
    except Exception as error:  # torch raises what its zip reader and unpickler raise
        raise CocuError(f"{path}: cannot be read ({one_line(error, 200)})") from error
    try:
        check_shape(state, STATE_SHAPE)
    except ShapeFault as fault:
        raise CocuError(f"{path}: holds no state of a run ({fault}); {what_to_give(folder)}") from None
    return state


@contextlib.contextmanager
def going_on(folder: Path) -> Iterator[None]:
    """Around what takes up a state: where it does not fit what the recipe builds, that is the file's fault."""
    try:
        yield
    except (LookupError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise CocuError(
            f"{folder / STATE}: does not fit this run ({one_line(error)}); use another checkpoint"
        ) from error


def take_up(
    folder: Path,
    state: Mapping[str, Any],
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    ema: Ema | None,
    place: Place,
) -> None:
    """Put back the optimizer's state of a checkpoint, the scaler's and the weights beside a running mean.

    See that the random states can be put back, too, without doing so. Raises CocuError where any is not of this run.
    """
    with going_on(folder):
        if ema:
            ema.go_on(state["weights"])
        if scaler.is_enabled():
            scaler.load_state_dict(dict(state["scaler"]))
        optimizer.load_state_dict(dict(state["optimizer"]))
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                kept = optimizer.state.get(parameter, {})
                shapes = [tuple(kept[name].shape) for name in ("exp_avg", "exp_avg_sq") if kept]
                if any(shape != tuple(parameter.shape) for shape in shapes):
                    raise ValueError(f"a moment of shape {shapes}, of a parameter of shape {tuple(parameter.shape)}")
        if random := random_of(state, place):
            now = random_states(place.device)
            set_random_states(random, place.device)
            set_random_states(now, place.device)


def random_of(state: Mapping[str, Any], place: Place) -> dict[str, Any] | None:
    """The random states that this process goes on from; None where there were more or fewer processes."""
    return state["ranks"][place.rank]["random"] if len(state["ranks"]) == place.world else None


def no_checkpoint(folder: Path, missing: str) -> MisuseError:
    """The error for a folder without one of a checkpoint's files, or that is not there at all."""
    what = f"is no checkpoint, it has no {missing}" if folder.is_dir() else "there is no such folder"
    return MisuseError(f"{folder}: {what}; {what_to_give(folder)}")


def what_to_give(path: Path) -> str:
    """What to give in place of `path`, which is no checkpoint."""
    found = near(path)
    more = f" and {len(found) - 4} more" if len(found) > 4 else ""
    shown = ", ".join(map(str, found[:4])) + more
    return f"give one that is there: {shown}" if found else "give a folder such as RUN/best"


def near(path: Path) -> list[Path]:
    """The checkpoints of the run that `path` is, or would be in: the best, then the newest first."""
    runs = [path, path.parent, *([path.parent.parent] if path.parent.name == "checkpoints" else [])]
    for checkpoints in (Checkpoints(run, keep=1) for run in runs):
        best = [checkpoints.run / "best"] if checkpoints.best() else []
        if found := best + [checkpoints.path(step) for step in reversed(checkpoints.steps())]:
            return found
    return []


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run: RUN/checkpoints/step-00001000, ..., and the link RUN/best.

    keep: how many of the newest stay, besides the best.
    """

    run: Path
    keep: int

    @property
    def folder(self) -> Path:
        """Where they are."""
        return self.run / "checkpoints"

    def path(self, step: int) -> Path:
        """The checkpoint after so many steps."""
        return self.folder / f"step-{step:08d}"

    def steps(self) -> list[int]:
        """Steps of which there is a checkpoint, ascending."""
        if not self.folder.is_dir():
            return []
        return sorted(int(match[1]) for path in self.folder.iterdir() if (match := NAME.fullmatch(path.name)))

    def newest(self) -> int | None:
        """Step of the newest whole checkpoint; None where there is none. Damaged ones are passed over."""
        for step in reversed(self.steps()):
            try:
                _check_weights(self.path(step) / WEIGHTS)
                load_state(self.path(step))
                return step
            except CocuError as error:
                warnings.warn(f"passed over a damaged checkpoint: {error}", stacklevel=2)
        return None

    def save(
        self,
        step: int,
        recipe: Recipe,
        weights: Mapping[str, Tensor],
        state: Mapping[str, Any],
        towers: object = None,
    ) -> Path:
        """Write the checkpoint of `step`, unless it is there, and drop those that are no longer kept.

        towers: the learner's; of a CLIP's the form of the text tower is written, too.
        """
        path = self.path(step)
        if not path.exists():
            try:
                with naming(path), _whole_folder(path) as temporary, _told_if_full(temporary):
                    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
                    save_file(tensors, temporary / WEIGHTS)
                    (temporary / CONFIG).write_text(config_text(recipe), encoding="utf-8")
                    torch.save(dict(state), temporary / STATE)
                    if isinstance(towers, ClipTowers):
                        towers.save_text_form(temporary / TEXT_TOWER)
            except (RuntimeError, SafetensorError) as error:
                raise CocuError(f"{path}: could not be written ({one_line(error)})") from error
        self._prune()
        return path

    def mark(self, measured: float | None, last: int) -> None:
        """Let RUN/best point to the step that measured best, or to the last where none that is here was measured."""
        there = self.steps()
        for step in (measured, last):
            if step is not None and step in there:
                return self.mark_best(int(step))

    def mark_best(self, step: int) -> None:
        """Let RUN/best point to the checkpoint of `step`."""
        link, temporary = self.run / "best", self.run / ".best.tmp"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(self.path(step).relative_to(self.run), target_is_directory=True)
        temporary.replace(link)
        sync(self.run)
        self._prune()

    def best(self) -> Path | None:
        """What RUN/best points to."""
        link = self.run / "best"
        return link.resolve() if link.is_dir() else None

    def drop_after(self, step: int) -> None:
        """Remove damaged checkpoints behind the one from which the run goes on: their names will be needed."""
        for later in self.steps():
            if later > step:
                self._remove(self.path(later))

    def _prune(self) -> None:
        best = self.best()
        for step in self.steps()[: -self.keep]:
            if self.path(step).resolve() != best:
                self._remove(self.path(step))
        for leftover in self.folder.glob(".step-*.tmp"):  # of a run that was killed, or half removed
            shutil.rmtree(leftover)

    def _remove(self, path: Path) -> None:
        """Remove a checkpoint; it loses its name first, so that no half of one is ever taken for a whole."""
        leftover = path.with_name(f".{path.name}.tmp")
        shutil.rmtree(leftover, ignore_errors=True)
        path.rename(leftover)
        shutil.rmtree(leftover)


@contextlib.contextmanager
def _told_if_full(folder: Path) -> Iterator[None]:
    """Around writing into a folder: torch and safetensors have words of their own for no room, the system tells."""
    try:
        yield
    except (RuntimeError, SafetensorError) as error:
        if said := re.search(r"\(os error (\d+)\)", str(error)):
            raise OSError(int(said[1]), os.strerror(int(said[1]))) from error
        with (folder / "room").open("wb") as file:
            file.write(bytes(1 << 20))
            file.flush()
        raise


@contextlib.contextmanager
def _whole_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that becomes `path` when the block ends well, all of its files written out."""
    temporary = path.with_name(f".{path.name}.tmp")
    check_held(path)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        check_held(path)
        for file in temporary.rglob("*"):
            sync(file)
        sync(temporary)
        temporary.rename(path)
        sync(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
