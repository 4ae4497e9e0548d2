"""Settings: which texts stand for a card's classes under a protocol, and what results say of distractors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from data_cards.cards import Background, Card, CardClass, ClipProtocol, read_card
from data_cards.layouts.benchmark import open_benchmark
from evaluation.evaluate import EvaluateOptions, evaluate_all
from evaluation.figures.confusion import figures
from evaluation.labels.inference import Rules, segment_images
from evaluation.labels.words import WordRules
from evaluation.models.segmenters import Segmenter, load_segmenter
from evaluation.results.result import card_digest
from evaluation.setting import AUTO_WORDS, Wording, setting_of
from files.errors import MisuseError
from tests.evaluation.tiny_checkpoints import make_checkpoint, make_miniature
from training.processes import Place

ALONE = Place(0, 1, torch.device("cpu"))
MINIATURE = read_card("miniature")
WITH_BACKGROUND = MINIATURE.model_copy(update={"background": Background(name="sky", threshold=0.3)})
VOC = read_card("voc2012")


@pytest.fixture(scope="module")
def val(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_miniature(tmp_path_factory.mktemp("val"), 5)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index")
    letters = "abcdefghij"
    words = ["dog", "puppy", *(f"{a}{b}word" for a in letters for b in letters)]
    counts = np.arange(len(words), 0, -1)
    pq.write_table(pa.table({"concept": words, "count": counts}), folder / "concepts.parquet")
    return folder


@pytest.fixture(scope="module", params=["groupvit", "patch-alignment"])
def segmenter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    return load_segmenter(make_checkpoint(tmp_path_factory.mktemp("run"), request.param))


def test_the_words_of_the_protocol_clip(segmenter: Segmenter) -> None:
    card = VOC.under("clip")
    found = setting_of(segmenter, card, Wording("clip", templates="simple"), Rules(), ALONE)
    assert card.clip is not None
    words = [*((0, word) for word in card.clip.background)]
    words += [(index, word) for index, said in enumerate(card.prompts(), 1) for word in said]
    assert found.rules.words == WordRules(tuple(owner for owner, _ in words), 65.0, 0.1)
    expected = segmenter.embed_classes([[f"a photo of a {word}."] for _, word in words])
    torch.testing.assert_close(found.vectors, expected)
    assert found.said["protocol"] == "clip"
    assert found.said["background words"] == list(card.clip.background)
    assert (found.said["background words from"], found.said["words"]) == ("the card", 56)
    assert (found.said["logit scale"], found.said["background threshold"], found.said["least area"]) == (65, 0.1, 0.1)
    given = setting_of(segmenter, card, Wording("clip", "simple", background=("sky", "sea")), Rules(), ALONE)
    assert (given.said["background words"], given.said["background words from"]) == (["sky", "sea"], "the command")
    torch.testing.assert_close(given.vectors[2:], expected[26:])


def test_templates_are_the_protocols_unless_given(segmenter: Segmenter) -> None:
    card = read_card("cityscapes")
    full = setting_of(segmenter, card.under("clip"), Wording("clip"), Rules(), ALONE)
    assert (full.said["templates"], full.said["words"]) == ("full", 19)
    assert setting_of(segmenter, card, Wording(), Rules(), ALONE).said == {
        **{"protocol": "groupvit", "templates": "simple", "prompts": "first", "best classes": 5}
    }


def test_background_words_and_distractors_of_a_vocabulary(segmenter: Segmenter, index: Path) -> None:
    wording = Wording("clip", "simple", background="auto", vocabulary=index, distractors=12)
    found = setting_of(segmenter, WITH_BACKGROUND.under("clip"), wording, Rules(), ALONE)
    background = found.said["background words"]
    assert len(set(background)) == len(background) == AUTO_WORDS
    assert found.said["background words from"] == str(index)
    assert len(found.distractors) == 12
    assert not set(found.distractors) & {*background, "dog", "puppy"}
    assert found.rules.distractors == (10, 12)
    assert found.rules.words is not None
    assert len(found.vectors) == len(found.rules.words.owners) + 12
    vectors, rules = found.alone()
    assert (len(vectors), rules.distractors) == (len(found.rules.words.owners), ())
    with pytest.raises(MisuseError, match=r"--distractors 500: .* and 500 are asked for"):
        setting_of(segmenter, MINIATURE, Wording(vocabulary=index, distractors=500), Rules(), ALONE)


@pytest.mark.parametrize(
    ("wording", "said"),
    [
        ({"background": "auto"}, "the protocol groupvit has a threshold instead of words"),
        ({"protocol": "clip", "prompts": "all"}, "--prompts: the protocol clip has its own words"),
        ({"protocol": "clip", "background": "auto"}, "--background-words auto: give --vocabulary INDEX"),
        ({"distractors": 3}, "--distractors: give --vocabulary INDEX"),
        ({"vocabulary": Path("index")}, "--vocabulary: is for --background-words auto and --distractors"),
        ({"distractors": 3, "vocabulary": Path("none")}, "--vocabulary none: holds no concepts.parquet"),
        ({"protocol": "clip", "background": ("sky", " ")}, "--background-words: names nothing"),
        ({"protocol": "clip", "background": ()}, "--background-words: names nothing"),
    ],
)
def test_what_does_not_go_together(wording: dict[str, Any], said: str) -> None:
    with pytest.raises(MisuseError) as raised:
        Wording(**wording).check([VOC.under(wording.get("protocol", "groupvit"))])
    assert said in str(raised.value)


def test_a_background_needs_words_and_words_a_background() -> None:
    with pytest.raises(MisuseError, match="card miniature: nobody wrote words for its background"):
        Wording("clip").check([WITH_BACKGROUND.under("clip")])
    Wording("clip", background=("cloud",)).check([WITH_BACKGROUND.under("clip"), MINIATURE.under("clip")])
    with pytest.raises(MisuseError, match="none of the benchmarks has a background"):
        Wording("clip", background=("cloud",)).check([MINIATURE.under("clip")])


@pytest.mark.parametrize("protocol", ["groupvit", "clip"])
def test_what_results_say_of_distractors(
    tmp_path: Path, segmenter: Segmenter, val: Path, index: Path, protocol: Any
) -> None:
    wording = Wording(protocol, "simple", vocabulary=index, distractors=25)
    (one,) = evaluate_all(segmenter, [(MINIATURE, val)], tmp_path, EvaluateOptions(shown=1, wording=wording), ALONE)[
        "benchmarks"
    ]
    found = one["distractors"]
    card = MINIATURE.under(protocol)
    setting = setting_of(segmenter, card, wording, Rules(), ALONE)
    assert found["words"] == list(setting.distractors)
    assert [point["distractors"] for point in found["curve"]] == [0, 10, 25]
    assert found["curve"][0]["mean_iou"] == one["mean_iou"]["value"]
    benchmark = open_benchmark(card, val)
    items = [benchmark.item(number) for number in range(5)]
    counts = np.zeros((3, 3, 52))
    taken = np.zeros((25, 52), int)
    for image, truth in items:
        (labelled,) = segment_images(segmenter, card, setting.vectors, [image], setting.rules)
        assert labelled.distracted is not None
        for place, labels in enumerate((labelled.labels, *labelled.distracted)):
            for index_ in range(52):
                mine, true = labels.numpy() == index_, truth == index_
                counts[place, :, index_] += [(mine & true).sum(), true.sum(), mine.sum()]
        for distractor in range(25):
            for index_ in range(52):
                taken[distractor, index_] += ((labels.numpy() == 52 + distractor) & (truth == index_)).sum()
    absent = counts[0, 1] == 0
    for place, point in enumerate(found["curve"]):
        same = np.where(absent, counts[0], counts[place])
        assert point["mean_iou"] == pytest.approx(figures(same.astype(np.int64)).mean_iou, abs=1e-12)
        if place:
            assert point["pixel_accuracy"] == pytest.approx(counts[place, 0].sum() / counts[0, 1].sum())
            assert point["taken"] == pytest.approx(1 - counts[place, 2].sum() / counts[0, 1].sum())
            fall = found["curve"][0]["mean_iou"] - point["mean_iou"]
            assert point["difference"]["value"] == pytest.approx(-fall, abs=1e-12)
    assert taken.sum() > 0, "the test is to see distractors take something"
    first = found["taken"][0]
    place = setting.distractors.index(first["distractor"])
    assert taken[place].sum() == taken.sum(1).max()
    assert first["share"] == pytest.approx(taken[place].sum() / counts[0, 1].sum())
    assert first["most_from"] == MINIATURE.classes[int(taken[place].argmax())].name
    text = (tmp_path / "results.md").read_text()
    assert f"protocol: {protocol}" in text
    assert f"| 25 | {100 * found['curve'][2]['mean_iou']:.2f} |" in text


def test_the_digest_of_a_card_is_of_what_is_in_use() -> None:
    classes = (CardClass(name="dog"), CardClass(name="cat"))
    given: dict[str, Any] = {"pretty_name": "x", "license": "mit", "layout": "folders", "split": "val"}
    plain = Card(name="x", classes=classes, **given)
    words = (CardClass(name="dog", clip=("puppy",)), CardClass(name="cat"))
    more = Card(name="x", classes=words, clip=ClipProtocol(source="here", resize=None), **given)
    assert card_digest(plain) == card_digest(more) != card_digest(more.under("clip"))
    assert card_digest(more.under("clip")) != card_digest(plain.under("clip"))
