"""A CLIP of open_clip as a segmenter without further training: MaskCLIP (Zhou et al., ECCV 2022) and its likes.

CLIP's image vector is pooled by an attention that asks for the picture as a whole. What it pools are values that lie
in the space of texts already, so each cell's own value tells what is in the cell. By the kind of image tower:

    ViT       The last block, where a token attends to itself alone: value and output projection in place of
              attention, with the block's residual and MLP, as in MaskCLIP's code (not the variant without them).
    ResNet    Value and output projection of the attention pooling, for every cell, without position embeddings.
    timm      What the tower does after its feature map (pooling, norm, projection), for every cell by itself. For a
              convolutional network with a linear projection, the mean over cells is the image vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from files.errors import CocuError, MisuseError
from files.remote_code import remote_code
from training.models.learner import DenseFeatures, capped_scale_of
from training.models.transformer import attend

# Normalised pixels [B, 3, H, W] -> vectors of cells [B, h * w, D], grid (h, w), vectors of pictures [B, D]; not unit.
Tower = Callable[[Tensor], tuple[Tensor, tuple[int, int], Tensor]]


@dataclass(frozen=True, eq=False)
class DenseClip:
    """A CLIP whose cells are compared with texts; every cell is its own region.

    tower: its dense features. kind: what they are, in words. image_size: pixels of a side in its training. multiple:
    what divides the sides of its pictures.
    """

    module: nn.Module
    tower: Tower
    tokenizer: Callable[[list[str]], Tensor]
    kind: str
    image_size: int
    multiple: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def dense(self, pixels: Tensor) -> DenseFeatures:
        """Normalised pixels [B, 3, H, W] -> a unit vector of every cell."""
        cells, grid, whole = self.tower(pixels)
        return DenseFeatures(_unit(cells), grid, maps=None, whole=_unit(whole))

    def similarity(self, images: Tensor, texts: Tensor) -> Tensor:
        """Unit vectors [B, D], [T, D] -> cosines [B, T]."""
        return images @ texts.mT

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Texts -> unit vectors [T, D]."""
        model: Any = self.module
        return _unit(model.encode_text(self.tokenizer(list(texts)).to(model.logit_scale.device)))

    @property
    def scale(self) -> float:
        """What multiplies a cosine before the softmax over classes: CLIP's own, at most 100."""
        model: Any = self.module
        return capped_scale_of(model.logit_scale)


def load_dense_clip(name: str, device: torch.device, trust_remote_code: bool = False) -> DenseClip:
    """A model of open_clip, in eval mode: NAME@PRETRAINED (a tag or a file), local-dir:FOLDER, hf-hub:NAME.

    trust_remote_code: whether Python code that comes with it may run. Raises MisuseError for a name that leads nowhere,
    code that is not trusted or a tower without dense features, CocuError for weights that cannot be had or read.
    """
    import open_clip

    model_name, pretrained = _named(name)
    try:
        with remote_code(trust_remote_code):
            # From pretrained: else a folder without weights gives a random model.
            given = {"device": device, "return_transform": False}
            model = open_clip.create_model_from_pretrained(model_name, pretrained, **given)
            tokenizer = open_clip.get_tokenizer(model_name)
    except CocuError:
        raise
    except Exception as error:  # open_clip and the hub raise dozens of kinds
        local = name.removeprefix("local-dir:") if name.startswith("local-dir:") else pretrained
        advice = "without a network give a checkpoint file, open_clip:NAME@FILE, or a folder, local-dir:FOLDER"
        if local and Path(local).exists():
            advice = f"{local}: is damaged, incomplete or of another model; fetch or copy it again, or give another"
        said = "no weights that torch can read" if isinstance(error, UnpicklingError) else " ".join(str(error).split())
        raise CocuError(
            f"{name if name.startswith('local-dir:') else f'open_clip:{name}'}: cannot be loaded "
            f"({type(error).__name__}: {said[:300]}); {advice}"
        ) from error
    preprocessing = open_clip.get_model_preprocess_cfg(model)
    # Channels last: convolutions on the CPU take half the time; transformers do not care.
    model = model.to(memory_format=torch.channels_last).eval()
    tower, how, multiple = dense_tower(model.visual, name)
    return DenseClip(
        module=model,
        tower=tower,
        tokenizer=tokenizer,
        kind=f"open_clip, not trained further: {how}",
        image_size=min(size) if isinstance(size := preprocessing["size"], tuple | list) else size,
        multiple=multiple,
        mean=tuple(preprocessing["mean"]),
        std=tuple(preprocessing["std"]),
    )


def dense_tower(visual: Any, name: str) -> tuple[Tower, str, int]:
    """An image tower -> its dense features, what they are in words, what divides the sides of its pictures.

    Raises MisuseError for a tower that has none.
    """
    kind = type(visual).__name__
    if kind == "VisionTransformer" and visual.attn_pool is None and visual.pool_type in ("tok", "avg"):
        return (
            lambda pixels: _vit(visual, pixels),
            "values of the last block without its query-key attention, with its residual and MLP (MaskCLIP)",
            visual.patch_size[0],
        )
    if kind == "ModifiedResNet":
        return lambda pixels: _resnet(visual, pixels), "values of the attention pooling (MaskCLIP)", 32
    if kind == "TimmModel":
        trunk = visual.trunk
        side = visual.image_size[0]
        parameter = next(trunk.parameters())
        with torch.inference_mode():
            features = trunk.forward_features(parameter.new_zeros(1, 3, *visual.image_size))
        if features.ndim == 4 and getattr(trunk, "output_fmt", "NCHW") == "NCHW":
            how = "the feature map before pooling, each cell through head and projection"
            return lambda pixels: _timm_map(visual, pixels), how, max(1, side // features.shape[2])
        if features.ndim == 3 and getattr(trunk, "global_pool", "") == "map":
            how = f"values of the attention pooling for each token, at {side} pixels"
            return lambda pixels: _timm_tokens(visual, pixels), how, 1
    raise MisuseError(
        f"open_clip:{name}: an image tower of this kind ({_described(visual)}) has no dense features here; give a ViT "
        "with pooling by class token or mean, a ResNet, or a tower of timm that is convolutional or has a MAP head"
    )


def _vit(tower: Any, pixels: Tensor) -> tuple[Tensor, tuple[int, int], Tensor]:
    """open_clip's VisionTransformer at any size that its patch divides."""
    patches = tower.conv1(pixels)
    grid = (patches.shape[2], patches.shape[3])
    first = tower.class_embedding.to(patches.dtype).expand(len(patches), 1, -1)
    x = torch.cat([first, patches.flatten(2).mT], dim=1)
    x = tower.ln_pre(x + _stretched(tower.positional_embedding, tower.grid_size, grid).to(x.dtype))
    *blocks, last = tower.transformer.resblocks
    for block in blocks:
        x = block(x)
    # To see itself alone is to keep one's own value: no softmax is left to weigh.
    alone = torch.full((x.shape[1], x.shape[1]), -torch.inf, dtype=x.dtype, device=x.device).fill_diagonal_(0)
    cells = tower.ln_post(last(x, attn_mask=alone)[:, 1:])
    whole, _ = tower._pool(last(x))
    return cells @ tower.proj, grid, whole @ tower.proj


def _resnet(tower: Any, pixels: Tensor) -> tuple[Tensor, tuple[int, int], Tensor]:
    """open_clip's ModifiedResNet at any size."""
    x = tower.stem(pixels.contiguous(memory_format=torch.channels_last))
    x = tower.layer4(tower.layer3(tower.layer2(tower.layer1(x))))
    grid, pool = (x.shape[2], x.shape[3]), tower.attnpool
    cells = x.flatten(2).mT
    tokens = torch.cat([cells.mean(dim=1, keepdim=True), cells], dim=1)
    side = round((len(pool.positional_embedding) - 1) ** 0.5)
    tokens = tokens + _stretched(pool.positional_embedding, (side, side), grid).to(tokens.dtype)
    query, key, value = (
        project(part).unflatten(-1, (pool.num_heads, -1))
        for project, part in ((pool.q_proj, tokens[:, :1]), (pool.k_proj, tokens), (pool.v_proj, tokens))
    )
    whole = pool.c_proj(attend(query, key, value))[:, 0]
    return pool.c_proj(pool.v_proj(cells)), grid, whole


def _timm_map(tower: Any, pixels: Tensor) -> tuple[Tensor, tuple[int, int], Tensor]:
    """A convolutional network of timm at any size."""
    x = tower.trunk.forward_features(pixels.contiguous(memory_format=torch.channels_last))
    grid = (x.shape[2], x.shape[3])
    single = x.flatten(2).mT.flatten(0, 1)[:, :, None, None]
    cells = tower.head(tower.trunk.forward_head(single)).unflatten(0, (len(x), -1))
    return cells, grid, tower.head(tower.trunk.forward_head(x))


def _timm_tokens(tower: Any, pixels: Tensor) -> tuple[Tensor, tuple[int, int], Tensor]:
    """A ViT of timm, at the size that it was trained with."""
    pixels = F.interpolate(pixels, tuple(tower.image_size), mode="bilinear", align_corners=False, antialias=True)
    x = tower.trunk.forward_features(pixels)
    grid = tuple(tower.trunk.patch_embed.grid_size)
    single = x[:, x.shape[1] - grid[0] * grid[1] :].flatten(0, 1)[:, None]
    cells = tower.head(tower.trunk.forward_head(single)).unflatten(0, (len(x), -1))
    return cells, grid, tower.head(tower.trunk.forward_head(x))


def _stretched(embedding: Tensor, trained: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Position embeddings [1 + h * w, width], the first of no place, stretched bicubically to another grid."""
    if tuple(trained) == grid:
        return embedding
    places = embedding[1:].mT.unflatten(1, tuple(trained))[None]
    stretched = F.interpolate(places, grid, mode="bicubic", align_corners=False)[0].flatten(1).mT
    return torch.cat([embedding[:1], stretched])


def _unit(x: Tensor) -> Tensor:
    """Unit vectors, of half precision ones in fp32."""
    return F.normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=-1)


def _described(visual: Any) -> str:
    """A tower's class, and what it is made of."""
    if (trunk := getattr(visual, "trunk", None)) is not None:
        return f"{type(trunk).__name__} of timm, pooling {getattr(trunk, 'global_pool', '?')!r}"
    return f"{type(visual).__name__}, pooling {getattr(visual, 'pool_type', '?')!r}"


def _named(name: str) -> tuple[str, str | None]:
    """(model, pretrained) as open_clip takes them. Raises MisuseError for names that it does not know."""
    import open_clip

    if name.startswith("hf-hub:"):
        return name, None
    if name.startswith("local-dir:"):
        folder = Path(name.removeprefix("local-dir:"))
        if not (folder / "open_clip_config.json").is_file():
            raise MisuseError(f"{name}: no folder with open_clip_config.json in it")
        return name, None
    model, _, pretrained = name.partition("@")
    if model not in open_clip.list_models():
        raise MisuseError(f"open_clip:{name}: open_clip knows no model {model!r}; see open_clip.list_models()")
    known = open_clip.list_pretrained_tags_by_model(model)
    if pretrained not in known and not Path(pretrained).is_file():
        said = f"no weights {pretrained!r}" if pretrained else "no weights are named"
        there = f"give one of {', '.join(known)}, or a file" if known else "give a checkpoint file"
        raise MisuseError(f"open_clip:{name}: {said}; {there}, as open_clip:{model}@WEIGHTS")
    return model, pretrained
