"""Segmenters of both learners at a size where float64 is instant, and cards and pictures for them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data_cards.cards import Card
from evaluation.models.segmenters import Segmenter
from training.models.groupvit import GroupViT, GroupViTConfig
from training.models.patch_alignment import PatchAlignment, PatchAlignmentConfig
from training.models.text_encoder import TextConfig

KINDS = ("groupvit", "patch-alignment")
SIZES: dict[str, Any] = {
    **{"image_size": 16, "patch_size": 4, "width": 16, "heads": 2, "projection_width": 12},
    "text": TextConfig(vocabulary=30, context_length=6, width=8, layers=1, heads=2),
}


def tiny_segmenter(kind: str, *, seed: int = 0, scale: float = 8.0, dtype: torch.dtype = torch.float64) -> Segmenter:
    """Random weights, large enough for several groups and classes to win somewhere in a picture of noise."""
    torch.manual_seed(seed)
    learner: nn.Module
    if kind == "groupvit":
        groups: dict[str, Any] = {"depths": (1, 1, 1), "group_tokens": (8, 5), "output_groups": (8, 5)}
        learner = GroupViT(GroupViTConfig(**SIZES, **groups, projection_hidden=32, assignment_scale=8.0))
    else:
        learner = PatchAlignment(PatchAlignmentConfig(**SIZES, layers=2))
    for name, parameter in learner.named_parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=1.0 if "token" in name or "position" in name else 0.4)
    if isinstance(learner, GroupViT):
        set_statistics(learner)
    learner = learner.to(dtype).eval()
    return Segmenter(
        name="tiny",
        kind=kind,
        model=learner,  # type: ignore[arg-type]
        module=learner,
        encode_texts=lambda texts: tiny_texts(len(texts)),
        mean=(0.4, 0.5, 0.6),
        std=(0.2, 0.25, 0.3),
        multiple=4,
        scale=scale,
        device=torch.device("cpu"),
    )


def set_statistics(learner: GroupViT) -> None:
    """Batch norm as after some training: without it groups would all point about the same way."""
    learner.eval()
    with torch.no_grad():
        segments, _ = learner.image_encoder(2 * torch.randn(64, 3, 16, 16))
        learner.image_head.batch_norm.momentum = 1.0
        learner.image_head.train()(segments)


def tiny_texts(count: int, seed: int = 0) -> Tensor:
    """Unit vectors of texts [count, 12]."""
    return F.normalize(
        torch.randn(count, 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=1
    )


def tiny_card(classes: int = 9, background: int | None = 0, threshold: float = 0.2, **changes: Any) -> Card:
    """A card of so many classes; background: the index of its class, or None."""
    names = [f"class {index}" for index in range(classes)]
    rule = None if background is None else {"name": names[background], "threshold": threshold}
    content = {
        **{"name": "tiny", "pretty_name": "Tiny", "license": "cc0-1.0", "layout": "folders", "split": "val"},
        **{"classes": [{"name": name} for name in names], "background": rule},
        **{"resize": {"short_side": 24, "long_side": 64}, "window": {"size": 16, "stride": 8}},
    }
    return Card.model_validate(content | changes, strict=False)


def tiny_picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A picture of coloured rectangles and some noise, uint8 [height, width, 3]."""
    random = np.random.default_rng(seed)
    picture = np.full((height, width, 3), random.integers(0, 256, 3), np.uint8)
    for _ in range(6):
        top, left = random.integers(0, height), random.integers(0, width)
        part = picture[top : top + random.integers(4, 24), left : left + random.integers(4, 24)]
        part[:] = random.integers(0, 256, 3)
    return np.clip(picture + random.normal(0, 12, picture.shape), 0, 255).astype(np.uint8)
