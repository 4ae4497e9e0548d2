"""Waters: the sea with its waves, the still lake, the pool with its tiles."""

from __future__ import annotations

import numpy as np

from data_cards.miniature.stuff.textures import Array, Patch, cut, mix, tinted

_SEAS = (
    (0.10, 0.34, 0.56),
    (0.08, 0.42, 0.54),
    (0.18, 0.40, 0.44),
    (0.26, 0.36, 0.46),
    (0.12, 0.28, 0.48),
    (0.22, 0.56, 0.64),
)
_LAKES = (
    (0.22, 0.42, 0.60),
    (0.30, 0.48, 0.58),
    (0.20, 0.36, 0.38),
    (0.42, 0.56, 0.66),
    (0.24, 0.38, 0.30),
    (0.34, 0.50, 0.72),
)
_POOLS = ((0.18, 0.66, 0.78), (0.30, 0.74, 0.82), (0.20, 0.56, 0.80), (0.38, 0.80, 0.78))


def sea(patch: Patch) -> Array:
    """Waves that lie across, higher in front, with white crests."""
    deep = patch.choice(_SEAS, 0.04)
    swell = patch.ground_noise(5.0, 17.0)
    ripple = patch.noise(1.0, 4.5)
    waves = 0.6 * swell * np.minimum(1.0, 0.45 + patch.near) + 0.5 * ripple
    light = np.minimum(deep * 1.55 + 0.10, 1.0)
    body = mix(deep * 0.78, light, cut(0.42 + 0.26 * waves - 0.15 * patch.near + 0.1))
    foam = np.clip((waves - patch.between(0.75, 1.35)) * 2.4, 0, 0.95)
    return mix(body, (0.95, 0.97, 0.97), foam)


def lake(patch: Patch) -> Array:
    """Still water: the far shore hangs in it upside down, few streaks cross it."""
    water = patch.choice(_LAKES)
    bright = np.minimum(water * 1.35 + 0.16, 1.0)
    bank = water * np.array((0.46, 0.56, 0.42), np.float32)
    span = patch.y[-1, 0]
    reach = span * np.clip(patch.between(0.2, 0.5) + 0.16 * patch.profile(7), 0.04, 0.9)
    hanging = cut((reach - patch.y) * 0.7 + 0.5) * (0.72 + 0.10 * patch.profile(2.0))
    body = mix(water, bright, cut(0.25 + 0.45 * patch.y / span + 0.10 * patch.noise(5, 30)))
    body = mix(body, bank, hanging)
    streaks = np.clip((patch.noise(0.6, 26) - 1.35) * 1.3, 0, 0.55)
    return mix(body, (0.93, 0.96, 0.98), streaks)


def pool(patch: Patch) -> Array:
    """Clear water: a net of light over tiles; at times ropes between the lanes."""
    water = patch.choice(_POOLS)
    net = 1 - np.minimum(np.abs(patch.noise(3.6, 5.2)) * 2.6, 1.0)
    wobble = 0.8 * patch.noise(4, 4)
    across = (patch.x * patch.depth + wobble) * 0.22
    along = (patch.depth * 9 + 0.35 * wobble) * 0.5
    tiles = (((across % 1.0) < 0.13) | ((along % 1.0) < 0.13)).astype(np.float32)
    body = tinted(water, 0.42 * net - 0.12 - 0.17 * tiles)
    if patch.chance(0.45):
        span = patch.y[-1, 0]
        rope = np.abs(patch.y - span * patch.between(0.3, 0.7) - 0.03 * patch.x) < 0.65
        red = ((patch.x + 64) % 5 < 2.5).astype(np.float32)
        body = np.where(rope, mix((0.96, 0.96, 0.94), (0.85, 0.15, 0.12), red), body)
    return body
