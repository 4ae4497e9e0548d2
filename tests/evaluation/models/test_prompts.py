"""What is put to the text encoder for a class."""

import pytest

from data_cards.cards import Card
from evaluation.models.prompts import class_prompts, prompted
from files.errors import MisuseError
from tests.evaluation.tiny_segmenters import tiny_card


def card(**changes: object) -> Card:
    classes = [{"name": "nothing"}, {"name": "tvmonitor", "prompts": ["monitor", "television"]}, {"name": "dog"}]
    rule = {"name": "nothing", "threshold": 0.5}
    content = tiny_card().model_dump() | {"classes": classes, "background": rule} | changes
    return Card.model_validate(content, strict=False)


def test_every_word_of_a_class_stands_in_every_sentence() -> None:
    assert class_prompts(card()) == [["a photo of a monitor."], ["a photo of a dog."]]
    assert class_prompts(card(), words="all") == [
        ["a photo of a monitor.", "a photo of a television."],
        ["a photo of a dog."],
    ]
    of_monitor, of_dog = class_prompts(card(), "full", "all")
    assert (len(of_monitor), len(of_dog)) == (160, 80)
    assert len(class_prompts(card(), "subset")[1]) == 7
    assert "a bad photo of a dog." in of_dog


def test_the_sets_hold_the_word_once_and_differ() -> None:
    for templates in ("simple", "subset", "full"):
        sentences = prompted("zebra", templates)  # type: ignore[arg-type]
        assert len(set(sentences)) == len(sentences)
        assert all(sentence.count("zebra") == 1 for sentence in sentences)


def test_an_unknown_set_and_a_card_without_words_are_refused() -> None:
    with pytest.raises(MisuseError, match="templates 'most': give one of simple, subset, full"):
        class_prompts(card(), "most")  # type: ignore[arg-type]
    with pytest.raises(MisuseError, match="card tiny: it has no class that text names"):
        class_prompts(card(classes=[{"name": "nothing"}]))
