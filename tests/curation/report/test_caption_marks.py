"""Where captions name concepts, and that cutting them there keeps every sign of the caption."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.report.caption_marks import mark_concepts


@pytest.mark.parametrize(
    ("caption", "concepts", "marked"),
    [
        ("Two Dogs run", ["dog"], ["Dogs"]),
        ("a hotdog and a dogma", ["dog"], []),
        ("the dog's tail", ["dog"], ["dog"]),
        ("a fire-truck, Fire  Trucks", ["fire truck", "truck"], ["fire-truck", "Fire  Trucks"]),
        ("red fire truck engine", ["red fire", "fire truck engine"], ["fire truck engine"]),
        ("three women, a snowman and children", ["woman", "snowman", "child"],
         ["women", "snowman", "children"]),
        ("people and snowmen on beaches", ["person", "snowman", "beach"],
         ["people", "snowmen", "beaches"]),
        ("ladies with knives and leaves", ["lady", "knife", "leaf"], ["ladies", "knives", "leaves"]),
        ("a glass, a bus", ["glasses", "buses"], ["glass", "bus"]),
        ("the box is a fox", ["ox", "box"], ["box"]),
        ("C++ (code) [x]", ["(code)", "[x"], ["(code)", "[x"]),
        ("nothing", ["", " ", "-"], []),
    ],
)  # fmt: skip
def test_marks_find_concepts(caption: str, concepts: list[str], marked: list[str]) -> None:
    assert [text for text, concept in mark_concepts(caption, concepts) if concept] == marked


WORDS = st.lists(st.sampled_from(["dog", "Dogs", "fire", "truck", "-", " ", "'s", "<b>", "&", "men", "\n", "é"]))
TEXTS = st.one_of(st.text(max_size=60), WORDS.map(" ".join), WORDS.map("".join))


@given(TEXTS, st.lists(TEXTS, max_size=8))
def test_the_text_of_a_marked_caption_is_the_caption(caption: str, concepts: list[str]) -> None:
    pieces = mark_concepts(caption, concepts)
    assert "".join(text for text, _ in pieces) == caption
    assert all(text for text, _ in pieces)
    assert all(concept is None or concept in concepts for _, concept in pieces)
