"""The losses on the validation shards, a figure to compare checkpoints by."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

import torch

from training.batches.augment import finish
from training.batches.batch import Batch
from training.models.learner import Learner
from training.recipes.recipe import Loss
from training.step.losses import (
    LOSSES,
    alone,
    capped_scale,
    caption_owners,
    concept_owners,
    precision_at_1,
)


@torch.no_grad()
def validation_figures(
    learner: Learner,
    batches: Iterable[Batch],
    device: torch.device,
    losses: Loss,
    pairs: int | None = None,
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> dict[str, float]:
    """Means over batches: loss, caption_loss, caption_recall, and with concepts concept_loss, concept_precision.

    The loss is that of training, without noise, among the pairs of a batch, so batches have to be of one size: a
    shorter one at the end is left out, unless it is the only one. Equal texts always count as one. pairs: to look at,
    at most. The learner must be in eval mode. Empty where there are no batches.
    """
    sums: dict[str, torch.Tensor] = {}
    count, size, seen = 0, 0, 0
    for batch in batches:
        size = max(size, len(batch.keys))
        if len(batch.keys) < size or (pairs is not None and count and seen + size > pairs):
            break
        count, seen = count + 1, seen + size
        for name, value in _figures(learner, batch, device, losses, autocast).items():
            sums[name] = sums.get(name, torch.zeros((), device=device)) + value
    return {name: float(total) / count for name, total in sums.items()}


def _figures(
    learner: Learner,
    batch: Batch,
    device: torch.device,
    losses: Loss,
    autocast: Callable[[], AbstractContextManager[object]],
) -> dict[str, torch.Tensor]:
    with autocast():
        pixels = finish(batch.pixels.to(device), mean=learner.mean, std=learner.std)
        images = learner.project_image(learner.encode_image(pixels))
        captions = learner.project_text(learner.encode_text(learner.trimmed(batch.captions).to(device)))
    loss_of = LOSSES[losses.kind]
    own = caption_owners(len(images), batch.caption_ids.to(device), device)
    similarity = learner.similarity(images.float(), captions.float())
    loss = loss_of(similarity, capped_scale(learner.logit_scale), own, alone)
    figures = {"loss": loss, "caption_loss": loss, "caption_recall": precision_at_1(similarity, own)}
    per_image = batch.concepts.shape[1]
    if not per_image:
        return figures
    with autocast():
        texts = learner.project_text(learner.encode_text(learner.trimmed(batch.concepts.flatten(0, 1)).to(device)))
    own = concept_owners(len(images), per_image, batch.concept_ids.to(device), device)
    similarity = learner.similarity(images.float(), texts.float())
    concept_loss = loss_of(similarity, capped_scale(learner.concept_logit_scale), own, alone)
    return {
        **figures,
        "loss": loss + losses.concept_weight * concept_loss,
        "concept_loss": concept_loss,
        "concept_precision": precision_at_1(similarity, own),
    }
