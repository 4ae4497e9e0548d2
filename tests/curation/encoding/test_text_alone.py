"""A plain text tower by itself gives what open_clip's gives, to the last bit; any other is left to open_clip."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from curation.encoding.encoder import Encoder
from curation.encoding.model_names import EncoderSpec
from curation.encoding.text_alone import TextAlone, text_alone
from data_cards.miniature.clip import built_in
from tests.tiny_world import make_tiny_clip

TEXTS = [
    *("", "a", "A cow on the GRASS", "caf\u00e9 &amp; cr\u00e8me", "\u732b \U0001f63a cats", "  two   spaces\n\ttabs "),
    *("it's a dog's life", "a very long caption of a picture " * 20),
]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_vectors_are_open_clips_to_the_last_bit(precision: str) -> None:
    spec = EncoderSpec("miniature", None, precision)
    alone, whole = (Encoder(spec, "cpu", 3, 1, texts_only=texts_only) for texts_only in (True, False))
    assert isinstance(alone.model, TextAlone)
    assert not isinstance(whole.model, TextAlone)
    assert np.array_equal(alone.encode_texts(TEXTS), whole.encode_texts(TEXTS))
    for text in TEXTS:
        assert np.array_equal(alone.encode_texts([text]), whole.encode_texts([text]))
    assert alone.fingerprint() == whole.fingerprint()
    assert (alone.dim, alone._trims) == (whole.dim, whole._trims)


@pytest.mark.parametrize(
    "change",
    [
        {"text_cfg": {"pool_type": "last"}},
        {"text_cfg": {"mlp_ratio": 2.0}},
        {"quick_gelu": True},
        {"custom_text": False},
        {"text_cfg": {"layers": 2}},
        {"text_cfg": {"width": "48"}},
    ],
)
def test_what_is_not_plain_is_left_to_open_clip(change: dict, tmp_path: Path) -> None:
    shutil.copytree(built_in.FOLDER, tmp_path / "clip")
    file = tmp_path / "clip" / "open_clip_config.json"
    config = json.loads(file.read_text())
    for name, value in change.items():
        old = config["model_cfg"].get(name)
        config["model_cfg"][name] = old | value if isinstance(value, dict) else value
    assert text_alone(EncoderSpec(f"local-dir:{tmp_path / 'clip'}")) is not None
    file.write_text(json.dumps(config))
    assert text_alone(EncoderSpec(f"local-dir:{tmp_path / 'clip'}")) is None


def test_weights_that_are_cut_and_other_models_are_left_to_open_clip(tmp_path: Path) -> None:
    shutil.copytree(built_in.FOLDER, tmp_path / "clip")
    weights = tmp_path / "clip" / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    for name in (f"local-dir:{tmp_path / 'clip'}", f"local-dir:{tmp_path / 'nowhere'}", "ViT-B-16"):
        assert text_alone(EncoderSpec(name)) is None


def test_a_model_of_a_folder_of_any_form_answers_the_same(tmp_path: Path) -> None:
    spec = EncoderSpec(f"local-dir:{make_tiny_clip(tmp_path / 'tiny').removeprefix('local-dir:')}", None, "fp32")
    alone, whole = (Encoder(spec, "cpu", 2, 1, texts_only=texts_only) for texts_only in (True, False))
    assert np.array_equal(alone.encode_texts(TEXTS), whole.encode_texts(TEXTS))


def test_a_text_is_searched_without_open_clip() -> None:
    code = """
import sys
from curation.encoding.encoder import Encoder
from curation.encoding.model_names import EncoderSpec
Encoder(EncoderSpec("miniature"), "cpu", texts_only=True).encode_texts(["a dog"])
print(sorted({"open_clip", "torchvision", "transformers", "torch._dynamo"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
