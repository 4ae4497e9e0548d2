"""The optimizer: which parameters decay, and that a step that is not finite leaves no trace."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from training.recipes.recipe import Optimizer, build_learner
from training.recipes.recipe_file import load_recipe
from training.step.optimizer import GuardedStep, Verdict, build_optimizer, parameter_groups


@pytest.mark.parametrize("recipe", ["miniature", "miniature_groupvit"])
def test_norms_biases_and_scales_do_not_decay(recipe: str) -> None:
    learner = build_learner(load_recipe(recipe, ["model.text.vocabulary=100"]))
    decayed, others = ({id(p) for p in group} for group in parameter_groups(learner))
    norms = [m for m in learner.modules() if isinstance(m, nn.LayerNorm | nn.GroupNorm | nn.BatchNorm1d)]
    expected = {id(p) for norm in norms for p in norm.parameters()}
    expected |= {id(p) for name, p in learner.named_parameters() if name.endswith("bias") or "scale" in name}
    assert others == expected
    assert decayed | others == {id(p) for p in learner.parameters()}
    assert not decayed & others


def test_decay_is_that_of_the_groups() -> None:
    optimizer = build_optimizer(nn.Linear(2, 2), Optimizer(weight_decay=0.05))
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.05, 0.0]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))


def take(guard: GuardedStep, model: nn.Module, x: torch.Tensor, rate: float) -> tuple[torch.Tensor, torch.Tensor]:
    guard.begin()
    loss = model(x).square().mean()
    loss.backward()
    return guard.end(loss.detach(), rate)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_step_that_is_not_finite_leaves_no_trace(poison: float) -> None:
    model = network()
    optimizer = build_optimizer(model, Optimizer())
    guard = GuardedStep(model, optimizer, clip=1.0)
    x = torch.randn(16, 4)
    _, taken = take(guard, model, x, 0.1)
    assert taken

    before = copy.deepcopy((model.state_dict(), optimizer.state_dict()["state"]))
    bad = x.clone()
    bad[3, 2] = poison
    _, taken = take(guard, model, bad, 0.1)
    assert not taken
    for name, tensor in model.state_dict().items():  # batch norm's statistics and count among them
        assert torch.equal(tensor, before[0][name]), name
    for index, state in optimizer.state_dict()["state"].items():
        for name, tensor in state.items():
            assert torch.equal(tensor, before[1][index][name]), name

    take(guard, model, x, 0.1)
    undisturbed = network()
    guard = GuardedStep(undisturbed, build_optimizer(undisturbed, Optimizer()), clip=1.0)
    for _ in range(2):
        take(guard, undisturbed, x, 0.1)
    for one, other in zip(model.state_dict().values(), undisturbed.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_a_finite_loss_with_a_gradient_that_is_not_is_no_step() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    module = nn.ParameterList([parameter])
    guard = GuardedStep(module, build_optimizer(module, Optimizer()), clip=1.0)
    guard.begin()
    loss = parameter.sqrt().sum()  # 0, with a slope of infinity
    loss.backward()
    norm, taken = guard.end(loss.detach(), 0.1)
    assert torch.isfinite(loss)
    assert not torch.isfinite(norm)
    assert not taken
    assert parameter.item() == 0


def test_steps_are_adamws_with_clipping() -> None:
    # Without batch norm, before which a bias has a gradient of nothing but rounding.
    ours, theirs = (nn.Sequential(*(m for m in network() if not isinstance(m, nn.BatchNorm1d))) for _ in range(2))
    settings = Optimizer(weight_decay=0.1, betas=(0.8, 0.9), eps=1e-6)
    guard = GuardedStep(ours, build_optimizer(ours, settings), clip=0.05)
    decayed, others = parameter_groups(theirs)
    peer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
        betas=(0.8, 0.9),
        eps=1e-6,
        foreach=False,
    )
    for step in range(5):
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
        norm, _ = take(guard, ours, x, 0.01 * (step + 1))
        for group in peer.param_groups:
            group["lr"] = 0.01 * (step + 1)
        peer.zero_grad()
        F.mse_loss(theirs(x), torch.zeros(16, 1)).backward()
        expected = nn.utils.clip_grad_norm_(theirs.parameters(), 0.05)
        assert norm.item() == pytest.approx(expected.item(), rel=1e-5)
        assert norm > 0.05
        peer.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_a_verdict_says_what_became_of_a_step() -> None:
    good = Verdict(3, ["a"], torch.tensor(True), torch.tensor(1.5))
    bad = Verdict(4, ["b"], torch.tensor(False), torch.tensor(float("inf")))
    assert good.read() == (True, 1.5)
    assert bad.read() == (False, float("inf"))


def test_a_scaled_loss_takes_the_steps_of_torchs_scaler() -> None:
    """Its growth, its halving after a gradient that overflows, and no step then; the clip is of the true gradient."""
    ours, theirs = (nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 1)) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    scalers = [torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3) for _ in range(2)]
    guard = GuardedStep(ours, build_optimizer(ours, Optimizer(eps=1e-6)), clip=0.05, scaler=scalers[0])
    decayed, others = parameter_groups(theirs)
    peer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}], lr=0.01, eps=1e-6
    )
    scales = []
    for step in range(9):
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
        x *= float("inf") if step == 4 else 1.0
        guard.begin()
        loss = ours(x).square().mean()
        scale = guard.scale(torch.device("cpu"))
        assert scale is not None
        loss.backward(scale)
        _, taken = guard.end(loss.detach(), 0.01)
        assert taken == (step != 4)
        peer.zero_grad()
        scalers[1].scale(theirs(x).square().mean()).backward()
        scalers[1].unscale_(peer)
        nn.utils.clip_grad_norm_(theirs.parameters(), 0.05)
        scalers[1].step(peer)
        scalers[1].update()
        scales.append(scalers[1].get_scale())
        assert scalers[0].state_dict() == scalers[1].state_dict()
    assert scales == [2.0**10] * 2 + [2.0**11] * 2 + [2.0**10] * 3 + [2.0**11] * 2
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)
