"""The order of the samples of a collection in one of several streams: a function of seed, epoch and stream alone.

In every epoch the shards, shuffled, laid end to end, make a tape. It is cut into as many stretches of equal length as
there are streams, and a sample belongs to the stretch in which its first byte lies: none is lost or seen twice, however
few the shards, and no stream needs to know how many samples the shards of others hold. Streams change stretches from
epoch to epoch, so that each gets samples even if there are fewer samples than streams. How many streams there are is
the run's own choice; which rank reads which is settled elsewhere (training/batches/shares.py).

A stream goes through its stretch in windows of so many samples and shuffles inside a window. Nothing of a sample but
its place is known here, which makes large windows cheap; reading and decoding is for the workers, who take what comes
in this order, however many they are.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate
from typing import Protocol

import numpy as np

from files.errors import CocuError

# Columns of an array of places: begin and end in the shard, then in what lies beside it, or 0.
SHARD, EPOCH, START, STOP, BESIDE, BESIDE_STOP = range(6)
# In a row, times streams: with fewer samples than streams most epochs of one are empty, but never so many.
MOST_EMPTY_EPOCHS = 100


class Tapes(Protocol):
    """What the order needs to know of shards: training.shards.files.ShardFiles, or arrays."""

    def spans(self, number: int) -> np.ndarray:
        """Bytes of the samples of a shard, int64 [n, 2]: starts, which rise, and stops.

        Or [n, 6]: where they would lie in one shard, and then where they lie, in the columns of places.
        """

    def prefetch(self, numbers: Sequence[int]) -> None:
        """These shards will be asked for soon."""

    def hold(self, number: int) -> None:
        """Samples of this shard are going to be read."""

    def release(self, number: int) -> None:
        """They have been."""


def raw_bits(count: int, *names: object) -> np.ndarray:
    """Random uint64 [count], a function of the names alone. NumPy keeps raw bits the same from version to version."""
    digest = blake2b("/".join(map(str, names)).encode(), digest_size=16).digest()
    return np.asarray(np.random.PCG64(int.from_bytes(digest, "little")).random_raw(count))


def permutation(count: int, *names: object) -> np.ndarray:
    """Random permutation of 0 ... count - 1, int64, a function of the names alone."""
    return np.argsort(raw_bits(count, *names), kind="stable")


@dataclass(frozen=True)
class Piece:
    """The part of a shard that lies in a stretch: the samples that begin in [first, last) of its length on the tape."""

    shard: int
    length: int
    first: int
    last: int

    def samples(self, spans: np.ndarray) -> tuple[int, int]:
        """Half-open range of the samples in it, by the spans of all samples of the shard, int64 [n, 2]."""
        starts = spans[:, 0]
        whole = int(spans[-1, 1]) if len(spans) else 0
        # A packed tar is longer than its length on the tape, and its samples are placed in proportion.
        place = starts if whole <= self.length else [int(start) * self.length // whole for start in starts]
        return bisect_left(place, self.first), bisect_left(place, self.last)


def cut(order: Sequence[int], lengths: Sequence[int], stretch: int, stretches: int) -> list[Piece]:
    """The pieces of one of so many equal stretches of a tape, none of them empty.

    order: shards in the order of the tape. lengths: bytes of each shard, above 0, by shard number. A tape of fewer
    bytes than stretches has stretches without a byte, and those no piece: their shards are not worth fetching.
    """
    begins = [0, *accumulate(lengths[shard] for shard in order)]
    low, high = (-(-begins[-1] * cut_at // stretches) for cut_at in (stretch, stretch + 1))
    return [
        Piece(shard, lengths[shard], max(low - begin, 0), min(high - begin, lengths[shard]))
        for shard, begin in zip(order, begins, strict=False)
        if max(low, begin) < min(high, begin + lengths[shard])
    ]


@dataclass(frozen=True)
class Slot:
    """Which stream of how many, and what its order depends on besides. window: samples that are shuffled together."""

    seed: int
    stream: int
    streams: int
    window: int
    shuffle: bool = True


class Order:
    """Places of the samples of one collection in one stream, epoch after epoch; its position is five numbers.

    shards: their numbers among all of the run. sizes: their bytes, 0 for unknown. label: tells collections of a run
    apart. epochs: how many; None: without end.
    """

    def __init__(
        self,
        shards: Sequence[int],
        sizes: Sequence[int],
        tapes: Tapes,
        slot: Slot,
        *,
        label: int = 0,
        epochs: int | None = None,
        position: dict[str, int] | None = None,
    ) -> None:
        known = [size for size in sizes if size > 0]
        usual = sum(known) // len(known) if known else 1 << 30
        self._lengths = [size or usual for size in sizes]
        self._shards, self._tapes, self._slot, self._label, self._epochs = shards, tapes, slot, label, epochs
        at = position or {"epoch": 0, "window": 0, "piece": 0, "sample": 0, "taken": 0}
        self._epoch, self._number = at["epoch"], at["window"]
        self._held: list[int] = []
        self._spent: list[int] = []
        self._begin_epoch()
        self._next = (at["piece"], at["sample"])
        self._begin_window()
        self._taken = at["taken"]

    def position(self) -> dict[str, int]:
        """Where it stands: epoch, window and where that begins (piece of the stretch, sample of it), samples taken."""
        piece, sample = self._began
        return {
            "epoch": self._epoch,
            "window": self._number,
            "piece": piece,
            "sample": sample,
            "taken": self._taken,
        }

    def take(self, count: int) -> np.ndarray:
        """The places of the next samples, int64 [count, 6], in columns as above; fewer only at the very end.

        Raises CocuError where a shard cannot be had, or where there is no sample in any.
        """
        parts = [np.empty((0, 6), np.int64)]
        while count:
            if self._taken == len(self._places) and not self._advance():
                break
            part = self._places[self._taken : self._taken + count]
            self._taken += len(part)
            count -= len(part)
            parts.append(part)
        return np.concatenate(parts)

    def spent(self) -> list[int]:
        """Shards held for windows that have been left since this was last asked; to be released once they are read."""
        spent, self._spent = self._spent, []
        return spent

    def _advance(self) -> bool:
        """On to the next window that holds anything; whether there is one."""
        empty = 0
        while True:
            self._number += 1
            if self._next[0] == len(self._pieces):
                if self._epochs is not None and self._epoch + 1 >= self._epochs:
                    self._number -= 1
                    return False
                self._epoch, self._number = self._epoch + 1, 0
                self._begin_epoch()
                empty += 1
            self._begin_window()
            if len(self._places):
                return True
            if empty > MOST_EMPTY_EPOCHS * self._slot.streams:
                raise CocuError(f"no samples in {len(self._shards):,} shards; see whether they are WebDataset tars")

    def _begin_epoch(self) -> None:
        slot, count = self._slot, len(self._shards)
        order = permutation(count, slot.seed, "shards", self._label, self._epoch) if slot.shuffle else range(count)
        stretch = (slot.stream + self._epoch) % slot.streams if slot.shuffle else slot.stream
        self._pieces = cut([int(i) for i in order], self._lengths, stretch, slot.streams)
        self._next = (0, 0)

    def _begin_window(self) -> None:
        """Collect the places of the window that begins at `_next`, in shuffled order; it ends with the epoch."""
        slot = self._slot
        self._began, self._taken = self._next, 0
        self._spent += self._held
        self._held = []
        piece, sample = self._next
        room, parts = slot.window, [np.empty((0, 6), np.int64)]
        while room and piece < len(self._pieces):
            shard = self._shards[self._pieces[piece].shard]
            self._tapes.prefetch([self._shards[p.shard] for p in self._pieces[piece : piece + 3]])
            self._tapes.hold(shard)
            self._held.append(shard)
            spans = self._tapes.spans(shard)
            first, last = self._pieces[piece].samples(spans)
            first += sample
            stop = min(first + room, last)
            if stop > first:
                part = np.zeros((stop - first, 6), np.int64)
                part[:, SHARD], part[:, EPOCH] = shard, self._epoch
                lie = spans[first:stop, -4:]
                part[:, START : START + lie.shape[1]] = lie
                parts.append(part)
                room -= stop - first
                sample += stop - first
            if stop >= last:
                piece, sample = piece + 1, 0
        self._next = (piece, sample)
        places = np.concatenate(parts)
        if slot.shuffle:
            names = (slot.seed, "window", self._label, self._epoch, slot.stream, self._number)
            places = places[permutation(len(places), *names)]
        self._places = places


def spread(weights: Sequence[float], first: int, count: int, *names: object) -> np.ndarray:
    """Which collection each of `count` draws, from the `first` on, comes from; drawn by weight, int64 [count].

    A function of the names and of the number of the draw alone.
    """
    block = 4096
    bits = [raw_bits(block, *names, number) for number in range(first // block, -(-(first + count) // block))]
    uniform = (np.concatenate([np.empty(0, np.uint64), *bits]) >> np.uint64(11)) * 2.0**-53
    chosen = np.searchsorted(np.cumsum(weights)[:-1], uniform, side="right")
    return chosen[first % block :][:count]
