"""Captions without articles: what stands behind a noun is its verb, or the next noun of a compound."""

from __future__ import annotations

import re

import pytest

from curation.concepts.lexicon import Lexicon, verb_counts
from curation.concepts.noun_phrases import NounOptions
from curation.concepts.parser import Parser
from curation.concepts.verbs import subject_odds, verb_odds


@pytest.fixture(scope="module")
def parser() -> Parser:
    return Parser(NounOptions())


@pytest.mark.parametrize(
    ("caption", "concepts"),
    [
        ("man repairs roof", ["man", "roof"]),
        ("surfer catches wave", ["surfer", "wave"]),
        ("plumber installs sink", ["plumber", "sink"]),  # an object that is taken for the verb
        ("butcher cuts meat with knife", ["butcher", "meat", "knife"]),
        ("Fisherman mends nets at harbor", ["fisherman", "net", "harbor"]),
        ("a hummingbird hovers over a red flower", ["hummingbird", "flower"]),
        ("bus stops at traffic light", ["bus", "traffic light"]),
        ("Crowd cheers as runner crosses finish line", ["crowd", "runner", "finish line"]),
        ("Cheetah chases gazelle", ["cheetah", "gazelle"]),
        ("STEAM TRAIN CROSSING BRIDGE", ["steam train", "bridge"]),
        ("Two women in white riding bicycles on a road", ["woman", "bicycle", "road"]),
        ("woman standing next to crowd near building", ["woman", "crowd", "building"]),
        ("Volunteers plant trees along river", ["volunteer", "tree", "river"]),  # of many: a base form
        ("Kids Toy Boxes In A Playroom", ["toy box", "playroom"]),  # in a title: for whom it is made
    ],
)
def test_verbs_are_none_of_what_a_caption_names(parser: Parser, caption: str, concepts: list[str]) -> None:
    assert parser.concepts([caption]) == [concepts]


@pytest.mark.parametrize(
    ("caption", "concepts"),
    [
        ("city lights at night", ["city light", "night"]),
        ("city lights shine at night", ["city light", "night"]),
        ("two stop signs near a bus stop", ["stop sign", "bus stop"]),
        ("soap bubbles and wine glasses", ["soap bubble", "wine glass"]),
        ("railroad tracks through a forest", ["railroad track", "forest"]),
        ("an office building with a swimming pool", ["office building", "swimming pool"]),
        ("a hiking trail in the snow", ["hiking trail", "snow"]),
    ],
)
def test_compounds_stay_whole(parser: Parser, caption: str, concepts: list[str]) -> None:
    assert parser.concepts([caption]) == [concepts]


def test_captions_without_articles_name_what_they_name_with_them(parser: Parser) -> None:
    people = ["a man", "a woman", "a boy", "a dog", "a skier", "a worker", "the crowd", "a chef"]
    doings = ["throws a ball", "climbs a wall", "crosses the street", "pulls a cart", "holds a bottle", "pours a drink"]
    whole = [f"{who} {does} in the park" for who in people for does in doings]
    bare = [re.sub(r"\b(a|the) ", "", caption) for caption in whole]
    assert parser.concepts(bare) == parser.concepts(whole)


def test_odds_are_those_of_the_counts() -> None:
    lexicon = Lexicon()
    assert verb_odds("catches", lexicon) > 1 > -1 > verb_odds("lights", lexicon)
    assert subject_odds("man") > 1 > -1 > subject_odds("city")
    assert verb_odds("zzzings", lexicon) > 0  # no noun that the dictionary knows
    assert all(sum(counts) for counts in verb_counts().values())
