"""Which object a concept or a text names, against the same rule written as plain loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.recovery.naming import named_by_concepts, named_in_texts, phrases_of

SYNONYMS = {
    "person": ["person", "man", "woman", "people"],
    "dog": ["dog", "puppy"],
    "hot dog": ["hot dog", "hotdog"],
    "bear": ["bear", "polar bear"],
    "teddy bear": ["teddy bear", "stuffed animal"],
    "baseball bat": ["baseball bat", "bat"],
    "sports ball": ["ball", "baseball"],
    "wine glass": ["wine glass", "goblet"],
    "skis": ["ski", "skis"],
}


def plain_normal(phrase: str) -> str:
    """A stand-in for the normal form of concepts: enough English for these tests."""
    *before, head = phrase.lower().split() or [""]
    irregular = {"men": "man", "women": "woman", "people": "people", "puppies": "puppy"}
    if head == "glasses":
        head = "glass" if before else "glasses"
    elif head in irregular:
        head = irregular[head]
    elif head.endswith("s") and not head.endswith("ss"):
        head = head[:-1]
    return " ".join([*before, head])


def concept_names(concept: str, synonyms: Mapping[str, Sequence[str]] = SYNONYMS) -> str | None:
    named = named_by_concepts([concept], phrases_of(synonyms, plain_normal))[0]
    return list(synonyms)[named] if named >= 0 else None


def text_names(text: str) -> set[str]:
    _, objects = named_in_texts([text], phrases_of(SYNONYMS, plain_normal))
    return {list(SYNONYMS)[o] for o in objects}


@pytest.mark.parametrize(
    ("concept", "named"),
    [
        ("man", "person"),
        ("men", "person"),
        ("snow man", "person"),
        ("hot dog", "hot dog"),
        ("giant hot dog", "hot dog"),
        ("hotdog", "hot dog"),
        ("hunting dog", "dog"),
        ("dog house", None),
        ("hot dog stand", None),
        ("teddy bear", "teddy bear"),
        ("polar bear", "bear"),
        ("baseball bat", "baseball bat"),
        ("bat", "baseball bat"),
        ("baseball", "sports ball"),
        ("wine glass", "wine glass"),
        ("wine glasses", "wine glass"),
        ("glass", None),
        ("glasses", None),
        ("ski", "skis"),
        ("skis", "skis"),
        ("Hot-Dogs", "hot dog"),
        ("doggedness", None),
        ("", None),
        (" ", None),
        ("…", None),
    ],
)
def test_concepts(concept: str, named: str | None) -> None:
    assert concept_names(concept) == named


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Two men, eating hot dogs.", {"person", "hot dog"}),
        ("A dog eats a hot dog", {"dog", "hot dog"}),
        ("The man's puppies!", {"person", "dog"}),
        ("a baseball bat", {"baseball bat"}),
        ("a baseball and a bat", {"sports ball", "baseball bat"}),
        ("hot, dog", {"hot dog"}),  # punctuation does not part a phrase
        ("a stuffed polar bear", {"bear"}),
        ("cats and bats", {"baseball bat"}),
        ("", set()),
    ],
)
def test_texts(text: str, named: set[str]) -> None:
    assert text_names(text) == named


def test_a_rule_that_shortens_singulars_does_no_harm() -> None:
    phrases = phrases_of({"bus": ["bus"]}, lambda phrase: phrase.removesuffix("s").removesuffix("e"))
    assert named_by_concepts(["bus", "buses", "bu", "school buses"], phrases).tolist() == [0] * 4


def test_a_phrase_does_not_reach_into_the_next_text() -> None:
    phrases = phrases_of(SYNONYMS, plain_normal)
    texts, objects = named_in_texts(["so hot", "dog", "", "a bat"], phrases)
    assert texts.tolist() == [1, 3]
    assert [phrases.objects[o] for o in objects] == ["dog", "baseball bat"]


def test_a_phrase_of_several_objects_names_the_one_that_bears_it() -> None:
    synonyms = {"vehicle": ["car", "van"], "car": ["car", "sedan"], "truck": ["van"]}
    assert concept_names("car", synonyms) == "car"
    assert concept_names("van", synonyms) == "vehicle"  # the first listed
    disputed = phrases_of(synonyms, plain_normal).disputed
    assert disputed == {"car": ("car", "vehicle"), "van": ("vehicle", "truck")}


def test_arrow_arrays_are_read_and_nothing_is_named_without_phrases() -> None:
    phrases = phrases_of(SYNONYMS, plain_normal)
    chunked = pa.chunked_array([pa.array(["dog", None]), pa.array(["bat"])])
    assert named_by_concepts(chunked, phrases).tolist() == [1, -1, 5]
    assert named_by_concepts([], phrases).tolist() == []
    assert named_by_concepts(["dog"], phrases_of({}, plain_normal)).tolist() == [-1]
    assert named_by_concepts(["dog"], phrases_of({"dog": ["?!"]}, plain_normal)).tolist() == [-1]


WORDS = st.sampled_from(["a", "b", "c", "as", "d"])
TEXT = st.lists(WORDS, max_size=7).map(" ".join)
PHRASE = st.lists(WORDS, min_size=1, max_size=3).map(" ".join)


def _plain_mentions(text: str, synonyms: Mapping[str, Sequence[str]]) -> list[tuple[int, int, int]]:
    """(first word, last word, object) of all phrases in the text, longest at its place."""
    fold = {"as": "a"}
    words = [fold.get(word, word) for word in text.split()]
    spans = {}
    for index, phrases in reversed(list(enumerate(synonyms.values()))):
        for phrase in phrases:
            wanted = [fold.get(word, word) for word in phrase.split()]
            for start in range(len(words) - len(wanted) + 1):
                if words[start : start + len(wanted)] == wanted:
                    spans[start, start + len(wanted) - 1] = index  # the first listed wins
    return sorted(
        (start, end, index)
        for (start, end), index in spans.items()
        if not any(s <= start and end <= e and (s, e) != (start, end) for s, e in spans)
    )


@given(
    st.lists(TEXT, max_size=5),
    st.dictionaries(st.sampled_from(["one", "two", "three"]), st.lists(PHRASE, min_size=1, max_size=4)),
)
def test_matching_equals_plain_loops(texts: list[str], synonyms: dict[str, Sequence[str]]) -> None:
    phrases = phrases_of(synonyms, plain_normal)
    got_texts, got_objects = named_in_texts(texts, phrases)
    plain = [(i, o) for i, text in enumerate(texts) for _, _, o in _plain_mentions(text, synonyms)]
    assert sorted(zip(got_texts.tolist(), got_objects.tolist(), strict=True)) == sorted(plain)
    tails = [next((o for _, e, o in _plain_mentions(t, synonyms) if e == len(t.split()) - 1), -1) for t in texts]
    assert named_by_concepts(texts, phrases).tolist() == tails
