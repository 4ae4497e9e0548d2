"""What lies before the viewer outdoors: grass, wheat, sand, snow, road."""

from __future__ import annotations

import numpy as np

from data_cards.miniature.stuff.textures import Array, Patch, cut, mix, tinted

_GREENS = (
    (0.30, 0.52, 0.16),
    (0.40, 0.60, 0.20),
    (0.22, 0.44, 0.20),
    (0.52, 0.58, 0.22),
    (0.46, 0.50, 0.28),
    (0.50, 0.56, 0.30),
)
_STRAWS = ((0.86, 0.70, 0.30), (0.78, 0.60, 0.26), (0.90, 0.78, 0.46), (0.68, 0.62, 0.26), (0.72, 0.54, 0.28))
_SANDS = ((0.88, 0.78, 0.56), (0.80, 0.68, 0.46), (0.92, 0.85, 0.70), (0.84, 0.64, 0.46), (0.72, 0.66, 0.56))
_SNOWS = ((0.92, 0.94, 0.98), (0.86, 0.90, 0.97), (0.95, 0.94, 0.94))
_ASPHALTS = ((0.36, 0.36, 0.38), (0.46, 0.46, 0.47), (0.28, 0.29, 0.33), (0.52, 0.48, 0.44), (0.42, 0.45, 0.50))


def grass(patch: Patch) -> Array:
    """Blades, upright, taller in front; patches of another hue."""
    green = patch.choice(_GREENS)
    light = green * 1.25 + np.array((0.10, 0.08, -0.02), np.float32)
    blades = patch.noise(3.4, 0.75) * (0.35 + 0.65 * patch.near) + patch.noise(1.5, 0.7) * (0.9 - 0.5 * patch.near)
    field = 0.45 + 0.30 * blades + 0.16 * patch.ground_noise(9, 14) - 0.12 * patch.near
    return mix(green * 0.62, light, cut(field))


def wheat_field(patch: Patch) -> Array:
    """Stalks in rows that meet in the distance, ears on top."""
    straw = patch.choice(_STRAWS)
    rows = np.sin((patch.x - patch.between(-14, 14)) * patch.depth * patch.between(0.45, 0.65))
    stalks = patch.noise(2.6, 0.6)
    ears = patch.noise(1.1, 0.7)
    tone = 0.26 * rows * (0.4 + 0.6 * patch.near) + 0.20 * stalks + np.where(ears > 0.9, 0.28, -0.04).astype(np.float32)
    return mix(tinted(straw, tone), (0.95, 0.86, 0.60), (1 - patch.near) * 0.25)


def sand(patch: Patch) -> Array:
    """Ripples across, broken up; fine grain."""
    base = patch.choice(_SANDS)
    waves = np.sin(patch.depth * patch.between(-9, -6) * 2 + 1.5 * patch.ground_noise(10, 20) + patch.x * 0.03)
    tone = (
        0.085 * waves * np.minimum(1.0, patch.near * 2.2) + 0.055 * patch.noise(0.7) + 0.05 * patch.ground_noise(12, 22)
    )
    return tinted(base, tone)


def snow(patch: Patch) -> Array:
    """Drifts: white crests, blue hollows."""
    base = patch.choice(_SNOWS, 0.02, 0.04)
    drifts = patch.ground_noise(9, 26)
    crest = np.sin(1.6 * drifts + patch.depth * 2.0)
    blue = base * np.array((0.74, 0.83, 0.95), np.float32)
    field = 0.66 + 0.34 * crest + 0.10 * patch.noise(7) + np.float32(0.30) * (patch.noise(0.6) > 2.1)
    return mix(blue, base, cut(field))


def road(patch: Patch) -> Array:
    """Asphalt with lane marks: running away from the viewer, or across the picture."""
    base = patch.choice(_ASPHALTS, 0.02)
    body = tinted(base, 0.09 * patch.noise(0.6) + 0.06 * patch.ground_noise(10, 16))
    paint = (0.93, 0.91, 0.84) if patch.chance(0.75) else (0.93, 0.78, 0.24)
    if patch.near[0, 0] < 0.45 and patch.chance(0.6):
        across = (patch.x - patch.between(-10, 10) * (1 - patch.near)) * patch.depth
        dashed = (np.abs(across) < 1.1) & ((patch.depth * 2.2 + patch.between(0, 1)) % 1.0 < 0.58)
        sides = np.abs(np.abs(across) - patch.between(24, 34)) < 0.9
        marks = (dashed | sides) & (patch.near > 0.05)
    else:
        span = patch.y[-1, 0]
        middle = span * patch.between(0.42, 0.58)
        dashed = (np.abs(patch.y - middle) < max(0.75, span * 0.035)) & ((patch.x + patch.between(40, 52)) % 12 < 7)
        sides = (np.abs(patch.y - 1.4) < 0.5) | (np.abs(patch.y - span + 1.6) < 0.55)
        marks = dashed | (sides & (patch.x > -999))
    worn = 0.88 - 0.18 * patch.noise(0.9)
    return mix(body, paint, np.where(marks, worn, 0).astype(np.float32))
