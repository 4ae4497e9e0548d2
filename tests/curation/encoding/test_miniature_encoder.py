"""The model that comes with the package: what it is, what it knows, and that `--model miniature` means it."""

from __future__ import annotations

import io
import json
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import open_clip
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from sklearn.metrics import label_ranking_average_precision_score

from curation.encoding.encoder import Encoder
from curation.encoding.model_names import EncoderSpec, weights_digest
from data_cards.cards import read_card
from data_cards.miniature.clip import built_in
from data_cards.miniature.pairs import DrawnPair, draw_pair
from data_cards.miniature.shards import write_miniature
from files.errors import MisuseError
from tests.integration.commands import manifest, succeed

CARD = read_card("miniature")
NAMES = list(CARD.kinds())
UNSEEN = 987_654


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(EncoderSpec("miniature", "openai"), "cpu")


@pytest.fixture(scope="module")
def drawn() -> list[DrawnPair]:
    return [draw_pair("val", UNSEEN, index) for index in range(200)]


@pytest.fixture(scope="module")
def pictures(encoder: Encoder, drawn: list[DrawnPair]) -> np.ndarray:
    """Unit vectors of JPEGs, as shards hold them."""

    def encoded(pair: DrawnPair) -> bytes:
        out = io.BytesIO()
        Image.fromarray(pair.image).save(out, "JPEG", quality=90)
        return out.getvalue()

    vectors = [vector for _, vector in encoder.encode_pictures((pair.key, encoded(pair)) for pair in drawn)]
    return np.stack(vectors).astype(np.float32)  # type: ignore[arg-type]


def visible(drawn: list[DrawnPair]) -> np.ndarray:
    """By the masks: at least one pixel in a hundred, [N, C]."""
    return np.stack([np.bincount(pair.mask.ravel(), minlength=256)[: len(NAMES)] >= 41 for pair in drawn])


# What it is


def test_it_is_small_and_holds_float16() -> None:
    weights = built_in.FOLDER / "open_clip_model.safetensors"
    assert weights.stat().st_size <= 8_000_000
    with safe_open(weights, "pt") as file:
        assert {str(file.get_tensor(name).dtype) for name in file.keys()} == {"torch.float16"}  # noqa: SIM118


def test_open_clip_alone_loads_it(encoder: Encoder, drawn: list[DrawnPair], pictures: np.ndarray) -> None:
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{built_in.FOLDER}")
    tokens = open_clip.get_tokenizer(f"local-dir:{built_in.FOLDER}")(["two dogs on the grass"])
    assert tokens.max() == 49407
    with torch.no_grad():
        batch = torch.stack([preprocess(Image.fromarray(pair.image)) for pair in drawn[:20]])
        images = torch.nn.functional.normalize(model.encode_image(batch), dim=-1).numpy()
        text = torch.nn.functional.normalize(model.encode_text(tokens), dim=-1).numpy()
    assert (images * pictures[:20]).sum(1).min() > 0.97  # one went through JPEG and maybe bfloat16
    assert (text * encoder.encode_texts(["two dogs on the grass"])).sum() > 0.995


def test_the_package_ships_it(root: Path) -> None:
    patterns = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-data"]
    names = {f"weights/{path.name}" for path in built_in.FOLDER.iterdir()}
    assert {f"weights/{name}" for name in ("open_clip_config.json", "README.md")} < names
    assert all(any(fnmatch(name, pattern) for pattern in patterns["data_cards.miniature.clip"]) for name in names)


# What it knows


def test_it_ranks_the_classes_of_unseen_scenes(encoder: Encoder, drawn: list[DrawnPair], pictures: np.ndarray) -> None:
    scores = pictures @ encoder.encode_concepts(NAMES).astype(np.float32).T
    assert label_ranking_average_precision_score(visible(drawn), scores) >= 0.75


def test_pictures_near_to_each_other_show_the_same(drawn: list[DrawnPair], pictures: np.ndarray) -> None:
    truth = visible(drawn)
    alike = pictures @ pictures.T
    np.fill_diagonal(alike, -1)
    shared = (truth @ truth.T.astype(int)) / (truth[:, None] | truth[None]).sum(2)
    nearest = np.take_along_axis(shared, alike.argmax(1)[:, None], 1).mean()
    assert nearest > 1.6 * shared[~np.eye(len(truth), dtype=bool)].mean()


def test_it_knows_the_other_words_for_a_class(encoder: Encoder) -> None:
    said = [(word, name) for name, words in CARD.synonyms().items() for word in words[1:]]
    scores = encoder.encode_concepts([word for word, _ in said]).astype(np.float32) @ encoder.encode_concepts(NAMES).T
    right = [NAMES[best] == name for best, (_, name) in zip(scores.argmax(1), said, strict=True)]
    assert np.mean(right) > 0.9


# What its name does


def test_the_default_weights_do_not_get_in_the_way() -> None:
    spec = EncoderSpec("miniature", "openai")
    assert spec == EncoderSpec("miniature", None)
    assert weights_digest(spec) == weights_digest(EncoderSpec(f"local-dir:{built_in.FOLDER}"))
    assert EncoderSpec("ViT-B-16").pretrained == "openai"


def test_the_digest_covers_weights_and_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = set()
    for config, weights in ((b"{}", b"1"), (b"{}", b"2"), (b"{ }", b"1")):
        (tmp_path / "open_clip_config.json").write_bytes(config)
        (tmp_path / "open_clip_model.safetensors").write_bytes(weights)
        monkeypatch.setattr("data_cards.miniature.clip.built_in.FOLDER", tmp_path)
        digests.add(weights_digest(EncoderSpec("miniature")))
    assert len(digests) == 3


def test_a_name_that_is_almost_right() -> None:
    with pytest.raises(MisuseError, match="near to it: miniature"):
        Encoder(EncoderSpec("minature"), "cpu")


def test_an_index_is_built_and_searched_with_it(tmp_path: Path) -> None:
    write_miniature(tmp_path / "data", pairs=120, seed=UNSEEN, workers=1, per_shard=60)
    index = tmp_path / "index"
    succeed("index", "build", tmp_path / "data", "--model", "miniature", "--out", index, "--workers", 1)
    parameters = manifest(index)["parameters"]
    assert (parameters["model"], parameters["pretrained"]) == ("miniature", None)
    assert parameters["weights"] == weights_digest(EncoderSpec("miniature"))
    table = pq.read_table(sorted((index / "embeddings").glob("*.parquet"))[0])
    assert (len(table), len(table["image_vec"][0])) == (60, 64)
    assert (
        "already finished"
        in succeed("index", "build", tmp_path / "data", "--model", "miniature", "--out", index, "--workers", 1).err
    )
    assert "boat" in json.dumps(succeed("index", "search", index, "a boat on the sea", "-k", 5).out)
