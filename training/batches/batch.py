"""Batches of so many pairs out of the arrays that workers make, in order, each with the position after it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from files.errors import CocuError
from training.batches.pair_maker import Made
from training.batches.shares import StreamShare

EXAMPLES = 10
SHOWN = 5  # reasons, shards
MOST_BAD_IN_A_ROW = 1000
MOST_BAD_SHARDS = 100
MOST_UNWEIGHTED = 100_000


@dataclass(frozen=True)
class Batch:
    """Pairs as the losses take them, on the CPU.

    pixels: uint8 [B, 3, S, S], augmented, not normalised; erase: int64 [B, 4] rectangles; seeds: int64 [B], of the
    noise in these (training.augment.finish takes the three), and of what the model draws for a pair.
    captions: int64 [B, T] token ids; caption_ids: int64 [B].
    concepts: int64 [B, K, T] token ids of prompted concepts, captions where an archive was short; concept_ids: int64
    [B, K]; concept_weights: float32 [B, K], of whole lists, 0 where a list is shorter (ConceptChoice.whole). Ids are of
    63 bits: equal in all processes exactly where the concept (without its prompt) or the caption is equal; those of
    captions and of concepts differ. keys: "shard/key". position: of each stream by its number, what
    `Loader(resume=...)` takes to go on after this batch.
    """

    pixels: Tensor
    erase: Tensor
    seeds: Tensor
    captions: Tensor
    caption_ids: Tensor
    concepts: Tensor
    concept_ids: Tensor
    concept_weights: Tensor
    keys: list[str]
    position: dict[int, dict[str, Any]]

    def __len__(self) -> int:
        return len(self.keys)


@dataclass
class SampleCounts:
    """What became of the samples. reasons: how often each; examples: the first few, "shard/key: reason".

    not_drawn: passed over by the weights; unweighted: those of them that have none.
    broken_shards: name -> why samples of it may be missing; lost_pairs: name -> about how many, as far as is known.
    """

    good: int = 0
    bad: int = 0
    not_drawn: int = 0
    unweighted: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    broken_shards: dict[str, str] = field(default_factory=dict)
    lost_pairs: dict[str, int] = field(default_factory=dict)
    _in_a_row: int = 0
    _their_shards: set[int] = field(default_factory=set)

    @property
    def bad_share(self) -> float:
        """StreamShare of the samples that could not be used."""
        return self.bad / max(1, self.good + self.bad)

    def left_out(self) -> str:
        """What was left out and why, in a line for a person; "" where nothing was."""
        said = []
        if self.bad:
            reasons = [f"{reason} ({count:,})" for reason, count in self.reasons.most_common(SHOWN)]
            said.append(
                f"{self.bad_share:.1%} of the pairs read ({self.bad:,} of {self.bad + self.good:,}): "
                + _some(reasons, len(self.reasons))
                + (f"; such as {self.examples[0]}" if self.examples else "")
            )
        if self.not_drawn:
            read = self.bad + self.good + self.not_drawn
            none = f", {self.unweighted:,} of them without a weight" if self.unweighted else ""
            said.append(f"by --weights {self.not_drawn / read:.1%} of the pairs read ({self.not_drawn:,}{none})")
        if shards := self.broken_shards:
            named = [f"{name} ({fault})" for name, fault in list(shards.items())[:SHOWN]]
            lost = sum(self.lost_pairs.values())
            about = f"; what cannot be read has room for about {lost:,} pair{'s' * (lost != 1)}" if lost else ""
            said.append(f"shards that are empty or broken ({len(shards):,}{about}): {_some(named, len(shards))}")
        return f"left out: {'; '.join(said)}" if said else ""

    def add(self, made: Made, shards: Set[int], of: int) -> None:
        """Count what workers made of samples of these shards, of so many shards in all.

        Raises CocuError when nothing at all can be used any more; one bad shard, however large, is no reason.
        """
        self.good += len(made.good)
        self.bad += len(made.bad)
        self.not_drawn += made.not_drawn
        self.unweighted += made.unweighted
        if self.unweighted >= MOST_UNWEIGHTED and self.unweighted == self.good + self.bad + self.not_drawn:
            raise CocuError(f"none of the first {self.unweighted:,} pairs has a weight; is --weights of other pairs?")
        self.reasons.update(reason.partition(":")[0] for _, reason in made.bad)
        room = EXAMPLES - len(self.examples)
        self.examples += [f"{name}: {reason}" for name, reason in made.bad[:room]]
        self._in_a_row = 0 if made.good else self._in_a_row + len(made.bad)
        self._their_shards = set() if made.good else self._their_shards | shards
        if self._in_a_row >= MOST_BAD_IN_A_ROW and len(self._their_shards) >= min(of, MOST_BAD_SHARDS):
            listed = "; ".join(f"{name}: {reason}" for name, reason in made.bad[:3])
            raise CocuError(f"the last {self._in_a_row:,} samples could not be used: {listed}")


def all_counts(several: Iterable[SampleCounts]) -> SampleCounts:
    """Those of several ranks as one."""
    total = SampleCounts()
    for counts in several:
        total.good, total.bad = total.good + counts.good, total.bad + counts.bad
        total.not_drawn += counts.not_drawn
        total.unweighted += counts.unweighted
        total.reasons += counts.reasons
        total.examples = [*total.examples, *counts.examples][:EXAMPLES]
        total.broken_shards |= counts.broken_shards
        total.lost_pairs |= counts.lost_pairs
    return total


def _some(shown: Sequence[str], of: int) -> str:
    more = f" and {of - len(shown):,} more" if of > len(shown) else ""
    return ", ".join(shown) + more


@dataclass(frozen=True)
class Part:
    """What was made of some places of a stream. position: of the stream before the first of them."""

    stream: int
    position: dict[str, Any]
    made: Made


@dataclass(frozen=True)
class _Slice:
    part: Part
    begin: int
    end: int

    def position(self) -> dict[str, Any]:
        """Position after it: that before the part, and how many of its places to pass over."""
        good, made = self.part.made.good, self.part.made
        passed = made.count if self.end == len(good) else good[self.end - 1] + 1
        return {"stream": self.part.position, "skip": passed}


def join_parts(
    parts: Iterable[Part], shares: Sequence[StreamShare], *, pin: bool = False, keep_last: bool = False
) -> Iterator[Batch]:
    """Batches of a rank's shares of the streams, each in its order. pin: in page-locked memory.

    keep_last: a shorter one at the end, too, of all that is left.
    """
    waiting: dict[int, deque[_Slice]] = {share.stream: deque() for share in shares}
    have = dict.fromkeys(waiting, 0)
    for part in parts:
        if part.made.good:
            waiting[part.stream].append(_Slice(part, 0, len(part.made.good)))
            have[part.stream] += len(part.made.good)
        while all(have[share.stream] >= share.pairs for share in shares):
            for share in shares:
                have[share.stream] -= share.pairs
            yield _one(waiting, shares, pin)
    if keep_last and any(have.values()):
        rest = [replace(share, pairs=have[share.stream], last=have[share.stream]) for share in shares]
        yield _one(waiting, [share for share in rest if share.pairs], pin)


def _one(waiting: Mapping[int, deque[_Slice]], shares: Sequence[StreamShare], pin: bool) -> Batch:
    kept: list[_Slice] = []
    position = {}
    for share in shares:
        pieces = waiting[share.stream]
        before = _first(pieces, share.first)
        mine = _first(pieces, share.last - share.first)
        after = _first(pieces, share.pairs - share.last)
        kept += mine
        position[share.stream] = [*before, *mine, *after][-1].position()
    return _join(kept, position, pin)


def _first(waiting: deque[_Slice], size: int) -> list[_Slice]:
    """Take slices of `size` pairs altogether."""
    taken: list[_Slice] = []
    while size:
        head = waiting.popleft()
        count = min(size, head.end - head.begin)
        taken.append(_Slice(head.part, head.begin, head.begin + count))
        if head.begin + count < head.end:
            waiting.appendleft(_Slice(head.part, head.begin + count, head.end))
        size -= count
    return taken


def _join(slices: list[_Slice], position: dict[int, dict[str, Any]], pin: bool) -> Batch:
    def whole(name: str, kind: type[np.number[Any]] = np.int64) -> Tensor:
        pieces = [getattr(piece.part.made, name)[piece.begin : piece.end] for piece in slices]
        tensor = torch.from_numpy(np.concatenate(pieces).astype(kind))
        return tensor.pin_memory() if pin else tensor

    pixels = [piece.part.made.pixels[piece.begin : piece.end] for piece in slices]
    if len(pixels) > 1 or pin:
        shape = (sum(map(len, pixels)), *pixels[0].shape[1:])
        pixels = [torch.cat(pixels, out=torch.empty(shape, dtype=torch.uint8, pin_memory=pin))]
    return Batch(
        pixels=pixels[0],
        erase=whole("erase"),
        seeds=whole("seeds"),
        captions=whole("captions"),
        caption_ids=whole("caption_ids"),
        concepts=whole("concepts"),
        concept_ids=whole("concept_ids"),
        concept_weights=whole("concept_weights", np.float32),
        keys=[key for piece in slices for key in piece.part.made.keys[piece.begin : piece.end]],
        position=position,
    )
