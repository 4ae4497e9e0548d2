"""CLIPs of open_clip to begin with: loaded by name, built again from what they are like, and inside a learner."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from data_cards.miniature.clip import built_in
from evaluation.models.segmenters import learner_segmenter, load_segmenter
from files.errors import CocuError, MisuseError
from training.models.clip_alignment import ClipAlignment, ClipAlignmentConfig
from training.models.clip_towers import ClipTowers
from training.models.pretrained import PretrainedClip, build_open_clip, load_open_clip, open_clip_name

SIZES: dict[str, Any] = {
    "embed_dim": 12,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 16, "layers": 2, "head_width": 8},
    "text_cfg": {"context_length": 9, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 2},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A CLIP with a class token and random weights, in open_clip's form."""
    torch.manual_seed(0)
    preprocessing = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": SIZES, "preprocess_cfg": preprocessing}))
    save_file(dict(open_clip.CLIP(**SIZES).state_dict()), tmp_path / "open_clip_model.safetensors")
    return tmp_path


def learner_of(clip: PretrainedClip) -> ClipAlignment:
    learner = ClipAlignment(ClipAlignmentConfig(towers=clip.form))
    learner.towers.begin_from(clip)
    return learner.eval()


def test_names_of_clips(tmp_path: Path, folder: Path) -> None:
    assert open_clip_name("miniature") == f"local-dir:{built_in.FOLDER}"
    assert open_clip_name("open_clip:ViT-B-16@openai") == open_clip_name("ViT-B-16@openai") == "ViT-B-16@openai"
    assert open_clip_name(str(folder)) == f"local-dir:{folder}"
    assert open_clip_name("hf-hub:some/one") == "hf-hub:some/one"
    assert open_clip_name("runs/mini/best") is open_clip_name("owner/name") is open_clip_name("me@home") is None


def test_what_a_clip_is_like_builds_it_again(folder: Path) -> None:
    clip = load_open_clip(f"local-dir:{folder}", custom_text=True)
    assert (clip.image_size, clip.mean, clip.std) == (32, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert json.loads(json.dumps(clip.form)) == clip.form
    again = build_open_clip(clip.form)
    again.model.load_state_dict(clip.model.state_dict())
    pixels = torch.randn(2, 3, 32, 32)
    model, other = (open_clip.create_model_from_pretrained(f"local-dir:{folder}")[0], again.model)
    assert torch.equal(model.encode_image(pixels), other.visual(pixels))  # type: ignore[operator]
    tokens = clip.tokenizer(["a dog", "sky"])
    assert torch.equal(tokens, again.tokenizer(["a dog", "sky"]))


def test_a_learner_with_a_clip_begins_as_the_clip_without_training(folder: Path) -> None:
    learner = learner_of(load_open_clip(f"local-dir:{folder}", custom_text=True))
    ours, theirs = learner_segmenter(learner, "ours"), load_segmenter(folder)
    assert (ours.mean, ours.std, ours.multiple) == (theirs.mean, theirs.std, theirs.multiple)
    pixels = torch.randn(2, 3, 40, 24)  # another size than its own
    torch.testing.assert_close(ours.dense(pixels).vectors, theirs.dense(pixels).vectors, rtol=1e-4, atol=1e-5)
    assert ours.dense(pixels).grid == (5, 3)
    wholes = [
        one.similarity(one.dense(pixels).whole, one.embed_classes([["a dog"], ["sky"]])) for one in (ours, theirs)
    ]
    torch.testing.assert_close(*wholes, rtol=1e-4, atol=1e-5)
    names = [["a dog", "a photo of a dog beside a small river"], ["sky"]]
    torch.testing.assert_close(ours.embed_classes(names), theirs.embed_classes(names), rtol=1e-4, atol=1e-5)
    by_cells = ClipAlignment(replace(learner.config, whole="cells")).eval()
    by_cells.load_state_dict(learner.state_dict())
    assert torch.equal(by_cells.dense(pixels).whole, learner.dense(pixels).vectors)
    copied = copy.deepcopy(learner)
    with torch.no_grad():
        learner.towers.visual.conv1.weight.zero_()  # type: ignore[union-attr, operator]
    torch.testing.assert_close(copied.dense(pixels).vectors, theirs.dense(pixels).vectors, rtol=1e-4, atol=1e-5)


def test_texts_are_trimmed_where_that_changes_nothing(folder: Path) -> None:
    towers = learner_of(load_open_clip(f"local-dir:{folder}", custom_text=True)).towers
    tokens = towers.tokenizer(["a dog", "sky"])
    trimmed = towers.trimmed(tokens)
    assert (tokens.shape[1], trimmed.shape[1], towers.trimmed(tokens, 4).shape[1]) == (9, 4, 4)
    torch.testing.assert_close(towers.texts(trimmed), towers.texts(tokens))
    both_ways = {**SIZES, "text_cfg": {**SIZES["text_cfg"], "no_causal_mask": True}}
    seeing = ClipTowers({"model_cfg": both_ways, "preprocess_cfg": {"mean": [0, 0, 0], "std": [1, 1, 1]}})
    assert torch.equal(seeing.trimmed(tokens), tokens)  # each token of a text sees the padding


def test_the_tower_of_photographs_and_its_own_tokenizer(shared: Path, root: Path, monkeypatch: Any) -> None:
    """A convolutional tower and a text tower of transformers, found from any folder once they were found from one."""
    monkeypatch.chdir(root)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    clip = load_open_clip(f"local-dir:../{shared.name}/clip/photos", custom_text=True)
    monkeypatch.chdir("/")
    learner = learner_of(clip)
    visual: Any = clip.model.visual
    for name, value in learner.towers.visual.state_dict().items():
        assert torch.equal(value, visual.state_dict()[name]), name
    tokens = learner.tokenizer(["a dog", "two people on a beach"])  # type: ignore[misc]
    trimmed = learner.trimmed(tokens)
    assert trimmed.shape == (2, 7)  # with what starts and ends a text
    torch.testing.assert_close(learner.encode_text(trimmed), learner.encode_text(tokens), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ViT-B-99@x", "open_clip knows no model 'ViT-B-99'"),
        ("ViT-B-16@nobody", "no weights 'nobody'; give one of"),
        ("local-dir:/nowhere", "no folder with open_clip_config.json in it"),
    ],
)
def test_a_name_that_leads_nowhere_is_told(name: str, said: str) -> None:
    with pytest.raises(MisuseError, match=said):
        load_open_clip(name)


def test_damage_is_told(folder: Path) -> None:
    (folder / "open_clip_model.safetensors").write_bytes(b"none")
    with pytest.raises(CocuError, match="is damaged, incomplete or of another model"):
        load_open_clip(f"local-dir:{folder}")
    with pytest.raises(MisuseError, match=r"the towers that model\.towers describes cannot be built"):
        ClipTowers({"model_cfg": {"embed_dim": 3}})
    with pytest.raises(MisuseError, match=r"model\.towers: has no model_cfg"):
        ClipTowers({"a": 1})
    with pytest.raises(MisuseError, match=r"model\.towers is not given: name the CLIP to begin with"):
        ClipTowers.of(None)
