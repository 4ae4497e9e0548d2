"""Small random models of the kinds that open_clip knows, in its local-dir form, and a small tokenizer from no hub."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WORDS = (
    "a",
    "the",
    "dog",
    "cat",
    "two",
    "people",
    "walk",
    "over",
    "bridge",
    "rain",
    "photo",
    "of",
    "in",
    "red",
    "boat",
)
PLAIN_TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}
VIT = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16}
HALF = {"mean": [0.5] * 3, "std": [0.5] * 3}

# As in open_clip's own list, but for sizes; "tokenizer" stands where a folder with one is needed.
KINDS: dict[str, dict[str, Any]] = {
    "coca_ViT-B-32": {
        "embed_dim": 32,
        "vision_cfg": {**VIT, "attentional_pool": True, "attn_pooler_heads": 8, "output_tokens": True},
        "text_cfg": {**PLAIN_TEXT, "context_length": 76, "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {**PLAIN_TEXT, "context_length": 76, "attn_pooler_heads": 8},
        "custom_text": True,
    },
    "coca_roberta-ViT-B-32": {
        "embed_dim": 32,
        "vision_cfg": {**VIT, "output_tokens": True},
        "text_cfg": {
            **{"context_length": 16, "hf_model_name": "tokenizer", "hf_tokenizer_name": "tokenizer"},
            **{"hf_proj_type": "linear", "width": 64, "output_tokens": True},
        },
        "multimodal_cfg": {**PLAIN_TEXT, "context_length": 16},
        "custom_text": True,
    },
    "MobileCLIP2-S0": {
        "embed_dim": 32,
        "vision_cfg": {"timm_model_name": "fastvit_mci0", "timm_pool": "avg", "timm_proj": None, "image_size": 256},
        "text_cfg": {**PLAIN_TEXT, "no_causal_mask": True},
        "custom_text": True,
        "preprocess_cfg": {"mean": [0.0] * 3, "std": [1.0] * 3, "interpolation": "bilinear"},
    },
    "PE-Core-T-16-384": {
        "embed_dim": 32,
        "vision_cfg": {
            **{"image_size": 384, "timm_model_name": "vit_pe_core_tiny_patch16_384"},
            **{"timm_pool": "map", "timm_proj": None},
        },
        "text_cfg": {**PLAIN_TEXT, "context_length": 32},
        "custom_text": True,
        "preprocess_cfg": {**HALF, "interpolation": "bilinear", "resize_mode": "squash"},
    },
    "SigLIP": {
        "embed_dim": 96,
        "init_logit_bias": -10,
        "vision_cfg": {"image_size": 160, "timm_model_name": "test_vit3", "timm_pool": "map", "timm_proj": "none"},
        "text_cfg": {
            **{**PLAIN_TEXT, "context_length": 16, "vocab_size": 64, "hf_tokenizer_name": "tokenizer"},
            **{"tokenizer_kwargs": {"clean": "canonicalize"}, "no_causal_mask": True, "proj_bias": True},
            **{"pool_type": "last", "norm_kwargs": {"eps": 1e-6}, "act_kwargs": {"approximate": "tanh"}},
        },
        "custom_text": True,
        "preprocess_cfg": {**HALF, "interpolation": "bicubic", "resize_mode": "squash"},
    },
    "EVA02-B-16": {
        "embed_dim": 32,
        "vision_cfg": {
            **{"image_size": 224, "timm_model_name": "eva02_tiny_patch14_224"},
            **{"timm_pool": "token", "timm_proj": None},
        },
        "text_cfg": PLAIN_TEXT,
        "custom_text": True,
    },
    "ViT-L-14-CLIPA": {
        "embed_dim": 32,
        "vision_cfg": {**VIT, "no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True},
        "text_cfg": {
            **{**PLAIN_TEXT, "context_length": 16, "vocab_size": 64, "hf_tokenizer_name": "tokenizer"},
            **{"tokenizer_kwargs": {"strip_sep_token": True}, "pool_type": "last", "no_causal_mask": True},
        },
    },
    "xlm-roberta-base-ViT-B-32": {
        "embed_dim": 32,
        "vision_cfg": VIT,
        "text_cfg": {
            **{"context_length": 16, "hf_model_name": "tokenizer", "hf_tokenizer_name": "tokenizer"},
            **{"hf_pooler_type": "mean_pooler", "hf_proj_type": "linear"},
        },
    },
    "convnext": {
        "embed_dim": 32,
        "vision_cfg": {
            **{"timm_model_name": "test_convnext", "timm_pool": "", "timm_proj": "linear"},
            **{"timm_drop_path": 0.1, "image_size": 160},
        },
        "text_cfg": PLAIN_TEXT,
    },
}


def make_tokenizer(folder: Path) -> Path:
    """A tokenizer of whole words with a text tower's config beside it, as a folder from the hub has both."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, XLMRobertaConfig

    special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    names = [*special.values(), *WORDS]
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(names)}, unk_token="<unk>"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    fast = PreTrainedTokenizerFast(tokenizer_object=words, sep_token="</s>", cls_token="<s>", **special)
    fast.save_pretrained(folder)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    ids = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
    XLMRobertaConfig(vocab_size=64, max_position_embeddings=40, **sizes, **ids).save_pretrained(folder)
    return folder


@contextmanager
def quiet_root() -> Iterator[None]:
    """Without what open_clip warns of: that weights are random, as they are meant to be."""
    before = logging.getLogger().level
    logging.getLogger().setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logging.getLogger().setLevel(before)


def make_kind(name: str, folder: Path, tokenizer: Path, bring: bool = True) -> str:
    """Write a random model of this kind; returns the name that `--model` takes. bring: its tokenizer lies in it."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    config = json.loads(json.dumps(KINDS[name]).replace('"tokenizer"', json.dumps(str(tokenizer))))
    preprocess = config.pop("preprocess_cfg", {})
    shutil.copytree(tokenizer, folder) if bring else folder.mkdir(parents=True)
    written = json.dumps({"model_cfg": config, "preprocess_cfg": preprocess})
    (folder / "open_clip_config.json").write_text(written)
    torch.manual_seed(0)
    with quiet_root():
        model = open_clip.create_model(f"local-dir:{folder}", load_weights=False, pretrained_text=False)
    for parameter in model.parameters():
        if parameter.ndim > 0:
            parameter.data.add_(0.02 * torch.randn_like(parameter))
    weights = {key: value.clone().contiguous() for key, value in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    return f"local-dir:{folder}"
