import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

import training.models.groupvit
from files.errors import MisuseError
from training.models.groupvit import GroupingBlock, GroupViT, GroupViTConfig, gumbel_noise
from training.models.learner import Learner
from training.models.text_encoder import TextConfig
from training.models.transformer import Block

SMALL = GroupViTConfig(
    **{"image_size": 32, "patch_size": 8, "width": 32, "heads": 2, "depths": (2, 1, 1)},
    **{"group_tokens": (6, 4), "output_groups": (5, 3), "projection_hidden": 48, "projection_width": 24},
    text=TextConfig(vocabulary=60, context_length=10, width=32, layers=2, heads=2),
    drop_path=0.0,
)


def model_of(config: GroupViTConfig = SMALL, spread: float = 0.3, **levers: Any) -> GroupViT:
    """A model whose parameters are spread out, so that its groups differ."""
    torch.manual_seed(0)
    model = GroupViT(replace(config, **levers))
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn_like(value) * spread)
    return model.eval()


def pixels(count: int = 3, height: int = 32, width: int = 32) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(1))


def tokens(count: int = 3) -> Tensor:
    drawn = torch.randint(1, 59, (count, 10), generator=torch.Generator().manual_seed(2))
    drawn[:, 6], drawn[:, 7:] = 59, 0
    return drawn


def loss_of(model: Learner, count: int = 3) -> Tensor:
    images = model.project_image(model.encode_image(pixels(count)))
    texts = model.project_text(model.encode_text(tokens(count)))
    return F.cross_entropy(10 * model.similarity(images, texts), torch.arange(count))


def test_group_tokens_start_apart_as_in_the_paper_and_are_drawn_apart_by_training() -> None:
    torch.manual_seed(0)
    model = GroupViT(replace(SMALL, width=512, heads=8, group_tokens=(64, 8), output_groups=(64, 8)))
    model.train()
    for stage, count in zip(model.image_encoder.stages[:2], (64, 8), strict=True):
        start = stage.group_tokens.detach()
        assert start.shape == (count, 512)
        assert torch.pdist(start).min() > 0.5  # of two independent draws: 0.02 * sqrt(2 * 512) = 0.64
        assert start.std() == pytest.approx(0.02, rel=0.05)
    loss_of(model).backward()
    gradients = model.image_encoder.stages[0].group_tokens.grad
    assert torch.pdist(gradients).min() > 0.1 * gradients.norm(dim=1).mean()
    assert model.image_encoder.position_embedding.detach().std() == pytest.approx(0.02, rel=0.05)


def test_what_starts_larger_is_asked_for() -> None:
    wide = replace(SMALL, width=512, heads=8, init_std=0.06, group_token_std=1.0)
    encoder = GroupViT(wide).image_encoder
    assert encoder.stages[0].group_tokens.detach().std() == pytest.approx(0.88, rel=0.05)  # cut off at -2 and 2
    assert encoder.stages[0].grouping.query.weight.detach().std() == pytest.approx(0.06, rel=0.05)
    assert encoder.position_embedding.detach().std() == pytest.approx(0.06, rel=0.05)
    with pytest.raises(MisuseError, match="must be above 0"):
        replace(SMALL, init_std=0.0)


def test_every_parameter_but_the_temperatures_learns() -> None:
    model = model_of().train()
    loss_of(model).backward()
    still = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert still == {"logit_scale", "concept_logit_scale"}  # they belong to the loss


def test_it_learns_to_tell_pairs_apart() -> None:
    torch.manual_seed(0)
    model = GroupViT(SMALL).train()
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = loss_of(model, 8)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 1.5
    assert sum(losses[-5:]) / 5 < 0.5


@pytest.mark.parametrize(("training", "backend"), [(False, "eager"), (True, "aot_eager")])
def test_it_compiles_without_graph_breaks_and_gives_the_same(training: bool, backend: str) -> None:
    model = model_of(drop_path=0.2, depths=(1, 1, 1)).train(training)
    compiled = torch.compile(model.encode_image, fullgraph=True, backend=backend)
    found = []
    for encode_image in (compiled, model.encode_image):
        model.zero_grad()
        torch.manual_seed(3)
        features = encode_image(pixels())
        features.square().sum().backward()
        found.append([features, *(p.grad for p in model.parameters() if p.grad is not None)])
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    assert bool(model.health()) is training


def test_the_heads_compile_without_graph_breaks() -> None:
    model = model_of().train()
    project = torch.compile(model.project_image, fullgraph=True, backend="aot_eager")
    features = torch.randn(4, 32)
    torch.testing.assert_close(project(features), model.project_image(features))


def test_bfloat16_autocast_is_finite_and_close() -> None:
    model = model_of(spread=0.05)
    with torch.autocast("cpu", torch.bfloat16):
        images = model.project_image(model.encode_image(pixels()))
        texts = model.project_text(model.encode_text(tokens()))
        similarity = model.similarity(images, texts)
        dense = model.dense(pixels())
    assert {x.dtype for x in (images, texts, similarity, dense.vectors, dense.maps)} == {torch.float32}
    assert F.cosine_similarity(images, model.project_image(model.encode_image(pixels()))).min() > 0.99
    assert F.cosine_similarity(texts, model.project_text(model.encode_text(tokens()))).min() > 0.99
    torch.testing.assert_close(dense.maps, model.dense(pixels()).maps, atol=0.02, rtol=0.02)
    torch.testing.assert_close(similarity, images @ texts.T)

    model.train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(model)
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_similarity_is_the_cosine_of_every_image_with_every_text() -> None:
    model = model_of()
    images, texts = model.project_image(torch.randn(3, 32)), model.project_text(torch.randn(4, 32))
    expected = F.cosine_similarity(images[:, None], texts[None], dim=-1)
    torch.testing.assert_close(model.similarity(images, texts), expected)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (48, 32), (24, 64)])
def test_dense_gives_unit_vectors_and_maps_that_share_out_every_patch(height: int, width: int) -> None:
    model = model_of()
    dense = model.dense(pixels(2, height, width))
    assert dense.vectors.shape == (2, 3, 24)
    assert dense.maps.shape == (2, 3, height // 8, width // 8)
    torch.testing.assert_close(dense.vectors.norm(dim=-1), torch.ones(2, 3))
    torch.testing.assert_close(dense.maps.sum(dim=1), torch.ones(2, height // 8, width // 8))
    assert dense.maps.std() > 0.01


def test_dense_is_without_noise_and_leaves_a_model_in_training_as_it_was() -> None:
    model = model_of(drop_path=0.5)
    expected = model.dense(pixels())
    torch.testing.assert_close(expected.whole, model.project_image(model.encode_image(pixels())))
    model.train()
    before = model.image_head.batch_norm.running_mean.clone()
    found = model.dense(pixels())
    assert model.training
    assert all(module.training for module in model.modules())
    assert torch.equal(found.vectors, expected.vectors)
    assert torch.equal(found.maps, expected.maps)
    assert torch.equal(found.whole, expected.whole)
    assert torch.equal(model.image_head.batch_norm.running_mean, before)
    assert not found.vectors.requires_grad


def test_segments_of_dense_average_to_the_image_feature_before_the_head() -> None:
    model = model_of()
    seen: list[Tensor] = []
    model.image_head.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    model.dense(pixels())
    torch.testing.assert_close(seen[0].mean(dim=1), model.encode_image(pixels()))


def test_sides_that_the_patch_does_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="divisible by the patch, 8"):
        model_of().dense(pixels(1, 32, 30))


def test_a_flipped_picture_with_flipped_positions_is_grouped_flipped() -> None:
    model = model_of()
    maps = model.dense(pixels()).maps
    with torch.no_grad():
        model.image_encoder.position_embedding.copy_(model.image_encoder.position_embedding.flip(1))
        model.image_encoder.patch_embedding.weight.copy_(model.image_encoder.patch_embedding.weight.flip(3))
    torch.testing.assert_close(model.dense(pixels().flip(3)).maps, maps.flip(3), rtol=1e-4, atol=1e-5)


def grouped_by_hand(block: GroupingBlock, tokens: Tensor, groups: Tensor, weights: Tensor) -> Tensor:
    """Segments before the channel MLP: for each group, the sum of its tokens' values over their weight and one."""
    tokens = block.token_norm(tokens)
    groups = block.cross_attention(block.mixed_norm(block.group_mixer(block.group_norm(groups))), tokens)
    value = F.linear(tokens, block.key_value.weight[32:], block.key_value.bias[32:])
    rows = []
    for picture in range(len(tokens)):
        for group in range(groups.shape[1]):
            weight = weights[picture, :, group]
            merged = sum(w * v for w, v in zip(weight, value[picture], strict=True)) / (weight.sum() + 1)
            rows.append(block.out(merged) + groups[picture, group])
    return torch.stack(rows).unflatten(0, groups.shape[:2])


@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize("training_mode", [True, False])
def test_segments_are_what_their_tokens_add_up_to(
    hard: bool, training_mode: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(hard_assignment=hard, gumbel_tau=0.7, gumbel_noise=0.5).train(training_mode)
    block = model.image_encoder.stages[0].grouping
    torch.manual_seed(4)
    tokens, groups = torch.randn(2, 9, 32), torch.randn(2, 6, 32)
    noise = gumbel_noise(torch.zeros(2, 9, 5))
    monkeypatch.setattr(training.models.groupvit, "gumbel_noise", lambda *_: noise)
    segments, logits = block(tokens, groups)
    weights = ((logits + 0.5 * noise) / 0.7 if training_mode else logits).softmax(dim=-1)
    if hard:
        weights = F.one_hot(weights.argmax(dim=-1), 5).float()
    by_hand = grouped_by_hand(block, tokens, groups, weights)
    torch.testing.assert_close(segments, by_hand + block.mlp(block.segment_norm(by_hand)), rtol=1e-4, atol=1e-5)


def test_gumbel_noise_follows_its_distribution_and_is_never_infinite(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(5)
    noise = gumbel_noise(torch.empty(200_000))
    assert noise.mean() == pytest.approx(0.5772, abs=0.02)  # Euler's constant
    assert noise.var() == pytest.approx(math.pi**2 / 6, rel=0.03)
    # The share under x is exp(-exp(-x)).
    for x in (-1.0, 0.0, 1.0, 3.0):
        assert (noise < x).float().mean() == pytest.approx(math.exp(-math.exp(-x)), abs=0.005)
    monkeypatch.setattr(torch, "rand_like", lambda x: torch.tensor([0.0, 1 - 2**-24]))
    assert gumbel_noise(torch.empty(2)).isfinite().all()


def test_with_noise_a_group_wins_as_often_as_its_soft_assignment_says() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0]).expand(100_000, 4)
    torch.manual_seed(6)
    winners = (logits + gumbel_noise(logits)).argmax(dim=-1)
    shares = torch.bincount(winners, minlength=4) / len(winners)
    torch.testing.assert_close(shares, logits[0].softmax(dim=0), atol=0.006, rtol=0)


def test_levers_of_the_assignment() -> None:
    plain, scaled = model_of(), model_of(assignment_scale=3.0)
    for one, three in zip(plain.image_encoder(pixels())[1][:1], scaled.image_encoder(pixels())[1][:1], strict=True):
        torch.testing.assert_close(3 * one, three)
    silent = model_of(gumbel_noise=0.0).train()
    assert torch.equal(silent.encode_image(pixels()), silent.encode_image(pixels()))
    noisy = model_of().train()
    assert not torch.equal(noisy.encode_image(pixels()), noisy.encode_image(pixels()))
    assert torch.equal(noisy.eval().encode_image(pixels()), noisy.encode_image(pixels()))


def test_health_counts_the_groups_in_use_and_the_entropy() -> None:
    model = model_of().train()
    assert model.health() == {}
    model.encode_image(pixels(5))
    figures = model.health()
    model.eval()
    with torch.no_grad():
        _, logits = model.image_encoder(pixels(5))
        dense = model.dense(pixels(5))
    # Later stages see the noise of the first.
    used = [len(set(picture.argmax(dim=-1).tolist())) for picture in logits[0]]
    chances = logits[0].softmax(dim=-1).flatten().tolist()
    entropy = -sum(p * math.log(p) for p in chances) / (5 * 16)
    assert figures["groups_stage1"] == sum(used) / 5
    assert figures["entropy_stage1"] == pytest.approx(entropy / math.log(5), rel=1e-4)
    assert 1 <= figures["groups_stage2"] <= 3
    assert 0 <= figures["entropy_stage2"] <= 1
    assert 1 <= figures["groups"] <= 3
    model.encode_image(pixels(5) * 2)
    assert model.health() == figures, "only training passes count"

    silent = model_of(gumbel_noise=0.0, drop_path=0.0).train()
    silent.encode_image(pixels(5))
    winners = dense.maps.flatten(2).argmax(dim=1)
    assert silent.health()["groups"] == sum(len(set(picture.tolist())) for picture in winners) / 5


def test_health_shows_a_collapse() -> None:
    model = model_of().train()
    with torch.no_grad():
        for stage in model.image_encoder.stages[:2]:
            stage.grouping.query.weight.zero_()
            stage.grouping.query.bias.zero_()
    model.encode_image(pixels())
    figures = model.health()
    assert figures["groups"] == figures["groups_stage1"] == figures["groups_stage2"] == 1
    assert figures["entropy_stage1"] == pytest.approx(1)


def test_drop_path_rises_over_the_layers() -> None:
    model = GroupViT(replace(SMALL, drop_path=0.3))
    rates = [module.drop_path for module in model.image_encoder.modules() if isinstance(module, Block)]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert all(module.drop_path == 0 for module in model.text_encoder.modules() if isinstance(module, Block))


@given(rate=st.floats(0.05, 0.9))
def test_drop_path_drops_whole_samples_at_its_rate_and_keeps_the_mean(rate: float) -> None:
    torch.manual_seed(7)
    block = Block(8, 2, drop_path=rate)
    for parameter in block.mlp.parameters():
        torch.nn.init.zeros_(parameter)
    x = torch.randn(1, 3, 8).expand(4000, 3, 8)
    branch = block.train()(x) - x
    whole = block.eval()(x[:1]) - x[:1]
    dropped = (branch == 0).flatten(1).all(dim=1)
    assert dropped.float().mean() == pytest.approx(rate, abs=0.04)
    torch.testing.assert_close(branch[~dropped], (whole / (1 - rate)).expand_as(branch[~dropped]), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depths": (2, 1)}, "2 stages"),
        ({"depths": (2,), "group_tokens": (), "output_groups": ()}, "two stages or more"),
        ({"output_groups": (5, 0)}, r"output_groups \(5, 0\) must be 1 or more"),
        ({"image_size": 30}, "image_size 30 cannot be divided into parts of 8"),
        ({"heads": 3}, "width 32 cannot be divided into parts of 3"),
        ({"drop_path": 1.0}, r"drop_path 1\.0 must lie in"),
        ({"gumbel_tau": 0.0}, r"gumbel_tau 0\.0 above 0"),
    ],
)
def test_impossible_sizes_are_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(MisuseError, match=message):
        replace(SMALL, **change)
