"""The learning rate, against PyTorch's own schedulers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.scheduler.cosine_lr import CosineLRScheduler
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from training.step.schedule import LearningRate, scaled


def rates_of_torch(peak: float, start: float, end: float, warmup: int, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    rise = LinearLR(optimizer, start_factor=start / peak, end_factor=1.0, total_iters=warmup)
    fall = CosineAnnealingLR(optimizer, T_max=steps - warmup, eta_min=end)
    both = SequentialLR(optimizer, [rise, fall], milestones=[warmup])
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        both.step()
    return rates


@pytest.mark.parametrize(("warmup", "steps"), [(10, 150), (1, 20), (7, 8)])
def test_rates_equal_those_of_torch(warmup: int, steps: int) -> None:
    ours = LearningRate(peak=1.6e-3, start=4e-6, end=4e-5, warmup=warmup, steps=steps)
    expected = rates_of_torch(1.6e-3, 4e-6, 4e-5, warmup, steps)
    assert [ours.at(step) for step in range(steps)] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("warmup", "steps"), [(10, 150), (0, 20), (7, 8)])
def test_the_released_rates_are_timms_one_update_late(warmup: int, steps: int) -> None:
    ours = LearningRate(peak=1.6e-3, start=4e-6, end=4e-5, warmup=warmup, steps=steps, released=True)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.6e-3)
    schedule = CosineLRScheduler(
        optimizer, t_initial=steps, lr_min=4e-5, warmup_lr_init=4e-6, warmup_t=warmup, t_in_epochs=False
    )
    for step in range(steps):
        if step or warmup:
            assert optimizer.param_groups[0]["lr"] == pytest.approx(ours.at(step), rel=1e-9)
        schedule.step_update(step)


@given(st.integers(0, 50), st.integers(1, 500))
def test_rates_stay_between_the_given_ones_and_end_at_the_last(warmup: int, beyond: int) -> None:
    steps = warmup + beyond
    rate = LearningRate(peak=1.0, start=0.01, end=0.1, warmup=warmup, steps=steps)
    rates = [rate.at(step) for step in range(steps)]
    assert min(rates) >= 0.01
    assert rates[warmup] == max(rates) == 1.0
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert rate.at(steps) == pytest.approx(0.1)


def test_rates_grow_with_the_batch() -> None:
    assert scaled(1.6e-3, 4096, 4096) == 1.6e-3
    assert scaled(1.6e-3, 256, 4096) == pytest.approx(1e-4)
