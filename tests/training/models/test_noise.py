"""Numbers that belong to a sample: uniform, independent, and the same wherever the sample is."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.training.tiny_learners import Kind, gradients, tiny_batch, tiny_learner
from training.models.noise import number_draws, of_samples, uniform
from training.step.gradient_cache import Encoders, Features, MicroBatch, accumulate
from training.step.losses import LossParts, total_loss

CPU = torch.device("cpu")
SEEDS = torch.tensor([3, 1 << 40, (1 << 63) - 1, 4])


def drawn(seeds: Tensor, *shape: int, draw: int = 0) -> Tensor:
    with of_samples(seeds):
        return uniform((len(seeds), *shape), draw, CPU)


def word(x: int) -> int:
    for _ in range(2):
        x = ((x >> 16) ^ x) * 0x45D9F3B % 2**32
    return (x >> 16) ^ x


def test_by_the_formula() -> None:
    found = drawn(SEEDS, 3, 5, draw=6)
    for i, seed in enumerate(SEEDS.tolist()):
        of_sample = word(word(seed % 2**32 ^ word(7)) ^ seed >> 32)
        for element, value in enumerate(found[i].flatten().tolist()):
            bits = word((word(of_sample ^ word(element)) + of_sample) % 2**32)
            assert value == pytest.approx(((bits >> 8) + 0.5) / 2**24, rel=1e-7)


def test_a_samples_numbers_do_not_depend_on_the_others() -> None:
    whole = drawn(SEEDS, 7)
    assert torch.equal(drawn(SEEDS[[2, 0]], 7), whole[[2, 0]])
    assert torch.equal(drawn(SEEDS, 3, 7)[:, 0], whole)
    assert not torch.equal(drawn(SEEDS, 7, draw=1), whole)


def test_they_are_uniform_and_independent() -> None:
    """Over elements, samples with neighbouring seeds and parts that draw; bounds of five standard deviations."""
    numbers = torch.stack([drawn(torch.arange(400), 50, draw=draw) for draw in range(10)]).double().numpy()
    n = numbers.size
    assert 0 < numbers.min() < numbers.max() < 1
    counts = np.histogram(numbers, 64, (0, 1))[0]
    assert abs(counts - n / 64).max() < 5 * (n / 64) ** 0.5
    centred = numbers - 0.5
    for one, other in (
        (centred[1:], centred[:-1]),
        (centred[:, 1:], centred[:, :-1]),
        (centred[..., 1:], centred[..., :-1]),
    ):
        assert abs((one * other).mean()) < 5 / 12 / one.size**0.5
    assert np.unique(numbers).size > 0.98 * n


def test_without_seeds_or_for_other_things_torch_draws() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3, 2)
    torch.manual_seed(0)
    assert torch.equal(drawn(SEEDS[:0], 2), torch.empty(0, 2))
    with of_samples(SEEDS):
        assert torch.equal(uniform((3, 2), 0, CPU), expected)


@pytest.mark.parametrize("kind", ["patch-alignment", "groupvit"])
def test_the_gradient_does_not_depend_on_how_a_batch_is_cut(kind: Kind) -> None:
    learner = tiny_learner(kind, drop_path=0.5)
    number_draws(learner)
    pixels, captions, concepts = tiny_batch(4, 2)

    def gradient(*sizes: int, seeds: Tensor = SEEDS) -> dict[str, Tensor]:
        own = copy.deepcopy(learner)

        def loss_of(features: Features) -> LossParts:
            return total_loss(own, *features)

        pieces = zip(*(part.split(list(sizes)) for part in (pixels, captions, concepts, seeds)), strict=True)
        accumulate(Encoders(own), [MicroBatch(*piece) for piece in pieces], loss_of)
        return gradients(own)

    expected = gradient(4)
    for sizes in ((2, 2), (3, 1), (1, 1, 1, 1)):
        torch.manual_seed(sizes[0])
        torch.testing.assert_close(gradient(*sizes), expected)
    others = gradient(4, seeds=SEEDS + 1 & (1 << 62) - 1)
    assert any(not torch.equal(g, others[name]) for name, g in expected.items())


def test_parts_that_draw_are_told_apart() -> None:
    learner = tiny_learner("groupvit", drop_path=0.5)
    number_draws(learner)
    draws = [part.draws for part in learner.modules() if hasattr(part, "draws")]
    assert draws == list(range(0, 2 * len(draws), 2))
    assert len(draws) == 3 + 2 + 1  # blocks, groupings, the text's block
