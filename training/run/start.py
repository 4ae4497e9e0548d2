"""What a new run begins with in place of fresh weights: the recipe's `init`, or the option --init.

RUN/best; GroupViT's folders and files   a learner of the same kind and sizes (training/run/given.py)
miniature, open_clip:NAME@WEIGHTS, ...   a CLIP, for a learner that has its towers (training/models/pretrained.py)
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from files.dense_towers import default_mode
from files.errors import MisuseError
from training.models.clip_towers import ClipTowers
from training.models.groupvit import GroupViT
from training.models.learner import MAX_SCALE, Learner
from training.models.pretrained import PretrainedClip, load_open_clip, open_clip_name
from training.recipes.recipe import Recipe
from training.run.checkpoint import CONFIG, Checkpoints, load_config, misfits
from training.run.given import load_given


def with_init(recipe: Recipe, init: str | None, run: Path) -> tuple[Recipe, PretrainedClip | None]:
    """The recipe with the option in it, and with what its towers are like, and how they are read, where it leaves that.

    Also the CLIP, where it was loaded for that. A run that is under way knows its towers. Raises MisuseError for frozen
    towers that begin with nothing, and as `load_open_clip`.
    """
    if init:
        recipe = recipe.model_copy(update={"init": init})
    if recipe.freeze and not recipe.init:
        raise MisuseError(
            f"freeze: {', '.join(recipe.freeze)} would stay at fresh weights; say what to begin with (init, or --init) "
            "or leave freeze out"
        )
    if recipe.init is None or getattr(recipe.model, "towers", ()) is not None:
        return recipe, None
    clip, there = None, _under_way(recipe, run)
    if there is None and (name := open_clip_name(recipe.init)):
        clip = load_open_clip(name, custom_text=True)
        model: Any = clip.model
        found: dict[str, Any] = {"towers": clip.form, "dense": default_mode(model.visual)}
    else:
        if there is None and (Path(recipe.init) / CONFIG).is_file():
            there = load_config(Path(recipe.init)).model
        found = {key: getattr(there, key, None) for key in ("towers", "dense")}
    if found["towers"] is None:
        raise MisuseError(
            f"{recipe.init}: is no CLIP, nor a checkpoint with the towers of one, which {recipe.learner} begins with; "
            "give miniature, open_clip:NAME@WEIGHTS, hf-hub:NAME, local-dir:FOLDER or a checkpoint (RUN/best)"
        )
    left_open = {key: value for key, value in found.items() if getattr(recipe.model, key, "") is None}
    return recipe.model_copy(update={"model": dataclasses.replace(recipe.model, **left_open)}), clip


def _under_way(recipe: Recipe, run: Path) -> Any:
    """The model of the run in this folder, if it began as this recipe does; else None."""
    if not Checkpoints(run, keep=1).steps():
        return None
    there = load_config(run)
    return there.model if (there.learner, there.init) == (recipe.learner, recipe.init) else None


@torch.no_grad()
def begin(learner: Learner, recipe: Recipe, clip: PretrainedClip | None = None) -> None:
    """Give a fresh learner the weights of the recipe's `init`, if it has one. clip: that which it names, if at hand.

    Raises MisuseError where they are of another kind or of other sizes, CocuError where they cannot be read.
    """
    if recipe.init is None:
        return
    if name := open_clip_name(recipe.init):
        towers = getattr(learner, "towers", None)
        if not isinstance(towers, ClipTowers):
            raise MisuseError(
                f"{recipe.init}: is a CLIP, and {recipe.learner} has no such towers; give a checkpoint of "
                f"{recipe.learner}, or train a learner with a CLIP's towers, such as clip-alignment"
            )
        clip = clip or load_open_clip(name, custom_text=True)
        try:
            towers.begin_from(clip)
        except RuntimeError:
            raise MisuseError(
                f"{recipe.init}: is not as model.towers says; leave model.towers out, it is read from init"
            ) from None
        model: Any = clip.model
        for scale in (learner.logit_scale, learner.concept_logit_scale):
            scale.copy_(model.logit_scale.float().reshape(()).clamp(max=math.log(MAX_SCALE)))
        return
    given, kind = load_given(recipe.init)
    if type(given) is not type(learner):
        raise MisuseError(f"{recipe.init}: holds another learner ({kind}) than the recipe's {recipe.learner}")
    weights = _weights(given, learner)
    if wrong := misfits(learner.state_dict(), weights) + _other_heads(given, learner):
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise MisuseError(
            f"{recipe.init}: is of other sizes than the recipe's model: {'; '.join(wrong[:3])}{more}; "
            "give the recipe its sizes (model.KEY=VALUE)"
        )
    learner.load_state_dict(weights)


def _weights(given: Learner, learner: Learner) -> dict[str, Tensor]:
    """Its weights for a learner whose GroupViT may have another assignment scale, which stands beside them."""
    weights = given.state_dict()
    if isinstance(given, GroupViT) and isinstance(learner, GroupViT):
        ratio = given.config.assignment_scale / learner.config.assignment_scale
        if ratio != 1:
            weights = {name: value * ratio if ".grouping.query." in name else value for name, value in weights.items()}
    return weights


def _other_heads(given: Any, learner: Any) -> list[str]:
    """Numbers of attention heads that differ, which shapes of weights do not tell."""
    found = []
    for name in ("heads", "text.heads"):
        there, here = (_value(one.config, name) for one in (given, learner))
        if there != here:
            found.append(f"{name} is {there}, not {here}")
    return found


def _value(config: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        config = getattr(config, key, None)
    return config
