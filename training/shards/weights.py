"""Weights of pairs: with what probability an epoch sees each.

A Parquet table of `key`, of `shard` where keys are unique in their shards only, and of `weight`, from 0 to 1; without a
weight all its rows have 1. What has no row has 0. Whether an epoch sees a pair is a function of seed, epoch, shard and
key: not of ranks, workers, or where the run was interrupted. Who wrote the table does not matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from files.errors import CocuError, MisuseError
from files.shard_names import PAIR_SUFFIXES, with_folders
from training.shards.found import TarShard

ROWS_AT_ONCE = 1 << 17
_EXPECTED = "give a Parquet table of key, shard and weight, such as `cocu curate balance` writes"


@dataclass(frozen=True)
class PairWeights:
    """The rows of a table that belong to the shards of a run.

    names: of the shards, as `hashes` has them. hashes: uint64 [N], of the pairs, ascending; weights: float32 [N].
    """

    names: tuple[str, ...]
    hashes: np.ndarray
    weights: np.ndarray

    @property
    def pairs_an_epoch(self) -> int:
        """About how many pairs an epoch sees."""
        return max(1, round(float(self.weights.sum(dtype=np.float64))))

    @property
    def digest(self) -> str:
        """What tells them from others."""
        return blake2b(self.hashes.tobytes() + self.weights.tobytes(), digest_size=16).hexdigest()

    def of(self, shard: int, key: str) -> float | None:
        """The weight of a pair; None where it has no row."""
        found = _hash(self.names[shard], key)
        place = int(np.searchsorted(self.hashes, np.uint64(found)))
        return float(self.weights[place]) if place < len(self.hashes) and int(self.hashes[place]) == found else None


def is_drawn(weight: float, seed: int, epoch: int, name: str) -> bool:
    """Whether an epoch sees a pair of that weight; name: "shard/key"."""
    return _bits(f"{seed}/{epoch}/weight/{name}") >> 11 < weight * 2.0**53


def read_weights(path: Path, shards: Sequence[TarShard]) -> PairWeights:
    """The weights of the pairs of these shards.

    A shard is known by its name in the run, or by that of its file. Raises MisuseError for a table that is none of
    weights, or none of these shards'; CocuError where it cannot be read.
    """
    names, known, others = [""] * len(shards), _known(shards), set[str]()
    hashes, weights = [np.empty(0, np.uint64)], [np.empty(0, np.float32)]
    for rows in _rows(path):
        of_shards: list[str | None] = [""] * len(rows.keys)
        if rows.shards is not None:
            names = [shard.name for shard in shards]
            others |= {shard for shard in set(rows.shards) if shard not in known}
            of_shards = [known.get(shard) for shard in rows.shards]
        mine = np.array([shard is not None for shard in of_shards], bool)
        found = [_hash(s, key) for s, key in zip(of_shards, rows.keys, strict=True) if s is not None]
        hashes.append(np.array(found, np.uint64))
        weights.append(rows.weights[mine])
    every = np.concatenate(hashes)
    order = np.argsort(every, kind="stable")
    made = PairWeights(tuple(names), every[order], np.concatenate(weights)[order])
    if not made.weights.any():
        strange = f"; it is of other shards, such as {min(others)}" if others and not len(every) else ""
        raise MisuseError(f"--weights {path}: gives none of the pairs of --data a weight above 0{strange}; {_EXPECTED}")
    if (twice := np.flatnonzero(made.hashes[1:] == made.hashes[:-1])).size:
        row = int(order[twice[0]])
        raise MisuseError(
            f"--weights {path}: row {row + 1:,} of those of --data is there twice; give each pair one row, and where "
            "keys are unique in their shards only, a column shard"
        )
    return made


def _known(shards: Sequence[TarShard]) -> dict[str, str]:
    """What a table may call the shards -> their names in the run."""
    stems = [with_folders([shard.url], suffixes=PAIR_SUFFIXES)[0] for shard in shards]
    lone = {stem: shard.name for stem, shard in zip(stems, shards, strict=True) if stems.count(stem) == 1}
    return lone | {shard.name: shard.name for shard in shards}


@dataclass(frozen=True)
class _Rows:
    shards: list[str] | None
    keys: list[str]
    weights: np.ndarray


def _rows(path: Path) -> Iterator[_Rows]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path, pre_buffer=False)
        there = set(table.schema_arrow.names)
        if "key" not in there:
            raise MisuseError(f"--weights {path}: has no column key; {_EXPECTED}")
        columns = [name for name in ("shard", "key", "weight") if name in there]
        for batch in table.iter_batches(ROWS_AT_ONCE, columns=columns):
            if holes := [name for name in columns if batch[name].null_count]:
                raise MisuseError(f"--weights {path}: column {holes[0]} has empty cells; {_EXPECTED}")
            keys = batch["key"].cast(pa.string()).to_pylist()
            shards = batch["shard"].cast(pa.string()).to_pylist() if "shard" in there else None
            weights = np.ones(len(keys), np.float32)
            if "weight" in there:
                weights = batch["weight"].cast(pa.float32()).to_numpy()
            wrong = np.flatnonzero(~((weights >= 0) & (weights <= 1)))
            if wrong.size:
                pair = f"{keys[wrong[0]]!r} the weight {weights[wrong[0]]:g}"
                raise MisuseError(f"--weights {path}: gives the pair {pair}; give probabilities, from 0 to 1")
            yield _Rows(shards, keys, weights)
    except FileNotFoundError as error:
        raise MisuseError(f"--weights {path}: is not there; {_EXPECTED}") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CocuError(
            f"--weights {path}: cannot be read ({' '.join(str(error).split())[:200]}); {_EXPECTED}"
        ) from error


def _hash(shard: str, key: str) -> int:
    return _bits(f"{shard}/{key}")


def _bits(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little")
