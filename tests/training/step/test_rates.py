"""Rates of parts and of layers, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from files.errors import MisuseError
from tests.training.tiny_learners import Kind, tiny_learner
from training.recipes.recipe import Optimizer
from training.step.optimizer import GuardedStep, build_optimizer
from training.step.rates import rate_factors


def named(kind: Kind, settings: Optimizer) -> dict[str, float]:
    learner = tiny_learner(kind)
    factors = rate_factors(learner, settings)
    return {name: factors[parameter] for name, parameter in learner.named_parameters()}


@pytest.mark.parametrize("kind", ["patch-alignment", "groupvit"])
def test_without_settings_all_learn_alike(kind: Kind) -> None:
    assert set(named(kind, Optimizer()).values()) == {1.0}


def test_a_part_learns_at_its_own_rate() -> None:
    found = named("groupvit", Optimizer(rates={"image_tower": 0.1, "text_tower": 0.25, "head": 2.0}))
    for name, factor in found.items():
        part = name.split(".")[0]
        assert factor == {"image_encoder": 0.1, "text_encoder": 0.25}.get(part, 2.0), name


def test_each_layer_learns_slower_than_the_one_above() -> None:
    found = named("patch-alignment", Optimizer(rates={"image_tower": 0.1}, layer_decay=0.5))
    expected = {
        "image_encoder.stem.weight": 0.1 * 0.5**3,  # below two layers and the norm
        "image_encoder.position_embedding": 0.1 * 0.5**3,
        "image_encoder.blocks.0.mlp.up.weight": 0.1 * 0.5**2,
        "image_encoder.blocks.1.attention.qkv.bias": 0.1 * 0.5,
        "image_encoder.norm.weight": 0.1,
        "text_encoder.token_embedding.weight": 0.5**2,  # one layer
        "text_encoder.blocks.0.mlp.up.weight": 0.5,
        "text_encoder.norm.bias": 1.0,
        "image_head.linear.weight": 1.0,
        "logit_scale": 1.0,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_a_step_is_as_long_as_the_parameters_rate() -> None:
    """AdamW's first step without decay has the length of its rate in every element, whatever the gradient."""
    learner = tiny_learner("patch-alignment")
    settings = Optimizer(rates={"image_tower": 0.1}, layer_decay=0.5, weight_decay=0.0, eps=1e-30, clip=1e9)
    guard = GuardedStep(learner, build_optimizer(learner, settings), clip=1e9)
    before = {name: p.detach().clone() for name, p in learner.named_parameters()}
    guard.begin()
    for p in learner.parameters():
        p.grad = torch.ones_like(p)
    guard.end(torch.tensor(1.0), rate=1e-2)
    factors = rate_factors(learner, settings)
    for name, p in learner.named_parameters():
        expected = torch.full_like(p, 1e-2 * factors[p])
        torch.testing.assert_close(before[name] - p, expected, rtol=1e-6, atol=1e-12, msg=name)


def test_what_is_not_there_is_told() -> None:
    learner = tiny_learner("patch-alignment")
    learner.text_encoder.blocks = nn.Sequential()
    with pytest.raises(MisuseError, match=r"layer_decay 0.5: text_tower of this learner has no layers that are known"):
        rate_factors(learner, Optimizer(layer_decay=0.5))
    with pytest.raises(MisuseError, match=r"optimizer.rates: text_tower: this learner's parts are head"):
        rate_factors(nn.Linear(2, 2), Optimizer(rates={"text_tower": 0.5}))
