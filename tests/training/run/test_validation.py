"""Validation figures, against the loss of training on the same features."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from tests.training.curated_world import make_curated
from training.batches.augment import finish
from training.batches.batch import Batch
from training.batches.loader import BatchOptions, validation_batches
from training.models.learner import Learner
from training.processes import Place
from training.recipes.recipe import Loss, build_learner
from training.recipes.recipe_file import load_recipe
from training.run.validation import means, validation_sums
from training.step.losses import total_loss

CPU = torch.device("cpu")
SMALL = ["model.image_size=16", "model.width=16", "model.text.width=16", "model.text.layers=1", "model.text.heads=2"]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_curated(tmp_path_factory.mktemp("val"), shards=1, pairs=22, side=20)


def batches(shards: Path, size: int, concepts: str = "curated-cluster") -> list[Batch]:
    return list(validation_batches([str(shards)], BatchOptions(size, 16, concepts, context_length=32)))


def validation_figures(model: Learner, some: list[Batch], losses: Loss, pairs: int | None = None) -> dict[str, float]:
    return means([validation_sums(model, some, Place(0, 1, CPU), losses, pairs)])


def learner(name: str) -> Learner:
    torch.manual_seed(0)
    return build_learner(load_recipe(name, SMALL)).eval()


@pytest.mark.parametrize("name", ["miniature", "miniature_groupvit"])
def test_figures_are_those_of_the_training_loss(shards: Path, name: str) -> None:
    model = learner(name)
    (batch,) = batches(shards, 22)
    figures = validation_figures(model, [batch], Loss(concept_weight=0.3))
    texts = model.encode_text(torch.cat([batch.captions[:, None], batch.concepts], 1).flatten(0, 1)).unflatten(
        0, (22, 4)
    )
    image = model.encode_image(finish(batch.pixels))
    ids = {"concept_ids": batch.concept_ids, "caption_ids": batch.caption_ids}
    parts = total_loss(model, image, texts[:, 0], texts[:, 1:], **ids, concept_weight=0.3)
    assert parts.concepts is not None
    assert parts.concept_precision is not None
    expected = {
        "loss": parts.total,
        "caption_loss": parts.caption,
        "caption_recall": parts.caption_recall,
        "concept_loss": parts.concepts,
        "concept_precision": parts.concept_precision,
    }
    assert figures == pytest.approx({key: float(value.detach()) for key, value in expected.items()}, rel=1e-5)


def test_figures_are_means_over_whole_batches(shards: Path) -> None:
    model = learner("miniature")
    some = batches(shards, 8)
    assert [len(batch.keys) for batch in some] == [8, 8, 6]
    first, second = (validation_figures(model, [batch], Loss())["loss"] for batch in some[:2])
    assert validation_figures(model, some, Loss())["loss"] == pytest.approx((first + second) / 2, rel=1e-6)
    assert validation_figures(model, some, Loss(), pairs=8)["loss"] == pytest.approx(first, rel=1e-6)
    assert validation_figures(model, some, Loss(), pairs=3)["loss"] == pytest.approx(first, rel=1e-6)
    assert validation_figures(model, some[2:], Loss())["loss"] > 0  # the only one there is
    assert validation_figures(model, [], Loss()) == {}


def test_captions_alone(shards: Path) -> None:
    figures = validation_figures(learner("miniature"), batches(shards, 22, "none"), Loss())
    assert set(figures) == {"loss", "caption_loss", "caption_recall"}
    assert figures["loss"] == figures["caption_loss"]
    assert figures["loss"] == pytest.approx(math.log(22), abs=1.5)  # an untrained model guesses
