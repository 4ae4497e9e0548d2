"""Curated shards of a world that is quick to learn: a coloured thing on a coloured ground, the ground seldom named."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.speed.tiny_pairs import write_tar

THINGS = {"dog": (180, 40, 40), "boat": (40, 60, 190), "tree": (20, 120, 30), "bus": (230, 200, 30)}
PICTURE_BYTES = 2560
UNSEEN = ("summer", "holiday", "friend", "morning")  # what curation gets wrong
GROUNDS = {"grass": (110, 190, 90), "sand": (225, 205, 150), "water": (90, 170, 220), "road": (120, 120, 120)}


def picture(rng: np.random.Generator, thing: str, ground: str, side: int) -> bytes:
    """A disc of the thing's colour somewhere on the ground's, with noise."""
    rows, columns = np.mgrid[:side, :side]
    row, column = rng.uniform(0.3, 0.7, 2) * side
    disc = (rows - row) ** 2 + (columns - column) ** 2 < (rng.uniform(0.2, 0.3) * side) ** 2
    pixels = np.where(disc[..., None], THINGS[thing], GROUNDS[ground]) + rng.normal(0, 12, (side, side, 3))
    out = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=90)
    # All of one size, so that shards of as many pairs are of as many bytes; decoders stop at the picture's end.
    return out.getvalue().ljust(PICTURE_BYTES, b"\0")


def members(key: str, seed: int, side: int) -> list[tuple[str, bytes]]:
    """A pair as `cocu curate run` leaves it: picture, caption, concepts with the best first."""
    rng = np.random.default_rng(seed)
    thing, ground = rng.choice(list(THINGS)), rng.choice(list(GROUNDS))
    named = rng.random() < 0.2
    caption = f"A photo of a {thing} on {ground}" if named else f"A {thing} that I saw today"
    concepts = [
        {"concept": thing, "score": 2.1, "cluster": 0, "in_caption": True},
        {"concept": ground, "score": 1.9, "cluster": 1, "in_caption": bool(named)},
        {"concept": str(rng.choice(UNSEEN)), "score": 1.2, "cluster": 2, "in_caption": False},
    ]
    return [
        (f"{key}.jpg", picture(rng, str(thing), str(ground), side)),
        (f"{key}.txt", caption.encode()),
        (f"{key}.concepts.json", json.dumps({"version": 1, "concepts": concepts}).encode()),
    ]


def make_curated(folder: Path, shards: int = 3, pairs: int = 40, side: int = 32, seed: int = 0) -> Path:
    """Shards `00000.tar`, ... of so many pairs each; returns the folder."""
    for shard in range(shards):
        pair_seeds = [seed + 10_000 * shard + i for i in range(pairs)]
        parts = [members(f"{shard:05d}{i:04d}", s, side) for i, s in enumerate(pair_seeds)]
        write_tar(folder / f"{shard:05d}.tar", [member for part in parts for member in part])
    return folder
