"""The loop, in one process: it learns, goes on exactly, skips what is not finite, and keeps the best."""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from files.errors import CocuError, MisuseError
from tests.training.curated_world import make_curated
from training.models.learner import Learner
from training.processes import Wish
from training.recipes.recipe import Recipe
from training.recipes.recipe_file import load_recipe
from training.run import trainer
from training.run.checkpoint import load_learner, load_state
from training.run.options import TrainOptions
from training.run.trained import Outcome, Trained
from training.run.trainer import train
from training.shards.found import Source
from training.step.losses import LossParts

TEXT = ["model.text.width=16", "model.text.layers=1", "model.text.heads=2", "model.text.context_length=24"]
TINY = {
    "miniature": ["model.width=16", "model.layers=1", "model.projection_width=16", "model.drop_path=0.2"],
    "miniature_groupvit": [
        *("model.width=16", "model.depths=[1,1,1]", "model.group_tokens=[6,3]", "model.output_groups=[6,3]"),
        *("model.projection_hidden=16", "model.projection_width=16", "model.drop_path=0.2"),
    ],
}
LOOP = ["model.image_size=16", "data.batch=8", "optimizer.base_batch=8", "log_every=1", "validation.batch=16"]


def recipe(name: str = "miniature", *overrides: str) -> Recipe:
    """A recipe so small that a step takes milliseconds."""
    return load_recipe(name, [*TINY[name], *TEXT, *LOOP, *overrides])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_curated(tmp_path_factory.mktemp("train"), shards=3, pairs=20, side=20)


@pytest.fixture(scope="module")
def val(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_curated(tmp_path_factory.mktemp("val"), shards=1, pairs=40, side=20, seed=555)


@pytest.fixture
def options(tmp_path: Path, data: Path) -> TrainOptions:
    return TrainOptions(tmp_path / "run", [Source((str(data),))], device="cpu", workers=0, tensorboard=False)


def lines(run: Path, event: str = "train") -> list[dict[str, Any]]:
    every = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in every if line["event"] == event]


def losses(run: Path) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in lines(run)}


def test_it_learns(tmp_path: Path, options: TrainOptions, val: Path) -> None:
    options = replace(options, val=[Source((str(val),))])
    settings = ["concepts=curated-cluster", "data.augment=none", "optimizer.base_lr=2e-3", "validation.every_steps=99"]
    first, trained = replace(options, run=tmp_path / "first"), replace(options, run=tmp_path / "trained")
    train(recipe("miniature", "steps=1", *settings), first)
    outcome = train(recipe("miniature", "steps=60", *settings), trained)
    assert (outcome.asked, outcome.progress.step, outcome.steps) == (Wish.GO_ON, 60, 60)
    before, after = (lines(run, "validation")[-1] for run in (first.run, trained.run))
    assert after["loss"] < before["loss"] - 0.5
    assert after["caption_recall"] > before["caption_recall"]
    assert after["concept_precision"] > before["concept_precision"]


def test_each_epoch_ends_with_a_validation_and_the_best_is_kept(options: TrainOptions, val: Path) -> None:
    outcome = train(recipe("miniature", "epochs=3", "data.batch=16"), replace(options, val=[Source((str(val),))]))
    measured = lines(options.run, "validation")
    assert [line["step"] for line in measured] == [3, 6, 9]  # 60 pairs in batches of 16
    assert [line["epoch"] for line in lines(options.run)][2::3] == [1, 2, 3]
    best = min(measured, key=lambda line: line["loss"])
    assert outcome.progress.best == {"loss": best["loss"], "step": best["step"]}
    assert outcome.best == options.run.resolve() / "checkpoints" / f"step-{best['step']:08d}"
    learner, _ = load_learner(options.run / "best")
    assert learner.dense(torch.zeros(1, 3, 16, 16)).vectors.shape[:2] == (1, 4)


def test_the_log_tells_all_that_shows_a_run_going_wrong(options: TrainOptions) -> None:
    train(recipe("miniature_groupvit", "epochs=1", "optimizer.warmup_epochs=0"), options)
    line = lines(options.run)[-1]
    assert {"loss", "caption_loss", "concept_loss", "lr", "grad_norm", "scale", "concept_scale"} <= set(line)
    assert {"pairs_per_s", "data_wait", "memory_gb", "skipped", "bad_pairs", "epoch", "health/groups"} <= set(line)
    assert line["loss"] == pytest.approx(line["caption_loss"] + line["concept_loss"], rel=1e-5)
    assert line["scale"] == pytest.approx(1 / 0.07, rel=0.05)


@pytest.mark.parametrize(("name", "workers"), [("miniature", 0), ("miniature", 2), ("miniature_groupvit", 0)])
def test_a_run_goes_on_in_mid_epoch_bit_by_bit(
    tmp_path: Path, options: TrainOptions, val: Path, name: str, workers: int
) -> None:
    wanted = recipe(name, "steps=28", "checkpoints.every_steps=4", "checkpoints.keep=99", "validation.every_steps=6")
    undisturbed = replace(options, run=tmp_path / "undisturbed", val=[Source((str(val),))], workers=workers)
    train(wanted, undisturbed)
    expected = losses(undisturbed.run)

    # 60 pairs: an epoch is 7.5 steps.
    resumed = replace(undisturbed, run=tmp_path / "resumed", resume=str(undisturbed.run / "checkpoints/step-00000004"))
    train(wanted, resumed)
    found = losses(resumed.run)
    assert set(found) == set(range(5, 29))
    assert found == {step: loss for step, loss in expected.items() if step > 4}
    ends = [load_state(run / "checkpoints" / "step-00000028") for run in (undisturbed.run, resumed.run)]
    for one, other in zip(*(end["optimizer"]["state"].values() for end in ends), strict=True):
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert ends[0]["streams"] == ends[1]["streams"]


def test_the_same_command_again_finds_the_run_finished(options: TrainOptions) -> None:
    train(recipe("miniature", "steps=3"), options)
    before = losses(options.run)
    outcome = train(recipe("miniature", "steps=3"), options)
    assert (outcome.progress.step, outcome.asked) == (3, Wish.GO_ON)
    assert losses(options.run) == before


def test_lines_behind_the_checkpoint_are_dropped(options: TrainOptions) -> None:
    wanted = recipe("miniature", "steps=6", "checkpoints.every_steps=3", "checkpoints.keep=5")
    train(wanted, options)
    before = losses(options.run)
    newest = options.run / "checkpoints" / "step-00000006" / "trainer.pt"
    newest.write_bytes(newest.read_bytes()[:1000])  # a disk's damage
    with (options.run / "log.jsonl").open("a") as log:
        log.write('{"event": "train", "step": 7, "lo')  # cut off
    with pytest.warns(UserWarning, match="passed over a damaged checkpoint"):
        train(wanted, options)
    assert losses(options.run) == before
    assert len(lines(options.run)) == 6


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("optimizer.base_lr=0.5", "optimizer.base_lr: 0.004 there, 0.5 now"),
        ("concepts=curated-top", "concepts: caption there, curated-top now"),
        ("model.width=32", "model.width: 16 there, 32 now"),
        ("seed=3", "seed: 0 there, 3 now"),
    ],
)
def test_another_recipe_in_the_folder_is_refused(options: TrainOptions, override: str, said: str) -> None:
    train(recipe("miniature", "steps=1"), options)
    with pytest.raises(MisuseError) as caught:
        train(recipe("miniature", "steps=1", override), options)
    assert said in str(caught.value)
    assert str(options.run) in str(caught.value)


def test_how_a_run_is_logged_and_saved_may_change(options: TrainOptions) -> None:
    train(recipe("miniature", "steps=1"), options)
    train(recipe("miniature", "steps=1", "log_every=7", "checkpoints.keep=5"), options)


def test_other_shards_are_refused(options: TrainOptions, val: Path) -> None:
    train(recipe("miniature", "steps=1"), options)
    with pytest.raises(MisuseError, match="shards"):
        train(recipe("miniature", "steps=1"), replace(options, data=[Source((str(val),))]))


def test_a_folder_that_is_not_a_runs_is_left_alone(options: TrainOptions) -> None:
    options.run.mkdir()
    (options.run / "thesis.tex").write_text("mine")
    with pytest.raises(MisuseError, match=r"holds other files \(thesis.tex\)"):
        train(recipe(), options)
    assert sorted(path.name for path in options.run.iterdir()) == ["thesis.tex"]


def test_never_does_not_write_over_a_run(options: TrainOptions) -> None:
    train(recipe("miniature", "steps=1"), options)
    with pytest.raises(MisuseError, match="--resume never would write over"):
        train(recipe("miniature", "steps=1"), replace(options, resume="never"))


def test_a_run_is_not_rewound_under_its_later_checkpoints(options: TrainOptions) -> None:
    wanted = recipe("miniature", "steps=4", "checkpoints.every_steps=2")
    train(wanted, options)
    earlier = options.run / "checkpoints" / "step-00000002"
    with pytest.raises(MisuseError, match=r"has a checkpoint of step 4, behind step 2 of"):
        train(wanted, replace(options, resume=str(earlier)))


def test_a_new_run_begins_with_given_weights(tmp_path: Path, options: TrainOptions) -> None:
    train(recipe("miniature", "steps=3"), options)
    source = options.run / "checkpoints" / "step-00000003"
    still = recipe("miniature", "steps=1", "optimizer.base_lr=1e-30", "optimizer.warmup_lr=0", "optimizer.final_lr=0")
    train(still, replace(options, run=tmp_path / "new", init=str(source)))
    (one, _), (other, _) = load_learner(source), load_learner(tmp_path / "new/checkpoints/step-00000001")
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def poisoned(steps: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the loss of these steps NaN, as a broken kernel would."""
    real: Callable[..., LossParts] = trainer.total_loss
    calls = 0

    def loss(*arguments: Any, **named: Any) -> LossParts:
        nonlocal calls
        calls += 1
        parts = real(*arguments, **named)
        return replace(parts, total=parts.total * float("nan")) if calls in steps else parts

    monkeypatch.setattr(trainer, "total_loss", loss)


@pytest.mark.parametrize("name", ["miniature", "miniature_groupvit"])
def test_a_step_that_is_not_finite_is_skipped_and_named(
    options: TrainOptions, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    poisoned({3, 4, 6}, monkeypatch)
    outcome = train(recipe(name, "steps=8", "checkpoints.every_steps=1", "checkpoints.keep=9"), options)
    assert (outcome.progress.skipped, outcome.progress.skipped_in_a_row) == (3, 0)
    skipped = [json.loads(line) for line in (options.run / "skipped.jsonl").read_text().splitlines()]
    assert [line["step"] for line in skipped] == [3, 4, 6]
    assert all(len(set(line["keys"])) == 8 for line in skipped)
    assert [line["step"] for line in lines(options.run, "skipped")] == [3, 4, 6]
    assert [line["skipped"] for line in lines(options.run)][-1] == 3
    weights = [load_learner(options.run / f"checkpoints/step-{step:08d}")[0].state_dict() for step in range(1, 9)]
    same = [all(torch.equal(a[k], b[k]) for k in a) for a, b in itertools.pairwise(weights)]
    assert same == [False, True, True, False, True, False, False]


def test_ten_steps_on_end_that_are_not_finite_end_the_run(options: TrainOptions) -> None:
    # Weights of 1e30: this overflows without anybody's help.
    with pytest.raises(CocuError, match=r"not finite in 10 steps on end, up to step 11") as caught:
        train(recipe("miniature", "steps=50", "optimizer.base_lr=1e30", "optimizer.warmup_epochs=0"), options)
    assert caught.value.exit_code == 1
    assert "skipped.jsonl" in str(caught.value)
    assert len((options.run / "skipped.jsonl").read_text().splitlines()) == 10


def test_single_bad_steps_do_not_add_up_to_an_end(options: TrainOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    poisoned(set(range(1, 50, 2)), monkeypatch)
    assert train(recipe("miniature", "steps=24"), options).progress.skipped == 12


def test_measured_figures_decide_which_is_best(options: TrainOptions, val: Path) -> None:
    scripted = iter([0.1, 0.4, 0.3])

    def measure(learner: Learner) -> dict[str, float]:
        assert not learner.training  # type: ignore[attr-defined]
        return {"miou": next(scripted)}

    wanted = recipe("miniature", "steps=6", "validation.every_steps=2", "checkpoints.keep=1")
    outcome = train(wanted, replace(options, val=[Source((str(val),))], measure=measure))
    assert outcome.progress.best == {"miou": 0.4, "step": 4}
    assert [line["miou"] for line in lines(options.run, "validation")] == [0.1, 0.4, 0.3]
    assert sorted(path.name for path in (options.run / "checkpoints").iterdir()) == ["step-00000004", "step-00000006"]


def test_the_last_is_the_model_until_something_is_measured(options: TrainOptions, val: Path) -> None:
    settings = ("checkpoints.every_steps=2", "validation.every_steps=99")
    outcome = train(recipe("miniature", "steps=5", *settings), options)
    assert (outcome.best, outcome.progress.best) == (options.run.resolve() / "checkpoints/step-00000005", {})
    (options.run / "best").unlink()  # as in a run of an older version: the same command again puts it right
    outcome = train(recipe("miniature", "steps=5", *settings), options)
    assert Trained(options.run, outcome).best == options.run / "best"
    load_learner(options.run / "best")
    # Gone on from elsewhere with validation, what is measured wins.
    source = options.run / "checkpoints" / "step-00000004"
    measured = replace(options, run=options.run.with_name("on"), resume=str(source), val=[Source((str(val),))])
    outcome = train(recipe("miniature", "steps=5", *settings), measured)
    assert outcome.best is not None
    assert outcome.progress.best["step"] == int(outcome.best.name[-8:]) == 5


@pytest.mark.parametrize(("number", "wish"), [(signal.SIGTERM, Wish.TERMINATE), (signal.SIGINT, Wish.INTERRUPT)])
def test_a_signal_saves_and_ends_even_a_validation(
    tmp_path: Path, options: TrainOptions, val: Path, number: int, wish: Wish
) -> None:
    def measure(_: Learner) -> dict[str, float]:
        os.kill(os.getpid(), number)
        while True:
            pass

    wanted = recipe("miniature", "steps=9", "validation.every_steps=5")
    interrupted = replace(options, val=[Source((str(val),))], measure=measure)
    before = signal.getsignal(number)
    outcome: Outcome = train(wanted, interrupted)
    assert (outcome.asked, outcome.progress.step) == (wish, 5)
    assert signal.getsignal(number) is before
    train(wanted, replace(interrupted, measure=None))
    undisturbed = replace(interrupted, run=tmp_path / "undisturbed", measure=None)
    train(wanted, undisturbed)
    assert losses(options.run) == losses(undisturbed.run)


def test_a_batch_in_pieces_gives_the_losses_of_the_whole(tmp_path: Path, options: TrainOptions) -> None:
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    settings = ("steps=6", "model.drop_path=0", "optimizer.warmup_epochs=0")
    train(recipe("miniature", *settings), replace(options, run=whole))
    train(recipe("miniature", *settings, "data.micro_batch=3"), replace(options, run=pieces))
    assert losses(pieces) == pytest.approx(losses(whole), rel=1e-4)
    assert len(set(losses(whole).values())) == 6


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["miniature", "miniature_groupvit"])
def test_compiled_encoders_give_the_same_losses(tmp_path: Path, options: TrainOptions, name: str) -> None:
    import torch._dynamo.utils

    noiseless = ("model.drop_path=0", *(["model.gumbel_noise=0"] if name == "miniature_groupvit" else []))
    train(recipe(name, "steps=4", *noiseless), options)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    train(recipe(name, "steps=4", *noiseless), replace(options, run=tmp_path / "compiled", compile=True))
    assert losses(tmp_path / "compiled") == pytest.approx(losses(options.run), rel=1e-4)
    assert not torch._dynamo.utils.counters["graph_break"]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 1


def test_precision_concepts_and_validation_may_be_reduced(options: TrainOptions, val: Path) -> None:
    wanted = recipe("miniature", "steps=2", "precision=bf16", "concepts=none", "validation.pairs=20")
    train(wanted, replace(options, val=[Source((str(val),))]))
    assert "concept_loss" not in lines(options.run)[-1]
    assert lines(options.run, "validation")[-1]["loss"] > 0


def test_batches_that_cannot_be_shared_are_refused(options: TrainOptions) -> None:
    with pytest.raises(MisuseError, match="--device tpu: give auto, cpu or cuda"):
        train(recipe(), replace(options, device="tpu"))


def test_weights_thin_the_epochs_and_going_on_is_exact(tmp_path: Path, options: TrainOptions) -> None:
    rows = [(f"{shard:05d}", f"{shard:05d}{i:04d}", i / 20) for shard in range(3) for i in range(20)]
    table = pa.table(dict(zip(("shard", "key", "weight"), zip(*rows, strict=True), strict=True)))
    pq.write_table(table, tmp_path / "weights.parquet")
    wanted = recipe("miniature", "epochs=4", "optimizer.warmup_epochs=1", "checkpoints.every_steps=4")
    undisturbed = replace(options, run=tmp_path / "undisturbed", weights=tmp_path / "weights.parquet")
    outcome = train(wanted, undisturbed)
    assert outcome.steps == 4 * (28 // 8)  # an epoch sees 28.5 of the 60 pairs
    assert outcome.counts.not_drawn > 40

    checkpoint = undisturbed.run / "checkpoints/step-00000008"
    resumed = replace(undisturbed, run=tmp_path / "resumed", resume=str(checkpoint))
    train(wanted, resumed)
    assert losses(resumed.run) == {step: loss for step, loss in losses(undisturbed.run).items() if step > 8}
    with pytest.raises(MisuseError, match=r"another table of weights \(--weights\)"):
        train(wanted, replace(resumed, run=tmp_path / "without", weights=None))
