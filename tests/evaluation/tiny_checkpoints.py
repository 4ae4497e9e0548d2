"""Checkpoints of tiny models with random weights, and small benchmarks drawn for them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from data_cards.miniature.shards import write_miniature
from tests.evaluation.tiny_segmenters import set_statistics
from training.models.groupvit import GroupViT
from training.recipes.recipe import build_learner
from training.recipes.recipe_file import load_recipe
from training.run.checkpoint import Checkpoints

TEXT = ["model.text.width=16", "model.text.layers=1", "model.text.heads=2", "model.text.context_length=24"]
SIZES = {
    "patch-alignment": ("miniature", ["model.image_size=32", "model.width=16", "model.layers=1"]),
    "groupvit": (
        "miniature_groupvit",
        [
            *("model.image_size=32", "model.width=24", "model.depths=[1,1,1]"),
            *("model.group_tokens=[6,3]", "model.output_groups=[6,3]"),
        ],
    ),
}


def make_checkpoint(run: Path, learner: str = "groupvit", seed: int = 0) -> Path:
    """A checkpoint as a run leaves it; other seeds give other weights."""
    name, sizes = SIZES[learner]
    recipe = load_recipe(name, [*sizes, *TEXT, "model.projection_width=16"])
    torch.manual_seed(seed)
    model = build_learner(recipe)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            # As large as it takes for several groups and classes to win in a picture.
            nn.init.normal_(parameter, std=1.0 if "token" in name or "position" in name else 0.4)
    if isinstance(model, GroupViT):
        set_statistics(model)
    checkpoints = Checkpoints(run, keep=2)
    checkpoints.save(1, recipe, model.state_dict(), {"step": 1})
    checkpoints.mark_best(1)
    return run / "best"


def make_miniature(folder: Path, pictures: int = 12, seed: int = 0) -> Path:
    """The first pictures of the miniature with their masks."""
    write_miniature(folder, pictures, seed, 64, "val", 1, lambda done: None)
    return folder
