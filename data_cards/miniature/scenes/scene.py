"""What a picture of the miniature shows, as its captions and its annotations tell it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SceneObject:
    """One class in one picture, all its instances together.

    name, kind: as in the card (kind: "stuff" or "thing"). count: instances that are visible (1 for stuff).
    area: share of the picture's pixels that it owns in the mask, 0..1. box: left, top, right, bottom
    in pixels, around all instances. colour: the colour word that holds for every instance ("red"), or
    None where there is none to say.
    """

    name: str
    kind: str
    count: int
    area: float
    box: tuple[int, int, int, int]
    colour: str | None = None


@dataclass(frozen=True)
class Scene:
    """A picture.

    place: "beach", "street", "living room", ... time: "day", "dusk" or "night". objects: largest first.
    """

    place: str
    time: str
    objects: tuple[SceneObject, ...]
