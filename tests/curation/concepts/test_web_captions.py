"""Captions in the styles of the web, and the words of which they are made."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.quality.nouns import read_expected, tally, templates
from curation.concepts.lexicon import Lexicon, object_words
from curation.concepts.noun_phrases import NounOptions
from curation.concepts.parser import Parser
from curation.concepts.plain_text import plain_text

WEB = Path(__file__).parents[3] / "benchmarks" / "quality" / "web_captions.tsv"


@pytest.fixture(scope="module")
def parser() -> Parser:
    return Parser(NounOptions())


@pytest.mark.parametrize(
    ("caption", "concepts"),
    [
        ("a fire hydrant on the side of the road", ["fire hydrant", "road"]),  # parsed as "a fire"
        ("two stop signs and three traffic lights", ["stop sign", "traffic light"]),
        ("The bus stops near the wine glasses", ["bus", "wine glass"]),
        ("fork on table", ["fork", "table"]),
        ("a man holding a remote", ["man", "remote"]),
        ("a woman with a tattoo on her arm", ["woman", "tattoo", "arm"]),
        ("A boy in a red shirt playing in a park", ["boy", "shirt", "park"]),
        ("Man cooks steaks on a grill", ["man", "steak", "grill"]),
        ("bowl of ramen noodles with two eggs", ["bowl", "ramen noodle", "egg"]),
        ("dog park bench snow", ["dog", "park bench", "snow"]),
        ("lantern gnome mushroom grass", ["lantern", "gnome", "mushroom", "grass"]),  # one that no list of things has
        ("Industrial Pipe Bookshelf, Reclaimed Wood", ["pipe bookshelf", "wood"]),  # tagged a pronoun
        ("Blank T-Shirt Mockup On A Bed", ["t-shirt", "bed"]),  # a medium that no dictionary knows
        ("blue sky white clouds green grass field", ["sky", "cloud", "grass field"]),
        ("a baby blue sofa", ["baby sofa"]),  # one thing: no list
        ("KITCHEN ISLAND WITH PENDANT LIGHTS", ["kitchen island", "light"]),
        ("Men's Slim Fit Denim Jeans", ["jeans"]),
        ("the men's jeans", ["man", "jeans"]),
        ("Hand drawn wreath with leaves", ["wreath", "leaf"]),
        ("a hand holding a cup", ["hand", "cup"]),
        ("cell phone charging on a desk", ["cell phone", "desk"]),
        ("Skier jumps over a fence", ["skier", "fence"]),
        ("living room interior with large windows 3d rendering", ["living room", "window"]),
        ("Tacos, Burritos & Street Food", ["taco", "burrito", "street food"]),  # names have no plural
        ("Hot Air Balloon Flying Over Cappadocia, Turkey", ["hot air balloon"]),
        ("Antique Roll-Top Desk, Solid Oak", ["desk", "oak"]),
        ("Gold Plated Necklace With Heart Pendant", ["necklace", "heart pendant"]),
        ("railroad tracks through a forest", ["railroad track", "forest"]),
    ],
)
def test_captions_that_are_no_sentences(parser: Parser, caption: str, concepts: list[str]) -> None:
    assert parser.concepts([caption]) == [concepts]


@pytest.mark.parametrize(
    ("caption", "plain"),
    [
        ("A dog runs.", "A dog runs."),
        ("salt &amp; pepper &amp;quot;here&amp;quot;", 'salt & pepper "here"'),
        ("<b>Bold</b> cat<br/>on a mat", "Bold cat, on a mat"),
        ("<PERSON> and <PERSON> on [LOCATION] street", "and on street"),
        ("Cat | Dog • Bird ~ Fish", "Cat, Dog, Bird, Fish"),
        ("red_car-on_road.jpg", "red car on road"),
        ("IMG_2034.JPG", ""),
        ("see https://example.org/a_b?c or @user", "see or"),
        ("#PalmTrees #beach #parkingmeters", "palm trees, beach, parking meter"),
        ("my #dog at home", "my dog at home"),
        ("#mountaincabin #weekend", "mountain cabin, weekend"),
        ("mug w/ handle, w/o lid", "mug with handle, without lid"),
        ("t - shirt and long - sleeve", "t - shirt and long - sleeve"),
        ("Lamp - Brass", "Lamp, Brass"),
        ("a < b > c", "a < b > c"),
    ],
)
def test_marks_that_are_no_words_go(caption: str, plain: str) -> None:
    assert plain_text(caption) == plain


def test_what_a_person_would_name_is_found_and_little_else(parser: Parser) -> None:
    captions = tally(read_expected(WEB), parser, show=True)
    assert captions.missed / captions.expected < 0.06
    assert captions.wrong / captions.given < 0.06
    plain = tally(templates(parser), parser, show=True)
    assert plain.missed / plain.expected < 0.01
    assert plain.wrong / plain.given < 0.01


def test_no_lemma_is_another_word() -> None:
    lexicon = Lexicon()
    pairs = {
        "ramen": "ramen", "taxes": "tax", "taxis": "taxi", "graves": "grave", "glasses": "glasses", "windows": "window",
        "leaves": "leaf", "knives": "knife", "syringes": "syringe", "ottomans": "ottoman", "soles": "sole",
        "women": "woman", "omen": "omen", "buses": "bus", "bus": "bus", "lenses": "lens", "criteria": "criterion",
    }  # fmt: skip
    assert {word: lexicon.singular(word) for word in pairs} == pairs
    assert [word for word in sorted(object_words()) if lexicon.singular(word) != word] == []
