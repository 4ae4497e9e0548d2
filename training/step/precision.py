"""In which precision the encoders compute."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from files.errors import MisuseError
from training.processes import Place
from training.recipes.recipe import Recipe


def precision(recipe: Recipe, place: Place) -> Callable[[], torch.autocast]:
    """What is entered around every forward pass. Raises MisuseError for fp16 without a GPU."""
    kind = place.device.type
    wanted = {"auto": "bf16" if kind == "cuda" else "fp32"}.get(recipe.precision, recipe.precision)
    if wanted == "fp16" and kind != "cuda":
        raise MisuseError(
            "precision fp16: is for GPUs without bfloat16; this run is on the CPU, where it is slower than fp32 and "
            "less exact; give bf16, fp32 or auto"
        )
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(wanted)
    return partial(torch.autocast, kind, half, enabled=half is not None)
