"""Words by their tags, against a plain reading of what spaCy says."""

from __future__ import annotations

import pytest
import spacy

from curation.concepts.lexicon import resolve_pipeline
from curation.concepts.noun_phrases import NounOptions
from curation.concepts.parser import PARSERS
from curation.concepts.tagged_words import TAGS

CAPTIONS = [
    "A man repairs the roof of an old house.",
    "Two dogs running along a sandy beach, dogs and a Frisbee",
    "blue and green",
    "",
]


def test_nouns_and_verbs_one_word_each() -> None:
    parser = PARSERS["words"](NounOptions())
    found = parser.concepts(CAPTIONS)
    assert found[0] == ["man", "repairs", "roof", "house"]
    assert found[1] == ["dogs", "running", "beach", "frisbee"]
    assert found[2:] == [[], []]


@pytest.mark.parametrize("caption", ["people were walking their cats home", "she has never seen a taller building"])
def test_the_tags_are_spacys(caption: str) -> None:
    doc = spacy.load(resolve_pipeline())(caption)
    expected = list(dict.fromkeys(token.text for token in doc if token.tag_ in TAGS))
    assert PARSERS["words"](NounOptions()).concepts([caption]) == [expected]
