"""The samples of all collections as an endless stream, one of several, and the position to go on from, exactly.

Which collection the next sample comes from is drawn by weight; each collection has epochs of its own
(training/shards/order.py). An epoch of a stream ends when its stretch is used up: there is no boundary between streams,
and streams with unequal stretches never wait for each other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np

from files.errors import MisuseError
from training.shards.files import ShardFiles
from training.shards.found import Collection, TarShard
from training.shards.order import Order, Slot, spread

VERSION = 2


class Stream:
    """Places of samples, in order. position: what an earlier stream's `position` gave; None: from the beginning.

    Raises MisuseError when the position is that of a run with other data, seed, streams, window or weights.
    """

    def __init__(
        self,
        collections: Sequence[Collection],
        files: ShardFiles,
        slot: Slot,
        *,
        epochs: int | None = None,
        position: dict[str, Any] | None = None,
        pair_weights: str | None = None,
    ) -> None:
        """pair_weights: a digest of weights that thin the stream where pairs are made; only told apart here."""
        self._files, self._slot = files, slot
        self._identity = identity(files.shards, collections, slot)
        if pair_weights is not None:
            self._identity["pair_weights"] = pair_weights
        if position is not None:
            check_identity(position, self._identity)
        self._weights = [collection.weight for collection in collections]
        orders = position["collections"] if position else [None] * len(collections)
        self._orders = [
            Order(
                collection.shards,
                [files.shards[number].size for number in collection.shards],
                files,
                slot,
                label=label,
                epochs=epochs,
                position=at,
            )
            for label, (collection, at) in enumerate(zip(collections, orders, strict=True))
        ]
        self._taken: int = position["taken"] if position else 0
        self._spent: deque[tuple[int, list[int]]] = deque()

    @property
    def taken(self) -> int:
        """Samples taken since the very beginning."""
        return self._taken

    def take(self, count: int) -> np.ndarray:
        """Places of the next samples, int64 [count, 6] (training/shards/order.py); fewer only where epochs end."""
        if len(self._orders) == 1:
            places = self._orders[0].take(count)
        else:
            chosen = spread(self._weights, self._taken, count, self._slot.seed, "sources", self._slot.stream)
            places = np.empty((count, 6), np.int64)
            for number, order in enumerate(self._orders):
                mine = chosen == number
                places[mine] = order.take(int(mine.sum()))
        self._taken += len(places)
        spent = [shard for order in self._orders for shard in order.spent()]
        if spent:
            self._spent.append((self._taken, spent))
        return places

    def read(self, taken: int) -> None:
        """Say that the bytes of the first `taken` samples have been read, so that copies of shards can go."""
        while self._spent and self._spent[0][0] <= taken:
            for shard in self._spent.popleft()[1]:
                self._files.release(shard)

    def position(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dicts from which another stream goes on with the next sample."""
        return {
            **self._identity,
            "taken": self._taken,
            "collections": [order.position() for order in self._orders],
        }


def identity(shards: Sequence[TarShard], collections: Sequence[Collection], slot: Slot) -> dict[str, Any]:
    """What has to be the same for a position to mean the same samples."""
    digest = blake2b(digest_size=16)
    for collection in collections:
        for number in collection.shards:
            digest.update(f"{shards[number].name}|{shards[number].size}\n".encode())
        digest.update(b"\n")
    return {
        "version": VERSION,
        "seed": slot.seed,
        "stream": slot.stream,
        "streams": slot.streams,
        "shuffle_buffer": slot.window if slot.shuffle else 0,
        "weights": [collection.weight for collection in collections],
        "shards": len(shards),
        "digest": digest.hexdigest(),
    }


_NAMES = {
    "version": "format of the position",
    "seed": "seed",
    "streams": "number of streams (data.streams)",
    "stream": "stream",
    "shuffle_buffer": "shuffle buffer",
    "weights": "weights of the data sources",
    "shards": "number of shards",
    "pair_weights": "table of weights (--weights)",
    "digest": "shards (a name, a size or the order of some)",
}


def check_identity(position: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raises MisuseError that names the first difference."""
    for key, name in _NAMES.items():
        if position.get(key) != expected.get(key):
            values = "" if key in ("digest", "pair_weights") else f": {position.get(key)} then, {expected.get(key)} now"
            raise MisuseError(
                f"the checkpoint's place in the data belongs to another {name}{values}; go on with what the run was "
                "started with, or start a new run from the checkpoint's weights"
            )
