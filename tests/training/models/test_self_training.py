"""Self-training: labels and loss beside plain loops, and a head that at first adds nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from files.errors import MisuseError
from training.models.learner import ConceptLists
from training.models.pretrained import load_open_clip, open_clip_name
from training.models.self_training import SelfTraining, SelfTrainingConfig, list_labels


@pytest.fixture(scope="module")
def learner() -> SelfTraining:
    name = open_clip_name("miniature")
    assert name is not None
    clip = load_open_clip(name, custom_text=True)
    torch.manual_seed(0)
    made = SelfTraining(SelfTrainingConfig(towers=clip.form, hidden=8))
    made.towers.begin_from(clip)
    with torch.no_grad():
        made.logit_scale.fill_(math.log(20))
    return made.eval()


def plain_labels(logits: Any, weights: Any, presence: float) -> tuple[list[list[int]], list[list[float]]]:
    """The docstring's formula, a number after the other."""
    labels, sure = [], []
    for cells, own in zip(logits.tolist(), weights.tolist(), strict=True):
        listed = [u for u, weight in enumerate(own) if weight > 0]
        if not listed:
            labels.append([0] * len(cells))
            sure.append([0.0] * len(cells))
            continue
        powers = [{u: math.exp(cell[u]) for u in listed} for cell in cells]
        p = [{u: power[u] / sum(power.values()) for u in listed} for power in powers]
        mean = {u: sum(one[u] for one in p) / len(p) for u in listed}
        q = [{u: one[u] / mean[u] ** presence * own[u] for u in listed} for one in p]
        best = [max(listed, key=one.__getitem__) for one in q]
        labels.append(best)
        sure.append([one[b] / sum(one.values()) for one, b in zip(q, best, strict=True)])
    return labels, sure


@pytest.mark.parametrize("presence", [0.0, 0.5, 1.0])
def test_labels_are_those_of_the_formula(presence: float) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = 4 * torch.randn(5, 7, 9, generator=generator, dtype=torch.float64)
    weights = torch.rand(5, 9, generator=generator, dtype=torch.float64)
    weights[weights < 0.4] = 0
    weights[2] = 0  # a picture without a list
    labels, sure = list_labels(logits, weights, presence)
    expected, how_sure = plain_labels(logits, weights, presence)
    assert labels.tolist() == expected
    torch.testing.assert_close(sure, torch.tensor(how_sure, dtype=torch.float64))


def test_a_listed_concept_gets_its_best_cell_though_another_is_stronger_everywhere() -> None:
    logits = torch.tensor([[[5.0, 1.0], [5.0, 3.0], [5.0, 1.0]]])
    both = torch.ones(1, 2)
    assert list_labels(logits, both, presence=0.0)[0].tolist() == [[0, 0, 0]]
    assert list_labels(logits, both, presence=1.0)[0].tolist() == [[0, 1, 0]]
    assert list_labels(logits, torch.tensor([[1.0, 0.01]]), presence=1.0)[0].tolist() == [[0, 0, 0]]


def test_loss_is_that_of_a_plain_loop(learner: SelfTraining) -> None:
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(3, 4, 64, generator=generator)
    vectors = F.normalize(torch.randn(6, 64, generator=generator), dim=1)
    vectors[5] = F.normalize(vectors[4] + 0.01 * vectors[0], dim=0)  # another word for the same
    weights = torch.tensor([[1, 0.5, 0, 0, 0, 0], [0, 0, 0, 0.2, 0.9, 0], [0, 0, 0, 0, 0, 0]])
    found = learner.own_loss(features, ConceptLists(vectors, weights))
    logits = 20 * learner.project_image(features) @ vectors.mT
    labels, sure = plain_labels(logits, weights, 1.0)
    total = right = 0.0
    for b in range(3):
        for n in range(4):
            label, others = labels[b][n], [*range(6)]
            if label in (4, 5):
                others.remove(9 - label)
            some = logits[b, n, others]
            total += sure[b][n] * float((some.logsumexp(0) - logits[b, n, label]).detach())
            right += sure[b][n] * float(some.max() == logits[b, n, label])
    assert float(found.total) == pytest.approx(total, rel=1e-4)
    assert float(found.weight) == pytest.approx(sum(map(sum, sure)), rel=1e-5)
    assert float(found.figures["agreement"]) == pytest.approx(right, rel=1e-5)


def test_at_the_start_it_says_what_the_clip_says(learner: SelfTraining) -> None:
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    cells, grid, whole = learner.towers.views(pixels)
    found = learner.dense(pixels)
    assert found.grid == grid == (8, 8)
    torch.testing.assert_close(found.vectors, F.normalize(cells, dim=-1))
    torch.testing.assert_close(found.whole, F.normalize(whole, dim=-1))
    tokens = learner.tokenizer(["a dog", "a cat", "a dog"])  # type: ignore[misc]
    texts = learner.encode_text(tokens)
    torch.testing.assert_close(texts, learner.towers.texts(tokens))
    assert torch.equal(texts[0], texts[2])


@pytest.mark.parametrize("sizes", [{"hidden": 0}, {"presence": 1.5}, {"same": 0.0}, {"image_size": 60}])
def test_sizes_that_do_not_go_together(learner: SelfTraining, sizes: dict[str, Any]) -> None:
    with pytest.raises(MisuseError, match=next(iter(sizes))):
        SelfTraining(SelfTrainingConfig(towers=learner.config.towers, **sizes))
