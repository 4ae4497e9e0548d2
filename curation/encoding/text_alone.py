"""The text tower of a plain CLIP in a folder, for a command that asks one question.

Loading open_clip takes longer than all else of such a command: it brings torchvision's operators, with them PyTorch's
compiler, and transformers. What a plain tower needs of them is its tokenizer, a file that stands by itself.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from curation.encoding.model_names import EncoderSpec

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
MODEL = {"embed_dim", "vision_cfg", "text_cfg", "custom_text"}
TEXT = {"context_length", "vocab_size", "width", "heads", "layers"}
PREFIX = "text."


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        normed = self.ln_1(x).to(x.dtype)
        x = x + self.attn(normed, normed, normed, need_weights=False, attn_mask=mask.to(x.dtype))[0]
        return x + self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](self.ln_2(x).to(x.dtype))))


class TextTower(nn.Module):
    """Token ids [N, L] -> vectors [N, D]: causal, read at the end of the text. Weights go by open_clip's names."""

    def __init__(self, length: int, words: int, width: int, heads: int, layers: int, dim: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(words, width)
        self.positional_embedding = nn.Parameter(torch.empty(length, width))
        self.transformer = nn.ModuleDict({"resblocks": nn.ModuleList(_Block(width, heads) for _ in range(layers))})
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, dim))
        self.attn_mask = torch.full((length, length), float("-inf")).triu_(1)  # replaced where texts are cut shorter

    def forward(self, tokens: Tensor) -> Tensor:
        """The vector at each text's last token, whose id is the highest."""
        x = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        blocks: Any = self.transformer["resblocks"]
        for block in blocks:
            x = block(x, self.attn_mask.to(x.device))
        x = self.ln_final(x).to(x.dtype)
        return x[torch.arange(len(x)), tokens.argmax(dim=-1)] @ self.text_projection


class TextAlone(nn.Module):
    """What an encoder asks of a model of open_clip for texts."""

    def __init__(self, text: TextTower) -> None:
        super().__init__()
        self.text = text

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Token ids [N, L] -> vectors [N, D]."""
        return self.text(tokens)


def text_alone(spec: EncoderSpec) -> tuple[TextAlone, Any] | None:
    """(model, tokenizer) of a plain tower in open_clip's form; None for any other, which open_clip opens."""
    folder = spec.folder
    if folder is None or spec.tokenizer is not None:
        return None
    try:
        return _opened(folder)
    except Exception:  # whatever is wrong with the folder is told by what opens it whole
        return None


def _opened(folder: Path) -> tuple[TextAlone, Any] | None:
    from safetensors import safe_open

    model = json.loads((folder / CONFIG).read_text("utf-8"))["model_cfg"]
    form = model["text_cfg"]
    if not (set(model) <= MODEL and set(form) == TEXT and model.get("custom_text") is True):
        return None
    tokenizer = _tokenizer(form["context_length"])
    sizes = (form["context_length"], form["vocab_size"], form["width"], form["heads"], form["layers"])
    tower = TextTower(*sizes, model["embed_dim"])
    with safe_open(folder / WEIGHTS, framework="pt") as weights:
        names = [name for name in weights.keys() if name.startswith(PREFIX)]  # noqa: SIM118
        tower.load_state_dict({name.removeprefix(PREFIX): weights.get_tensor(name) for name in names})
    return TextAlone(tower), tokenizer


def _tokenizer(length: int) -> Any:
    """open_clip's own, of its file, which needs nothing of the rest of the package."""
    package: Any = importlib.util.find_spec("open_clip")
    file = Path(package.submodule_search_locations[0]) / "tokenizer.py"
    spec: Any = importlib.util.spec_from_file_location("curation.encoding.open_clip_tokenizer", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SimpleTokenizer(context_length=length)
