"""What closes the view: mountains, forest, and the skyline of a city. Each has an outline."""

from __future__ import annotations

import numpy as np

from data_cards.miniature.stuff.textures import Array, Patch, cut, mix, tinted

_ROCKS = ((0.36, 0.36, 0.40), (0.44, 0.38, 0.32), (0.30, 0.36, 0.44), (0.42, 0.32, 0.28), (0.34, 0.40, 0.33))
_HAZES = ((0.68, 0.76, 0.86), (0.76, 0.78, 0.82), (0.62, 0.70, 0.82))
_LEAVES = (
    (0.14, 0.34, 0.13),
    (0.22, 0.42, 0.14),
    (0.10, 0.27, 0.17),
    (0.34, 0.40, 0.12),
    (0.60, 0.36, 0.10),
    (0.28, 0.24, 0.12),
)
_WALLS = ((0.44, 0.48, 0.55), (0.58, 0.56, 0.54), (0.50, 0.42, 0.38), (0.36, 0.42, 0.50), (0.66, 0.62, 0.56))
_ROWS = 3  # of trees
_BOXES = 16  # in each of two rows
_LIT, _UNLIT = np.float32(0.9), np.float32(0.15)


def mountain(patch: Patch) -> tuple[Array, Array]:
    """Ridges one behind the other, the far ones paler, snow on the high ones: colour, cover."""
    height = float(patch.y[-1, 0])
    rock, haze = patch.choice(_ROCKS), patch.choice(_HAZES)
    layers = 2 if patch.chance(0.6) else 3
    snowy = patch.between(0.0, 0.75)
    folds = patch.noise(3.5, 2.2)
    light, white, far, cover = np.zeros((4, patch.height, patch.width), np.float32)
    for layer in range(layers):
        peaks = np.abs(patch.profile(9)) * -0.30 + patch.profile(22) * 0.16 + patch.profile(2.5) * 0.02
        shares = 0.40 + 0.34 * layer / (layers - 1) - (peaks - peaks.min()) * 0.55
        top = height * np.minimum(np.maximum(shares, 0.04), 0.95)
        below = patch.y - top  # units under the ridge
        slope = np.empty_like(top)
        slope[1:] = top[1:] - top[:-1]
        slope[0] = slope[1]
        lit = np.minimum(np.maximum(slope * (patch.unit * -0.28), -0.34), 0.34)  # the side that faces left is lit
        here = cut(below * patch.unit + 0.5)
        light += (lit - light) * here
        far += ((1 - (layer + 1) / layers) * 0.55 + 0.22 / height * below - far) * here
        if snowy > 0.2:
            snow = cut((snowy * height * 0.35 - below + 1.6 * folds) * 0.9) if layer < 2 else np.float32(0)
            white += (snow - white) * here
        np.maximum(cover, here, out=cover)
    picture = tinted(rock, 0.16 * folds + light)
    if snowy > 0.2:
        picture = mix(picture, tinted((0.90, 0.93, 0.98), light * 0.5), white)
    return mix(picture, haze, far), cover


def forest(patch: Patch) -> tuple[Array, Array]:
    """Rows of crowns, rounded or pointed, darker at their feet, trunks below: colour, cover."""
    height = float(patch.y[-1, 0])
    leaf = patch.choice(_LEAVES, 0.05, 0.3)
    pointed = patch.chance(0.45)
    sizes = patch.rng.random(256).astype(np.float32)
    shade, far, cover = np.zeros((3, patch.height, patch.width), np.float32)
    for row in range(_ROWS):
        wide = patch.between(5.0, 7.0) * (0.65 + 0.25 * row)
        place = patch.x[0] / wide + (patch.between(0, 1) + 64)
        which = place.astype(np.int32)
        u = (place - which) * 2 - 1
        tall = sizes[which + 59 * row & 255]
        outline = np.abs(u) * 1.5 - 0.5 if pointed else 0.75 - 0.8 * np.sqrt(1.02 - u * u)
        top = outline + (1.1 if pointed else 0.7) * tall
        below = patch.y - np.maximum(height * (0.05 + 0.26 * row) + wide * top, 0.4)
        here = cut(below * patch.unit + 0.5)
        shade += (np.maximum((0.55 * tall - 0.22 * u - 0.05) - 0.075 * below, -0.75) - shade) * here
        far += (0.22 * (_ROWS - 1 - row) - far) * here
        np.maximum(cover, here, out=cover)
    picture = mix(tinted(leaf, shade + 0.30 * patch.noise(1.1)), (0.55, 0.63, 0.66), far)
    first = int(patch.height * 0.84)  # of the rows in which the trunks of the last row of trees show
    picture[:, first:] *= 0.5
    picture[:, first:, np.abs(u) < 0.16] = np.array((0.30, 0.22, 0.15), np.float32)[:, None, None]
    return picture, cover


def skyline(patch: Patch) -> tuple[Array, Array]:
    """Boxes of many heights with rows of windows, lit in the dark: colour, cover."""
    height = float(patch.y[-1, 0])
    dark = patch.time != "day"
    columns = np.arange(patch.width)
    r = patch.rng.random((2, 4, _BOXES)).astype(np.float32)
    tops, insides, numbers = [], [], []
    for layer, wide in enumerate((3.5, 5.0)):  # the far boxes, the near ones
        edges = np.cumsum((r[layer, 0] * 6 + wide) * patch.unit) - 2 * patch.unit
        which = np.minimum(np.searchsorted(edges, columns), _BOXES - 1)
        left = np.concatenate(([-2 * patch.unit], edges))[which]
        tops.append(height * ((0.28 if layer else 0.04) + 0.52 * r[layer, 1][which]).astype(np.float32))
        insides.append(((columns - left) / patch.unit).astype(np.float32))
        numbers.append(which + layer * _BOXES)
    walls = np.asarray(_WALLS, np.float32)[(r[:, 2].ravel() * len(_WALLS)).astype(int)]
    walls *= 0.75 + 0.5 * r[:, 3].ravel()[:, None]
    walls[:_BOXES] += (np.array((0.70, 0.76, 0.84), np.float32) - walls[:_BOXES]) * 0.35
    if dark:
        walls *= 0.34 if patch.time == "night" else 0.55

    near = patch.y > tops[1]
    below = patch.y - np.where(near, tops[1], tops[0])
    inside: Array = np.where(near, insides[1], insides[0])
    body: Array = np.take(walls.T, np.where(near, numbers[1], numbers[0]), axis=1)
    window = ((below % 2.2) > 0.9) & (below > 0.8) & ((inside % 2.0) > 0.75)
    lit = patch.noise(0.9) > (0.1 if dark else -0.5)
    panes = (1.0, 0.84, 0.46) if dark else (0.78, 0.88, 0.95)
    picture = mix(
        tinted(body, np.float32(0.08) - np.minimum(inside, 6.0) * np.float32(0.05)),
        panes,
        window * np.where(lit, _LIT, _UNLIT),
    )
    return picture, (below > 0).astype(np.float32)
