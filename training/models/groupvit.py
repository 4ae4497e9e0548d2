"""GroupViT (Xu et al., CVPR 2022): a vision transformer whose tokens are grouped, in stages, into a few segments.

Each stage but the last lets learnable group tokens attend together with the image tokens, then
assigns every image token to one group; the groups' averages are the image tokens of the next
stage. The mean of the last segments meets the caption in a contrastive loss, so the grouping is
learnt from texts alone, and the assignments, multiplied, say which pixel belongs to which segment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from files.errors import MisuseError
from training.models.learner import LEARNERS, DenseFeatures, Learner, LearnerKind
from training.models.noise import uniform
from training.models.text_encoder import TextConfig, TextEncoder
from training.models.transformer import MLP, Block, attend


@dataclass(frozen=True)
class GroupViTConfig:
    """Sizes and levers of GroupViT; the defaults are the paper's ViT-S.

    image_size, patch_size: pixels of a side. depths: layers of each stage. group_tokens,
    output_groups: group tokens of each stage but the last, and the segments that it makes of its
    tokens. projection_hidden, projection_width: the two heads. drop_path: stochastic depth, rising
    linearly from 0 in the first layer to this in the last.

    hard_assignment: a token goes to one group only, with straight-through gradients. gumbel_noise:
    how much Gumbel noise is added to the assignment's logits in training; gumbel_tau: the
    temperature of their softmax in training. assignment_scale: multiplies these logits, on top of
    width^-0.5, in training and after it. init_std: of the image encoder's weights at the start;
    group_token_std: of its group tokens; zero_later_groups: those behind the first stage begin at zero, and differ by
    what comes from the stage before.
    """

    image_size: int = 224
    patch_size: int = 16
    width: int = 384
    heads: int = 6
    depths: tuple[int, ...] = (6, 3, 3)
    group_tokens: tuple[int, ...] = (64, 8)
    output_groups: tuple[int, ...] = (64, 8)
    text: TextConfig = field(default_factory=TextConfig)
    projection_hidden: int = 4096
    projection_width: int = 256
    drop_path: float = 0.1
    hard_assignment: bool = True
    gumbel_noise: float = 1.0
    gumbel_tau: float = 1.0
    assignment_scale: float = 1.0
    init_std: float = 0.02
    group_token_std: float = 0.02
    zero_later_groups: bool = False

    def __post_init__(self) -> None:
        stages = len(self.depths)
        if stages < 2 or len(self.group_tokens) != stages - 1 or len(self.output_groups) != stages - 1:
            raise MisuseError(
                f"GroupViT: {stages} stages (depths {self.depths}) with {len(self.group_tokens)} group_tokens and "
                f"{len(self.output_groups)} output_groups; it needs two stages or more, and a number of each for "
                "every stage but the last"
            )
        if min(*self.group_tokens, *self.output_groups) < 1 or min(self.depths) < 0:
            raise MisuseError(
                f"GroupViT: group_tokens {self.group_tokens} and output_groups {self.output_groups} must be 1 or more, "
                f"depths {self.depths} 0 or more"
            )
        for name, size, part in (
            ("image_size", self.image_size, self.patch_size),
            ("width", self.width, self.heads),
        ):
            if part < 1 or size < 1 or size % part:
                raise MisuseError(f"GroupViT: {name} {size} cannot be divided into parts of {part}")
        if not (0 <= self.drop_path < 1 and self.gumbel_tau > 0 and self.gumbel_noise >= 0):
            raise MisuseError(
                f"GroupViT: drop_path {self.drop_path} must lie in [0, 1), gumbel_tau {self.gumbel_tau} above 0, "
                f"gumbel_noise {self.gumbel_noise} not below 0"
            )
        if min(self.init_std, self.group_token_std) <= 0:
            raise MisuseError(
                f"GroupViT: init_std {self.init_std} and group_token_std {self.group_token_std} must be above 0"
            )


class GroupViT(Learner):
    """GroupViT with its text encoder and heads."""

    def __init__(self, config: GroupViTConfig) -> None:
        super().__init__(config.image_size, config.patch_size, config.text)
        self.config = config
        self.image_encoder = GroupingEncoder(config)
        self.text_encoder = TextEncoder(config.text)
        sizes = (config.projection_hidden, config.projection_width)
        self.image_head = ProjectionHead(config.width, *sizes)
        self.text_head = ProjectionHead(config.text.width, *sizes)
        self._last_logits: tuple[Tensor, ...] = ()

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Normalised pixels [B, 3, H, W] -> mean of the segments, [B, width]."""
        segments, logits = self.image_encoder(pixels)
        if self.training:
            self._last_logits = tuple(stage.detach() for stage in logits)
        return segments.mean(dim=1)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Token ids [T, L <= context_length] -> features at the end of text, [T, text width]."""
        return self.text_encoder(tokens)

    def project_image(self, features: Tensor) -> Tensor:
        """Features [B, width] -> unit vectors [B, D]."""
        return self.image_head(features)

    def project_text(self, features: Tensor) -> Tensor:
        """Features [T, text width] -> unit vectors [T, D]."""
        return self.text_head(features)

    def similarity(self, images: Tensor, texts: Tensor) -> Tensor:
        """Unit vectors [B, D] and [T, D] -> cosines [B, T], at full precision even under autocast."""
        with torch.autocast(images.device.type, enabled=False):
            return images @ texts.mT

    @torch.no_grad()
    def dense(self, pixels: Tensor) -> DenseFeatures:
        """Normalised pixels [B, 3, H, W] -> the last stage's G segments on the grid of patches.

        A segment's map is the product of the stages' soft assignments, without noise (GroupViT,
        section 3.4). Sides other than the training's are fine if the patch divides them.
        """
        training = self.training
        self.eval()
        try:
            segments, logits = self.image_encoder(pixels)
            vectors, whole = self.image_head(segments), self.image_head(segments.mean(dim=1))
        finally:
            self.train(training)
        height, width = (side // self.config.patch_size for side in pixels.shape[2:])
        with torch.autocast(pixels.device.type, enabled=False):
            maps = _joined(_soft(logits)).mT.unflatten(2, (height, width))
        return DenseFeatures(vectors, (height, width), maps, whole)

    def health(self) -> dict[str, float]:
        """How the last training batch was grouped, apart from the noise; low figures mean that groups collapsed.

        groups: mean over pictures of the number of segments that win at least one patch.
        groups_stageI: the same for the groups of stage I, over its own tokens. entropy_stageI: mean
        entropy of a token's soft assignment, as a share of the highest possible, 0 to 1.
        """
        if not self._last_logits:
            return {}
        soft = _soft(self._last_logits)
        figures = {"groups": _winners(_joined(soft))}
        for stage, assignment in enumerate(soft, start=1):
            entropy = torch.special.entr(assignment).sum(dim=-1).mean()
            figures[f"groups_stage{stage}"] = _winners(assignment)
            figures[f"entropy_stage{stage}"] = float(entropy) / max(math.log(assignment.shape[-1]), 1e-9)
        return figures


class GroupingEncoder(nn.Module):
    """Patches -> stages of layers and grouping -> segments."""

    def __init__(self, config: GroupViTConfig) -> None:
        super().__init__()
        self.patch_size = config.patch_size
        side = config.image_size // config.patch_size
        self.patch_embedding = nn.Conv2d(3, config.width, config.patch_size, config.patch_size)
        self.patch_norm = nn.LayerNorm(config.width)
        self.position_embedding = nn.Parameter(torch.empty(side, side, config.width))
        layers = sum(config.depths)
        drop_paths = iter([config.drop_path * layer / max(layers - 1, 1) for layer in range(layers)])
        self.stages = nn.ModuleList(
            Stage(config, stage, [next(drop_paths) for _ in range(depth)]) for stage, depth in enumerate(config.depths)
        )
        self.norm = nn.LayerNorm(config.width)
        self.apply(partial(_initialise, std=config.init_std))
        nn.init.trunc_normal_(self.position_embedding, std=config.init_std)

    def forward(self, pixels: Tensor) -> tuple[Tensor, list[Tensor]]:
        """[B, 3, H, W] -> segments [B, G, width] and the logits of each stage's assignment, [B, tokens, groups]."""
        if pixels.shape[2] % self.patch_size or pixels.shape[3] % self.patch_size:
            raise ValueError(f"pixels {tuple(pixels.shape)}: sides must be divisible by the patch, {self.patch_size}")
        patches = self.patch_embedding(pixels)
        tokens = self.patch_norm(patches.flatten(2).mT) + self._positions(*patches.shape[2:]).flatten(0, 1)
        groups: Tensor | None = None
        logits = []
        for stage in self.stages:
            tokens, groups, assignment = stage(tokens, groups)
            if assignment is not None:
                logits.append(assignment)
        return self.norm(tokens), logits

    def _positions(self, height: int, width: int) -> Tensor:
        """Position embeddings [H, W, width], stretched bicubically to a grid other than the training's."""
        if self.position_embedding.shape[:2] == (height, width):
            return self.position_embedding
        grid = self.position_embedding.permute(2, 0, 1)[None]
        return F.interpolate(grid, (height, width), mode="bicubic", align_corners=False)[0].permute(1, 2, 0)


class Stage(nn.Module):
    """Transformer layers over image tokens and group tokens, then a grouping block; the last stage: layers only."""

    def __init__(self, config: GroupViTConfig, stage: int, drop_paths: list[float]) -> None:
        super().__init__()
        width = config.width
        self.blocks = nn.Sequential(*(Block(width, config.heads, drop_path=drop_path) for drop_path in drop_paths))
        self.group_tokens: nn.Parameter | None = None
        self.group_projector: nn.Sequential | None = None
        self.grouping: GroupingBlock | None = None
        if stage == len(config.group_tokens):
            return
        count = config.group_tokens[stage]
        # Never zeros in the first stage: equal tokens would get equal gradients and stay equal.
        self.group_tokens = nn.Parameter(nn.init.trunc_normal_(torch.empty(count, width), std=config.group_token_std))
        if stage > 0:
            if config.zero_later_groups:
                nn.init.zeros_(self.group_tokens)
            earlier = config.group_tokens[stage - 1]
            self.group_projector = nn.Sequential(nn.LayerNorm(width), TokenMixer(earlier, width // 2, count))
        self.grouping = GroupingBlock(config, count, config.output_groups[stage])

    def forward(self, tokens: Tensor, earlier_groups: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Image tokens [B, N, width], group tokens of the stage before -> tokens, group tokens, assignment logits."""
        if self.group_tokens is None or self.grouping is None:
            return self.blocks(tokens), None, None
        groups = self.group_tokens.expand(len(tokens), -1, -1)
        if self.group_projector is not None:
            groups = groups + self.group_projector(earlier_groups)
        tokens, groups = self.blocks(torch.cat([tokens, groups], dim=1)).split([tokens.shape[1], groups.shape[1]], 1)
        segments, logits = self.grouping(tokens, groups)
        return segments, groups, logits


class GroupingBlock(nn.Module):
    """Assigns image tokens to groups and merges those of a group into one segment token (section 3.2)."""

    def __init__(self, config: GroupViTConfig, group_tokens: int, output_groups: int) -> None:
        super().__init__()
        width = config.width
        self.config, self.draws = config, 0
        self.token_norm = nn.LayerNorm(width)
        self.group_norm = nn.LayerNorm(width)
        self.group_mixer = TokenMixer(group_tokens, width // 2, output_groups)
        self.mixed_norm = nn.LayerNorm(width)
        self.cross_attention = CrossAttentionBlock(width, config.heads)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.segment_norm = nn.LayerNorm(width)
        self.mlp = MLP(width, 4 * width, width)
        self.scale = config.assignment_scale * width**-0.5

    def forward(self, tokens: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
        """Image tokens [B, N, width], group tokens [B, S, width] -> segments [B, G, width], logits [B, N, G]."""
        tokens = self.token_norm(tokens)
        groups = self.mixed_norm(self.group_mixer(self.group_norm(groups)))
        groups = self.cross_attention(groups, tokens)

        key, value = self.key_value(tokens).chunk(2, dim=-1)
        logits = _at_least_float32(key @ (self.query(groups) * self.scale).mT)
        assignment = self._assign(logits)
        # A weighted mean over the group's tokens, with one added to the sum of weights: an empty group gives zero.
        merged = (assignment.mT @ value) / (assignment.sum(dim=1) + 1.0).unsqueeze(-1)

        segments = self.out(merged) + groups
        return segments + self.mlp(self.segment_norm(segments)), logits

    def _assign(self, logits: Tensor) -> Tensor:
        """Weights of the groups for each token, [B, N, G]; with noise in training."""
        if self.training:
            logits = (logits + self.config.gumbel_noise * gumbel_noise(logits, self.draws)) / self.config.gumbel_tau
        soft = logits.softmax(dim=-1)
        if not self.config.hard_assignment:
            return soft
        hard = torch.zeros_like(soft).scatter(-1, soft.argmax(dim=-1, keepdim=True), 1.0)
        return hard + (soft - soft.detach())


class CrossAttentionBlock(nn.Module):
    """Groups look at the image tokens: q + attention(q, tokens), then an MLP, with the norm last."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = MLP(width, 4 * width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, groups: Tensor, tokens: Tensor) -> Tensor:
        """[B, G, width], [B, N, width] -> [B, G, width]."""
        query = self.query(groups).unflatten(-1, (self.heads, -1))
        key, value = self.key_value(tokens).unflatten(-1, (2, self.heads, -1)).unbind(-3)
        groups = groups + self.out(attend(query, key, value))
        return self.norm(groups + self.mlp(self.mlp_norm(groups)))


class TokenMixer(MLP):
    """An MLP over the tokens instead of the channels: [B, N, width] -> [B, M, width]."""

    def forward(self, x: Tensor) -> Tensor:
        """Every output token is made of all input tokens, channel by channel."""
        return super().forward(x.mT).mT


class ProjectionHead(nn.Module):
    """Features -> unit vectors in the space that pictures and texts share; batch norm sees all but the last axis."""

    def __init__(self, width: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, hidden)
        self.batch_norm = nn.BatchNorm1d(hidden)
        self.out = nn.Linear(hidden, outputs)

    def forward(self, features: Tensor) -> Tensor:
        """[..., width] -> unit vectors [..., outputs]."""
        return F.normalize(self.before_norm(features), dim=-1)

    def before_norm(self, features: Tensor) -> Tensor:
        """The same before they have unit length."""
        hidden = self.batch_norm(self.hidden(features.flatten(0, -2)))
        return _at_least_float32(self.out(F.relu(hidden))).unflatten(0, features.shape[:-1])


def gumbel_noise(logits: Tensor, draw: int = 0) -> Tensor:
    """Independent draws from the standard Gumbel distribution, in the shape of the logits; never infinite.

    draw: training/models/noise.py.
    """
    return -torch.log(-torch.log(uniform(tuple(logits.shape), draw, logits.device))).to(logits.dtype)


def _soft(logits: tuple[Tensor, ...] | list[Tensor]) -> list[Tensor]:
    """Soft assignment of each stage, [B, N, G], without noise."""
    return [stage.softmax(dim=-1) for stage in logits]


def _joined(assignments: list[Tensor]) -> Tensor:
    """Product of the stages' soft assignments: patches to the last segments, [B, N, G]."""
    product = assignments[0]
    for assignment in assignments[1:]:
        product = product @ assignment
    return product


def _winners(assignment: Tensor) -> float:
    """Mean over pictures of the number of groups that are some token's best."""
    won = F.one_hot(assignment.argmax(dim=-1), assignment.shape[-1]).amax(dim=1)
    return float(won.sum(dim=-1).double().mean())


def _at_least_float32(x: Tensor) -> Tensor:
    """Half precision to float32; float64 stays."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _initialise(module: nn.Module, std: float) -> None:
    """Linear layers: truncated normal and zero bias. Norms and the patch embedding keep torch's defaults."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=std)
        nn.init.zeros_(module.bias)


LEARNERS.add("groupvit", LearnerKind(GroupViTConfig, GroupViT))
