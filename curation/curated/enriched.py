"""Enriched captions: what a caption leaves out, said after it, and their place in a `.json` member."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from files.concepts_json import KeptConcepts, recovered
from files.rejects import is_utf8

CONCEPTS_IN_CAPTION = 3


def enriched_captions(captions: Sequence[str], kept: KeptConcepts) -> list[str]:
    """ "{caption}, with {c1}, {c2} and {c3}": the best recovered concepts; the caption alone if there are none."""
    return [enriched_caption(*pair) for pair in zip(captions, recovered(kept, CONCEPTS_IN_CAPTION), strict=True)]


def enriched_caption(caption: str, concepts: Sequence[str]) -> str:
    """Of one caption, and the concepts to add."""
    if not concepts:
        return caption
    listed = " and ".join(filter(None, [", ".join(concepts[:-1]), concepts[-1]]))
    return f"{caption.rstrip(' .!?,;')}, with {listed}"


def with_caption(described: Any, field: str, caption: str) -> bytes | None:
    """A `.json` member with an enriched caption at a dotted path; objects on the path are made as needed.

    What stands at the path itself is replaced; None where a value on the way to it, that is no object, would be lost.
    """
    if not isinstance(described, dict):
        described = {"value": described}
    place = described
    *folders, last = field.split(".")
    for name in folders:
        if place.get(name) is None:
            place[name] = {}
        place = place[name]
        if not isinstance(place, dict):
            return None
    place[last] = caption
    text = json.dumps(described, ensure_ascii=False)
    # Texts of the web hold halves of letters, which only JSON's own escapes can write.
    return text.encode() if is_utf8(text) else json.dumps(described).encode()
