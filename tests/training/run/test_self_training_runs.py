"""Runs of self-training: they learn, go on exactly, and keep what the frozen tower makes of pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from files.errors import MisuseError
from files.locks import taken
from tests.training.curated_world import make_curated
from tests.training.loader_world import make_shards
from training.recipes.recipe import Recipe
from training.recipes.recipe_file import load_recipe
from training.run.checkpoint import load_learner, load_state
from training.run.options import TrainOptions
from training.run.trainer import train
from training.shards.found import Source

SMALL = ["data.batch=8", "optimizer.base_batch=8", "log_every=1", "model.hidden=16", "validation.batch=8"]


def recipe(name: str = "clip_head", *overrides: str) -> Recipe:
    return load_recipe(name, [*SMALL, *overrides])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_curated(tmp_path_factory.mktemp("train"), shards=2, pairs=15, side=20)


@pytest.fixture
def options(tmp_path: Path, data: Path) -> TrainOptions:
    return TrainOptions(tmp_path / "run", [Source((str(data),))], device="cpu", workers=0, tensorboard=False)


def lines(run: Path, event: str = "train") -> list[dict[str, Any]]:
    every = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in every if line["event"] == event]


def losses(run: Path) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in lines(run)}


@pytest.mark.parametrize("name", ["clip_head", "clip_finetune"])
def test_a_run_learns_and_goes_on_bit_by_bit(tmp_path: Path, options: TrainOptions, name: str) -> None:
    wanted = recipe(name, "steps=10", "checkpoints.every_steps=3", "checkpoints.keep=9", "validation.every_steps=5")
    undisturbed = replace(options, run=tmp_path / "undisturbed", val=options.data)
    train(wanted, undisturbed)
    # Into another folder, so that nothing is kept of pictures that only the first steps saw.
    resumed = replace(undisturbed, run=tmp_path / "resumed", resume=str(undisturbed.run / "checkpoints/step-00000003"))
    train(wanted, resumed)
    expected = losses(undisturbed.run)
    assert losses(resumed.run) == {step: loss for step, loss in expected.items() if step > 3}
    ends = [load_state(run / "checkpoints" / "step-00000010") for run in (undisturbed.run, resumed.run)]
    for one, other in zip(*(end["optimizer"]["state"].values() for end in ends), strict=True):
        assert all(torch.equal(one[key], other[key]) for key in one)
    first, last = lines(undisturbed.run, "validation")
    assert {"loss", "agreement", "listed"} <= set(last)
    assert last["loss"] < first["loss"]
    assert last["loss"] == lines(resumed.run, "validation")[-1]["loss"]
    learner, _ = load_learner(undisturbed.run / "best")
    assert learner.dense(torch.zeros(1, 3, 64, 64)).grid == (8, 8)
    assert (undisturbed.run / "features").exists() == (name == "clip_head")


def test_micro_batches_are_the_batch(tmp_path: Path, options: TrainOptions) -> None:
    for name in ("clip_head", "clip_finetune"):
        whole, pieces = (replace(options, run=tmp_path / f"{name}{n}") for n in range(2))
        train(recipe(name, "steps=3", "data.augment=none"), whole)
        train(recipe(name, "steps=3", "data.augment=none", "data.micro_batch=3"), pieces)
        assert losses(pieces.run) == pytest.approx(losses(whole.run), rel=1e-4)


def test_runs_share_what_a_tower_made_of_pictures(tmp_path: Path, options: TrainOptions) -> None:
    shared = tmp_path / "features"
    first, second, third = (replace(options, run=tmp_path / str(n), features=shared) for n in range(3))
    train(recipe("clip_head", "epochs=2"), first)
    (tower,) = shared.iterdir()
    rows = (tower / "rows").read_bytes()
    assert len(rows) == 30 * 64 * 64 * 2
    train(recipe("clip_head_captions", "epochs=2"), second)  # the same pictures with other lists
    assert (tower / "rows").read_bytes() == rows
    assert not (second.run / "features").exists()
    with taken(tower, tower / ".lock"):  # another run is at work there
        train(recipe("clip_head", "epochs=2"), third)
    assert losses(third.run) == losses(first.run)
    assert len((third.run / "features" / tower.name / "rows").read_bytes()) == len(rows)


def test_features_that_have_no_place(tmp_path: Path, options: TrainOptions) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MisuseError, match=r"--features .*file: cannot be used"):
        train(recipe("clip_head", "steps=1"), replace(options, features=tmp_path / "file"))


def test_pictures_without_a_concept_teach_nothing(tmp_path: Path, options: TrainOptions) -> None:
    shards = make_shards(tmp_path / "shards")  # among them pairs that cannot be used, and empty lists
    train(recipe("clip_head_captions", "steps=10"), replace(options, data=[Source((str(shards),))]))
    listed = [line["listed"] for line in lines(options.run)]
    assert min(listed) < 1
    assert all(loss < 10 for loss in losses(options.run).values())
