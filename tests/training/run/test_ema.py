"""The running mean of weights, against a loop."""

from __future__ import annotations

import pytest
import torch

from files.errors import CocuError
from tests.training.tiny_learners import tiny_learner
from training.run.ema import Ema

STEPS = 25
NOT_TAKEN = 7


def test_means_are_those_of_a_loop() -> None:
    learner = tiny_learner("patch-alignment")
    learner.freeze(["text_tower"])
    ema = Ema(learner, 0.6)
    expected = {name: p.detach().clone() for name, p in learner.named_parameters()}
    generator = torch.Generator().manual_seed(1)
    for step in range(STEPS):
        taken = step != NOT_TAKEN
        for name, p in learner.named_parameters():
            if p.requires_grad and taken:
                p.data += torch.randn(p.shape, generator=generator, dtype=p.dtype)
                decay = min(0.6, (1 + step) / (10 + step))
                expected[name] = decay * expected[name] + (1 - decay) * p.detach()
        ema.update(step, torch.tensor(taken))
    weights = {name: p.detach().clone() for name, p in learner.named_parameters()}
    with ema.in_place():
        for name, p in learner.named_parameters():
            torch.testing.assert_close(p.detach(), expected[name], rtol=1e-6, atol=1e-7, msg=name)
    for name, p in learner.named_parameters():
        assert torch.equal(p, weights[name]), name
    assert not any(name.startswith("text_encoder") for name in ema.weights())


def test_it_goes_on_from_the_means_and_the_weights() -> None:
    learner = tiny_learner("patch-alignment")
    ema = Ema(learner, 0.9)
    for p in learner.parameters():
        p.data += 1
    ema.update(0, torch.tensor(True))
    with ema.in_place():
        kept = {name: value.clone() for name, value in learner.state_dict().items()}
    other = tiny_learner("patch-alignment", seed=1)
    other.load_state_dict(kept)
    again = Ema(other, 0.9)
    again.go_on(ema.weights())
    for one in (learner, other):
        for p in one.parameters():
            p.data *= 2
    ema.update(1, torch.tensor(True))
    again.update(1, torch.tensor(True))
    for mine, its in zip(learner.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, its)
    with ema.in_place(), again.in_place():
        for mine, its in zip(learner.parameters(), other.parameters(), strict=True):
            assert torch.equal(mine, its)
    with pytest.raises(CocuError, match="not those of this learner"):
        again.go_on({"a": torch.zeros(1)})
