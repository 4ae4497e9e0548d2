"""Where captions name concepts, and that cutting them there keeps every sign of the caption."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.report import caption_marks
from curation.report.caption_marks import mark_concepts, shown


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


@given(TEXTS, st.lists(TEXTS, max_size=8))
def test_of_two_that_overlap_the_longer_is_marked(caption: str, concepts: list[str]) -> None:
    spans: list[tuple[int, int]] = []
    for concept in sorted({*concepts}, key=lambda text: (-len(text), text)):
        for match in pattern.finditer(caption) if (pattern := caption_marks._pattern(concept)) else ():
            if all(match.end() <= start or end <= match.start() for start, end in spans):
                spans.append(match.span())
    pieces = mark_concepts(caption, concepts)
    assert [text for text, concept in pieces if concept] == [caption[slice(*span)] for span in sorted(spans)]


def test_a_long_caption_is_marked_at_once_and_shown_in_part() -> None:
    caption = "dog, " * 800_000
    began = time.process_time()
    pieces = mark_concepts(caption, ["dog", "cat", "hot dog"])
    assert time.process_time() - began < 5
    assert [text for text, concept in pieces if concept] == ["dog"] * 800_000
    assert shown(caption) == caption[:10_000] + " ... (3,990,000 letters more)"
    assert shown(caption[:10_000]) == caption[:10_000]
