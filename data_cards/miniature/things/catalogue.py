"""The things of the miniature: how large each is, in which shapes and colours it comes, and who draws it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from data_cards.miniature.things.aloft import draw_airplane, draw_balloon, draw_kite, draw_moon
from data_cards.miniature.things.animals import draw_cat, draw_cow, draw_dog, draw_horse, draw_sheep
from data_cards.miniature.things.brushes import Colour, Sketch
from data_cards.miniature.things.indoors import (
    draw_chair,
    draw_clock,
    draw_lamp,
    draw_sofa,
    draw_table,
    draw_television,
)
from data_cards.miniature.things.outdoors import (
    draw_ball,
    draw_flower,
    draw_house,
    draw_lighthouse,
    draw_person,
    draw_snowman,
    draw_tent,
    draw_tree,
    draw_umbrella,
)
from data_cards.miniature.things.vehicles import draw_bicycle, draw_boat, draw_bus, draw_car, draw_truck
from data_cards.miniature.things.winged import draw_bird, draw_butterfly, draw_duck

# Colour words and what they look like before jitter.
PALETTE: dict[str, Colour] = {
    "red": (0.80, 0.27, 0.24),
    "orange": (0.91, 0.56, 0.26),
    "yellow": (0.94, 0.79, 0.38),
    "green": (0.41, 0.61, 0.37),
    "blue": (0.31, 0.50, 0.73),
    "purple": (0.56, 0.42, 0.66),
    "pink": (0.92, 0.61, 0.65),
    "brown": (0.55, 0.37, 0.25),
    "black": (0.20, 0.19, 0.22),
    "white": (0.93, 0.91, 0.87),
    "grey": (0.60, 0.60, 0.62),
}
# How far a thing's colour strays from the word's, as a share: in brightness; in each channel, where the word's
# colour is grey and what is added where it is pure.
BRIGHTNESS, TINT, PURE_TINT = 0.15, 0.025, 0.07

COATS = ("brown", "black", "white", "grey", "orange")
PAINTS = ("red", "blue", "yellow", "green", "white", "orange", "grey", "black", "purple", "pink")
CLOTHS = ("red", "blue", "green", "yellow", "orange", "purple", "pink")
WOODS = ("brown", "white", "black", "red", "grey", "blue", "green")


@dataclass(frozen=True)
class Thing:
    """A class of things.

    aspect: width over height, from and to; some things are drawn in another pose or kind where it is wide.
    size: height as a share of the picture's, from and to, in the foreground. colours: the words of PALETTE
    it comes in; a person's is that of the clothes. paint: what draws it.
    """

    aspect: tuple[float, float]
    size: tuple[float, float]
    colours: tuple[str, ...]
    paint: Callable[[Sketch, Colour, np.random.Generator], None]

    def draw(self, sketch: Sketch, colour: Colour, rng: np.random.Generator) -> None:
        """Fill the sketch with one such thing: about the colour given, the rest as `rng` has it."""
        level, *tints = rng.random(4).tolist()
        gain = 1 + BRIGHTNESS * (2 * level - 1)
        stray = TINT + PURE_TINT * (max(colour) - min(colour))
        red, green, blue = (
            min(0.97, part * (gain + stray * (2 * tint - 1))) for part, tint in zip(colour, tints, strict=True)
        )
        self.paint(sketch, (red, green, blue), rng)


THINGS: dict[str, Thing] = {
    "person": Thing((0.40, 0.54), (0.42, 0.75), (*CLOTHS, "white", "black", "grey"), draw_person),
    "dog": Thing((0.86, 1.28), (0.30, 0.50), (*COATS, "yellow"), draw_dog),
    "cat": Thing((0.72, 1.25), (0.30, 0.50), COATS, draw_cat),
    "bird": Thing((1.05, 1.45), (0.22, 0.42), ("brown", "blue", "red", "grey", "yellow", "white", "black"), draw_bird),
    "horse": Thing((1.15, 1.35), (0.40, 0.62), ("brown", "black", "white", "grey"), draw_horse),
    "cow": Thing((1.30, 1.50), (0.34, 0.54), ("white", "brown", "black", "grey"), draw_cow),
    "sheep": Thing((1.15, 1.35), (0.28, 0.48), ("white", "grey", "brown", "black"), draw_sheep),
    "duck": Thing((1.15, 1.40), (0.22, 0.42), ("brown", "white", "yellow", "grey", "black"), draw_duck),
    "butterfly": Thing((1.15, 1.40), (0.22, 0.42), (*CLOTHS, "white", "brown"), draw_butterfly),
    "tree": Thing((0.46, 0.95), (0.55, 0.95), ("green", "green", "orange", "yellow", "red", "pink"), draw_tree),
    "flower": Thing(
        (0.62, 0.76), (0.30, 0.58), ("red", "yellow", "pink", "white", "purple", "orange", "blue"), draw_flower
    ),
    "house": Thing((0.95, 1.45), (0.40, 0.68), ("white", "yellow", "red", "brown", "grey", "blue", "pink"), draw_house),
    "lighthouse": Thing(
        (0.42, 0.52), (0.55, 0.92), ("red", "white", "blue", "black", "orange", "green"), draw_lighthouse
    ),
    "tent": Thing((1.35, 1.75), (0.30, 0.50), ("green", "orange", "blue", "red", "yellow", "brown", "grey"), draw_tent),
    "umbrella": Thing((0.90, 1.10), (0.36, 0.62), (*CLOTHS, "white", "black"), draw_umbrella),
    "snowman": Thing((0.68, 0.82), (0.36, 0.62), ("white",), draw_snowman),
    "car": Thing((1.95, 2.25), (0.24, 0.40), PAINTS, draw_car),
    "bus": Thing((1.40, 2.10), (0.34, 0.52), PAINTS, draw_bus),
    "truck": Thing((1.60, 2.00), (0.32, 0.50), PAINTS, draw_truck),
    "bicycle": Thing(
        (1.45, 1.60), (0.34, 0.52), ("red", "blue", "green", "black", "yellow", "orange", "white"), draw_bicycle
    ),
    "boat": Thing((0.85, 1.60), (0.32, 0.62), ("red", "blue", "white", "brown", "green", "yellow", "black"), draw_boat),
    "airplane": Thing(
        (1.75, 2.10), (0.24, 0.40), ("white", "blue", "red", "grey", "orange", "green", "yellow"), draw_airplane
    ),
    "balloon": Thing((0.72, 0.80), (0.36, 0.66), CLOTHS, draw_balloon),
    "kite": Thing((0.66, 0.82), (0.34, 0.60), CLOTHS, draw_kite),
    "moon": Thing((1.0, 1.0), (0.16, 0.34), ("white", "yellow", "orange"), draw_moon),
    "ball": Thing((1.0, 1.0), (0.16, 0.32), (*CLOTHS, "black", "white"), draw_ball),
    "chair": Thing((0.60, 0.72), (0.36, 0.60), (*WOODS, "yellow"), draw_chair),
    "table": Thing((1.25, 1.70), (0.32, 0.50), WOODS, draw_table),
    "lamp": Thing((0.40, 0.55), (0.50, 0.80), ("yellow", "white", "orange", "red", "green", "blue", "pink"), draw_lamp),
    "sofa": Thing(
        (1.65, 2.20), (0.30, 0.46), ("red", "grey", "blue", "green", "brown", "yellow", "purple", "pink"), draw_sofa
    ),
    "television": Thing((1.10, 1.70), (0.28, 0.46), ("black", "grey", "brown", "white", "red"), draw_television),
    "clock": Thing(
        (1.0, 1.0), (0.18, 0.34), ("brown", "black", "red", "white", "blue", "grey", "yellow", "green"), draw_clock
    ),
}
