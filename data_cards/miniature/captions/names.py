"""Which classes a caption names: their words and plurals, the longest first.

"A beach umbrella by the sea" names an umbrella and the sea, and no beach.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_IRREGULAR = {"person": "people", "child": "children", "man": "men", "woman": "women", "calf": "calves"}
_SAME = {"sheep", "cattle", "people"}
_WORD = re.compile(r"[a-z]+")


class ClassNames:
    """Words of classes, ready to be looked up. synonyms: class -> words and phrases that name it."""

    def __init__(self, synonyms: Mapping[str, Sequence[str]]) -> None:
        self._classes: dict[tuple[str, ...], str] = {}
        for name, phrases in synonyms.items():
            for phrase in phrases:
                *before, last = _WORD.findall(phrase.lower())
                for form in (last, plural(last)):
                    self._classes[(*before, form)] = name
        self._longest = max(map(len, self._classes), default=0)

    def named(self, caption: str) -> set[str]:
        """The classes that a caption names."""
        words = _WORD.findall(caption.lower())
        found, at = set[str](), 0
        while at < len(words):
            step = 1
            for length in range(min(self._longest, len(words) - at), 0, -1):
                name = self._classes.get(tuple(words[at : at + length]))
                if name is not None:
                    found.add(name)
                    step = length
                    break
            at += step
        return found


def plural(word: str) -> str:
    """The plural of an English noun."""
    if word in _SAME:
        return word
    for one, many in _IRREGULAR.items():
        if word == one or (len(one) == 3 and word.endswith(one)):  # snowman, policewoman
            return word.removesuffix(one) + many
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    return word + "s"
