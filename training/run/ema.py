"""A running mean of the weights, which often is a better model than the last of them (Polyak and Juditsky, 1992)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from files.errors import CocuError
from training.models.learner import Learner

# At step t the decay is at most (1 + t) / (WARM_UP + t): else a short run would still be half of what it began with.
WARM_UP = 10


class Ema:
    """mean <- d mean + (1 - d) weights after each step that was taken; d = min(decay, (1 + t) / (10 + t)) at step t.

    Of all parameters that learn, in their own precision. Buffers, such as batch norm's, are those of the weights.
    """

    def __init__(self, learner: Learner, decay: float) -> None:
        self.learner, self.decay = learner, decay
        self._weights = {name: p for name, p in learner.named_parameters() if p.requires_grad}
        self._means = {name: p.detach().clone() for name, p in self._weights.items()}

    @torch.no_grad()
    def update(self, step: int, taken: Tensor) -> None:
        """After step number `step`, counted from 0. taken: bool, on the device; where false nothing changes."""
        share = taken.float() * (1 - min(self.decay, (1 + step) / (WARM_UP + step)))
        means, weights = list(self._means.values()), [p.detach() for p in self._weights.values()]
        differences = torch._foreach_sub(weights, means)
        torch._foreach_mul_(differences, share)
        torch._foreach_add_(means, differences)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside the block the learner has the means for its weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def weights(self) -> dict[str, Tensor]:
        """The weights themselves, as `go_on` takes them: what a checkpoint needs besides the learner with the means."""
        return {name: p.detach().cpu().clone() for name, p in self._weights.items()}

    @torch.no_grad()
    def go_on(self, weights: Mapping[str, Tensor]) -> None:
        """Take the learner's weights for the means, and put `weights` in their place.

        Raises CocuError where these are not of this learner.
        """
        if weights.keys() != self._weights.keys():
            raise CocuError("the weights beside the running means are not those of this learner")
        for name, p in self._weights.items():
            self._means[name].copy_(p)
            p.copy_(weights[name])

    @torch.no_grad()
    def _swap(self) -> None:
        for name, p in self._weights.items():
            kept = p.detach().clone()
            p.copy_(self._means[name])
            self._means[name].copy_(kept)
