"""Which classes a caption names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.report.caption_marks import mark_concepts
from data_cards.cards import read_card
from data_cards.miniature.captions.names import ClassNames, plural
from data_cards.miniature.pairs import draw_pair

SYNONYMS = read_card("miniature").synonyms()
NAMES = ClassNames(SYNONYMS)
FEW = ClassNames(
    {
        "sky": ["sky"],
        "night sky": ["night sky", "starry sky"],
        "skyline": ["city skyline", "skyline"],
        "grass": ["grass"],
        "sand": ["beach"],
        "umbrella": ["umbrella", "beach umbrella"],
        "person": ["person", "man", "woman", "child"],
        "dog": ["dog"],
        "horse": ["pony"],
        "sheep": ["sheep", "lamb"],
        "cow": ["calf"],
        "bus": ["bus"],
    }
)


@pytest.mark.parametrize(
    ("caption", "named"),
    [
        ("two dogs on the grass", {"dog", "grass"}),
        ("A man under a beach umbrella.", {"person", "umbrella"}),  # no sand
        ("People, ponies and LAMBS", {"person", "horse", "sheep"}),
        ("starry sky over the city skyline", {"night sky", "skyline"}),  # no sky
        ("a flock of sheep", {"sheep"}),
        ("the calves", {"cow"}),
        ("women and children by buses", {"person", "bus"}),
        ("my hotdogs", set()),
        ("", set()),
        ("IMG_1234.jpg", set()),
    ],
)
def test_words_and_plurals_the_longest_first(caption: str, named: set[str]) -> None:
    assert FEW.named(caption) == named


def test_it_agrees_with_the_marks_of_reports_on_captions_of_its_own() -> None:
    classes = {word: name for name, words in SYNONYMS.items() for word in words}
    for index in range(300):
        caption = draw_pair("train", 5, index, 32).caption
        marked = {classes[word] for _, word in mark_concepts(caption, list(classes)) if word is not None}
        assert NAMES.named(caption) == marked, caption


@given(st.lists(st.sampled_from(sorted(SYNONYMS)), max_size=5))
def test_every_class_is_found_by_its_name_and_each_synonym(names: list[str]) -> None:
    for pick in range(4):
        said = [SYNONYMS[name][pick % len(SYNONYMS[name])] for name in names]
        assert NAMES.named(", ".join(said)) <= set(names)
        assert {found for word in said for found in NAMES.named(word)} == set(names)


@pytest.mark.parametrize(
    ("one", "many"),
    [("dog", "dogs"), ("bus", "buses"), ("bench", "benches"), ("puppy", "puppies"), ("boy", "boys"),
     ("snowman", "snowmen"), ("woman", "women"), ("person", "people"), ("calf", "calves"), ("sheep", "sheep"),
     ("house", "houses"), ("box", "boxes")],
)  # fmt: skip
def test_plurals(one: str, many: str) -> None:
    assert plural(one) == many
