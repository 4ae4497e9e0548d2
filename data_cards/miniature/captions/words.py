"""The words for the miniature's classes: how captions call each of them, and how the words inflect.

Every word here is the class's own name or one of its synonyms in `miniature.md` (a test holds the two together).
The words of two classes never overlap but where the names of the classes do ("sky", "night sky"), so that a caption
says without doubt what it names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from data_cards.miniature.captions.names import plural

Number = Literal["count", "mass", "plural", "unique", "definite"]

# How often a class goes by its own name; its synonyms share the rest as Zipf's law has it.
OWN_NAME = 0.62
# Of persons, people say more. "wallpaper" is also a word for a medium, which cocu takes out of its concepts.
OWN_NAME_OF = {"person": 0.4, "wallpaper": 0.35}

# One form for both numbers.
_ALIKE = frozenset(["sheep", "aircraft"])


@dataclass(frozen=True, slots=True)
class Noun:
    """A word or phrase that names a class.

    one, many: singular and plural; "" where there is none. number: "count" ("a lawn"), "mass" ("grass"),
    "plural" ("the woods"), "unique" ("the sky" when first named, seldom "a sky") or "definite" (always "the surf").
    preposition: how a thing on the ground stands to it ("on" the lawn); "" for things.
    """

    one: str
    many: str
    number: Number = "count"
    preposition: str = ""


@dataclass(frozen=True)
class Names:
    """The nouns of one class, each with the cumulative share of captions that use it (the last share is 1)."""

    nouns: tuple[Noun, ...]
    shares: tuple[float, ...]


def plural_of(phrase: str) -> str:
    """Plural of a noun or of a phrase that ends in one: "school bus" -> "school buses"."""
    before, space, last = phrase.rpartition(" ")
    return before + space + (last if last in _ALIKE else plural(last))


def _count(*phrases: str, preposition: str = "") -> tuple[Noun, ...]:
    return tuple(Noun(phrase, plural_of(phrase), "count", preposition) for phrase in phrases)


def _mass(*phrases: str, preposition: str) -> tuple[Noun, ...]:
    return tuple(Noun(phrase, "", "mass", preposition) for phrase in phrases)


def _plural(*phrases: str, preposition: str = "") -> tuple[Noun, ...]:
    return tuple(Noun("", phrase, "plural", preposition) for phrase in phrases)


def _unique(*phrases: str, preposition: str = "") -> tuple[Noun, ...]:
    return tuple(Noun(phrase, "", "unique", preposition) for phrase in phrases)


def _definite(*phrases: str, preposition: str) -> tuple[Noun, ...]:
    return tuple(Noun(phrase, "", "definite", preposition) for phrase in phrases)


STUFF: dict[str, tuple[Noun, ...]] = {
    "sky": (*_unique("sky", preposition="under"), *_count("blue sky", "clear sky", "open sky", preposition="under")),
    "clouds": (
        *_plural("clouds", preposition="under"),
        *_count("cloud", preposition="under"),
        *_plural("thunderclouds", "white clouds", preposition="under"),
    ),
    "sunset": (*_count("sunset", preposition="against"), *_count("sunrise", "daybreak", preposition="against")),
    "night sky": (
        *_unique("night sky", preposition="under"),
        *_plural("stars", preposition="under"),
        *_definite("starlight", preposition="in"),
    ),
    "mountain": (
        *_count("mountain", preposition="below"),
        *_plural("mountains", preposition="in"),
        *_count("peak", "mountain range", "hill", "summit", preposition="below"),
    ),
    "forest": (
        *_count("forest", preposition="in"),
        *_plural("woods", preposition="in"),
        *_count("woodland", "pine forest", preposition="in"),
    ),
    "skyline": (*_count("skyline", "city skyline", "skyscraper", "cityscape", preposition="in front of"),),
    "grass": (
        *_mass("grass", preposition="on"),
        *_count("lawn", preposition="on"),
        *_count("meadow", "pasture", preposition="in"),
    ),
    "wheat field": (*_count("wheat field", preposition="in"), *_mass("wheat", "barley", "rye", preposition="in")),
    "sand": (
        *_mass("sand", preposition="on"),
        *_count("beach", preposition="on"),
        *_count("dune", preposition="on"),
        *_definite("seashore", preposition="on"),
    ),
    "snow": (*_mass("snow", "fresh snow", preposition="in"), *_count("snowdrift", "snowfield", preposition="in")),
    "road": (
        *_count("road", "street", preposition="on"),
        *_mass("asphalt", preposition="on"),
        *_count("highway", preposition="on"),
    ),
    "sea": (
        *_unique("sea", "ocean", preposition="by"),
        *_plural("waves", preposition="by"),
        *_definite("surf", preposition="by"),
    ),
    "lake": (*_count("lake", "pond", "lagoon", "reservoir", preposition="by"),),
    "pool": (*_count("pool", "swimming pool", preposition="by"), *_mass("pool water", preposition="by")),
    "brick wall": (
        *_count("brick wall", preposition="in front of"),
        *_plural("bricks", preposition="in front of"),
        *_mass("brickwork", preposition="in front of"),
    ),
    "wallpaper": (*_mass("wallpaper", "wall paper", preposition="in front of"),),
    "curtain": (
        *_count("curtain", preposition="in front of"),
        *_plural("drapes", preposition="in front of"),
        *_count("window curtain", preposition="in front of"),
    ),
    "floor": (
        *_count("floor", "wooden floor", preposition="on"),
        *_plural("floorboards", preposition="on"),
        *_mass("parquet", preposition="on"),
    ),
    "carpet": (*_count("carpet", "rug", "mat", preposition="on"), *_mass("carpeting", preposition="on")),
}

THINGS: dict[str, tuple[Noun, ...]] = {
    "person": (
        *_count("person", "man", "woman", "girl", "boy", "child", "kid"),
        *_plural("people"),
        *_count("lady", "guy", "hiker"),
    ),
    "dog": _count("dog", "puppy", "pup", "hound"),
    "cat": _count("cat", "kitten", "kitty", "tomcat"),
    "bird": _count("bird", "seagull", "sparrow", "songbird"),
    "horse": _count("horse", "pony", "mare", "stallion"),
    "cow": (*_count("cow"), *_plural("cattle"), *_count("calf", "bull")),
    "sheep": _count("sheep", "lamb", "ewe"),
    "duck": _count("duck", "duckling", "mallard"),
    "butterfly": _count("butterfly", "monarch butterfly", "swallowtail"),
    "tree": _count("tree", "pine tree", "oak", "apple tree"),
    "flower": _count("flower", "daisy", "tulip", "blossom"),
    "house": _count("house", "cottage", "cabin", "farmhouse"),
    "lighthouse": _count("lighthouse", "beacon", "lighthouse tower"),
    "tent": _count("tent", "camping tent", "canvas tent"),
    "umbrella": _count("umbrella", "parasol", "sunshade"),
    "snowman": _count("snowman"),
    "car": _count("car", "sedan", "taxi", "hatchback"),
    "bus": _count("bus", "school bus", "minibus", "tour bus"),
    "truck": _count("truck", "pickup", "lorry", "delivery truck"),
    "bicycle": _count("bicycle", "bike", "pushbike"),
    "boat": _count("boat", "sailboat", "yacht", "dinghy"),
    "airplane": _count("airplane", "plane", "aircraft", "airliner"),
    "balloon": _count("balloon", "hot air balloon", "air balloon"),
    "kite": _count("kite", "toy kite", "paper kite"),
    "moon": (Noun("moon", "moons", "unique"), *_count("full moon", "crescent moon", "crescent")),
    "ball": _count("ball", "rubber ball", "football", "toy ball"),
    "chair": _count("chair", "armchair", "stool"),
    "table": _count("table", "coffee table", "desk"),
    "lamp": _count("lamp", "reading lamp", "lampshade"),
    "sofa": _count("sofa", "couch", "settee"),
    "television": _count("television", "tv", "flat screen", "television set"),
    "clock": _count("clock", "wall clock", "timepiece"),
}


def _names(name: str, nouns: Iterable[Noun]) -> Names | None:
    """The nouns with their shares: those of the class's own name together, then harmonic weights."""
    listed = tuple(nouns)
    own = [name in (noun.one, noun.many) or (noun.many != "" and noun.many == plural_of(name)) for noun in listed]
    share = OWN_NAME_OF.get(name, OWN_NAME) if any(own) else 0.0
    harmonic = sum(1 / place for place in range(1, own.count(False) + 1))
    weights, place = [], 0
    for is_own in own:
        place += not is_own
        weights.append(share / own.count(True) if is_own else (1 - share) / place / harmonic)
    if not listed:
        return None
    total = sum(weights)
    return Names(listed, (*(part / total for part in list(accumulate(weights))[:-1]), 1.0))


def _with_number(nouns: Iterable[Noun], many: bool) -> list[Noun]:
    return [noun for noun in nouns if (noun.many if many else noun.one)]


# What a class is called where one of it is to be seen, and where several are.
ONE: dict[str, Names] = {
    name: names
    for name, nouns in (STUFF | {thing: tuple(_with_number(n, False)) for thing, n in THINGS.items()}).items()
    if (names := _names(name, nouns)) is not None
}
MANY: dict[str, Names] = {
    name: names for name, nouns in THINGS.items() if (names := _names(name, _with_number(nouns, True))) is not None
}


def names_without(name: str, words: Iterable[str]) -> Names:
    """The names of a class but for some of its words."""
    left_out = frozenset(words)
    names = _names(name, [noun for noun in ONE[name].nouns if noun.one not in left_out])
    assert names is not None
    return names
