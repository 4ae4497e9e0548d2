"""What closes the view: mountains, forest, and the skyline of a city. Each has an outline."""

from __future__ import annotations

import numpy as np

from data_cards.textures import Array, Patch, mix, tinted

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


def mountain(patch: Patch) -> tuple[Array, Array]:
    """Ridges one behind the other, the far ones paler, snow on the high ones: colour, cover."""
    height = patch.y[-1, 0]
    rock, haze = patch.choice(_ROCKS), patch.choice(_HAZES)
    layers = 2 if patch.chance(0.6) else 3
    snowy = patch.between(0.0, 0.75)
    folds = patch.noise(3.5, 2.2)
    picture = np.zeros((3, patch.height, patch.width), np.float32)
    cover = np.zeros((patch.height, patch.width), np.float32)
    for layer in range(layers):
        far = 1 - (layer + 1) / layers
        peaks = np.abs(patch.profile(9)) * -0.30 + patch.profile(22) * 0.16 + patch.profile(2.5) * 0.02
        top = height * np.clip(0.30 + 0.34 * layer / (layers - 1) - (peaks - peaks.min()) * 0.55 + 0.1, 0.04, 0.95)
        below = patch.y - top  # units under the ridge
        slope = np.empty_like(top)
        slope[1:] = top[1:] - top[:-1]
        slope[0] = slope[1]
        lit = np.clip(slope * patch.unit * -0.28, -0.34, 0.34)  # the side that faces left is lit
        body = tinted(rock, 0.16 * folds + lit)
        if snowy > 0.2 and layer < 2:
            snow = np.clip((snowy * height * 0.35 - below + 1.6 * folds) * 0.9, 0, 1)
            body = mix(body, tinted((0.90, 0.93, 0.98), lit * 0.5), snow)
        body = mix(body, haze, np.float32(far * 0.55) + np.clip(below / height, 0, 1) * 0.22)
        here = np.clip(below * patch.unit + 0.5, 0, 1)
        picture += (body - picture) * here
        np.maximum(cover, here, out=cover)
    return np.clip(picture, 0, 1), cover


def forest(patch: Patch) -> tuple[Array, Array]:
    """Rows of crowns, rounded or pointed, darker at their feet, trunks below: colour, cover."""
    height = patch.y[-1, 0]
    leaf = patch.choice(_LEAVES, 0.05, 0.3)
    pointed = patch.chance(0.45)
    rows = 3
    picture = np.zeros((3, patch.height, patch.width), np.float32)
    cover = np.zeros((patch.height, patch.width), np.float32)
    grain = patch.noise(1.1)
    for row in range(rows):
        wide = patch.between(5.0, 7.0) * (0.65 + 0.25 * row)
        place = patch.x / wide + (patch.between(0, 1) + 64)
        which = place.astype(np.int32)
        u = (place - which) * 2 - 1
        tall = patch.rng.random(160).astype(np.float32)[which % 160]
        base = height * (0.05 + 0.26 * row)
        if pointed:
            top = base + wide * (np.abs(u) * 1.5 + 1.1 * tall - 0.5)
        else:
            top = base + wide * (0.75 - 0.8 * np.sqrt(1.02 - u * u) + 0.7 * tall)
        below = patch.y - np.maximum(top, 0.4)
        shade = -0.22 * u - 0.075 * below + (0.55 * (tall - 0.5) + 0.22)
        body = tinted(leaf, np.clip(shade, -0.75, 0.6) + 0.30 * grain)
        if row < rows - 1:
            body = mix(body, (0.55, 0.63, 0.66), np.float32(0.22 * (rows - 1 - row)))
        else:
            trunk = (np.abs(u) < 0.16) & (patch.y > height * 0.84)
            body = body * np.where(patch.y > height * 0.84, np.where(trunk, 1.0, 0.5), 1.0).astype(np.float32)
            body = mix(body, (0.30, 0.22, 0.15), trunk.astype(np.float32))
        here = np.clip(below * patch.unit + 0.5, 0, 1)
        picture += (body - picture) * here
        np.maximum(cover, here, out=cover)
    return np.clip(picture, 0, 1), cover


def skyline(patch: Patch) -> tuple[Array, Array]:
    """Boxes of many heights with rows of windows, lit in the dark: colour, cover."""
    height = patch.y[-1, 0]
    dark = patch.time != "day"
    glass = patch.noise(0.9)
    picture = np.zeros((3, patch.height, patch.width), np.float32)
    cover = np.zeros((patch.height, patch.width), np.float32)
    columns = np.arange(patch.width)
    for layer in range(2):
        count = 14
        widths = (patch.rng.random(count) * 6 + (5.0 if layer else 3.5)) * patch.unit
        edges = np.cumsum(widths) - patch.between(0, 5) * patch.unit
        which = np.minimum(np.searchsorted(edges, columns), count - 1)
        left = np.where(which > 0, edges[which - 1], edges[0] - widths[0])
        inside = ((columns - left) / patch.unit).astype(np.float32)[None, :]
        r = patch.rng.random((3, count)).astype(np.float32)
        top = height * ((0.04 if layer == 0 else 0.28) + 0.52 * r[0][which])
        walls = np.asarray(_WALLS, np.float32)[(r[1] * len(_WALLS)).astype(int)] * (0.75 + 0.5 * r[2])[:, None]
        body = walls.T[:, which][:, None, :]
        below = patch.y - top
        if layer == 0:
            body = body + (np.array((0.70, 0.76, 0.84), np.float32)[:, None, None] - body) * 0.35
        if dark:
            body = body * (0.34 if patch.time == "night" else 0.55)
        window = ((below % 2.2) > 0.9) & (below > 0.8) & ((inside % 2.0) > 0.75)
        pane = (1.0, 0.84, 0.46) if dark else ((0.80, 0.90, 0.97) if layer else (0.36, 0.44, 0.54))
        share = window * np.where(glass > (0.1 if dark else -0.5), np.float32(0.9), np.float32(0.15))
        body = mix(body * (1.08 - 0.05 * np.minimum(inside, 6.0)), pane, share)
        here = (below > 0).astype(np.float32)
        picture += (body - picture) * here
        np.maximum(cover, here, out=cover)
    return np.clip(picture, 0, 1), cover
