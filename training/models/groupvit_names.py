"""What GroupViT's parameters are called here, in Hugging Face's GroupViTModel, and in the original release.

* stands for the number of a stage or layer. {q,k,v}: three tensors there, one below the other here.
A row without a last part (weight, bias, running_mean, ...) holds for each of them. None: no such parameter.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Literal

Layout = Literal["huggingface", "original"]
Row = tuple[str, str | None, str | None]


def _below(ours: str, huggingface: str, original: str, rows: list[Row]) -> list[Row]:
    """The rows with these prefixes."""
    return [(f"{ours}.{a}", b and f"{huggingface}.{b}", c and f"{original}.{c}") for a, b, c in rows]


_GROUPING: list[Row] = [
    ("token_norm", "norm_x", "norm_x"),
    ("group_norm", "norm_tokens", "norm_tokens"),
    ("group_mixer.up", "mlp_inter.fc1", "mlp_inter.fc1"),
    ("group_mixer.down", "mlp_inter.fc2", "mlp_inter.fc2"),
    ("mixed_norm", "norm_post_tokens", "norm_post_tokens"),
    ("cross_attention.query", "pre_assign_attn.attn.q_proj", "pre_assign_attn.attn.q_proj"),
    ("cross_attention.key_value", "pre_assign_attn.attn.{k,v}_proj", "pre_assign_attn.attn.{k,v}_proj"),
    ("cross_attention.out", "pre_assign_attn.attn.out_proj", "pre_assign_attn.attn.proj"),
    ("cross_attention.mlp_norm", "pre_assign_attn.norm2", "pre_assign_attn.norm2"),
    ("cross_attention.mlp.up", "pre_assign_attn.mlp.fc1", "pre_assign_attn.mlp.fc1"),
    ("cross_attention.mlp.down", "pre_assign_attn.mlp.fc2", "pre_assign_attn.mlp.fc2"),
    ("cross_attention.norm", "pre_assign_attn.norm_post", "pre_assign_attn.norm_post"),
    ("query", "assign.q_proj", "assign.q_proj"),
    ("key_value", "assign.{k,v}_proj", "assign.{k,v}_proj"),
    ("out", "assign.proj", "assign.proj"),
    ("segment_norm", "norm_new_x", "norm_new_x"),
    ("mlp.up", "mlp_channels.fc1", "mlp_channels.fc1"),
    ("mlp.down", "mlp_channels.fc2", "mlp_channels.fc2"),
]
_IMAGE_LAYER: list[Row] = [
    ("attention_norm", "layer_norm1", "norm1"),
    ("attention.qkv", "self_attn.{q,k,v}_proj", "attn.qkv"),
    ("attention.out", "self_attn.out_proj", "attn.proj"),
    ("mlp_norm", "layer_norm2", "norm2"),
    ("mlp.up", "mlp.fc1", "mlp.fc1"),
    ("mlp.down", "mlp.fc2", "mlp.fc2"),
]
_STAGE: list[Row] = [
    ("group_tokens", "group_token", "group_token"),
    ("group_projector.0", "group_projector.0", "group_projector.0"),
    ("group_projector.1.up", "group_projector.1.fc1", "group_projector.1.fc1"),
    ("group_projector.1.down", "group_projector.1.fc2", "group_projector.1.fc2"),
    *_below("blocks.*", "layers.*", "blocks.*", _IMAGE_LAYER),
    *_below("grouping", "downsample", "downsample", _GROUPING),
]
_TEXT_LAYER: list[Row] = [
    ("attention_norm", "layer_norm1", "ln_1"),
    ("attention.qkv.weight", "self_attn.{q,k,v}_proj.weight", "attn.in_proj_weight"),
    ("attention.qkv.bias", "self_attn.{q,k,v}_proj.bias", "attn.in_proj_bias"),
    ("attention.out", "self_attn.out_proj", "attn.out_proj"),
    ("mlp_norm", "layer_norm2", "ln_2"),
    ("mlp.up", "mlp.fc1", "mlp.c_fc"),
    ("mlp.down", "mlp.fc2", "mlp.c_proj"),
]
_HEAD: list[Row] = [
    ("hidden", "0", "linear_hidden.0"),
    ("batch_norm", "1", "linear_hidden.1"),
    ("out", "3", "linear_out"),
]
ROWS: list[Row] = [
    (
        "image_encoder.patch_embedding",
        "vision_model.embeddings.patch_embeddings.projection",
        "img_encoder.patch_embed.proj",
    ),
    ("image_encoder.patch_norm", "vision_model.embeddings.layernorm", "img_encoder.patch_embed.norm"),
    ("image_encoder.position_embedding", "vision_model.embeddings.position_embeddings", "img_encoder.pos_embed"),
    *_below("image_encoder.stages.*", "vision_model.encoder.stages.*", "img_encoder.layers.*", _STAGE),
    ("image_encoder.norm", "vision_model.layernorm", "img_encoder.norm"),
    ("text_encoder.token_embedding", "text_model.embeddings.token_embedding", "text_encoder.token_embedding"),
    (
        "text_encoder.position_embedding",
        "text_model.embeddings.position_embedding.weight",
        "text_encoder.positional_embedding",
    ),
    *_below(
        "text_encoder.blocks.*", "text_model.encoder.layers.*", "text_encoder.transformer.resblocks.*", _TEXT_LAYER
    ),
    ("text_encoder.norm", "text_model.final_layer_norm", "text_encoder.ln_final"),
    *_below("image_head", "visual_projection", "img_projector", _HEAD),
    *_below("text_head", "text_projection", "text_projector", _HEAD),
    ("logit_scale", "logit_scale", "logit_scale"),
    ("concept_logit_scale", None, "multi_label_logit_scale"),
]


def names_in(layout: Layout, ours: str) -> list[str]:
    """What our parameter is called in a layout: several names where ours joins theirs, none where it has no place.

    Raises KeyError for a parameter that is in no row.
    """
    for pattern, huggingface, original in _compiled():
        if match := pattern.fullmatch(ours):
            *numbers, last = match.groups()
            theirs = huggingface if layout == "huggingface" else original
            if theirs is None:
                return []
            for number in numbers:
                theirs = theirs.replace("*", number, 1)
            return [name + (last or "") for name in _unbraced(theirs)]
    raise KeyError(ours)


@cache
def _compiled() -> list[tuple[re.Pattern[str], str | None, str | None]]:
    """The rows with our name as a regular expression: one group for each *, and one for the last part."""
    return [
        (re.compile(re.escape(ours).replace(r"\*", r"(\d+)") + r"(\.[a-z_]+)?"), huggingface, original)
        for ours, huggingface, original in ROWS
    ]


def _unbraced(name: str) -> list[str]:
    """a{b,c}d -> abd, acd."""
    before, brace, rest = name.partition("{")
    if not brace:
        return [name]
    choices, _, after = rest.partition("}")
    return [before + choice + after for choice in choices.split(",")]
