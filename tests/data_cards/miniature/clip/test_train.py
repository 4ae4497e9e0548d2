"""The tiny CLIP's losses and measures against plain loops and scikit-learn; short trainings of the real thing."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from safetensors.torch import load_file
from sklearn.metrics import average_precision_score

from data_cards.cards import read_card
from data_cards.miniature.clip import train as tiny_clip
from data_cards.miniature.clip.measures import average_precision, measure, recall_at_1
from data_cards.miniature.clip.pairs import ClipPairs, DrawnSource, draw_pairs, tokenise
from data_cards.miniature.pairs import draw_pair
from tests.examples import examples

CARD = read_card("miniature")
SOURCE = DrawnSource("clip", 7, 64, ("web",), 32)


@pytest.fixture(scope="module")
def pairs() -> ClipPairs:
    return draw_pairs(SOURCE, 96)


def unit(rows: int, width: int, seed: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


# What is drawn


def test_pairs_are_those_of_the_split_with_their_truth(pairs: ClipPairs) -> None:
    names = list(CARD.kinds())
    for index in (0, 5, 95):
        pair = draw_pair("clip", 7, index, 64)
        np.testing.assert_array_equal(pairs.pixels[index], pair.image)
        counted = np.bincount(pair.mask.ravel(), minlength=256)[: len(names)] / pair.mask.size
        np.testing.assert_allclose(pairs.area[index], counted, atol=1e-6)
        np.testing.assert_array_equal(pairs.tokens[index, :4], tokenise(pair.captions, 32))
        assert pairs.tokens.shape[1] == 5


def test_full_captions_name_what_can_be_seen(pairs: ClipPairs) -> None:
    named, visible = pairs.named[:, :4], pairs.area[:, None] >= 0.01
    assert (named & ~visible).sum() == 0
    assert named.any(2).mean() > 0.95


@pytest.mark.timeout(600)  # two processes that import torch, which takes its time on a busy machine
def test_workers_change_nothing(pairs: ClipPairs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_cards.miniature.clip.pairs.SPAN", 20)  # the last of five spans is shorter
    again = draw_pairs(SOURCE, 96, workers=2)
    for name in ("pixels", "area", "tokens", "named"):
        np.testing.assert_array_equal(getattr(again, name), getattr(pairs, name))
    assert len(np.unique(again.pixels.reshape(96, -1), axis=0)) == 96


# Losses


@pytest.mark.parametrize("captions", [1, 3])
def test_the_captions_loss_is_that_of_a_plain_loop(captions: int) -> None:
    rng = np.random.default_rng(captions)
    images, texts = unit(6, 8, 0).astype(np.float64), unit(6 * captions, 8, 1).astype(np.float64)
    owner = np.repeat(np.arange(6), captions)
    weight = rng.choice([0.0, 0.1, 1.0], (6, 6 * captions))
    scale = 7.0
    used = [[1.0 if owner[t] == b else weight[b, t] for t in range(len(texts))] for b in range(6)]
    power = [[math.exp(scale * float(images[b] @ texts[t])) * used[b][t] for t in range(len(texts))] for b in range(6)]
    to_text = [
        -math.log(sum(row[t] for t in range(len(texts)) if owner[t] == b) / sum(row)) for b, row in enumerate(power)
    ]
    to_image = [-math.log(power[owner[t]][t] / sum(power[b][t] for b in range(6))) for t in range(len(texts))]
    found = tiny_clip.caption_loss(
        torch.from_numpy(images),
        torch.from_numpy(texts),
        torch.from_numpy(owner),
        torch.from_numpy(weight),
        torch.tensor(scale),
    )
    assert found.item() == pytest.approx((np.mean(to_text) + np.mean(to_image)) / 2, rel=1e-9)


def test_a_text_is_a_light_negative_where_it_is_true_and_says_something() -> None:
    shows = torch.tensor([[0.5, 0.004, 0.0], [0.0, 0.0, 1.0]])
    named = torch.tensor([[True, True, False], [True, False, True], [False, False, True], [False, False, False]])
    expected = torch.tensor([[0.1, 1.0, 1.0, 1.0], [1.0, 1.0, 0.1, 1.0]])
    torch.testing.assert_close(tiny_clip.negative_weight(shows, named, 0.1), expected)


def test_with_one_caption_and_equal_weights_it_is_open_clips_loss() -> None:
    images, texts = torch.from_numpy(unit(9, 8, 2)), torch.from_numpy(unit(9, 8, 3))
    scale = torch.tensor(20.0)
    found = tiny_clip.caption_loss(images, texts, torch.arange(9), torch.ones(9, 9), scale)
    torch.testing.assert_close(found, open_clip.ClipLoss()(images, texts, scale))


def test_the_classes_loss_is_that_of_a_plain_loop() -> None:
    images, prompts = unit(4, 8, 4), unit(5, 8, 5)
    area = np.random.default_rng(6).choice([0, 0.004, 0.01, 0.3], (4, 5)).astype(np.float32)
    total = 0.0
    for b in range(4):
        for c in range(5):
            logit = 9.0 * float(images[b] @ prompts[c]) - 2.0
            if area[b, c] >= np.float32(0.01):
                total -= math.log(1 / (1 + math.exp(-logit)))
            elif area[b, c] == 0:
                total -= math.log(1 - 1 / (1 + math.exp(-logit)))
    found = tiny_clip.class_loss(*map(torch.from_numpy, (images, prompts, area)), torch.tensor(9.0), torch.tensor(-2.0))
    assert found.item() == pytest.approx(total / 4, rel=1e-5)


# Measures


@examples(100)
@given(
    arrays.arrays(np.float64, (3, 12), elements=st.integers(0, 10**9), unique=True),
    arrays.arrays(np.bool_, (3, 12)),
)
def test_average_precision_is_scikit_learns(scores: NDArray[np.float64], relevant: NDArray[np.bool_]) -> None:
    for found, row, truth in zip(average_precision(scores, relevant), scores, relevant, strict=True):
        if truth.any():
            assert found == pytest.approx(average_precision_score(truth, row))
        else:
            assert math.isnan(found)


def test_equal_scores_gain_nothing() -> None:
    assert average_precision(np.zeros((1, 4)), np.array([[True, False, False, False]])) == pytest.approx([0.25])
    assert recall_at_1(np.zeros((3, 3))) == 0


def test_measures_of_a_model_that_knows_all_and_of_one_that_knows_nothing() -> None:
    area = (np.random.default_rng(0).random((80, len(CARD.classes))) < 0.1).astype(np.float32)
    area[:, 0] = 1
    knows = area / np.linalg.norm(area, axis=1, keepdims=True)
    prompts = np.eye(len(CARD.classes), dtype=np.float32)
    own = unit(80, len(CARD.classes), 1)
    figures = measure(knows, prompts, {"full": knows}, area, CARD)
    assert figures.ranking == figures.things == figures.stuff == figures.all_classes == 1
    blind = measure(own, unit(len(CARD.classes), len(CARD.classes), 2), {"full": own}, area, CARD)
    assert blind.ranking < 0.35
    assert blind.things < 0.35
    assert blind.recall["full"] == 1


# Training


SHORT = tiny_clip.ClipRecipe(pairs=96, epochs=2, batch_size=16, captions=1, warmup_steps=2, patch_dropout=0.5)


@pytest.mark.timeout(600)
def test_a_few_steps_lower_the_loss_and_are_repeated_bit_for_bit(pairs: ClipPairs) -> None:
    (first, losses), (second, again) = (tiny_clip.train(pairs, SHORT, torch.device("cpu")) for _ in range(2))
    assert len(losses) == SHORT.steps == 12
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])
    assert losses == again
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
    one_step = replace(SHORT, pairs=16, epochs=1)
    seeds = [tiny_clip.train(pairs, replace(one_step, seed=seed), torch.device("cpu"))[1] for seed in (0, 1)]
    assert seeds[0] != seeds[1]


def test_every_weight_is_trained_once(pairs: ClipPairs) -> None:
    model = tiny_clip.TinyCLIP(torch.device("cpu")).model
    optimizers = tiny_clip.make_optimizers(model, [], SHORT)
    held = [id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in model.parameters())
    decaying = {id(p) for o in optimizers for g in o.param_groups if g["weight_decay"] for p in g["params"]}
    assert not any(id(p) in decaying for name, p in model.named_parameters() if p.ndim < 2 or "embedding" in name)


def test_batches_take_every_pair_once_in_an_epoch() -> None:
    recipe = tiny_clip.ClipRecipe(pairs=10, epochs=2, batch_size=4)
    rows = np.concatenate(list(tiny_clip.batches(10, recipe, np.random.default_rng(0))))
    assert len(rows) == 20
    assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10))
    assert list(rows[:10]) != list(rows[10:])


def test_the_command_writes_a_folder_that_open_clip_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "clip"
    options = ["--pairs", "40", "--epochs", "1", "--batch-size", "20", "--held-out", "60", "--workers", "1"]
    figures = tiny_clip.main(["--out", str(out), *options, "--device", "cpu", "--seed", "3"])
    assert f"{figures.ranking:.3f}" in capsys.readouterr().out
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{out}")
    stored = load_file(out / "open_clip_model.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.float16}
    for name, value in model.state_dict().items():
        assert torch.equal(value, stored[name].float()), name
    # The figures are those of the stored weights, through open_clip's own preprocessing.
    from PIL import Image

    drawn = [draw_pair("val", tiny_clip.HELD_OUT_SEED, index, 64) for index in range(60)]
    with torch.no_grad():
        images = model.encode_image(torch.stack([preprocess(Image.fromarray(pair.image)) for pair in drawn]))
        tokens = open_clip.get_tokenizer(f"local-dir:{out}")([f"a photo of a {name}" for name in CARD.kinds()])
        prompts = model.encode_text(tokens)
    scores = torch.nn.functional.cosine_similarity(images[:, None], prompts[None], dim=-1).numpy()
    seen = [[o.name for o in pair.scene.objects if o.area >= 0.01] for pair in drawn]
    truth = np.array([[name in names for name in CARD.kinds()] for names in seen])
    expected = np.mean([average_precision_score(t, s) for t, s in zip(truth, scores, strict=True)])
    assert figures.ranking == pytest.approx(expected, abs=0.01)
    card = (out / "README.md").read_text("utf-8")
    assert (
        "python -m data_cards.miniature.clip.train --out FOLDER --pairs 40 --epochs 1.0 --batch-size 20 --seed 3"
        in card
    )
    assert f"| {figures.ranking:.3f} |" in card
    assert json.loads((out / "open_clip_config.json").read_text())["model_cfg"]["text_cfg"]["vocab_size"] == 49408


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--seed", "-1"], "seed -1: give a whole number"),
        (["--pairs", "10"], "--pairs 10: give at least one batch, 128"),
    ],
)
def test_misuse_is_told(options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        tiny_clip.main(["--out", str(tmp_path / "clip"), *options])
    assert end.value.code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "clip").exists()


def test_a_class_token_takes_the_place_of_the_mean(tmp_path: Path) -> None:
    tiny_clip.save(tiny_clip.TinyCLIP(torch.device("cpu"), pool="tok"), tmp_path)
    assert open_clip.create_model_from_pretrained(f"local-dir:{tmp_path}")[0].visual.pool_type == "tok"
