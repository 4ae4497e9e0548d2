"""Random numbers that depend on the pair alone: a seed a key, and counter-based draws from it."""

from __future__ import annotations

import numpy as np

from curation.index.identity import name_hashes


def seeds_of(keys: list[str], seed: int) -> np.ndarray:
    """One uint64 seed per pair, of its key and the run's seed."""
    with np.errstate(over="ignore"):
        return name_hashes(keys) + np.uint64(seed) * np.uint64(0xD1342543DE82EF95)


def uniform(seeds: np.ndarray, step: int | np.ndarray) -> np.ndarray:
    """Counter-based uniforms in [0, 1), float64: the `step`-th draw of each seed (splitmix64), broadcast together."""
    with np.errstate(over="ignore"):
        z = seeds.astype(np.uint64) + (np.asarray(step, np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
