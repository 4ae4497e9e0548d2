"""Recipes: the built-in ones, overrides, and what is said about wrong ones."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from files.errors import MisuseError
from tests.examples import examples
from training.models.groupvit import GroupViTConfig
from training.models.patch_alignment import PatchAlignmentConfig
from training.models.self_training import SelfTrainingConfig
from training.recipes.recipe import Recipe, build_learner
from training.recipes.recipe_file import config_text, load_recipe, read_config
from training.recipes.recipe_text import BUILT_IN

NAMES = sorted(path.stem for path in BUILT_IN.glob("*.yaml"))
# Captions alone, and what curation found.
TWINS = {name: f"{name}_cocu" for name in NAMES if f"{name}_cocu" in NAMES}
TWINS |= {f"{name}_captions": name for name in NAMES if f"{name}_captions" in NAMES}


def refusal(name: object, *overrides: str) -> str:
    with pytest.raises(MisuseError) as caught:
        load_recipe(str(name), overrides)
    assert caught.value.exit_code == 2
    return str(caught.value)


def recipe_file(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_there_is_a_recipe_for_each_size_and_learner() -> None:
    assert {"miniature", "miniature_groupvit", "groupvit_cc3m", "groupvit_cc3m_cc12m_yfcc14m"} <= set(TWINS)
    assert {"clip_head", "clip_finetune"} <= set(TWINS.values())
    assert set(NAMES) == {*TWINS, *TWINS.values()}


@pytest.mark.parametrize("name", NAMES)
def test_built_in_recipes_are_read(name: str) -> None:
    recipe = load_recipe(name)
    curated = "curated-top" if "release" in name else "curated-cluster"
    assert recipe.concepts == (curated if name in TWINS.values() else "caption")
    kind = GroupViTConfig if "groupvit" in name else SelfTrainingConfig if "clip" in name else PatchAlignmentConfig
    assert isinstance(recipe.model, kind)


@pytest.mark.parametrize("name", TWINS)
def test_twins_differ_in_one_line(name: str) -> None:
    one, other = ((BUILT_IN / f"{n}.yaml").read_text().splitlines() for n in (name, TWINS[name]))
    changed = [line for line in difflib.ndiff(one, other) if line[0] in "+-"]
    curated = "curated-top" if "release" in name else "curated-cluster"
    assert changed == ["- concepts: caption", f"+ concepts: {curated}"]


def test_the_large_recipes_are_the_papers() -> None:
    recipe = load_recipe("groupvit_cc3m_cc12m_yfcc14m_cocu")
    assert recipe.model == GroupViTConfig()  # its defaults are the paper's ViT-S
    assert (recipe.epochs, recipe.data.batch, recipe.data.concepts_per_image) == (30, 4096, 3)
    rates = recipe.optimizer
    assert (rates.base_lr, rates.warmup_lr, rates.final_lr, rates.base_batch) == (1.6e-3, 4e-6, 4e-5, 4096)
    assert (rates.warmup_epochs, rates.weight_decay, rates.clip, rates.betas) == (2, 0.05, 5.0, (0.9, 0.999))


@pytest.mark.parametrize("name", ["miniature", "miniature_groupvit"])
def test_the_learner_is_of_the_recipes_sizes(name: str) -> None:
    learner = build_learner(load_recipe(name, ["model.text.width=32", "model.image_size=32"]))
    assert (learner.image_size, learner.context_length) == (32, 32)
    assert learner.encode_text(torch.ones(2, 32, dtype=torch.long)).shape == (2, 32)


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("data.batch=64", "data.batch", 64),
        ("optimizer.base_lr=1e-3", "optimizer.base_lr", 1e-3),
        ("optimizer.base_lr=1", "optimizer.base_lr", 1.0),
        ("optimizer.base_lr=.5", "optimizer.base_lr", 0.5),
        ("optimizer.betas=[0.9, 0.95]", "optimizer.betas", (0.9, 0.95)),
        ("concepts=curated-top", "concepts", "curated-top"),
        ("checkpoints.every_minutes=null", "checkpoints.every_minutes", None),
        ("checkpoints.every_minutes=", "checkpoints.every_minutes", None),
        ("loss.mask_duplicates=false", "loss.mask_duplicates", False),
        ("model.text.layers=1", "model.text.layers", 1),
        ("data.micro_batch=16", "data.micro_batch", 16),
    ],
)
def test_overrides(override: str, path: str, value: object) -> None:
    found: Any = load_recipe("miniature", [override])
    for key in path.split("."):
        found = getattr(found, key)
    assert found == value
    assert type(found) is type(value)


def test_the_last_override_of_a_key_holds() -> None:
    assert load_recipe("miniature", ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("optimiser.clip=1", "did you mean optimizer?"),
        ("optimizer.base_ler=1e-3", "did you mean optimizer.base_lr?"),
        ("base_lr=1e-3", "did you mean optimizer.base_lr?"),
        ("batch=3", "did you mean data.batch?"),
        ("model.text.widht=3", "did you mean model.text.width?"),
        ("model.group_tokens=[4]", "unknown key model.group_tokens"),  # of the other learner
        ("data.batch=abc", 'data.batch: "abc": input should be a valid integer'),
        ("data.batch=1.5", "data.batch: 1.5: input should be a valid integer"),
        ("data.batch=true", "data.batch: true: input should be a valid integer"),
        ("data.batch=0", "data.batch: 0: input should be greater than 0"),
        ("data=3", "data: 3: "),
        ("optimizer.base_lr=nan", "optimizer.base_lr: "),
        ("optimizer.betas=[0.9]", "optimizer.betas"),
        ("optimizer.clip=2020-01-01", 'optimizer.clip: "2020-01-01": input should be a valid number'),
        ("concepts=curated_cluster", "did you mean curated-cluster?"),
        ("learner=grupvit", "did you mean groupvit?"),
        ("model.width=63", "width 63 cannot be divided"),
        ("optimizer.warmup_epochs=99", "warmup_epochs 99 leaves nothing of epochs"),
        ("data.micro_batch=9999", "data.micro_batch 9999 is more than data.batch"),
        ("seed.x=1", "seed: "),
        ("seed", "give overrides as key=value"),
        ("=3", "give overrides as key=value"),
        ("seed=[", "is no YAML value"),
    ],
)
def test_wrong_overrides_are_named_with_a_way_out(override: str, said: str) -> None:
    message = refusal("miniature", override)
    assert said in message
    assert override in message


@pytest.mark.parametrize(
    ("overrides", "blamed"),
    [
        (["seed=1", "optimizer.warmup_epochs=30"], ["optimizer.warmup_epochs=30"]),
        (["data.micro_batch=999", "data.augment=none"], ["data.micro_batch=999"]),
        (["model.width=32", "model.patch_size=7"], ["model.patch_size=7"]),
        (["model.image_size=60", "model.patch_size=7"], ["model.image_size=60", "model.patch_size=7"]),
        (["model.text.heads=3", "model.layers=1"], ["model.text.heads=3"]),
    ],
)
def test_what_does_not_go_together_is_blamed_on_the_arguments(overrides: list[str], blamed: list[str]) -> None:
    with pytest.raises(MisuseError) as caught:
        load_recipe("miniature", overrides)
    assert str(caught.value).startswith(", ".join(f"argument {one!r}" for one in blamed) + ": ")
    assert "miniature.yaml" not in str(caught.value)


def test_another_learner_than_the_recipes_is_told_as_such() -> None:
    with pytest.raises(MisuseError, match=r"(?s)yaml:\d+: unknown key.*argument 'learner=groupvit': .*another learner"):
        load_recipe("miniature", ["learner=groupvit"])
    with pytest.raises(MisuseError) as caught:
        load_recipe("miniature", ["learner=groupvit", "model={depth: 3}"])
    assert "another learner" not in str(caught.value)


def test_faults_of_a_file_are_named_with_their_lines(tmp_path: Path) -> None:
    path = recipe_file(tmp_path, "learner: groupvit\nconcepts: caption\n\noptimizer:\n  clip: high\n  base_le: 3\n")
    lines = refusal(path).splitlines()
    assert f'{path}:5: optimizer.clip: "high": input should be a valid number' in lines
    assert f"{path}:6: unknown key optimizer.base_le; did you mean optimizer.base_lr?" in lines


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("learner: groupvit\n", "{path}: the key concepts is missing"),
        ("concepts: caption\n", "{path}: learner: null is none of "),
        ("learner: groupvit\nseed: 1\nconcepts: caption\nseed: 2\n", "{path}:4: the key 'seed' comes twice"),
        ("learner: [\n", "{path}:2: "),
        ("- 1\n", "{path}: holds no keys"),
        ("", "{path}: holds no keys"),
        ("learner: !!python/object:os.system x\n", "{path}:1: "),
    ],
)
def test_files_that_are_no_recipe(tmp_path: Path, text: str, said: str) -> None:
    path = recipe_file(tmp_path, text)
    assert refusal(path).startswith(said.format(path=path))


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"learner: \xff\xfe")
    assert f"{path}: is no UTF-8 text" in refusal(path)


def test_a_recipe_that_is_not_there() -> None:
    message = refusal("minature")
    assert "did you mean miniature?" in message
    assert "groupvit_cc3m" in message


@pytest.mark.parametrize("name", NAMES)
def test_a_written_recipe_is_read_as_it_was(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name, ["seed=7", "optimizer.warmup_lr=0"])
    path = recipe_file(tmp_path, config_text(recipe))
    assert read_config(path) == recipe


@examples(30)
@given(rate=st.floats(1e-12, 1e6), seed=st.integers(0, 2**62))
def test_numbers_are_written_without_loss(rate: float, seed: int) -> None:
    recipe = load_recipe("miniature", [f"optimizer.base_lr={rate!r}", f"seed={seed}"])
    assert (recipe.optimizer.base_lr, recipe.seed) == (rate, seed)
    written = yaml.safe_load(config_text(recipe))
    assert (float(written["optimizer"]["base_lr"]), written["seed"]) == (rate, seed)


def test_a_config_of_another_format_is_refused(tmp_path: Path) -> None:
    text = config_text(load_recipe("miniature")).replace("format: 1", "format: 2")
    with pytest.raises(MisuseError, match="is not of format 1"):
        read_config(recipe_file(tmp_path, text))


def test_recipes_do_not_change() -> None:
    recipe: Recipe = load_recipe("miniature")
    with pytest.raises(ValueError, match="frozen"):
        recipe.data.batch = 3  # type: ignore[misc]


def test_a_learner_that_is_taught_by_concepts_is_not_trained_without() -> None:
    assert refusal("clip_head", "concepts=none").startswith("argument 'concepts=none': concepts none: self-training is")
