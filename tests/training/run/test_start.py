"""What a new run begins with, and what then learns of it: init, freeze, rates, the running mean; on tiny runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from shutil import copyfile, copytree, rmtree
from string import ascii_lowercase
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertTokenizerFast

from evaluation.models.segmenters import load_segmenter
from files.errors import MisuseError
from tests.training.curated_world import make_curated
from training.models.groupvit import GroupViT
from training.models.groupvit_names import names_in
from training.models.groupvit_weights import save_huggingface
from training.models.pretrained import load_open_clip
from training.recipes.recipe import Recipe, build_learner
from training.recipes.recipe_file import load_recipe
from training.run.checkpoint import load_learner, load_state
from training.run.options import TrainOptions
from training.run.start import begin
from training.run.trainer import train
from training.shards.found import Source

LOOP = ["data.batch=8", "optimizer.base_batch=8", "log_every=1", "validation.batch=16", "steps=3"]
STILL = ["optimizer.base_lr=1e-30", "optimizer.warmup_lr=0", "optimizer.final_lr=0", "steps=1"]
TEXT = ["model.text.width=16", "model.text.layers=1", "model.text.heads=2", "model.text.context_length=24"]
GROUPS = [
    *("model.image_size=16", "model.width=16", "model.depths=[1,1,1]", "model.group_tokens=[6,3]"),
    *("model.output_groups=[6,3]", "model.projection_hidden=16", "model.projection_width=16"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_curated(tmp_path_factory.mktemp("train"), shards=2, pairs=20, side=20)


@pytest.fixture
def options(tmp_path: Path, data: Path) -> TrainOptions:
    return TrainOptions(tmp_path / "run", [Source((str(data),))], device="cpu", workers=0, tensorboard=False)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny convolutional CLIP, with batch norm, in open_clip's form."""
    folder = tmp_path_factory.mktemp("clip")
    sizes: dict[str, Any] = {
        "embed_dim": 12,
        "vision_cfg": {"image_size": 64, "width": 8, "layers": [1, 1, 1, 1]},
        "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
    }
    torch.manual_seed(0)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": sizes}))
    save_file(dict(open_clip.CLIP(**sizes).state_dict()), folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture
def clip_recipe(tmp_path: Path) -> Path:
    path = tmp_path / "clip.yaml"
    path.write_text("learner: clip-alignment\nconcepts: curated-cluster\nmodel: {hidden: 16}\n")
    return path


def groupvit(*overrides: str) -> Recipe:
    return load_recipe("miniature_groupvit", [*GROUPS, *TEXT, *LOOP, *overrides])


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["event"] == "train"]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def groupvit_of(recipe: Recipe, seed: int) -> GroupViT:
    torch.manual_seed(seed)
    learner = build_learner(recipe)
    assert isinstance(learner, GroupViT)
    with torch.no_grad():
        for value in learner.state_dict().values():
            if value.is_floating_point():
                value.add_(torch.rand_like(value) * 0.1)
    return learner.eval()


def assert_alike(one: GroupViT, other: GroupViT) -> None:
    pixels = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    tokens = torch.randint(1, 49408, (3, 24), generator=torch.Generator().manual_seed(1))
    found, expected = one.dense(pixels), other.dense(pixels)
    torch.testing.assert_close(found.vectors, expected.vectors)
    torch.testing.assert_close(found.maps, expected.maps)
    torch.testing.assert_close(*(x.project_text(x.encode_text(tokens)) for x in (one, other)))


def test_groupvit_begins_with_its_own_export_in_hugging_faces_form(tmp_path: Path) -> None:
    """Which has no place for the assignment scale: it is in the weights of the queries."""
    source = groupvit_of(groupvit("model.assignment_scale=2"), seed=0)
    save_huggingface(source, tmp_path)
    for scale in (2, 0.5):
        recipe = groupvit(f"model.assignment_scale={scale}", f"init={tmp_path}")
        learner = groupvit_of(recipe, seed=1)
        begin(learner, recipe)
        assert_alike(learner, source)


def test_groupvit_begins_with_a_file_of_the_release(tmp_path: Path) -> None:
    sizes = ("model.width=64", "model.heads=1", "model.text.width=64", "model.text.heads=1")
    source = groupvit_of(groupvit(*sizes), seed=0)
    theirs = {}
    for ours, value in source.state_dict().items():
        names = names_in("original", ours)
        places = ours == "image_encoder.position_embedding"
        shaped = value.flatten(0, 1)[None] if places else value[None] if ours.endswith("group_tokens") else value
        theirs |= dict(zip(names, shaped.chunk(len(names)) if len(names) > 1 else [shaped], strict=True))
    torch.save({"model": theirs}, tmp_path / "release.pth")
    recipe = groupvit(*sizes, f"init={tmp_path / 'release.pth'}")
    learner = groupvit_of(recipe, seed=1)
    begin(learner, recipe)
    for name, value in source.state_dict().items():
        assert torch.equal(learner.state_dict()[name], value), name


@pytest.mark.parametrize("freeze", ["[image_tower,text_tower]", "[text_tower]"])
@pytest.mark.parametrize("piece", ["null", "3"])
def test_frozen_towers_of_a_clip_stay_and_the_rest_learns(
    options: TrainOptions, clip: Path, clip_recipe: Path, freeze: str, piece: str
) -> None:
    settings = [*LOOP, f"freeze={freeze}", f"init={clip}", f"data.micro_batch={piece}"]
    train(load_recipe(str(clip_recipe), settings), options)
    model: Any = load_open_clip(f"local-dir:{clip}", custom_text=True).model
    before, after = model.state_dict(), weights(options.run / "best")
    still = {"visual": "image_tower" in freeze, "text": True}
    for name, value in after.items():
        _, part, *_ = name.split(".") if name.startswith("towers.") else ("", "head")
        if still.get(part):
            assert torch.equal(value, before[name.removeprefix("towers.")]), name
    learnt = "towers.visual.layer4.0.conv1.weight", "head.mlp.up.weight"
    assert torch.equal(after[learnt[0]], before[learnt[0].removeprefix("towers.")]) == still["visual"]
    assert after[learnt[1]].abs().sum() > 0
    # Nothing is kept of what is frozen.
    learner, _ = load_learner(options.run / "best")
    frozen = [p for name in learner.towers_by_name() if name in freeze for p in learner.tower(name).parameters()]
    groups = load_state(options.run / "best")["optimizer"]["param_groups"]
    assert sum(len(group["params"]) for group in groups) == len(list(learner.parameters())) - len(frozen)


@pytest.mark.parametrize(
    "more", [(), ("checkpoint_activations=true",), ("freeze=[text_tower]", "optimizer.layer_decay=0.7")]
)
def test_a_run_with_a_running_mean_goes_on_bit_by_bit(
    tmp_path: Path, options: TrainOptions, clip: Path, clip_recipe: Path, more: tuple[str, ...]
) -> None:
    settings = [*LOOP, "steps=7", f"init={clip}", "ema=0.9", *more]
    wanted = load_recipe(str(clip_recipe), [*settings, "checkpoints.every_steps=3", "checkpoints.keep=9"])
    train(wanted, options)
    middle = options.run / "checkpoints" / "step-00000003"
    resumed = replace(options, run=tmp_path / "resumed", resume=str(middle))
    train(wanted, resumed)
    assert losses(resumed.run) == losses(options.run)[3:]
    one, other = (run / "checkpoints" / "step-00000007" for run in (options.run, resumed.run))
    for name, value in weights(one).items():
        assert torch.equal(value, weights(other)[name]), name
    ends = [load_state(end)["weights"] for end in (one, other)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    # What is kept as the model is the mean, and is not the weights.
    assert not torch.equal(ends[0]["head.mlp.up.weight"], weights(one)["head.mlp.up.weight"])


def test_what_is_validated_is_the_running_mean(options: TrainOptions, clip: Path, clip_recipe: Path) -> None:
    measured = []

    def measure(learner: Any) -> dict[str, float]:
        measured.append({name: value.clone() for name, value in learner.state_dict().items()})
        return {}

    settings = [*LOOP, f"init={clip}", "ema=0.9", "validation.every_steps=3"]
    train(load_recipe(str(clip_recipe), settings), replace(options, val=options.data, measure=measure))
    (seen,) = measured
    for name, value in weights(options.run / "best").items():
        assert torch.equal(seen[name], value), name


def test_a_run_needs_its_clip_no_more_once_it_has_begun(
    tmp_path: Path, options: TrainOptions, clip: Path, clip_recipe: Path
) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for file in clip.iterdir():
        (moved / file.name).write_bytes(file.read_bytes())
    settings = [*LOOP, f"init={moved}", "checkpoints.every_steps=2"]
    train(load_recipe(str(clip_recipe), settings), options)
    for file in moved.iterdir():
        file.unlink()
    assert train(load_recipe(str(clip_recipe), settings), options).progress.step == 3
    segmenter = load_segmenter(options.run / "best")
    assert segmenter.dense(torch.zeros(1, 3, 64, 32)).grid == (2, 1)


def test_a_checkpoint_holds_what_its_text_tower_and_tokenizer_are_like(
    tmp_path: Path, options: TrainOptions, clip: Path, clip_recipe: Path
) -> None:
    """Of transformers: their folder is needed no more, by the evaluator nor by the run that goes on."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    signs = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    signs += [f"{mark}{letter}" for mark in ("", "##") for letter in ascii_lowercase]
    (theirs / "vocab.txt").write_text("\n".join(signs))
    BertTokenizerFast(str(theirs / "vocab.txt")).save_pretrained(theirs)
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertConfig(vocab_size=len(signs), **small).save_pretrained(theirs)
    sizes = json.loads((clip / "open_clip_config.json").read_text())["model_cfg"]
    sizes["text_cfg"] = {
        **{"hf_model_name": str(theirs), "hf_tokenizer_name": str(theirs), "context_length": 12},
        **{"hf_model_pretrained": False, "hf_pooler_type": "mean_pooler", "hf_proj_type": "linear"},
    }
    (theirs / "open_clip_config.json").write_text(json.dumps({"model_cfg": sizes}))
    save_file(dict(open_clip.CustomTextCLIP(**sizes).state_dict()), theirs / "open_clip_model.safetensors")
    settings = [*LOOP, "steps=4", f"init={theirs}", "checkpoints.every_steps=2"]
    train(load_recipe(str(clip_recipe), settings), replace(options, run=tmp_path / "undisturbed"))
    names = [["a dog"], ["sky", "a wide sea"]]
    expected = load_segmenter(tmp_path / "undisturbed/best").embed_classes(names)
    copied = copytree(tmp_path / "undisturbed/checkpoints/step-00000002", options.run / "checkpoints/step-00000002")
    copyfile(copied / "config.yaml", options.run / "config.yaml")
    rmtree(theirs)
    assert train(load_recipe(str(clip_recipe), settings), options).progress.step == 4
    assert losses(options.run) == losses(tmp_path / "undisturbed")[2:]
    assert torch.equal(load_segmenter(options.run / "best").embed_classes(names), expected)


def test_the_option_wins_over_the_recipe_and_is_kept(options: TrainOptions, clip: Path, clip_recipe: Path) -> None:
    train(load_recipe(str(clip_recipe), [*LOOP, "init=/nowhere"]), replace(options, init=str(clip)))
    _, recipe = load_learner(options.run / "best")
    assert recipe.init == str(clip)
    with pytest.raises(MisuseError, match=rf"init: {clip} there, miniature now"):
        train(load_recipe(str(clip_recipe), [*LOOP, "init=miniature"]), options)


def test_what_a_run_cannot_begin_with_is_told(
    tmp_path: Path, options: TrainOptions, clip: Path, clip_recipe: Path
) -> None:
    def refused(recipe: Recipe, said: str, init: Path | str | None = None, run: str = "other") -> None:
        given = replace(options, run=tmp_path / run, init=str(init) if init else None)
        with pytest.raises(MisuseError, match=said):
            train(recipe, given)

    patches = load_recipe("miniature", [*LOOP, *TEXT, "model.image_size=16", "model.width=16", "model.layers=1"])
    train(patches, options)
    trained = options.run / "best"
    refused(groupvit(), r"holds another learner \(patch-alignment, .*\) than the recipe's groupvit", trained)
    refused(groupvit(), "is a CLIP, and groupvit has no such towers; give a checkpoint of groupvit", clip)
    wider = patches.model_copy(update={"model": replace(patches.model, width=32)})
    refused(wider, r"of other sizes than the recipe's model: .*; give the recipe its sizes", trained)
    split = patches.model_copy(update={"model": replace(patches.model, heads=2)})
    refused(split, "heads is 4, not 2", trained)
    refused(load_recipe(str(clip_recipe), LOOP), r"model\.towers is not given: name the CLIP to begin with")
    refused(load_recipe(str(clip_recipe), LOOP), "miniatur: is no CLIP, nor a checkpoint with the towers", "miniatur")
    refused(load_recipe("miniature", [*LOOP, "freeze=[text_tower]"]), "text_tower would stay at fresh weights")
    refused(patches, "there is no such folder or file", "/nowhere/at/all")
    refused(load_recipe(str(clip_recipe), [*LOOP, "precision=fp16"]), "fp16: is for GPUs without bfloat16", clip)
