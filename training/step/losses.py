"""The losses of GroupViT and CoCu over the global batch (PAPER, "Pre-training").

Both losses are one: symmetric InfoNCE over a matrix of similarities and a matrix that says which
image and text belong together. For captions that is the diagonal, for concepts each image's own K
texts; where texts of several images are known to be the same, all of these images own them all.

With several ranks each one holds the rows of its own images, with all texts, and no other; of the
rest it asks what a sum over images needs, a number for each text. The mean over ranks that DDP
takes of the gradients is the true gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from files.registry import Registry
from training.models.learner import MAX_SCALE, ConceptLists, Learner
from training.step.ranks import gather, gather_for_rows, rank, stacked

# What every rank has of a tensor, [ranks, ...]; with gradients, where all go on to use it in the same way.
Stacked = Callable[[Tensor], Tensor]
# Similarity [b, T], scale 0-dimensional, owners bool [b, T], Stacked -> loss, 0-dimensional; see `contrastive_loss`.
PairLoss = Callable[[Tensor, Tensor, Tensor, Stacked], Tensor]

LOSSES: Registry[PairLoss] = Registry("loss.kind", "cocu.losses")


@dataclass(frozen=True)
class LossParts:
    """The loss of a global batch, equal on all ranks; 0-dimensional tensors, so that nothing waits for the device.

    total has gradients, the others none. caption_recall: share of the images whose most similar
    caption is theirs. concept_precision: share of the images whose most similar concept text is
    theirs. concepts and concept_precision are None without concepts, all four where the learner has
    a loss of its own; figures: what that says besides.
    """

    total: Tensor
    caption: Tensor | None = None
    caption_recall: Tensor | None = None
    concepts: Tensor | None = None
    concept_precision: Tensor | None = None
    figures: Mapping[str, Tensor] = field(default_factory=dict)

    def named(self) -> dict[str, Tensor]:
        """All that there are, as logs call them."""
        known = {
            "loss": self.total,
            "caption_loss": self.caption,
            "caption_recall": self.caption_recall,
            "concept_loss": self.concepts,
            "concept_precision": self.concept_precision,
        }
        return {name: value for name, value in known.items() if value is not None} | dict(self.figures)


def total_loss(
    learner: Learner,
    image_features: Tensor,
    caption_features: Tensor,
    concept_features: Tensor | None = None,
    concept_ids: Tensor | None = None,
    caption_ids: Tensor | None = None,
    *,
    mask_duplicates: bool = True,
    concept_weight: float = 1.0,
    kind: str = "contrastive",
) -> LossParts:
    """The loss of captions plus concept_weight times that of concepts, from features before the heads.

    image_features [b, ...], caption_features [b, width] and concept_features [b, K, width] are this
    rank's part of the batch, of the same b on all ranks. mask_duplicates: texts of equal id belong
    to every image that has one of them. concept_ids [b, K] and caption_ids [b] int64 are the
    identities of texts over all ranks; without ids, no two texts are taken to be the same. kind: which
    of `LOSSES`.

    Captions and concepts go through the head together, so batch norm sees them as one batch.
    """
    loss_of = LOSSES[kind]
    texts = caption_features[:, None]
    if concept_features is not None:
        texts = torch.cat([texts, concept_features], dim=1)
    per_image = texts.shape[1]
    images = learner.project_image(image_features)
    texts = learner.project_text(texts.flatten(0, 1))
    with torch.autocast(images.device.type, enabled=False):
        texts = gather_for_rows(_at_least_float32(texts))
        similarity = learner.similarity(_at_least_float32(images), texts).unflatten(1, (-1, per_image))
        device, count = similarity.device, similarity.shape[1]
        own = slice(rank() * len(similarity), (rank() + 1) * len(similarity))

        owners = caption_owners(count, _gathered(caption_ids, mask_duplicates), device, own)
        of_captions = similarity[:, :, 0]
        caption = loss_of(of_captions, capped_scale(learner.logit_scale), owners, stacked)
        recall = stacked(precision_at_1(of_captions, owners)).mean()
        if concept_features is None:
            return LossParts(caption, caption.detach(), recall)

        ids = _gathered(concept_ids, mask_duplicates)
        owners = concept_owners(count, per_image - 1, ids, device, own)
        of_concepts = similarity[:, :, 1:].flatten(1)
        concepts = loss_of(of_concepts, capped_scale(learner.concept_logit_scale), owners, stacked)
        return LossParts(
            total=caption + concept_weight * concepts,
            caption=caption.detach(),
            caption_recall=recall,
            concepts=concepts.detach(),
            concept_precision=stacked(precision_at_1(of_concepts, owners)).mean(),
        )


def list_loss(
    learner: Learner,
    features: tuple[Tensor, Tensor | None, Tensor | None],
    concept_ids: Tensor,
    concept_weights: Tensor,
    *,
    together: bool = True,
) -> LossParts:
    """The own loss of a learner that takes lists, over the global batch.

    features before the heads, of images [b, ...], of captions (not looked at) and of concepts [b, K, width],
    concept_ids int64 [b, K] and concept_weights [b, K], 0 where a list is shorter, are this rank's part. A figure
    besides the learner's own: listed, the share of the pictures that have a list; the others teach nothing. together:
    with the other ranks' parts, else of this one alone. Raises ValueError where there are no concepts.
    """
    image_features, _, concept_features = features
    if concept_features is None:
        raise ValueError("a learner that takes lists without concepts")
    rows = len(concept_ids)
    texts = learner.project_text(concept_features.flatten(0, 1))
    with torch.autocast(texts.device.type, enabled=False):
        texts, ids, of_all, own = _at_least_float32(texts), concept_ids, concept_weights, slice(rows)
        if together:
            texts, ids, of_all = gather_for_rows(texts), gather(ids), gather(of_all)
            own = slice(rank() * rows, (rank() + 1) * rows)
        # The different concepts of the batch, each by the first of its texts.
        listed = of_all.flatten() > 0
        different, which = ids.flatten()[listed].unique(return_inverse=True)
        first = torch.full_like(different, len(which)).scatter_reduce(
            0, which, torch.arange(len(which), device=ids.device), "amin"
        )
        column = torch.zeros_like(ids).masked_scatter(listed.view_as(ids), which)[own]
        weights = concept_weights.new_zeros(rows, max(1, len(different))).scatter_reduce(
            1, column, concept_weights, "amax"
        )
        lists = ConceptLists(texts[listed][first] if len(different) else texts[:1], weights)
        found = learner.own_loss(_at_least_float32(image_features), lists)
        several = stacked if together else alone
        weight = several(found.weight).sum().clamp(min=torch.finfo(found.weight.dtype).tiny)
        figures = {name: several(value).sum() / weight for name, value in found.figures.items()}
        figures["listed"] = several((concept_weights > 0).any(dim=1).to(weight.dtype).mean()).mean()
        return LossParts(several(found.total).sum() / weight, figures=figures)


def alone(x: Tensor) -> Tensor:
    """`Stacked` of one rank: [...] -> [1, ...]."""
    return x[None]


def contrastive_loss(similarity: Tensor, scale: Tensor, owners: Tensor, stacked: Stacked = alone) -> Tensor:
    """Symmetric InfoNCE of B images and T texts: the mean of both directions.

    similarity [b, T]: the rows of this rank's images, all B of them where there is one rank; scale 0-dimensional,
    1 / temperature; owners bool [b, T], true where a text belongs to an image, at least once in every row, and over
    all ranks in every column. Target of an image is an even share for each of its texts, target of a text an even
    share for each of its images.
    """
    logits = similarity * scale
    owned = logits * owners
    of_images = stacked(logits.logsumexp(1) - owned.sum(1) / owners.sum(1))
    of_texts = stacked(logits.logsumexp(0)).logsumexp(0) - stacked(owned.sum(0)).sum(0) / stacked(owners.sum(0)).sum(0)
    return (of_images.mean() + of_texts.mean()) / 2


LOSSES.add("contrastive", contrastive_loss)


ALL = slice(None)


def caption_owners(images: int, ids: Tensor | None, device: torch.device, own: slice = ALL) -> Tensor:
    """bool [B, B]: each image owns its caption, and with ids int64 [B] all that are equal to it. own: these rows."""
    if ids is None:
        ids = torch.arange(images, device=device)
    return ids[own, None] == ids


def concept_owners(images: int, per_image: int, ids: Tensor | None, device: torch.device, own: slice = ALL) -> Tensor:
    """bool [B, B * K]: each image owns its K texts, and with ids int64 [B, K] all that are equal to one of them.

    own: these rows alone.
    """
    if ids is None:
        return caption_owners(images, None, device, own).repeat_interleave(per_image, dim=1)
    texts, (first, *others) = ids.flatten(), ids[own].unbind(1)
    owners = first[:, None] == texts
    for other in others:
        owners |= other[:, None] == texts
    return owners


def precision_at_1(similarity: Tensor, owners: Tensor) -> Tensor:
    """Share of the images [B, T] whose most similar text is one of theirs; 0-dimensional, without gradient."""
    return owners.gather(1, similarity.detach().argmax(1, keepdim=True)).float().mean()


def capped_scale(log_scale: Tensor) -> Tensor:
    """exp(log_scale), at most `MAX_SCALE`.

    At the cap the gradient still passes if its step makes the scale smaller. A plain clamp has none
    there: a scale that has reached the cap would stay for the rest of the run.
    """
    return _Cap.apply(log_scale, math.log(MAX_SCALE)).exp()


class _Cap(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, highest: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.highest = highest
        return x.clamp(max=highest)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return gradient * ((x < ctx.highest) | (gradient > 0)), None


def _gathered(ids: Tensor | None, wanted: bool) -> Tensor | None:
    return gather(ids) if wanted and ids is not None else None


def _at_least_float32(x: Tensor) -> Tensor:
    """x in single precision if it comes in half: logits reach 100, where bfloat16 steps by a half."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
