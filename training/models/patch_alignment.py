"""Patch alignment: a dense learner without groups, for when data is scarce.

A vision transformer gives every patch its own unit vector in the space of texts. The similarity of
a picture and a text is that of the patches the text speaks of: PACL (Mukhoti et al., CVPR 2023,
section 3) takes the softmax over patches of patch·text for the weights of a mean of the patches;
SimSeg's locality-driven alignment (CVPR 2023) pools the strongest patches in each dimension
instead. Either way the contrastive loss reaches the patches themselves, and to segment is to ask
each patch which text it is closest to.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from files.errors import MisuseError
from training.models.learner import LEARNERS, DenseFeatures, Learner, LearnerKind
from training.models.text_encoder import TextConfig, TextEncoder
from training.models.transformer import MLP, Block

# exp of a larger number overflows in the sum over patches; the pooling does without subtracting the maximum.
HIGHEST_TEMPERATURE = 60.0
# Patch-text similarities held at once: on the CPU what stays in its cache, elsewhere a quarter of a gigabyte.
BLOCK = {"cpu": 2**17}
BLOCK_ELSEWHERE = 2**26


@dataclass(frozen=True)
class PatchAlignmentConfig:
    """Sizes of patch alignment; those of a ViT-S unless told.

    image_size, patch_size: pixels of a side. stem: how pixels become patches, by one linear map
    (patch) or by 3 x 3 convolutions of stride 2 (conv; Xiao et al., 2021), for which the patch size
    is a power of two. projection_width: dimensions of the space of texts and patches.
    temperature: multiplies patch·text in the softmax over patches. drop_path: stochastic depth,
    rising linearly from 0 in the first layer to this in the last.
    """

    image_size: int = 224
    patch_size: int = 16
    width: int = 384
    layers: int = 12
    heads: int = 6
    stem: Literal["patch", "conv"] = "patch"
    text: TextConfig = field(default_factory=TextConfig)
    projection_width: int = 256
    temperature: float = 10.0
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        for name, size, part in (("image_size", self.image_size, self.patch_size), ("width", self.width, self.heads)):
            if part < 1 or size < 1 or size % part:
                raise MisuseError(f"patch alignment: {name} {size} cannot be divided into parts of {part}")
        if self.width % 4:
            raise MisuseError(
                f"patch alignment: width {self.width} must be a multiple of 4, for the position embedding"
            )
        if self.layers < 0 or self.projection_width < 1:
            raise MisuseError(
                f"patch alignment: layers {self.layers} must not be negative, projection_width {self.projection_width} "
                "must be 1 or more"
            )
        if self.stem not in ("patch", "conv"):
            raise MisuseError(f"patch alignment: stem {self.stem!r} is neither patch nor conv")
        if self.stem == "conv" and (self.patch_size < 2 or self.patch_size & (self.patch_size - 1)):
            raise MisuseError(
                f"patch alignment: patch_size {self.patch_size} is no power of two, which stem conv needs; "
                "choose 8, 16 or 32, or stem patch"
            )
        if not 0 < self.temperature <= HIGHEST_TEMPERATURE:
            raise MisuseError(
                f"patch alignment: temperature {self.temperature} must be above 0 and at most {HIGHEST_TEMPERATURE:g}"
            )
        if not 0 <= self.drop_path < 1:
            raise MisuseError(f"patch alignment: drop_path {self.drop_path} must lie in [0, 1)")


class PatchAlignment(Learner):
    """Vision transformer, text encoder and heads."""

    def __init__(self, config: PatchAlignmentConfig) -> None:
        super().__init__(config.image_size, config.patch_size, config.text)
        self.config = config
        self.image_encoder = PatchEncoder(config)
        self.text_encoder = TextEncoder(config.text)
        self.image_head = ResidualHead(config.width, config.projection_width)
        self.text_head = nn.Linear(config.text.width, config.projection_width, bias=False)
        nn.init.trunc_normal_(self.text_head.weight, std=0.02)
        self._last_means: Tensor | None = None

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Normalised pixels [B, 3, H, W], sides divisible by the patch -> patches row by row, [B, N, width]."""
        return self.image_encoder(pixels)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Token ids [T, L <= context_length] -> features at the end of text, [T, text width]."""
        return self.text_encoder(tokens)

    def project_image(self, features: Tensor) -> Tensor:
        """Features [B, N, width] -> unit vectors of the patches, [B, N, D]."""
        patches = unit(self.image_head(features))
        if self.training:
            self._last_means = patches.detach().mean(dim=1)
        return patches

    def project_text(self, features: Tensor) -> Tensor:
        """Features [T, text width] -> unit vectors [T, D]."""
        return unit(self.text_head(features))

    def similarity(self, images: Tensor, texts: Tensor) -> Tensor:
        """Unit vectors of patches [B, N, D] and of texts [T, D] -> [B, T]; in fp32 even under autocast.

        The mean patch, weighted by softmax(temperature * patch·text), times the text: PACL's
        compatibility. The mean is not made a unit vector again: its length says how far the patches
        that the text picks agree, and they should; and the similarity stays a weighted mean of
        patch·text, for which the pooled vectors [B, T, D] are never needed.
        """
        with torch.autocast(images.device.type, enabled=False):
            return pooled_similarity(images, texts, self.config.temperature)

    @torch.no_grad()
    def dense(self, pixels: Tensor) -> DenseFeatures:
        """Normalised pixels [B, 3, H, W] of any sides that the patch divides -> one region for each patch."""
        height, width = (side // self.config.patch_size for side in pixels.shape[2:])
        training = self.training
        self.eval()
        try:
            vectors = self.project_image(self.encode_image(pixels))
        finally:
            self.train(training)
        return DenseFeatures(vectors, (height, width), maps=None, whole=vectors)

    def health(self) -> dict[str, float]:
        """patch_agreement: mean cosine of two patches of a picture, in the last training pass; 1 when all are alike."""
        if self._last_means is None:
            return {}
        return {"patch_agreement": float(self._last_means.square().sum(dim=-1).mean())}


class PatchEncoder(nn.Module):
    """A vision transformer without a class token: pixels [B, 3, H, W] -> normalised patches [B, N, width]."""

    def __init__(self, config: PatchAlignmentConfig) -> None:
        super().__init__()
        self.patch_size = config.patch_size
        self.stem = conv_stem(config) if config.stem == "conv" else patch_stem(config)
        side = config.image_size // config.patch_size
        self.position_embedding = nn.Parameter(waves(side, config.width))
        self.blocks = nn.Sequential(
            *(
                Block(config.width, config.heads, drop_path=config.drop_path * layer / max(config.layers - 1, 1))
                for layer in range(config.layers)
            )
        )
        self.norm = nn.LayerNorm(config.width)
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, pixels: Tensor) -> Tensor:
        """Patches row by row; position embeddings are interpolated where the sides are not the training's."""
        height, width = pixels.shape[2:]
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(f"a picture of {height} x {width} pixels cannot be cut into patches of {self.patch_size}")
        x = self.stem(pixels)
        x = x + self._positions(x.shape[2], x.shape[3])
        return self.norm(self.blocks(x.flatten(2).mT))

    def _positions(self, height: int, width: int) -> Tensor:
        embedding = self.position_embedding
        if embedding.shape[1:] == (height, width):
            return embedding
        return F.interpolate(embedding[None], (height, width), mode="bicubic", align_corners=False)[0]


def patch_stem(config: PatchAlignmentConfig) -> nn.Module:
    """One linear map of every patch: [B, 3, H, W] -> [B, width, H / patch, W / patch]."""
    return nn.Conv2d(3, config.width, config.patch_size, stride=config.patch_size)


def conv_stem(config: PatchAlignmentConfig) -> nn.Module:
    """3 x 3 convolutions that halve the sides until one cell is left for each patch, then a linear map.

    Channels double up to the width. Group norm where the paper has batch norm, which would make a
    picture's patches depend on the others that share its pass (training/step/gradient_cache.py).
    """
    halvings = config.patch_size.bit_length() - 1
    channels = [3, *(max(config.width >> (halvings - 1 - i), 8) for i in range(halvings))]
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(channels):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.GroupNorm(1, after), nn.GELU()]
    return nn.Sequential(*layers, nn.Conv2d(channels[-1], config.width, 1))


def waves(side: int, width: int) -> Tensor:
    """Sines and cosines of the rows and columns of a grid, [width, side, side]; wavelengths from 2 pi to 20,000 pi."""
    frequencies = 10000.0 ** (-torch.arange(width // 4) / (width // 4))
    angles = frequencies[:, None] * torch.arange(side)
    line = torch.cat([angles.sin(), angles.cos()])
    rows, columns = line[:, :, None].expand(-1, -1, side), line[:, None].expand(-1, side, -1)
    return torch.cat([rows, columns]).contiguous()


class ResidualHead(nn.Module):
    """A linear map plus an MLP of one hidden layer, as PACL's vision embedder (its appendix A.1)."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, outputs)
        self.mlp = MLP(width, outputs, outputs, F.relu)
        for layer in (self.linear, self.mlp.up, self.mlp.down):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] -> [..., outputs]."""
        return self.linear(x) + self.mlp(x)


def unit(x: Tensor) -> Tensor:
    """Unit vectors; of half-precision ones in fp32, which bfloat16 would miss by half a per cent."""
    return F.normalize(x.float() if x.dtype in (torch.float16, torch.bfloat16) else x, dim=-1)


def pooled_similarity(patches: Tensor, texts: Tensor, temperature: float) -> Tensor:
    """sum_n w_n s_n with s_n = patch_n·text and w = softmax_n(temperature * s): [B, N, D], [T, D] -> [B, T].

    Patches and texts are unit vectors. The [B, N, T] similarities never exist as a whole: they are
    made block by block, and once more for the gradient.
    """
    return _PooledSimilarity.apply(patches, texts, temperature)


class _PooledSimilarity(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, patches: Tensor, texts: Tensor, temperature: float) -> Tensor:
        pooled = patches.new_empty(len(patches), len(texts))
        total = torch.empty_like(pooled)
        for block in _blocks(patches, texts):
            similarity = patches[block] @ texts.mT
            # No overflow without the maximum's subtraction: similarities end at 1 and the temperature is bounded.
            weights = (temperature * similarity).exp_()
            torch.sum(weights, 1, out=total[block])
            torch.sum(weights.mul_(similarity), 1, out=pooled[block])
        pooled /= total
        ctx.save_for_backward(patches, texts, pooled, total)
        ctx.temperature = temperature
        return pooled

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        patches, texts, pooled, total = ctx.saved_tensors
        # d pooled / d s_n = w_n (1 + temperature (s_n - pooled)) = exp(temperature s_n) (slope s_n + offset)
        slope = gradient / total
        offset = slope * (1 - ctx.temperature * pooled)
        slope = slope * ctx.temperature
        of_patches, of_texts = torch.empty_like(patches), torch.zeros_like(texts)
        for block in _blocks(patches, texts):
            similarity = patches[block] @ texts.mT
            weights = (ctx.temperature * similarity).exp_()
            of_similarity = similarity.mul_(slope[block, None]).add_(offset[block, None]).mul_(weights)
            of_patches[block] = of_similarity @ texts
            of_texts.addmm_(of_similarity.flatten(0, 1).mT, patches[block].flatten(0, 1))
        return of_patches, of_texts, None


def _blocks(patches: Tensor, texts: Tensor) -> list[slice]:
    """Runs of pictures whose patch-text similarities are held at once."""
    most = BLOCK.get(patches.device.type, BLOCK_ELSEWHERE)
    step = max(1, most // max(1, patches.shape[1] * len(texts)))
    return [slice(start, start + step) for start in range(0, len(patches), step)]


LEARNERS.add("patch-alignment", LearnerKind(PatchAlignmentConfig, PatchAlignment))
