"""Speed, time left and the operations of a step."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from tests.training.tiny_learners import tiny_batch, tiny_learner
from training.models.patch_alignment import PatchAlignment, PatchAlignmentConfig
from training.models.text_encoder import TextConfig
from training.run.throughput import LogWindow, peak_of, spoken, step_flops


def test_a_window_tells_speed_waiting_and_time_left() -> None:
    window = LogWindow()
    with window.waiting():
        sum(range(200_000))
    window.pairs += 64
    figures = window.figures(pairs_left=128)
    assert 0 < figures["data_wait"] <= 1
    assert figures["pairs_per_s"] > 0
    assert figures["seconds_left"] == pytest.approx(128 / figures["pairs_per_s"])
    assert math.isnan(LogWindow().figures(pairs_left=128)["seconds_left"])


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (5400, "1.5 h"), (200_000, "2.3 days")]
)
def test_a_time_is_said_as_people_do(seconds: float, said: str) -> None:
    assert spoken(seconds) == said


def test_operations_are_those_of_the_products() -> None:
    text = TextConfig(context_length=6, width=32, layers=2, heads=2, vocabulary=50)
    learner = PatchAlignment(PatchAlignmentConfig(16, 4, 32, 2, 2, text=text))
    products = []

    def note(module: nn.Linear | nn.Conv2d, given: tuple[Tensor, ...], answer: Tensor) -> None:
        products.append(2 * answer.numel() * module.weight[0].numel())

    for module in learner.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.register_forward_hook(note)
    counted = step_flops(learner, torch.rand(1, 3, 16, 16), torch.ones(2, 6, dtype=torch.long))
    assert 3 * sum(products) <= counted <= 3.6 * sum(products)  # the rest is attention, which not every device counts


@pytest.mark.parametrize("kind", ["groupvit", "patch-alignment"])
def test_counting_changes_nothing(kind: str) -> None:
    learner = tiny_learner(kind)  # type: ignore[arg-type]
    pixels, captions, _ = tiny_batch(2, 1)
    before = torch.get_rng_state()
    kept = {name: value.clone() for name, value in learner.state_dict().items()}
    learner.train()
    assert step_flops(learner, pixels[:1], captions[:1]) > 0
    assert learner.training
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(value, kept[name]) for name, value in learner.state_dict().items())


def test_peaks_are_found_by_the_devices_name() -> None:
    assert peak_of("NVIDIA H100 80GB HBM3") == 989e12
    assert peak_of("Tesla K80") is None
