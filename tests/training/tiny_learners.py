"""Both learners at a size where float64 is instant, and batches for them."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from training.models.groupvit import GroupViT, GroupViTConfig
from training.models.patch_alignment import PatchAlignment, PatchAlignmentConfig
from training.models.self_training import SelfTraining, SelfTrainingConfig
from training.models.text_encoder import TextConfig

TEXT = TextConfig(vocabulary=30, context_length=6, width=8, layers=1, heads=2)
SIZES: dict[str, Any] = {"image_size": 8, "width": 8, "heads": 2, "projection_width": 6, "text": TEXT}
Kind = Literal["patch-alignment", "groupvit"]


def tiny_learner(kind: Kind, *, drop_path: float = 0.0, seed: int = 0) -> PatchAlignment | GroupViT:
    """A learner of 8 x 8 pixels, with weights large enough for its outputs to differ, in float64."""
    torch.manual_seed(seed)
    learner: PatchAlignment | GroupViT
    if kind == "groupvit":
        groups: dict[str, Any] = {
            "depths": (1, 1, 1),
            "group_tokens": (4, 2),
            "output_groups": (4, 2),
            "projection_hidden": 16,
        }
        learner = GroupViT(GroupViTConfig(**SIZES, **groups, patch_size=2, drop_path=drop_path))
    else:
        learner = PatchAlignment(PatchAlignmentConfig(**SIZES, patch_size=4, layers=2, drop_path=drop_path))
    for parameter in learner.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.3)
    with torch.no_grad():
        learner.concept_logit_scale.fill_(1.5)
    return learner.double()


def tiny_self_training(seed: int = 0) -> SelfTraining:
    """Self-training on a CLIP of random weights, of 8 x 8 pixels, its head not at the start any more, in float64."""
    sizes: dict[str, Any] = {
        "embed_dim": 6,
        "vision_cfg": {"image_size": 8, "patch_size": 4, "width": 8, "layers": 2, "head_width": 4},
        "text_cfg": {"context_length": 6, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
    }
    preprocessing = {"mean": [0.5] * 3, "std": [0.5] * 3, "size": [8, 8]}
    torch.manual_seed(seed)
    towers = {"model_cfg": sizes, "preprocess_cfg": preprocessing}
    learner = SelfTraining(SelfTrainingConfig(towers=towers, hidden=5)).double()
    nn.init.normal_(learner.head.mlp.down.weight, std=0.3)
    return learner.eval()


def tiny_batch(size: int, per_image: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels [size, 3, 8, 8] float64, token ids of captions [size, 6] and of concepts [size, per_image, 6]."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(size, 3, 8, 8, generator=generator, dtype=torch.float64)
    captions = torch.randint(1, 29, (size, 6), generator=generator)
    concepts = torch.randint(1, 29, (size, per_image, 6), generator=generator)
    captions[:, 4] = concepts[:, :, 3] = 29
    return pixels, captions, concepts


def gradients(learner: nn.Module) -> dict[str, Tensor]:
    """A copy of every parameter's gradient."""
    return {name: p.grad.clone() for name, p in learner.named_parameters() if p.grad is not None}
