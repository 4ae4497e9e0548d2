"""A map of the pairs, as Embedding Atlas opens it: a place for each, its nearest neighbours, and what it is about.

The places are the first two principal components of the pictures' vectors, each scaled so that nearly all pairs lie
between 0 and 1. They are a flat shadow of a space of hundreds of dimensions: clusters that overlap in it may be far
apart, which the neighbours, found in the whole space, tell.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.explorer.catalogue import Catalogue, open_catalogue
from curation.explorer.space import PairSpace
from curation.explorer.tables import read_pairs
from curation.reasons.made_from import find_index
from files.atomic import alone
from files.errors import MisuseError
from files.scratch import scratch_folder

COLUMNS = "--x x --y y --neighbors neighbors --text caption"
NEIGHBOURS = 15
_PAIRS_AT_ONCE, _AT_ONCE = 4096, 1 << 16
_SAMPLED = 50_000  # pairs that say where the components lie
_NEARLY_ALL = (0.5, 99.5)  # percentiles that become 0 and 1
_NEAR = pa.struct([("ids", pa.list_(pa.int64())), ("distances", pa.list_(pa.float32()))])
SCHEMA = pa.schema(
    [
        *(("key", pa.string()), ("shard", pa.string()), ("caption", pa.string())),
        *(("named", pa.list_(pa.string())), ("recovered", pa.list_(pa.string())), ("best", pa.string())),
        *(("x", pa.float32()), ("y", pa.float32()), ("neighbors", _NEAR)),
    ]
)


def write_atlas(curated: Path, index: Path | None, out: Path) -> int:
    """Write the map of a curated folder; how many pairs it holds. index: None looks for it beside the folder.

    Raises MisuseError where the index is missing or another's, CocuError for tables that are broken.
    """
    if out.suffix != ".parquet":
        raise MisuseError(f"--atlas {out}: give a name that ends in .parquet")
    found = index or find_index(curated)
    if found is None:
        raise MisuseError(f"{curated}: its index is not beside it; give it by --index, for its vectors make the map")
    with scratch_folder("cocu-atlas-") as scratch, alone(out) as temporary:
        catalogue = open_catalogue(curated, scratch)
        space = PairSpace.opened(catalogue, found)
        place = _places(space)
        with pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as file:
            for start in range(0, len(catalogue), _PAIRS_AT_ONCE):
                file.write_table(_block(catalogue, space, place, start))
    return len(catalogue)


def _block(catalogue: Catalogue, space: PairSpace, place: np.ndarray, start: int) -> pa.Table:
    numbers = np.arange(start, min(start + _PAIRS_AT_ONCE, len(catalogue)))
    pairs = read_pairs(catalogue, numbers.tolist())
    similarity, near = space.nearest_of(space.vectors(numbers), NEIGHBOURS + 1)
    others = (near >= 0) & (near != numbers[:, None])
    recovered = [[row.concept for row in pair.archive if not row.in_caption] for pair in pairs]
    neighbours = [
        {"ids": ids[use][:NEIGHBOURS], "distances": np.maximum(0, 1 - found[use][:NEIGHBOURS])}
        for ids, found, use in zip(near, similarity, others, strict=True)
    ]
    columns = {
        "key": [pair.key for pair in pairs],
        "shard": [pair.shard for pair in pairs],
        "caption": [pair.caption for pair in pairs],
        "named": [pair.named for pair in pairs],
        "recovered": recovered,
        "best": [words[0] if words else None for words in recovered],
        "x": place[numbers, 0],
        "y": place[numbers, 1],
        "neighbors": neighbours,
    }
    return pa.table([pa.array(columns[field.name], field.type) for field in SCHEMA], SCHEMA)


def _places(space: PairSpace) -> np.ndarray:
    """float32 [N, 2]: the first two principal components, between 0 and 1 but for the outermost."""
    pairs = len(space.catalogue)
    sample = space.vectors(np.unique(np.linspace(0, pairs - 1, min(pairs, _SAMPLED)).astype(np.int64)))
    centre = sample.mean(0)
    _, vectors = np.linalg.eigh(np.cov((sample - centre).T) if len(sample) > 1 else np.eye(sample.shape[1]))
    axes = vectors[:, :-3:-1].astype(np.float32)  # eigenvalues ascend
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), [0, 1]])  # of the two directions the same one each time
    parts = [
        (space.vectors(np.arange(start, min(start + _AT_ONCE, pairs))) - centre) @ axes
        for start in range(0, pairs, _AT_ONCE)
    ]
    found = np.concatenate(parts)
    low, high = np.percentile((sample - centre) @ axes, _NEARLY_ALL, axis=0)
    return ((found - low) / np.maximum(high - low, 1e-9)).astype(np.float32)
