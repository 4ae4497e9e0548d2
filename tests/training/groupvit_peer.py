"""GroupViT of transformers, which others wrote: sizes, random weights and inputs to compare with."""

from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from torch.nn import functional as F

from training.models.groupvit import GroupViT


def huggingface_config(**sizes: Any) -> Any:
    """A small configuration; sizes: those of the vision part that differ."""
    vision = {
        **{"image_size": 32, "patch_size": 8, "hidden_size": 32, "intermediate_size": 128, "num_attention_heads": 2},
        **{"depths": [2, 1, 1], "num_hidden_layers": 4, "num_group_tokens": [6, 4, 0], "num_output_groups": [6, 3, 3]},
    }
    text = {
        **{"vocab_size": 60, "max_position_embeddings": 10, "hidden_size": 64, "intermediate_size": 256},
        **{"num_hidden_layers": 2, "num_attention_heads": 1, "bos_token_id": 58, "eos_token_id": 59},
    }
    return transformers.GroupViTConfig(
        vision_config=vision | sizes, text_config=text, projection_dim=24, projection_intermediate_dim=48
    )


SIZES = {
    "three stages": huggingface_config(),
    "two stages": huggingface_config(
        image_size=48,
        patch_size=16,
        depths=[1, 2],
        num_hidden_layers=3,
        num_group_tokens=[5, 0],
        num_output_groups=[3, 3],
    ),
    "the paper's": transformers.GroupViTConfig(),
}


def random_peer(config: Any, seed: int = 0) -> Any:
    """transformers' model with every parameter and statistic drawn at random, group tokens, norms and biases too."""
    torch.manual_seed(seed)
    peer = transformers.GroupViTModel(config)
    for name, value in [*peer.named_parameters(), *peer.named_buffers()]:
        if not value.is_floating_point() or name == "logit_scale":
            continue
        with torch.no_grad():
            if "running_var" in name:
                value.uniform_(0.5, 2.0)
            elif value.ndim > 1 and "token" not in name and "position" not in name:
                # Larger in the assignment, so that several groups win tokens.
                value.normal_(std=(4 if "assign.q_proj" in name else 1) * value[0].numel() ** -0.5)
            else:
                value.normal_(std=0.5).add_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
    return peer.eval()


def batch(config: Any, pairs: int = 3, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    torch.manual_seed(9)
    side, text = config.vision_config.image_size, config.text_config
    tokens = torch.randint(1, text.vocab_size - 2, (pairs, text.max_position_embeddings))
    for row, length in zip(tokens, torch.randint(3, text.max_position_embeddings, (pairs,)), strict=True):
        row[length] = text.eos_token_id
        row[length + 1 :] = 0
    return {"pixel_values": torch.randn(pairs, 3, side, side, dtype=dtype), "input_ids": tokens}


def own_loss(model: GroupViT, inputs: dict[str, Tensor]) -> Tensor:
    """The symmetric contrastive loss over the learner's interface."""
    images = model.project_image(model.encode_image(inputs["pixel_values"]))
    texts = model.project_text(model.encode_text(inputs["input_ids"]))
    logits = model.logit_scale.exp() * model.similarity(images, texts)
    pairs = torch.arange(len(logits))
    return (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)) / 2


def saved(peer: Any, folder: Path) -> Path:
    peer.save_pretrained(folder)
    return folder
