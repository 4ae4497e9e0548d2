"""Captions of the miniature: what people write about a picture, and what they leave out.

A caption of style "web" names what catches the eye, by the words that come to mind, and seldom the sky above it or the
ground below; now and then it names nothing, or something else. One of style "full" names whatever there is to be seen.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from data_cards.miniature.captions import forms, phrases
from data_cards.miniature.captions.words import MANY, ONE, THINGS, Names, Noun, names_without
from data_cards.miniature.scenes.scene import Scene, SceneObject

STYLES = ("web", "full")

# Below this share of the picture a class counts as not visible, and no caption names it.
VISIBLE = 0.01

# Style "web". Share of captions with a second and a third thing, of those that could have one; with stuff, where there
# are things to name; that name nothing; that were written for another picture.
SECOND_THING = 0.72
THIRD_THING = 0.35
STUFF_BESIDE_THINGS = 0.13
EMPTY = 0.018
OF_ANOTHER = 0.012
# Share of sentences with room for it that tell the time or the place.
TIME = 0.10
PLACE = 0.05
# How often a name comes with its colour, where the scene tells one; its size, where that strikes; another adjective.
COLOUR = 0.40
SIZE = 0.30
ADJECTIVE = 0.20
LARGE_AREA = 0.18
SMALL_AREA = 0.02
# Share of captions that begin with a capital, are written like a title, end in a full stop or an exclamation mark.
CAPITAL = 0.38
TITLE = 0.03
FULL_STOP = 0.16
EXCLAMATION = 0.04

# Style "full". Share of captions with at least 1, 2, 3 and 4 names; that tell how things stand to stuff.
NAMES_IN_FULL = (1.0, 0.72, 0.40, 0.16)
RELATED_IN_FULL = 0.3
ADJECTIVE_IN_FULL = 0.08
# "a photo of a sky", besides "of the sky".
UNIQUE_AS_COUNTED = 0.6

# What catches the eye beyond area and centrality: what lives and moves before what stands around.
_EYE_CATCHING = {"person": 2.0, "dog": 2.0, "cat": 2.0, "tree": 0.35, "flower": 0.8, "table": 0.7}
_NUMBERS = {
    2: ("two", "two", "two", "a pair of", "2", ""),
    3: ("three", "three", "3", "some", ""),
    4: ("four", "four", "some", ""),
}
_MORE = ("several", "many", "a group of", "lots of", "")
_INLAND = {"sand": names_without("sand", ("beach", "seashore"))}
_T = TypeVar("_T")


def write_caption(rng: np.random.Generator, scene: Scene, style: str) -> str:
    """A caption of a scene in the style "web" or "full", a function of the arguments and the state of `rng`.

    Raises ValueError for another style.
    """
    if style not in STYLES:
        raise ValueError(f"style {style!r}: give one of {', '.join(STYLES)}")
    return (_web if style == "web" else _full)(_Chance(rng), scene)


def with_article(phrase: str) -> str:
    """The phrase with "a" or "an", as it is spoken: "an old car", "a ewe"."""
    return ("an " if phrase[0] in "aeiou" and not phrase.startswith("ewe") else "a ") + phrase


class _Chance:
    """Uniform draws, taken from the generator by the block: once for most captions."""

    __slots__ = ("_left", "_rng")

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._left: list[float] = []

    def draw(self) -> float:
        """A number in [0, 1)."""
        if not self._left:
            self._left = self._rng.random(48).tolist()
        return self._left.pop()

    def happens(self, share: float) -> bool:
        """Whether something happens that does in this share of cases."""
        return self.draw() < share

    def pick(self, choices: Sequence[_T]) -> _T:
        """One of the choices, all as likely."""
        return choices[int(self.draw() * len(choices))]

    def noun(self, names: Names) -> Noun:
        """A noun of a class, by their shares."""
        return names.nouns[bisect(names.shares, self.draw())]


class _Mention:
    """A class in a caption: a form asks it for the shape that it needs. As a string it is indefinite, "a red car"."""

    __slots__ = ("_chance", "_number", "_phrase", "_several", "name", "noun")

    def __init__(self, chance: _Chance, seen: SceneObject, noun: Noun, before: str, after: str, number: str) -> None:
        """before, after: words beside the noun, with the space between. number: "two", or "" for none."""
        self.name, self.noun = seen.name, noun
        self._chance, self._number = chance, number
        self._several = seen.count > 1 or not noun.one
        self._phrase = before + (noun.many if self._several else noun.one) + after

    def __str__(self) -> str:
        if self._several or self.noun.number == "mass":
            return f"{self._number} {self._phrase}" if self._number else self._phrase
        return (
            self.the
            if self._phrase == self.noun.one and self.noun.number in ("unique", "definite")
            else with_article(self._phrase)
        )

    def __format__(self, _: str) -> str:
        return str(self)

    @property
    def counted(self) -> str:
        """As a string, but with "a" even before what there is one of: "a sky"."""
        return with_article(self._phrase) if self.noun.number == "unique" else str(self)

    @property
    def the(self) -> str:
        """Definite: "the red cars"."""
        return "the " + self._phrase

    @property
    def mine(self) -> str:
        """Somebody's own, if it is a thing that people own: "my red car"."""
        if self.name not in phrases.OWNED:
            return str(self)
        owner = self._chance.pick(("my", "my", "our", ""))
        return f"{owner or self._chance.pick(phrases.FILLERS['who']) + chr(39) + 's'} {self._phrase}"

    @property
    def bare(self) -> str:
        """Without article and number: "red cars"."""
        return self._phrase

    @property
    def is_(self) -> str:
        """The verb that agrees."""
        return "are" if self._several else "is"


class _Slots(dict[str, object]):
    """What a form's slots are filled with; whatever is not given is drawn when a form asks for it."""

    def __init__(self, chance: _Chance, **given: object) -> None:
        super().__init__(given)
        self._chance = chance

    def __missing__(self, slot: str) -> str:
        chance = self._chance
        if slot == "doing":
            return chance.pick(phrases.DOING[phrases.GROUPS[self["a"].name]])  # type: ignore[attr-defined]
        if slot == "relation":
            return _relation(chance, self["a"].name, self["b"].name)  # type: ignore[attr-defined]
        if slot == "digits":
            return str(1000 + int(chance.draw() * 9000))
        return chance.pick(phrases.FILLERS[slot])


def _web(chance: _Chance, scene: Scene) -> str:
    luck = chance.draw()
    if luck < EMPTY:
        return chance.pick(forms.EMPTY).format_map(_Slots(chance))
    if luck < EMPTY + OF_ANOTHER:
        scene = _another(chance, scene)
    visible = [seen for seen in scene.objects if seen.area >= VISIBLE]
    things = _by_salience(chance, scene, [seen for seen in visible if seen.kind == "thing"])
    stuff = [seen for seen in visible if seen.kind == "stuff"]
    if not visible:
        return chance.pick(forms.EMPTY).format_map(_Slots(chance))
    if not things:
        named = _mention(chance, scene, chance.pick(stuff))
        return _lettered(chance, chance.pick(forms.FORMS_WITH_STUFF).format_map(_Slots(chance, a=named)))

    names = 1
    if len(things) > 1 and chance.happens(SECOND_THING):
        names = 3 if len(things) > 2 and chance.happens(THIRD_THING) else 2
    if names == 2 and (things[1].name, things[0].name) in phrases.RELATIONS and chance.happens(0.7):
        things[:2] = things[1::-1]
    mentions = [_mention(chance, scene, seen) for seen in things[:names]]
    slots = _Slots(chance, **dict(zip("abc", mentions, strict=False)))
    choices, with_tail = _FORMS[names if names > 1 else things[0].name]
    if stuff and chance.happens(STUFF_BESIDE_THINGS):
        choices = with_tail
        slots["tail"] = " " + _where(chance, mentions[0].name, _mention(chance, scene, chance.pick(stuff)))
    else:
        slots["tail"] = _circumstance(chance, scene)
    return _lettered(chance, chance.pick(choices).format_map(slots))


def _full(chance: _Chance, scene: Scene) -> str:
    visible = [seen for seen in scene.objects if seen.area >= VISIBLE]
    if not visible:
        return "a photo"
    luck = chance.draw()
    wanted = sum(luck < share for share in NAMES_IN_FULL)
    chosen = sorted((chance.draw(), place) for place in range(len(visible)))[:wanted]
    mentions = [_mention(chance, scene, visible[place], ADJECTIVE_IN_FULL) for _, place in chosen]
    where = ""
    stuff = [mention for mention in mentions if mention.name not in THINGS]
    if stuff and len(stuff) < len(mentions) and chance.happens(RELATED_IN_FULL):
        things = [mention for mention in mentions if mention.name in THINGS]
        where = " " + _where(chance, things[-1].name, stuff[0])
        mentions = stuff[1:] + things
    listed = [mention.counted if chance.happens(UNIQUE_AS_COUNTED) else str(mention) for mention in mentions]
    last = listed.pop()
    between = chance.pick((" and ", " and ", ", ", " with ", " next to ")) if len(listed) == 1 else " and "
    text = (", ".join(listed) + between if listed else "") + last + where
    slots = _Slots(chance, list=text, is_=mentions[0].is_, time=chance.pick(phrases.TIMES[scene.time]))
    return _lettered(chance, chance.pick(forms.FORMS_IN_FULL).format_map(slots))


def _mention(chance: _Chance, scene: Scene, seen: SceneObject, adjective: float = ADJECTIVE) -> _Mention:
    """A class by one of its words, with what is said of its number, size and colour."""
    several = seen.count > 1
    names = (MANY if several else ONE)[seen.name]
    if seen.name in _INLAND and not any(other.name in phrases.WATER for other in scene.objects):
        names = _INLAND[seen.name]
    noun, before, after = chance.noun(names), "", ""
    if seen.kind == "thing":
        if seen.area >= LARGE_AREA or seen.area < SMALL_AREA:
            if chance.happens(SIZE):
                before = chance.pick(phrases.LARGE if seen.area >= LARGE_AREA else phrases.SMALL) + " "
        elif chance.happens(adjective):
            before = chance.pick(phrases.ADJECTIVES[phrases.GROUPS[seen.name]]) + " "
    if seen.colour and noun.one not in phrases.OF_ONE_COLOUR and chance.happens(COLOUR):
        if seen.name == "person":
            after = f" {chance.pick(phrases.CLAD)} {seen.colour}"
        else:
            before += seen.colour + " "
    number = chance.pick(_NUMBERS.get(seen.count, _MORE)) if several else ""
    return _Mention(chance, seen, noun, before, after, number)


def _by_salience(chance: _Chance, scene: Scene, things: list[SceneObject]) -> list[SceneObject]:
    """Things by how they catch the eye, which is not the same in everybody."""
    if len(things) < 2:
        return things
    width, height = (max(seen.box[side] for seen in scene.objects) for side in (2, 3))
    weighed = []
    for place, seen in enumerate(things):
        left, top, right, bottom = seen.box
        off_centre = abs((left + right) / width - 1) + abs((top + bottom) / height - 1)
        salience = _EYE_CATCHING.get(seen.name, 1.0) * seen.area**0.5 * (1 - 0.35 * off_centre)
        weighed.append((-salience * (0.6 + 0.8 * chance.draw()), place))
    return [things[place] for _, place in sorted(weighed)]


def _relation(chance: _Chance, name: str, other: str) -> str:
    """How two things stand to each other, as a preposition or a participle."""
    if (name, other) in phrases.RELATIONS and chance.happens(0.7):
        return chance.pick(phrases.RELATIONS[name, other])
    if (name in phrases.AIRBORNE) != (other in phrases.AIRBORNE):
        return chance.pick(phrases.ABOVE if name in phrases.AIRBORNE else phrases.BELOW)
    return chance.pick(phrases.BESIDE)


def _where(chance: _Chance, thing: str, stuff: _Mention) -> str:
    """Where a thing is, told by stuff: "on the grass"."""
    phrase = str(stuff) if stuff.noun.number == "count" and chance.happens(0.4) else stuff.the
    if stuff.name in phrases.BEHIND and chance.happens(0.4):
        return f"with {phrase} behind"
    if thing in phrases.AIRBORNE:
        overhead = stuff.name in phrases.OVERHEAD
        return f"{chance.pick(('in', 'against') if overhead else ('over', 'above', 'high above'))} {phrase}"
    if thing in phrases.AFLOAT and stuff.name not in phrases.OVERHEAD:
        return f"{'on' if stuff.name in phrases.WATER else 'near'} {phrase}"
    return f"{stuff.noun.preposition} {phrase}"


def _circumstance(chance: _Chance, scene: Scene) -> str:
    """Time or place at the end of a sentence, or nothing."""
    luck = chance.draw()
    if luck < TIME:
        return " " + chance.pick(phrases.TIMES[scene.time])
    if luck < TIME + PLACE and scene.place in phrases.PLACES:
        return " " + chance.pick(phrases.PLACES[scene.place])
    return ""


def _another(chance: _Chance, scene: Scene) -> Scene:
    """Another picture, of a thing that is not in this one."""
    shown = {seen.name for seen in scene.objects}
    name = chance.pick([thing for thing in THINGS if thing not in shown])
    return Scene(scene.place, scene.time, (SceneObject(name, "thing", 1, 0.1, (0, 0, 1, 1)),))


def _lettered(chance: _Chance, text: str) -> str:
    """Capitals and the mark at the end, as people put them."""
    luck = chance.draw()
    if luck < TITLE:
        text = " ".join(word[:1].upper() + word[1:] for word in text.split(" "))
    elif luck < TITLE + CAPITAL:
        text = text[0].upper() + text[1:]
    luck = chance.draw()
    if text[-1].isalnum() and luck < FULL_STOP + EXCLAMATION:
        text += "." if luck < FULL_STOP else "!"
    return text


def _split_by_tail(listed: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(All forms, those with room for a phrase at the end)."""
    return tuple(listed), tuple(form for form in listed if "{tail}" in form)


# By the thing that is named alone, or by the number of things.
_FORMS: dict[str | int, tuple[tuple[str, ...], tuple[str, ...]]] = {
    name: _split_by_tail(forms.FORMS_WITH_ONE + forms.FORMS_OF_GROUP[phrases.GROUPS[name]]) for name in THINGS
}
_FORMS[2] = _split_by_tail(forms.FORMS_WITH_TWO)
_FORMS[3] = _split_by_tail(forms.FORMS_WITH_THREE)
