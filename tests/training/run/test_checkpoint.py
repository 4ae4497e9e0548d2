"""Checkpoints: what is in them, that they are whole or not there, which are kept, and what damage does."""

from __future__ import annotations

import multiprocessing
import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from files.errors import CocuError, MisuseError
from training.recipes.recipe import Recipe, build_learner
from training.recipes.recipe_file import load_recipe
from training.run.checkpoint import Checkpoints, load_config, load_learner, load_state, load_weights

SMALL = [
    *("model.image_size=16", "model.width=16", "model.layers=1", "model.projection_width=8"),
    *("model.text.width=16", "model.text.layers=1", "model.text.vocabulary=100"),
]
STATE = {
    "progress": {"step": 0, "skipped": 0, "skipped_in_a_row": 0, "best": {}},
    "optimizer": {"state": {}, "param_groups": []},
    "ranks": [],
    "streams": {},
}


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe("miniature", SMALL)


def save(checkpoints: Checkpoints, step: int, recipe: Recipe, **state: object) -> torch.nn.Module:
    torch.manual_seed(step)
    learner = build_learner(recipe)
    checkpoints.save(step, recipe, learner.state_dict(), {**STATE, "step": step, **state})
    return learner


def test_a_checkpoint_is_three_files_that_give_everything_back(tmp_path: Path, recipe: Recipe) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    moments = {"state": {0: {"exp_avg": torch.arange(3.0)}}, "param_groups": [{"params": [0]}]}
    state = {"optimizer": moments, "position": {"shards": ["a"], "taken": 5}, "best": None}
    learner = save(checkpoints, 12, recipe, **state)
    folder = checkpoints.path(12)
    assert sorted(path.name for path in folder.iterdir()) == ["config.yaml", "model.safetensors", "trainer.pt"]
    again = load_state(folder)
    assert torch.equal(again["optimizer"]["state"][0]["exp_avg"], torch.arange(3.0))
    assert (again["step"], again["position"], again["best"]) == (12, state["position"], None)
    assert load_config(folder) == recipe
    for name, tensor in load_file(folder / "model.safetensors").items():
        assert torch.equal(tensor, learner.state_dict()[name]), name


@pytest.mark.parametrize("name", ["miniature", "miniature_groupvit"])
def test_the_evaluator_needs_two_of_the_files(tmp_path: Path, name: str) -> None:
    recipe = load_recipe(name, ["model.text.vocabulary=100"])
    checkpoints = Checkpoints(tmp_path, keep=2)
    learner = save(checkpoints, 1, recipe)
    (checkpoints.path(1) / "trainer.pt").unlink()
    loaded, its_recipe = load_learner(str(checkpoints.path(1)))
    assert its_recipe == recipe
    assert not loaded.training
    pixels = torch.randn(2, 3, 64, 64)
    expected, found = learner.dense(pixels), loaded.dense(pixels)  # type: ignore[operator]
    assert torch.equal(found.vectors, expected.vectors)
    assert torch.equal(found.whole, expected.whole)


def test_the_last_and_the_best_are_kept(tmp_path: Path, recipe: Recipe) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (1, 2, 3, 4, 5):
        save(checkpoints, step, recipe)
        if step == 2:
            checkpoints.mark_best(2)
    assert checkpoints.steps() == [2, 4, 5]
    assert checkpoints.best() == checkpoints.path(2).resolve()
    assert os.readlink(tmp_path / "best") == "checkpoints/step-00000002"  # a moved run stays whole
    checkpoints.mark_best(5)
    assert checkpoints.steps() == [4, 5]


def test_the_last_stands_in_until_something_is_measured(tmp_path: Path, recipe: Recipe) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.mark(None, 1)  # there is none yet
    assert checkpoints.best() is None
    marked = []
    for step, measured in ((1, None), (2, None), (3, 3), (4, 3), (5, 99)):
        save(checkpoints, step, recipe)
        checkpoints.mark(measured, step)
        marked.append((os.readlink(tmp_path / "best")[-1], checkpoints.steps()))
    # 99 was measured in another folder: of those that are here the last stands in.
    assert marked == [("1", [1]), ("2", [2]), ("3", [3]), ("3", [3, 4]), ("5", [5])]


@pytest.mark.parametrize("asked", [".", "bset", "checkpoints", "checkpoints/step-00000001", "best"])
def test_what_is_no_checkpoint_names_those_that_are(tmp_path: Path, recipe: Recipe, asked: str) -> None:
    checkpoints = Checkpoints(tmp_path / "run", keep=2)
    for step in (2, 3):
        save(checkpoints, step, recipe)
    for load in (load_learner, load_state):
        with pytest.raises(CocuError) as caught:
            load(checkpoints.run / asked)
        assert f"give one that is there: {checkpoints.path(3)}, {checkpoints.path(2)}" in str(caught.value)
    checkpoints.mark_best(2)
    with pytest.raises(MisuseError, match=f"there: {checkpoints.run / 'best'}, {checkpoints.path(3)}"):
        load_learner(checkpoints.run / "other")
    with pytest.raises(MisuseError, match="no such folder; give a folder such as RUN/best"):
        load_learner(tmp_path / "elsewhere" / "best")


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, recipe: Recipe) -> None:
    checkpoints = Checkpoints(tmp_path, keep=9)
    for step in (1, 2, 3):
        save(checkpoints, step, recipe)
    for step, name in ((3, "trainer.pt"), (2, "model.safetensors")):
        path = checkpoints.path(step) / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.warns(UserWarning, match="step-0000000") as warned:
        newest = checkpoints.newest()
    assert newest == 1
    assert len(warned) == 2
    checkpoints.drop_after(1)
    assert checkpoints.steps() == [1]


def test_there_may_be_none(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    assert checkpoints.newest() is None
    assert checkpoints.best() is None


def test_pickled_code_is_not_run(tmp_path: Path, recipe: Recipe) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'harmed'}",)

    checkpoints = Checkpoints(tmp_path, keep=2)
    save(checkpoints, 1, recipe)
    torch.save({"step": 1, "harm": Harm()}, checkpoints.path(1) / "trainer.pt")
    with pytest.raises(CocuError, match=r"trainer.pt: cannot be read"):
        load_state(checkpoints.path(1))
    assert not (tmp_path / "harmed").exists()


def test_weights_that_do_not_fit_are_named(tmp_path: Path, recipe: Recipe) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    save(checkpoints, 1, recipe)
    wider = build_learner(load_recipe("miniature", [*SMALL, "model.projection_width=4"]))
    with pytest.raises(CocuError, match=r"image_head.linear.weight is \[8, 16\], not \[4, 16\]") as caught:
        load_weights(wider, checkpoints.path(1))
    assert caught.value.exit_code == 1
    other = build_learner(load_recipe("miniature_groupvit", ["model.text.vocabulary=100"]))
    with pytest.raises(CocuError, match=r"is missing.*more"):
        load_weights(other, checkpoints.path(1))


def test_a_folder_that_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="is no checkpoint"):
        load_learner(tmp_path)


@contextmanager
def small_files_only() -> Iterator[None]:
    """Writing ends, as on a full disk, where a file would get larger than this.

    Only around what is tested: the limit holds for the file into which pytest prints, too.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("large", ["weights", "state"])
def test_what_cannot_be_written_leaves_no_half_checkpoint(tmp_path: Path, recipe: Recipe, large: str) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    tensor = {"x": torch.zeros(10_000)}
    checkpoints.save(1, recipe, {}, {"step": 1})
    with small_files_only(), pytest.raises(OSError, match=r"File too large: .*step-00000002'"):
        checkpoints.save(2, recipe, tensor if large == "weights" else {}, tensor if large == "state" else {})
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step-00000001"]


def write_without_end(run: Path, recipe: Recipe) -> None:
    torch.set_num_threads(1)  # libgomp's threads do not live on in a forked process: it would wait for them for ever
    checkpoints = Checkpoints(run, keep=2)
    for step in range(1, 100_000):
        weights = {f"{i}": torch.full((400, 400), float(step)) for i in range(8)}
        checkpoints.save(step, recipe, weights, {**STATE, "step": step, "ballast": torch.full((10**6,), float(step))})


@pytest.mark.parametrize("moment", range(6))
def test_a_process_killed_while_it_writes_leaves_whole_checkpoints_only(
    tmp_path: Path, recipe: Recipe, moment: int
) -> None:
    writer = multiprocessing.get_context("fork").Process(target=write_without_end, args=(tmp_path, recipe))
    writer.start()
    checkpoints = Checkpoints(tmp_path, keep=2)
    while len(checkpoints.steps()) < 2:
        time.sleep(0.002)
    time.sleep(0.017 * moment)
    writer.kill()
    writer.join()
    for step in checkpoints.steps():
        assert load_state(checkpoints.path(step))["step"] == step
        weights = load_file(checkpoints.path(step) / "model.safetensors")
        assert len(weights) == 8
        assert all(torch.equal(weight, torch.full((400, 400), float(step))) for weight in weights.values())
    newest = checkpoints.newest()
    assert newest == checkpoints.steps()[-1]
    checkpoints.save(newest + 1, recipe, {}, {})
    assert {path.name for path in checkpoints.folder.iterdir()} == {f"step-{s:08d}" for s in checkpoints.steps()}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: {}, "step is missing"),
        (lambda state: [state], "a list, not an object"),
        (lambda state: None, "None, not an object"),
        (lambda state: "state", "'state', not an object"),
        (lambda state: torch.zeros(3), "a Tensor, not an object"),
        (lambda state: {**state, "step": "1"}, "step: '1' is no count"),
        (lambda state: {**state, "step": True}, "step: True is no count"),
        (lambda state: {**state, "step": -1}, "step: -1 is no count"),
        (lambda state: {**state, "progress": {}}, "progress.step is missing"),
        (lambda state: {**state, "optimizer": {"state": {"a": {}}, "param_groups": []}}, "not a whole number"),
        (lambda state: {**state, "ranks": {}}, "ranks: a dict, not a list"),
        (
            lambda state: {**state, "ranks": [{"random": {"cpu": 3}}]},
            r"ranks\[0\].random.cpu: 3, not Tensor",
        ),
    ],
)
def test_a_state_that_loads_but_is_none(
    tmp_path: Path, recipe: Recipe, change: Callable[[object], object], said: str
) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    save(checkpoints, 1, recipe)
    path = checkpoints.path(1) / "trainer.pt"
    torch.save(change(torch.load(path)), path)
    with pytest.raises(CocuError, match=rf"trainer\.pt: holds no state of a run \(.*{said}"):
        load_state(checkpoints.path(1))
    with pytest.warns(match="passed over a damaged checkpoint"):
        assert checkpoints.newest() is None
