"""What is above: clear sky, clouds, sunset, and the sky at night."""

from __future__ import annotations

import numpy as np

from data_cards.miniature.stuff.textures import Array, Patch, cut, mix, ramp

_TOPS = (
    (0.16, 0.42, 0.82),
    (0.30, 0.56, 0.88),
    (0.20, 0.58, 0.80),
    (0.42, 0.62, 0.82),
    (0.10, 0.32, 0.68),
    (0.55, 0.72, 0.86),
)
_HAZES = ((0.78, 0.89, 0.97), (0.70, 0.86, 0.95), (0.90, 0.93, 0.93), (0.93, 0.88, 0.82), (0.62, 0.80, 0.94))
# From the zenith down to the horizon.
_SUNSETS = (
    ((0.26, 0.22, 0.46), (0.58, 0.32, 0.52), (0.90, 0.45, 0.42), (0.99, 0.66, 0.33), (1.00, 0.86, 0.52)),
    ((0.34, 0.44, 0.66), (0.66, 0.55, 0.68), (0.95, 0.62, 0.58), (1.00, 0.74, 0.50), (1.00, 0.88, 0.62)),
    ((0.22, 0.10, 0.24), (0.52, 0.14, 0.26), (0.82, 0.24, 0.20), (0.96, 0.44, 0.16), (1.00, 0.70, 0.28)),
    ((0.48, 0.42, 0.68), (0.78, 0.54, 0.74), (0.96, 0.66, 0.74), (1.00, 0.78, 0.72), (1.00, 0.90, 0.74)),
)
_NIGHTS = ((0.02, 0.03, 0.10), (0.03, 0.05, 0.18), (0.05, 0.03, 0.14), (0.02, 0.08, 0.16))


def sky(patch: Patch) -> Array:
    """A clear sky, paler towards the horizon."""
    down = np.power(patch.y / patch.y[-1, 0], patch.between(0.7, 1.5))
    field = down + 0.03 * patch.noise(4, 24)
    return mix(patch.choice(_TOPS), patch.choice(_HAZES), field)


def clouds(patch: Patch) -> Array:
    """Clouds all over: lit from above, grey below."""
    lumps, lit = patch.relief(10, 1.5, 2.5)  # brighter where the cloud thins upwards
    light = patch.between(0.50, 0.78)
    warm = patch.between(-0.03, 0.05)
    dark = (light * 0.72, light * 0.75, light * 0.82 - warm)
    high = min(1.0, light + 0.28)
    bright = (high, high - 0.3 * abs(warm), high - warm)
    if patch.time == "dusk":
        bright, dark = (high, high * 0.74, high * 0.62), (light * 0.72, light * 0.56, light * 0.66)
    return mix(dark, bright, cut(0.5 + 0.22 * lumps + 0.34 * lit))


def cloud_cover(patch: Patch) -> Array:
    """Where single clouds drift across a sky: cover [h, w] 0..1."""
    lumps = patch.fractal(7, 2.4)
    middle, thick = patch.between(0.25, 0.6), patch.between(0.25, 0.4)
    band = np.square((patch.y / patch.y[-1, 0] - middle) / thick)
    return cut((lumps + patch.between(0.5, 1.0) - 0.8 * band) * 2.5)


def sunset(patch: Patch) -> Array:
    """Bands of glowing colour; at times the sun's disc."""
    down = patch.y / patch.y[-1, 0]
    field = down + 0.045 * patch.noise(2.5, 22) + 0.03 * patch.noise(1.2, 9)
    picture = ramp(_SUNSETS[int(patch.rng.random() * len(_SUNSETS))], field) * patch.between(0.88, 1.05)
    if patch.chance(0.6):
        across, radius = patch.x - patch.between(-24, 24), patch.between(3.0, 5.5)
        below = patch.y - patch.y[-1, 0] * patch.between(0.5, 0.92)
        distance = np.sqrt(across * across + below * below)
        glow = np.exp(distance * (-0.16 / radius * 3)) * 0.55
        disc = cut((radius - distance) * patch.unit + 0.5)
        picture = mix(picture, (1.0, 0.93, 0.70), np.maximum(glow, disc))
    return picture


def night_sky(patch: Patch) -> Array:
    """Stars over a dark sky that is paler towards the horizon; at times a milky way."""
    low = patch.choice(_NIGHTS, 0.015, 0.3)
    high = low + np.array((0.05, 0.09, 0.16), np.float32) * patch.between(0.5, 1.6)
    field = np.square(patch.y / patch.y[-1, 0])
    if patch.chance(0.4):
        band = patch.y - patch.y[-1, 0] / 2 + patch.x * patch.between(-0.6, 0.6)
        field = field + np.exp(np.square(band) * -0.01) * (0.7 + 0.35 * patch.fractal(6))
    return mix(mix(low, high, field), (0.98, 0.97, 0.90), patch.stars())
