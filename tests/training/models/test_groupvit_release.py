"""GroupViT as its release trains it: figures of its loss, gradient and steps, kept, and where its start differs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import training.models.groupvit
from tests.training.groupvit_peer import SIZES, batch, own_loss, saved
from training.models.groupvit import GroupViT
from training.models.groupvit_names import names_in
from training.models.groupvit_weights import load_huggingface
from training.recipes.recipe import Optimizer, build_learner
from training.recipes.recipe_file import load_recipe
from training.step.optimizer import GuardedStep, build_optimizer

SETTINGS = Optimizer(decay_scales=True, weight_decay=0.05, clip=5.0)
RATE, STEPS = 0.003, 3


def wave(shape: torch.Size, number: int) -> Tensor:
    """Values of no random generator, so that figures can be kept: float64, about uniform between -1 and 1."""
    at = torch.arange(shape.numel(), dtype=torch.float64)
    return (((at + 1) * (0.754877666 + 0.0131 * number)) % 1 * 2 - 1).reshape(shape)


def set_by_rule(peer: Any) -> None:
    """Every parameter and statistic of transformers' model."""
    with torch.no_grad():
        for number, (name, value) in enumerate([*peer.named_parameters(), *peer.named_buffers()]):
            if not value.is_floating_point() or name == "logit_scale":
                continue
            of_rule = wave(value.shape, number)
            if "running_var" in name:
                value.copy_(1 + of_rule / 2)
            elif value.ndim > 1 and "token" not in name and "position" not in name:
                value.copy_(of_rule * (4 if "assign.q_proj" in name else 1.7) * value[0].numel() ** -0.5)
            else:
                value.copy_(of_rule / 2 + (1.0 if "norm" in name and name.endswith("weight") else 0.0))


def noise(_: Any, shape: torch.Size) -> Tensor:
    return -torch.log(-torch.log(wave(shape, 77) / 2.02 + 0.5))


def decayed_by_the_release(name: str, parameter: Tensor) -> bool:
    return not (len(parameter.shape) == 1 or name.endswith(".bias"))


@pytest.fixture
def twins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[GroupViT, Any]:
    """Ours and transformers', of equal weights, in training, in float64, with equal noise."""
    torch.manual_seed(0)
    import transformers

    peer = transformers.GroupViTModel(SIZES["three stages"])
    set_by_rule(peer)
    loaded = load_huggingface(saved(peer, tmp_path))
    model = GroupViT(replace(loaded.config, drop_path=0.0))
    model.load_state_dict(loaded.state_dict())
    monkeypatch.setattr(torch.distributions.gumbel.Gumbel, "sample", noise)
    monkeypatch.setattr(
        training.models.groupvit, "gumbel_noise", lambda logits, _: noise(None, logits.mT.shape).mT.to(logits.dtype)
    )
    return model.double().train(), peer.double().train()


def pairs() -> dict[str, Tensor]:
    inputs = batch(SIZES["three stages"], dtype=torch.float64)
    inputs["pixel_values"] = wave(inputs["pixel_values"].shape, 5)
    rows = torch.arange(3)[:, None]
    inputs["input_ids"] = (7 + 11 * rows + 5 * torch.arange(10)) % 57 + 1
    for row, length in zip(inputs["input_ids"], (3, 9, 6), strict=True):
        row[length], row[length + 1 :] = 59, 0
    return inputs


def test_steps_equal_those_of_transformers_and_the_figures_kept(twins: tuple[GroupViT, Any]) -> None:
    model, peer = twins
    inputs, step = pairs(), GuardedStep(model, build_optimizer(model, SETTINGS), SETTINGS.clip)
    named = list(peer.named_parameters())
    groups = [
        {"params": [p for name, p in named if decayed_by_the_release(name, p)], "weight_decay": 0.05},
        {"params": [p for name, p in named if not decayed_by_the_release(name, p)], "weight_decay": 0.0},
    ]
    theirs = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.999), eps=1e-8)
    found = []
    for _ in range(STEPS):
        step.begin()
        loss = own_loss(model, inputs)
        loss.backward()
        norm, taken = step.end(loss.detach(), RATE)
        assert taken
        found.append((float(loss.detach()), float(norm)))

        theirs.zero_grad()
        expected = peer(**inputs, return_loss=True).loss
        expected.backward()
        their_norm = torch.nn.utils.clip_grad_norm_(peer.parameters(), 5.0)
        theirs.step()
        assert found[-1] == pytest.approx((float(expected.detach()), float(their_norm)), rel=1e-7)
    parts = dict(peer.named_parameters())
    for ours, parameter in model.named_parameters():
        if names := names_in("huggingface", ours):
            same = torch.cat([parts[name].flatten() for name in names])
            torch.testing.assert_close(parameter.flatten(), same, rtol=1e-5, atol=1e-7, msg=ours)
    assert found == [pytest.approx(kept, rel=1e-6) for kept in KEPT]


# Loss and norm of the gradient at each step; transformers' model gives the same.
KEPT = [(1.955815085, 41.01420472), (1.201322519, 33.69398869), (1.337624855, 13.82645499)]


def test_weight_decay_is_on_both_scales_and_on_nothing_else_that_is_no_matrix() -> None:
    model = GroupViT(small().model)
    decayed = {id(p) for p in build_optimizer(model, SETTINGS).param_groups[0]["params"]}
    for name, parameter in model.named_parameters():
        assert (id(parameter) in decayed) == decayed_by_the_release(name, parameter), name
    usual = {id(p) for p in build_optimizer(model, Optimizer()).param_groups[0]["params"]}
    assert decayed - usual == {id(model.logit_scale), id(model.concept_logit_scale)}


def small(*settings: str) -> Any:
    sizes = ("model.width=24", "model.heads=2", "model.projection_hidden=16", "model.text.layers=3")
    return load_recipe("groupvit_cc3m_release", [*sizes, "model.depths=[1,1,1]", *settings])


def test_the_start_is_the_releases() -> None:
    torch.manual_seed(0)
    model = build_learner(small())
    assert isinstance(model, GroupViT)
    first, second = (model.image_encoder.stages[i].group_tokens for i in (0, 1))
    assert isinstance(first, Tensor)
    assert isinstance(second, Tensor)
    assert float(first.detach().std()) == pytest.approx(0.02, rel=0.1)
    assert not second.any()
    for layer in model.text_encoder.modules():
        if isinstance(layer, nn.Linear):
            most = layer.in_features**-0.5
            attends = layer.out_features == 3 * 256 or (layer.in_features, layer.out_features) == (256, 256)
            spread = float(layer.bias.detach().abs().max())
            assert spread == 0 if attends else 0.95 * most < spread <= most
    usual = build_learner(small("model.zero_later_groups=false", "model.text.uniform_biases=false"))
    assert isinstance(usual, GroupViT)
    assert isinstance(usual.image_encoder.stages[1].group_tokens, Tensor)
    assert usual.image_encoder.stages[1].group_tokens.any()
