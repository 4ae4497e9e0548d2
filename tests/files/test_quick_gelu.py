"""Weights are given the activation that they were trained with."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import pytest

from curation.encoding.model_names import EncoderSpec, load_encoder
from evaluation.models.dense_clip import load_dense_clip
from files.quick_gelu import wants_quick_gelu
from tests.tiny_world import TINY_CONFIG, make_tiny_clip


def test_the_entry_of_the_weights_tells() -> None:
    assert wants_quick_gelu("ViT-B-16", "openai")
    assert not wants_quick_gelu("ViT-B-16", "laion2b_s34b_b88k")
    assert not wants_quick_gelu("hf-hub:some/model", None)


def test_of_a_file_it_is_said_what_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "ViT-B-16.pt"
    file.touch()
    assert not wants_quick_gelu("ViT-B-16", str(file))
    assert "taken for weights with GELU" in (said := capsys.readouterr().err)
    assert said.rstrip().endswith("name the model ViT-B-16-quickgelu")
    for name in ("ViT-B-16-quickgelu", "ViT-B-16-SigLIP"):  # where there is nothing to choose
        assert not wants_quick_gelu(name, str(file))
        assert capsys.readouterr().err == ""


@pytest.mark.parametrize("quick", [True, False])
def test_curation_and_evaluation_give_it_to_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: bool) -> None:
    import torch

    make_tiny_clip(tmp_path / "tiny")
    config = tmp_path / "tiny-architecture.json"
    config.write_text(json.dumps(TINY_CONFIG["model_cfg"]))
    open_clip.add_model_config(config)
    weights = str(tmp_path / "tiny" / "open_clip_model.safetensors")
    monkeypatch.setitem(
        open_clip.pretrained._PRETRAINED, "tiny-architecture", {"tag": {"url": "", "quick_gelu": quick}}
    )
    monkeypatch.setattr(open_clip.factory, "download_pretrained", lambda *_, **__: weights)
    encoder, _, _ = load_encoder(EncoderSpec("tiny-architecture", "tag"))
    dense = load_dense_clip("tiny-architecture@tag", torch.device("cpu"))
    for model in (encoder, dense.module):
        activations = {type(module).__name__ for module in model.modules() if "GELU" in type(module).__name__}
        assert activations == {"QuickGELU" if quick else "GELU"}
