"""The learning rate over a run: linear scaling with the batch, warm-up, half a cosine."""

from __future__ import annotations

import math
from dataclasses import dataclass

from training.recipes.recipe import Recipe


@dataclass(frozen=True)
class LearningRate:
    """The rate of each optimiser step, from 0 to `steps` - 1 (PAPER.md, "Pre-training").

    It rises in a straight line from `start` at step 0 to `peak` at step `warmup`, then falls along half a cosine
    to `end`, which it would reach at step `steps`.
    """

    peak: float
    start: float
    end: float
    warmup: int
    steps: int

    def at(self, step: int) -> float:
        """The rate of the optimiser step that is taken after `step` others."""
        if step < self.warmup:
            return self.start + (self.peak - self.start) * step / self.warmup
        share = (step - self.warmup) / max(1, self.steps - self.warmup)
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
    return LearningRate(peak, start, end, warmup=round(steps * rates.warmup_epochs / recipe.epochs), steps=steps)
