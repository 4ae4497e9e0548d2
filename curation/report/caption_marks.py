"""Where a caption names a concept: "two dogs on a fire-truck" names "dog" and "fire truck"."""

from __future__ import annotations

import re
from collections.abc import Sequence

_IRREGULAR = {
    "child": "children",
    "foot": "feet",
    "goose": "geese",
    "man": "men",
    "mouse": "mice",
    "ox": "oxen",
    "person": "people",
    "tooth": "teeth",
    "woman": "women",
}
_SINGULAR = {plural: word for word, plural in _IRREGULAR.items()}


MOST_LETTERS = 10_000


def shown(caption: str) -> str:
    """A caption as pages and terminals show it: cut where it is far longer than anyone reads."""
    left = len(caption) - MOST_LETTERS
    return caption if left <= 0 else f"{caption[:MOST_LETTERS]} ... ({left:,} letters more)"


def mark_concepts(caption: str, concepts: Sequence[str]) -> list[tuple[str, str | None]]:
    """Cut a caption into (text, concept it names or None); the texts joined are the caption.

    A concept is found whatever the case, at word boundaries, in the singular or plural of its last
    word, and with spaces or hyphens between its words. Of two that overlap the longer one is taken.
    """
    spans: list[tuple[int, int, str]] = []
    taken = bytearray(len(caption))
    for concept in sorted({*concepts}, key=lambda text: (-len(text), text)):
        pattern = _pattern(concept)
        if pattern is None:
            continue
        for match in pattern.finditer(caption):
            start, end = match.span()
            if taken.find(1, start, end) < 0:
                taken[start:end] = b"\1" * (end - start)
                spans.append((start, end, concept))
    pieces: list[tuple[str, str | None]] = []
    position = 0
    for start, end, concept in sorted(spans):
        if start > position:
            pieces.append((caption[position:start], None))
        pieces.append((caption[start:end], concept))
        position = end
    if position < len(caption):
        pieces.append((caption[position:], None))
    return pieces


def _pattern(concept: str) -> re.Pattern[str] | None:
    words = re.split(r"[\s-]+", concept.strip(" -\t\n"))
    if not words[-1]:
        return None
    last = "|".join(map(re.escape, sorted(_numbers(words[-1]), key=lambda form: (-len(form), form))))
    joined = "".join(re.escape(word) + r"[\s-]+" for word in words[:-1])
    return re.compile(rf"(?<!\w){joined}(?:{last})(?!\w)", re.IGNORECASE)


def _numbers(word: str) -> set[str]:
    """The word with its plurals and singulars: more forms than there are, none of another word."""
    forms = {word, word + "s", word + "es"}
    if word.endswith("y"):
        forms.add(word[:-1] + "ies")
    if word.endswith("ies"):
        forms.add(word[:-3] + "y")
    if word.endswith(("f", "fe")):
        forms.add(word.rstrip("e")[:-1] + "ves")
    if word.endswith("s") and not word.endswith("ss") and len(word) > 3:
        forms.add(word[:-1])
        if word.endswith(("ses", "xes", "zes", "ches", "shes", "oes")):
            forms.add(word[:-2])
    for ending, other in (*_IRREGULAR.items(), *_SINGULAR.items()):
        # Compounds too: snowman, policewomen, grandchildren.
        if word == ending or (len(ending) > 2 and word.endswith(ending) and ending != "ox"):
            forms.add(word.removesuffix(ending) + other)
    return forms
