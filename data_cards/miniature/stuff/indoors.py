"""Walls and floors: brick, wallpaper, curtain, planks, carpet."""

from __future__ import annotations

import numpy as np

from data_cards.miniature.stuff.textures import Array, Patch, cut, mix, tinted

_BRICKS = (
    (0.62, 0.28, 0.20),
    (0.52, 0.34, 0.26),
    (0.70, 0.42, 0.28),
    (0.58, 0.54, 0.50),
    (0.80, 0.76, 0.70),
    (0.72, 0.58, 0.38),
)
_MORTARS = ((0.80, 0.77, 0.72), (0.66, 0.63, 0.58), (0.42, 0.39, 0.37))
_PAPERS = (
    (0.90, 0.87, 0.78),
    (0.74, 0.84, 0.80),
    (0.86, 0.74, 0.76),
    (0.70, 0.78, 0.90),
    (0.62, 0.72, 0.52),
    (0.92, 0.84, 0.58),
    (0.36, 0.46, 0.58),
    (0.56, 0.30, 0.36),
    (0.88, 0.88, 0.90),
)
_CLOTHS = (
    (0.70, 0.16, 0.18),
    (0.20, 0.34, 0.62),
    (0.86, 0.82, 0.72),
    (0.26, 0.46, 0.30),
    (0.78, 0.60, 0.26),
    (0.46, 0.26, 0.48),
    (0.80, 0.84, 0.88),
    (0.36, 0.60, 0.64),
)
_WOODS = (
    (0.66, 0.46, 0.26),
    (0.54, 0.34, 0.19),
    (0.80, 0.64, 0.42),
    (0.42, 0.27, 0.17),
    (0.62, 0.56, 0.48),
    (0.74, 0.52, 0.32),
)
_WOOLS = (
    (0.62, 0.14, 0.14),
    (0.16, 0.24, 0.46),
    (0.20, 0.40, 0.32),
    (0.74, 0.56, 0.30),
    (0.50, 0.34, 0.24),
    (0.56, 0.50, 0.58),
)
_YARNS = ((0.92, 0.84, 0.62), (0.88, 0.52, 0.22), (0.86, 0.88, 0.86), (0.30, 0.52, 0.60), (0.16, 0.12, 0.14))


def brick_wall(patch: Patch) -> Array:
    """Bricks in running bond, each burnt a little differently."""
    brick, mortar = patch.choice(_BRICKS), patch.choice(_MORTARS)
    tall, wide = patch.between(3.2, 4.4), patch.between(7.0, 9.5)
    up = patch.y / tall + patch.between(0, 1)
    course = up.astype(np.int32)
    along = patch.x / wide + (course % 2) * 0.5 + (32 + patch.between(0, 1))
    which = along.astype(np.int32)
    burnt = patch.rng.random(256).astype(np.float32)[(course * 37 + which * 11) % 256]
    gap = ((up - course) * tall < 0.95) | ((along - which) * wide < 0.95)
    tone = 0.44 * (burnt - 0.5) + 0.10 * patch.noise(0.8)
    body = np.where(gap, tinted(mortar, 0.08 * patch.noise(0.8)), tinted(brick, tone))
    return body


def wallpaper(patch: Patch) -> Array:
    """A flat pattern that repeats: stripes, dots, diamonds, checks, or leaves."""
    ground = patch.choice(_PAPERS)
    figure = ground * patch.between(0.55, 0.80) if patch.chance(0.6) else np.minimum(patch.choice(_PAPERS), 1.0)
    if float(np.abs(figure - ground).sum()) < 0.35:
        figure = ground * 0.6
    step = patch.between(6.0, 9.0)
    u = (patch.x / step + (16 + patch.between(0, 1))) % 1.0 - 0.5
    rows = patch.y / step + (16 + patch.between(0, 1))
    kind = int(patch.rng.random() * 5)
    if kind == 0:
        share = ((np.abs(u) < 0.24) + np.float32(0.6) * (np.abs(np.abs(u) - 0.36) < 0.045)) * np.ones_like(patch.y)
    else:
        half = np.floor(rows) % 2 * 0.5
        v = rows % 1.0 - 0.5
        w = (u + half + 0.5) % 1.0 - 0.5  # every second row is shifted by half a step
        if kind == 1:
            share = (w * w + v * v < 0.075) * np.float32(1)
        elif kind == 2:
            share = (np.abs(np.abs(w) + np.abs(v) - 0.36) < 0.09) + (np.abs(w) + np.abs(v) < 0.12) * np.float32(1)
        elif kind == 3:
            share = np.float32(0.5) * (u > 0) + np.float32(0.5) * (v > 0)
        else:
            radius = np.sqrt(w * w + v * v)
            petals = 0.3 + 0.1 * np.cos(5 * np.arctan2(w, v))
            share = ((radius < petals) & (radius > 0.11)) * np.float32(1)
    body = mix(ground, figure, np.minimum(share, 1).astype(np.float32))
    shade = 0.025 * patch.noise(0.7) - 0.004 * patch.x
    return tinted(body, shade)


def curtain(patch: Patch) -> Array:
    """Cloth in folds, deeper towards the hem; some cloths have a border or checks."""
    cloth = patch.choice(_CLOTHS)
    sway = patch.x + 0.35 * np.sin(patch.y * 0.11 + patch.between(0, 6)) * (patch.y / 20) + 0.9 * patch.profile(9)
    wide = patch.between(4.5, 7.5)
    fold = np.sin(sway * (2 * np.pi / wide) + patch.between(0, 6))
    second = np.sin(sway * (2 * np.pi / wide * 2.3) + patch.between(0, 6))
    tone = 0.36 * fold + 0.10 * second + 0.03 * patch.noise(0.7) - 0.06
    body = tinted(cloth, tone)
    if patch.chance(0.3):
        trim = np.abs(patch.y - patch.y[-1, 0] + patch.between(3, 6) + 0.6 * fold) < 1.0
        body = mix(body, np.minimum(cloth * 0.4 + 0.5, 1), trim * (0.7 + 0.25 * fold))
    return body


def floor(patch: Patch) -> Array:
    """Planks that run away from the viewer, each with a tone of its own; joints and grain."""
    wood = patch.choice(_WOODS)
    across = (patch.x - patch.between(-16, 16) * (1 - patch.near)) * patch.depth / patch.between(7.0, 9.5) + 64
    plank = across.astype(np.int32)
    far = patch.depth * 0.75 + (plank * 0.37) % 1.0 + 1
    piece = far.astype(np.int32)
    own = patch.rng.random(256).astype(np.float32)[(plank * 29 + piece * 53) % 256]
    gap = (np.abs((across - plank) - 0.5) > 0.5 - 0.055 * np.minimum(patch.depth, 2.2)) | ((far - piece) < 0.05)
    tone = 0.32 * (own - 0.5) + 0.07 * patch.noise(3.5, 0.7) - np.float32(0.42) * gap + 0.10 * (1 - patch.near)
    return tinted(wood, tone)


def carpet(patch: Patch) -> Array:
    """Woven ornaments lying on the ground: diamonds, a net of lines, knots."""
    wool, yarn, third = patch.choice(_WOOLS), patch.choice(_YARNS), patch.choice(_YARNS)
    step = patch.between(10.0, 13.0)
    depth = 1.6 / (patch.near + 0.6)  # flatter than the ground, or the far ornaments would blur
    u = np.abs((patch.x * depth / step + (32 + patch.between(0, 1))) % 1.0 - 0.5)
    v = np.abs((depth * (34 / step) + patch.between(0, 1)) % 1.0 - 0.5)
    ring = u + v
    body = mix(wool, yarn, ((np.abs(ring - 0.33) < 0.055) | (ring > 0.90)).astype(np.float32))
    body = np.where(ring < 0.15, third[:, None, None], body)
    if patch.chance(0.5):
        body = np.where((ring > 0.5) & (ring < 0.62), (0.55 * third + 0.45 * wool)[:, None, None], body)
    weave = 0.10 * patch.noise(0.7) + 0.05 * np.sin(patch.y * 4.2)
    return tinted(body, weave)


def drawn_aside(patch: Patch) -> Array:
    """The outline of a curtain at the left of a window, gathered by a band: cover [h, w]."""
    down = patch.y / patch.y[-1, 0]
    gathered = patch.between(0.0, 0.5) * np.exp(np.square((down - patch.between(0.55, 0.75)) / 0.2) * -1)
    across = (patch.x - patch.x[0, 0]) / (patch.x[0, -1] - patch.x[0, 0])
    edge = (0.94 - gathered + 0.03 * np.sin(patch.y * 0.5)) - across
    return cut(edge * patch.width + 0.5)


def rug_outline(patch: Patch, colour: Array) -> tuple[Array, Array]:
    """A carpet's colours with a border, and its outline on the floor, narrower in the distance: cover [h, w]."""
    middle = patch.between(-8, 8)
    half, end = patch.between(17, 27), patch.between(0.72, 0.96)
    depth = patch.depth
    aside = np.abs(patch.x * depth - middle) - half
    rows = patch.y / patch.y[-1, 0]
    ends = np.maximum(rows - end, 0.0) * 30 * depth
    distance = np.maximum(aside, ends - 0.01)
    if patch.chance(0.3):  # a round one
        near = (rows - end / 2) / (end / 2)
        distance = (np.sqrt(np.square((patch.x * depth - middle) / half) + near * near) - 1) * half
    border = (distance > -3.2) & (distance < -1.6)
    colour = np.where(border, colour * 0.45 + 0.45, colour)
    cover = cut(distance * (-patch.unit / depth) + 0.5) * (rows <= end)
    return colour.astype(np.float32), cover.astype(np.float32)
