"""How the twenty stuff classes of the miniature look: textures of any size, made by array operations.

Their mean colours overlap on purpose (sea, lake, pool, sky and curtain may all be blue); what tells
them apart is their texture.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from data_cards.miniature.stuff.distance import forest, mountain, skyline
from data_cards.miniature.stuff.grounds import grass, road, sand, snow, wheat_field
from data_cards.miniature.stuff.indoors import brick_wall, carpet, curtain, floor, wallpaper
from data_cards.miniature.stuff.skies import clouds, night_sky, sky, sunset
from data_cards.miniature.stuff.textures import Array, Patch, cut
from data_cards.miniature.stuff.waters import lake, pool, sea

# Stuff that fills its patch wholly: patch -> colour [3, h, w], cut to 0..1 in the end.
FILLS: dict[str, Callable[[Patch], Array]] = {
    "sky": sky,
    "clouds": clouds,
    "sunset": sunset,
    "night sky": night_sky,
    "grass": grass,
    "wheat field": wheat_field,
    "sand": sand,
    "snow": snow,
    "road": road,
    "sea": sea,
    "lake": lake,
    "pool": pool,
    "brick wall": brick_wall,
    "wallpaper": wallpaper,
    "curtain": curtain,
    "floor": floor,
    "carpet": carpet,
}
# Stuff with an outline of its own against what is behind it: patch -> colour [3, h, w], cover [h, w].
OUTLINED: dict[str, Callable[[Patch], tuple[Array, Array]]] = {
    "mountain": mountain,
    "forest": forest,
    "skyline": skyline,
}
STUFF = (*FILLS, *OUTLINED)


def draw_stuff(name: str, patch: Patch) -> tuple[Array, Array | None]:
    """Colour [3, h, w] of a stuff class on a patch, and its cover [h, w], None where it fills all."""
    if name in OUTLINED:
        return OUTLINED[name](patch)
    return FILLS[name](patch), None


def stuff_crop(name: str, rng: np.random.Generator, height: int, width: int, size: int, time: str = "day") -> Array:
    """A stuff class alone: [h, w, 3] 0..1. Behind an outline is a haze."""
    patch = Patch(rng, height, width, size, time, horizon=-0.15 * height, foot=height)
    colour, cover = draw_stuff(name, patch)
    if cover is not None:
        haze = np.float32(0.80)
        colour = haze + (colour - haze) * cover
    return np.ascontiguousarray(cut(colour).transpose(1, 2, 0))
