"""Crops that show one class each: a stuff patch alone, or a thing alone on a plain or a stuff background."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data_cards.cards import read_card
from data_cards.miniature.stuff.catalogue import FILLS, STUFF, stuff_crop
from data_cards.miniature.stuff.textures import grain
from data_cards.miniature.things.brushes import Sketch
from data_cards.miniature.things.catalogue import PALETTE, THINGS

SIDE = 48
CLASSES = [one.name for one in read_card("miniature").classes]


def clean_crops(seed: int, each: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """`each` crops of every class: images [n, SIDE, SIDE, 3] 0..1 and class indices [n]."""
    rng = np.random.default_rng(seed)
    images, labels = [], []
    for label, name in enumerate(CLASSES):
        for _ in range(each):
            images.append(stuff_crop(name, rng, SIDE, SIDE, 64) if name in STUFF else thing_crop(name, rng))
            labels.append(label)
    return np.stack(images), np.array(labels)


def thing_crop(name: str, rng: np.random.Generator) -> NDArray[np.float32]:
    thing = THINGS[name]
    aspect = rng.uniform(*thing.aspect)
    height = int(rng.uniform(0.75, 0.98) * min(SIDE, SIDE / aspect))
    width = int(height * aspect)
    sketch = Sketch(height, width, aspect, grain(rng, height, width, 64), mirrored=rng.random() < 0.5)
    thing.draw(sketch, PALETTE[thing.colours[rng.integers(len(thing.colours))]], rng)
    if rng.random() < 0.5:
        picture = np.broadcast_to(rng.random(3).astype(np.float32), (SIDE, SIDE, 3)).copy()
    else:
        picture = stuff_crop(list(FILLS)[rng.integers(len(FILLS))], rng, SIDE, SIDE, 64)
    top, left = rng.integers(SIDE - height + 1), rng.integers(SIDE - width + 1)
    place = picture[top : top + height, left : left + width]
    place *= 1 - sketch.cover[:, :, None]
    place += sketch.colour
    return np.clip(picture, 0, 1)
