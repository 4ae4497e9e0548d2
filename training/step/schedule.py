"""The learning rate over a run: linear scaling with the batch, warm-up, half a cosine; or GroupViT's release's."""

from __future__ import annotations

import math
from dataclasses import dataclass

from training.recipes.recipe import Recipe


@dataclass(frozen=True)
class LearningRate:
    """The rate of each optimiser step, from 0 to `steps` - 1 (PAPER.md, "Pre-training").

    It rises in a straight line from `start` at step 0 to `peak` at step `warmup`, then falls along half a cosine
    to `end`, which it would reach at step `steps`. released: the cosine is counted from step 0, so that the rate jumps
    below the peak where the warm-up ends, and all of it comes one step late, the first value twice.
    """

    peak: float
    start: float
    end: float
    warmup: int
    steps: int
    released: bool = False

    def at(self, step: int) -> float:
        """The rate of the optimiser step that is taken after `step` others."""
        step = max(0, step - 1) if self.released else step
        if step < self.warmup:
            return self.start + (self.peak - self.start) * step / self.warmup
        begins = 0 if self.released else self.warmup
        share = (step - begins) / max(1, self.steps - begins)
        return self.end + (self.peak - self.end) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def scaled(rate: float, batch: int, base_batch: int) -> float:
    """A rate that was chosen for batches of `base_batch` pairs, for batches of `batch` (linear scaling)."""
    return rate * batch / base_batch


def learning_rate(recipe: Recipe, epoch: int | None) -> LearningRate:
    """The rate of every step. epoch: steps in one; needed where the recipe's length is in epochs."""
    rates, batch = recipe.optimizer, recipe.data.batch
    steps = recipe.steps or max(1, round(recipe.epochs * (epoch or 1)))
    peak, start, end = (
        scaled(rate, batch, rates.base_batch) for rate in (rates.base_lr, rates.warmup_lr, rates.final_lr)
    )
    warmup, released = round(steps * rates.warmup_epochs / recipe.epochs), rates.schedule == "released"
    return LearningRate(peak, start, end, warmup, steps, released)
