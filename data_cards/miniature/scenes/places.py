"""The places of the miniature: which stuff makes them up, which things occur there, and where those stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# A band of the ground: a stuff class, and where it begins, as a share of the ground from the
# horizon (0) to the foot of the picture (1).
Band = tuple[str, float]


@dataclass(frozen=True, eq=False)
class ScenePlace:
    """A kind of scene.

    weight: how often it is drawn, against the others. horizon: its height's range, as a share of the
    picture from the top. times: share of day, dusk and night. backs: what may close the view, at most
    one of them ("" is nothing). grounds: alternatives, each a weight and bands from far to near.
    things: how often each occurs, against the others. extras: stuff that may hang or lie
    on top, and in what share of the pictures.
    """

    name: str
    weight: float
    grounds: tuple[tuple[float, tuple[Band, ...]], ...]
    things: Mapping[str, float]
    horizon: tuple[float, float] = (0.36, 0.56)
    times: tuple[float, float, float] = (0.74, 0.16, 0.10)
    backs: Mapping[str, float] = field(default_factory=lambda: {"": 1.0})
    extras: Mapping[str, float] = field(default_factory=dict)
    indoors: bool = False


GRASS = ((1.0, (("grass", 0.0),)),)

PLACES: tuple[ScenePlace, ...] = (
    ScenePlace(
        "street",
        13,
        ((0.6, (("road", 0.0),)), (0.4, (("grass", 0.0), ("road", 0.35)))),
        {
            "person": 9,
            "car": 8,
            "tree": 5,
            "bus": 2.2,
            "truck": 2.4,
            "bicycle": 3,
            "dog": 2,
            "house": 2.5,
            "umbrella": 0.8,
            "bird": 0.5,
        },
        backs={"skyline": 0.35, "forest": 0.2, "brick wall": 0.25, "": 0.2},
    ),
    ScenePlace(
        "city",
        6,
        ((1.0, (("road", 0.0),)),),
        {
            "person": 7,
            "car": 7,
            "bus": 2.5,
            "truck": 1.2,
            "bicycle": 1.6,
            "tree": 2,
            "airplane": 1.0,
            "bird": 0.8,
            "dog": 0.7,
        },
        horizon=(0.48, 0.66),
        times=(0.45, 0.2, 0.35),
        backs={"skyline": 1.0},
    ),
    ScenePlace(
        "suburb",
        10,
        ((0.75, (("grass", 0.0), ("road", 0.55))), (0.25, GRASS[0][1])),
        {
            "house": 8,
            "tree": 6,
            "car": 5,
            "person": 6,
            "dog": 3,
            "bicycle": 1.8,
            "cat": 1.2,
            "ball": 1.0,
            "flower": 1.4,
            "truck": 0.7,
            "kite": 0.4,
        },
        backs={"forest": 0.3, "mountain": 0.15, "": 0.55},
    ),
    ScenePlace(
        "park",
        12,
        ((0.7, GRASS[0][1]), (0.3, (("lake", 0.0), ("grass", 0.45)))),
        {
            "person": 8,
            "tree": 7,
            "dog": 4,
            "ball": 1.6,
            "bicycle": 1.6,
            "flower": 2.2,
            "kite": 1.4,
            "duck": 1.6,
            "bird": 2,
            "butterfly": 1.0,
            "balloon": 0.8,
        },
        backs={"forest": 0.4, "skyline": 0.3, "": 0.3},
    ),
    ScenePlace(
        "meadow",
        7,
        ((0.8, GRASS[0][1]), (0.2, (("wheat field", 0.0), ("grass", 0.4)))),
        {
            "tree": 5,
            "horse": 3,
            "cow": 3,
            "sheep": 2.4,
            "flower": 4,
            "butterfly": 2,
            "person": 4,
            "dog": 1.6,
            "balloon": 1.8,
            "kite": 1,
            "tent": 0.8,
            "bird": 1.6,
        },
        backs={"mountain": 0.3, "forest": 0.35, "": 0.35},
    ),
    ScenePlace(
        "farm",
        6,
        ((0.55, (("wheat field", 0.0), ("grass", 0.5))), (0.2, (("wheat field", 0.0),)), (0.25, GRASS[0][1])),
        {
            "house": 4,
            "cow": 3.6,
            "horse": 2.4,
            "sheep": 2.2,
            "truck": 1.6,
            "person": 3,
            "tree": 4,
            "dog": 1,
            "bird": 1.6,
            "cat": 0.5,
        },
        backs={"mountain": 0.15, "forest": 0.25, "": 0.6},
    ),
    ScenePlace(
        "beach",
        9,
        ((1.0, (("sea", 0.0), ("sand", 0.42))),),
        {
            "person": 8,
            "umbrella": 3,
            "boat": 3,
            "ball": 1.4,
            "dog": 2,
            "kite": 1.4,
            "bird": 2.5,
            "chair": 1.2,
            "lighthouse": 0.8,
        },
        horizon=(0.3, 0.46),
        backs={"mountain": 0.15, "": 0.85},
    ),
    ScenePlace(
        "harbour",
        4.5,
        ((0.75, (("sea", 0.0),)), (0.25, (("sea", 0.0), ("road", 0.72)))),
        {"boat": 8, "bird": 3.5, "lighthouse": 1.8, "person": 2.4, "airplane": 0.8},
        horizon=(0.34, 0.5),
        times=(0.6, 0.26, 0.14),
        backs={"skyline": 0.3, "mountain": 0.3, "": 0.4},
    ),
    ScenePlace(
        "lakeside",
        5,
        ((0.8, (("lake", 0.0), ("grass", 0.55))), (0.2, (("lake", 0.0), ("sand", 0.6)))),
        {
            "duck": 3.5,
            "boat": 3,
            "person": 4,
            "tree": 4,
            "tent": 1.2,
            "dog": 1.4,
            "bird": 1.2,
            "house": 1.4,
            "flower": 0.7,
        },
        horizon=(0.32, 0.48),
        times=(0.66, 0.24, 0.10),
        backs={"mountain": 0.35, "forest": 0.45, "": 0.2},
    ),
    ScenePlace(
        "mountains",
        4.5,
        ((0.8, GRASS[0][1]), (0.2, (("snow", 0.0),))),
        {
            "person": 4,
            "tree": 3.5,
            "tent": 2,
            "sheep": 1.6,
            "cow": 1,
            "bird": 1.6,
            "house": 1.2,
            "balloon": 0.8,
            "flower": 1,
            "horse": 0.7,
        },
        horizon=(0.46, 0.62),
        backs={"mountain": 1.0},
    ),
    ScenePlace(
        "winter",
        4,
        ((0.85, (("snow", 0.0),)), (0.15, (("snow", 0.0), ("road", 0.6)))),
        {"tree": 5, "person": 4.5, "snowman": 3.6, "house": 3, "dog": 1.6, "bird": 0.8, "car": 1.0},
        times=(0.72, 0.12, 0.16),
        backs={"mountain": 0.3, "forest": 0.35, "": 0.35},
    ),
    ScenePlace(
        "desert",
        2.4,
        ((1.0, (("sand", 0.0),)),),
        {"person": 4, "horse": 2, "tent": 2, "balloon": 1.6, "airplane": 0.8, "truck": 1.2, "bird": 1},
        times=(0.5, 0.3, 0.2),
        backs={"mountain": 0.35, "": 0.65},
    ),
    ScenePlace(
        "airfield",
        2.6,
        ((1.0, (("grass", 0.0), ("road", 0.45))),),
        {"airplane": 6, "balloon": 1.4, "truck": 1.6, "person": 2.2, "kite": 0.5, "car": 1, "bus": 0.5},
        horizon=(0.5, 0.66),
        backs={"forest": 0.25, "skyline": 0.2, "": 0.55},
    ),
    ScenePlace(
        "garden",
        5,
        ((1.0, GRASS[0][1]),),
        {
            "flower": 5,
            "cat": 2.6,
            "butterfly": 2.4,
            "chair": 2.6,
            "table": 1.8,
            "tree": 3,
            "ball": 1.2,
            "person": 3.5,
            "dog": 1.8,
            "bird": 1,
            "umbrella": 0.6,
        },
        horizon=(0.4, 0.56),
        times=(0.86, 0.10, 0.04),
        backs={"brick wall": 0.6, "forest": 0.2, "": 0.2},
    ),
    ScenePlace(
        "poolside",
        2.4,
        ((0.6, (("pool", 0.0), ("floor", 0.62))), (0.4, (("grass", 0.0), ("pool", 0.3)))),
        {"person": 4, "umbrella": 2.4, "chair": 2.4, "ball": 2, "table": 1, "duck": 1, "tree": 1.2, "dog": 0.6},
        horizon=(0.3, 0.46),
        times=(0.84, 0.12, 0.04),
        backs={"brick wall": 0.4, "forest": 0.25, "": 0.35},
    ),
    ScenePlace(
        "living room",
        9,
        ((0.85, (("floor", 0.0),)), (0.15, (("carpet", 0.0),))),
        {
            "sofa": 5,
            "person": 5,
            "cat": 3.5,
            "lamp": 4,
            "table": 3.5,
            "chair": 3,
            "television": 3,
            "clock": 1.4,
            "dog": 2,
            "ball": 0.4,
        },
        horizon=(0.5, 0.66),
        times=(1, 0, 0),
        backs={"wallpaper": 0.72, "brick wall": 0.28},
        extras={"curtain": 0.5, "carpet": 0.5},
        indoors=True,
    ),
    ScenePlace(
        "dining room",
        4.5,
        ((1.0, (("floor", 0.0),)),),
        {"table": 6, "chair": 7, "person": 3.5, "lamp": 2, "clock": 1.8, "cat": 1.2, "dog": 0.6},
        horizon=(0.5, 0.66),
        times=(1, 0, 0),
        backs={"wallpaper": 0.8, "brick wall": 0.2},
        extras={"curtain": 0.45, "carpet": 0.35},
        indoors=True,
    ),
    ScenePlace(
        "bedroom",
        3.5,
        ((0.6, (("floor", 0.0),)), (0.4, (("carpet", 0.0),))),
        {
            "lamp": 4,
            "cat": 3,
            "chair": 3,
            "clock": 2,
            "person": 3,
            "television": 1.2,
            "table": 2,
            "sofa": 1,
            "ball": 0.6,
        },
        horizon=(0.5, 0.66),
        times=(1, 0, 0),
        backs={"wallpaper": 0.92, "brick wall": 0.08},
        extras={"curtain": 0.65, "carpet": 0.35},
        indoors=True,
    ),
)

# Zones besides the bands: "edge" is the far end of the ground, "hover" the air over the ground, "wall"
# a room's wall, "rear" the floor along it. A zone listed twice is twice as likely.
LAND = ("grass", "sand", "snow", "road", "floor", "carpet")
STANDS: dict[str, tuple[str, ...]] = {
    "person": (*LAND, "wheat field"),
    "dog": LAND,
    "cat": ("grass", "floor", "carpet"),
    "bird": ("air", "air", "grass", "sand"),
    "horse": ("grass", "sand"),
    "cow": ("grass",),
    "sheep": ("grass", "snow"),
    "duck": ("lake", "pool"),
    "butterfly": ("hover",),
    "tree": ("grass", "snow", "edge"),
    "flower": ("grass",),
    "house": ("edge", "edge", "grass", "snow"),
    "lighthouse": ("edge",),
    "tent": ("grass", "sand", "snow"),
    "umbrella": ("sand", "floor", "grass", "road"),
    "snowman": ("snow",),
    "car": ("road",),
    "bus": ("road",),
    "truck": ("road", "wheat field", "sand"),
    "bicycle": ("road", "grass"),
    "boat": ("sea", "lake"),
    "airplane": ("air",),
    "balloon": ("air",),
    "kite": ("air",),
    "moon": ("air",),
    "ball": ("grass", "sand", "floor", "carpet", "pool"),
    "chair": ("floor", "carpet", "grass", "sand"),
    "table": ("floor", "floor", "carpet", "rear", "grass"),
    "lamp": ("rear", "floor", "carpet"),
    "sofa": ("rear", "rear", "floor", "carpet"),
    "television": ("rear",),
    "clock": ("wall",),
}
# How often one of a kind is followed by another of the same.
HERDS: dict[str, float] = {
    "person": 0.22,
    "dog": 0.12,
    "bird": 0.5,
    "horse": 0.25,
    "cow": 0.35,
    "sheep": 0.45,
    "duck": 0.5,
    "butterfly": 0.3,
    "tree": 0.3,
    "flower": 0.5,
    "house": 0.2,
    "tent": 0.25,
    "umbrella": 0.2,
    "car": 0.3,
    "boat": 0.35,
    "balloon": 0.4,
    "kite": 0.2,
    "chair": 0.35,
}
