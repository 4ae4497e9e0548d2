"""The losses on the validation shards, a figure to compare checkpoints by.

Of several processes each looks at every so-many-th batch; all come by the figures that one process would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.distributed as dist

from training.batches.augment import finish
from training.batches.batch import Batch
from training.models.learner import Learner
from training.processes import Asked, Place, Signals, by_all, by_leader
from training.recipes.recipe import Loss
from training.step.losses import (
    LOSSES,
    alone,
    capped_scale,
    caption_owners,
    concept_owners,
    list_loss,
    precision_at_1,
)

Sums = dict[str, float]  # "batches", and the sum over them of each figure


def measured(
    learner: Learner,
    sums: Callable[[], Sums],
    others: Callable[[], dict[str, float]],
    place: Place,
    signals: Signals,
    averaged: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> dict[str, float]:
    """The means of what all processes sum up, and what `others` gives on the leading one; {} if a signal ended it.

    Equal on all processes; the learner is in eval mode and `averaged` meanwhile, and draws none of the run's numbers.
    """

    def undisturbed(work: Callable[[], dict[str, float]]) -> dict[str, float] | None:
        devices = [place.device] if place.device.type == "cuda" else []
        try:
            with signals.interruptible(), torch.random.fork_rng(devices), averaged():
                return work()
        except Asked:
            return None

    learner.eval()
    try:
        if place.world > 1:  # batch norm on CPUs has seen another share on each
            for buffer in learner.buffers():
                dist.broadcast(buffer, 0)
        each = by_all(lambda: undisturbed(sums), place)
        whole = [one for one in each if one is not None]
        if len(whole) < len(each):
            return {}
        more = by_leader(lambda: undisturbed(others), place)
        return {} if more is None else means(whole) | more
    finally:
        learner.train()


@torch.no_grad()
def validation_sums(
    learner: Learner,
    batches: Iterable[Batch],
    place: Place,
    losses: Loss,
    pairs: int | None = None,
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Sums:
    """Sums over a process's batches: loss, caption_loss, caption_recall, with concepts concept_loss, concept_precision.

    The loss is that of training, without noise, among the pairs of a batch, so batches have to be of one size: a
    shorter one at the end is left out, unless it is the only one. Equal texts always count as one. batches: of all
    processes. pairs: to look at, at most. A learner that takes lists has its own loss, and what that says besides. The
    learner must be in eval mode.
    """
    sums: dict[str, torch.Tensor] = {}
    count, size, seen, mine = 0, 0, 0, 0
    for batch in batches:
        size = max(size, len(batch.keys))
        if len(batch.keys) < size or (pairs is not None and count and seen + size > pairs):
            break
        count, seen = count + 1, seen + size
        if (count - 1) % place.world != place.rank:
            continue
        mine += 1
        for name, value in _figures(learner, batch, place.device, losses, autocast).items():
            sums[name] = sums.get(name, torch.zeros((), device=place.device)) + value
    return {"batches": mine} | {name: float(total) for name, total in sums.items()}


def means(each: Sequence[Sums]) -> dict[str, float]:
    """Means over the batches of all processes; empty where there are none."""
    count = sum(sums["batches"] for sums in each)
    names = [name for name in max(each, key=len) if name != "batches"]
    return {name: sum(sums.get(name, 0.0) for sums in each) / count for name in names}


def _figures(
    learner: Learner,
    batch: Batch,
    device: torch.device,
    losses: Loss,
    autocast: Callable[[], AbstractContextManager[object]],
) -> dict[str, torch.Tensor]:
    with autocast():
        pixels = finish(batch.pixels.to(device), mean=learner.mean, std=learner.std)
        features = learner.encode_image(pixels)
        if learner.takes_lists:
            tokens = learner.trimmed(batch.concepts.flatten(0, 1)).to(device)
            texts = learner.encode_text(tokens).unflatten(0, batch.concepts.shape[:2])
            ids, weights = batch.concept_ids.to(device), batch.concept_weights.to(device)
            return list_loss(learner, (features, None, texts), ids, weights, together=False).named()
        images = learner.project_image(features)
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
