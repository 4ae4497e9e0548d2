"""Every kind of model that open_clip knows gets open_clip's own vectors; tokenizers from the hub come from a folder."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from curation.encoding.dense import DenseEncoder
from curation.encoding.encoder import Encoder
from curation.encoding.model_names import EncoderSpec
from evaluation.models.segmenters import load_segmenter
from files.errors import CocuError, MisuseError
from files.text_towers import tokenizer_from
from tests.curation.encoding.open_clip_kinds import KINDS, make_kind, make_tokenizer
from tests.integration.commands import cocu, manifest, succeed
from tests.tiny_world import make_shards, picture

TEXTS = ["a dog", "", "two people walk over a very long bridge in the rain with a red boat", "word " * 90, "a photo"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer") / "words")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def plain_vectors(name: str, pictures: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Of texts and of pictures, by nothing but open_clip."""
    model, preprocess = open_clip.create_model_from_pretrained(name)
    with torch.no_grad():
        texts = model.eval().encode_text(open_clip.get_tokenizer(name)(TEXTS))
        decoded = [Image.open(io.BytesIO(data)).convert("RGB") for data in pictures]
        images = model.encode_image(torch.stack([preprocess(one) for one in decoded]))
    unit = torch.nn.functional.normalize
    return unit(texts.float(), dim=-1).numpy(), unit(images.float(), dim=-1).numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_are_open_clips_own(kind: str, tokenizer: Path, tmp_path: Path) -> None:
    name = make_kind(kind, tmp_path / "model", tokenizer)
    pictures = [picture(i, (300 - 40 * i, 200 + 30 * i), "PNG") for i in range(3)]
    texts, images = plain_vectors(name, pictures)
    encoder = Encoder(EncoderSpec(name, None, "fp32"), "cpu", batch_size=2)
    np.testing.assert_allclose(encoder.encode_texts(TEXTS).astype(np.float32), texts, atol=1e-3)
    found = [vector for _, vector in encoder.encode_pictures((str(i), data) for i, data in enumerate(pictures))]
    np.testing.assert_allclose(np.stack(found).astype(np.float32), images, atol=1e-3)  # type: ignore[arg-type]
    assert (texts @ texts.T).min() < 0.9  # they differ at all


def test_padding_is_cut_only_where_that_changes_nothing(tokenizer: Path, tmp_path: Path) -> None:
    cut = {}
    for kind in ("coca_ViT-B-32", "ViT-L-14-CLIPA", "xlm-roberta-base-ViT-B-32", "convnext"):
        name = make_kind(kind, tmp_path / kind, tokenizer)
        cut[kind] = Encoder(EncoderSpec(name, None, "bf16"), "cpu")._trims
    assert cut == {"coca_ViT-B-32": False, "ViT-L-14-CLIPA": False, **dict.fromkeys([*KINDS][-2:], True)}


def test_where_a_word_shows_is_refused_or_told_for_towers_of_several_outputs(tokenizer: Path, tmp_path: Path) -> None:
    plain = Encoder(EncoderSpec(make_kind("coca_roberta-ViT-B-32", tmp_path / "plain", tokenizer), None), "cpu")
    dense = DenseEncoder(plain)
    pixels = dense.decode([picture(0)])[0]
    (heat,) = dense.heat(np.stack([pixels]), [plain.encode_concepts(["dog"]).astype(np.float32)])  # type: ignore[list-item]
    assert heat.shape == (1, 3, 3)
    assert np.isfinite(heat).all()
    pooled = Encoder(EncoderSpec(make_kind("coca_ViT-B-32", tmp_path / "pooled", tokenizer), None), "cpu")
    with pytest.raises(MisuseError, match="--localise"):
        DenseEncoder(pooled)


@pytest.mark.parametrize("kind", ["SigLIP", "xlm-roberta-base-ViT-B-32"])
def test_a_tokenizer_by_hand_is_the_one_of_the_model(kind: str, tokenizer: Path, tmp_path: Path) -> None:
    whole = Encoder(EncoderSpec(make_kind(kind, tmp_path / "whole", tokenizer), None, "fp32"), "cpu")
    bare = make_kind(kind, tmp_path / "bare", tokenizer, bring=False)
    config = tmp_path / "bare" / "open_clip_config.json"
    config.write_text(config.read_text().replace(str(tokenizer), "owner/on-the-hub"))
    with pytest.raises(CocuError, match=r"tokenizer of .*, owner/on-the-hub, (.|\n)*--tokenizer DIR") as raised:
        Encoder(EncoderSpec(bare, None), "cpu")
    assert not isinstance(raised.value, MisuseError)
    by_hand = Encoder(EncoderSpec(bare, None, "fp32", tokenizer=str(tokenizer)), "cpu")
    np.testing.assert_array_equal(by_hand.encode_texts(TEXTS), whole.encode_texts(TEXTS))
    with tokenizer_from(tokenizer):
        if kind == "SigLIP":  # whose kind of tower has no dense features
            return
        found = load_segmenter(bare).encode_texts(TEXTS).detach().numpy()
    np.testing.assert_allclose(found, whole.encode_texts(TEXTS).astype(np.float32), atol=1e-3)


@pytest.mark.parametrize(
    ("model", "asked"),
    [
        ("ViT-B-32-SigLIP2-256", "timm/ViT-B-32-SigLIP2-256"),
        ("xlm-roberta-base-ViT-B-32", "xlm-roberta-base"),
        ("ViT-L-14-CLIPA", "bert-base-uncased"),
    ],
)
def test_what_the_hub_has_is_told_with_how_to_bring_it(model: str, asked: str, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"never read")
    with pytest.raises(CocuError) as raised:
        Encoder(EncoderSpec(model, str(weights)), "cpu")
    said = str(raised.value)
    assert f"the tokenizer of {model}, {asked}, cannot be loaded: it is not on this machine" in said
    assert f"get('{asked}', local_dir='DIR'" in said
    assert "--tokenizer DIR" in said


def test_folders_that_hold_no_fitting_tokenizer(tokenizer: Path, tmp_path: Path) -> None:
    name = make_kind("SigLIP", tmp_path / "model", tokenizer)

    def with_tokenizer(folder: Path) -> Encoder:
        return Encoder(EncoderSpec(name, None, tokenizer=str(folder)), "cpu")

    with pytest.raises(MisuseError, match=r"--tokenizer .*nowhere: no such folder"):
        with_tokenizer(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MisuseError, match=r"--tokenizer .*empty: holds no tokenizer"):
        with_tokenizer(tmp_path / "empty")
    broken = tmp_path / "broken"
    shutil.copytree(tokenizer, broken)
    (broken / "tokenizer.json").write_bytes((tokenizer / "tokenizer.json").read_bytes()[:200])
    with pytest.raises(MisuseError, match=r"--tokenizer .*broken: holds no tokenizer"):
        with_tokenizer(broken)
    other = tmp_path / "other"
    shutil.copytree(tokenizer, other)
    words = json.loads((other / "tokenizer.json").read_text())
    words["model"]["vocab"]["zebra"] = 90
    (other / "tokenizer.json").write_text(json.dumps(words))
    with pytest.raises(MisuseError, match=r"has a token 90, and local-dir:.* knows 64; give the model's own"):
        with_tokenizer(other)


def test_an_index_by_such_a_tokenizer_names_it_and_asks_for_it(tokenizer: Path, tmp_path: Path) -> None:
    model = make_kind("SigLIP", tmp_path / "model", tokenizer, bring=False)
    (shard,) = make_shards(tmp_path / "shards", shards=1, pairs=8)
    index, named = tmp_path / "index", ("--model", model)
    given = ("index", "build", shard, "--out", index, *named, "--min-count", 1, "--min-recall", 0)
    succeed(*given, "--tokenizer", tokenizer)
    made = manifest(index)["parameters"]
    assert made["tokenizer"] == str(tokenizer)
    assert len(made["tokenizer_digest"]) == 16
    refused = cocu("index", "search", index, "a dog")
    assert (refused.code, f"--model {model} --tokenizer {tokenizer}" in refused.err) == (2, True)
    assert "name that, too, with --model" in cocu("index", "search", index, "a dog", "--tokenizer", tokenizer).err
    assert succeed("index", "search", index, "a dog", *named, "--tokenizer", tokenizer).out
    curated = ("curate", "run", index, "--out", tmp_path / "curated", "--anchors", shard, *named)
    succeed(*curated, "--tokenizer", tokenizer)
    other = make_tokenizer(tmp_path / "other")
    (other / "added.txt").write_text("another")
    answer = cocu("index", "search", index, "a dog", *named, "--tokenizer", other)
    assert (answer.code, "is not the one that" in answer.err) == (2, True)
    again = cocu(*given, "--tokenizer", other)
    assert (again.code, "tokenizer" in again.err) == (2, True)
