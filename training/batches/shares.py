"""Which pairs of a batch are whose: the batch is cut among streams, and, apart from that, among ranks.

The order of samples is that of so many streams (training/shards/order.py), each of which gives as many pairs to every
batch. Their number belongs to the run, as the batch does, so a batch holds the same pairs whatever the number of ranks.
A rank takes its stretch of the batch, and so reads the streams that reach into it. One that reaches into two ranks'
stretches is made by both; where the ranks divide the streams there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd, lcm


@dataclass(frozen=True)
class StreamShare:
    """Of the `pairs` that a stream gives to each batch, those from `first` to before `last`."""

    stream: int
    pairs: int
    first: int
    last: int

    @property
    def counts(self) -> bool:
        """Whether this rank is the one that counts the stream's samples: every stream has one."""
        return self.first == 0


def streams_of(batch: int, wanted: int) -> int:
    """As many streams as are wanted, or the most that divide both that and the batch."""
    return gcd(batch, wanted)


def shares_of(batch: int, streams: int, rank: int, ranks: int) -> tuple[StreamShare, ...]:
    """The shares of one rank in a batch of so many pairs over all ranks, in the order of the batch."""
    pairs, mine = batch // streams, batch // ranks
    begin, end = rank * mine, (rank + 1) * mine
    return tuple(
        StreamShare(number, pairs, max(0, begin - number * pairs), min(pairs, end - number * pairs))
        for number in range(begin // pairs, -(-end // pairs))
    )


def made_more_than_once(batch: int, streams: int, ranks: int) -> str:
    """What to say where ranks make pairs that they do not use; or ""."""
    made = sum(share.pairs for rank in range(ranks) for share in shares_of(batch, streams, rank, ranks))
    if made == batch:
        return ""
    return (
        f"{ranks} processes read {streams} stream{'s' * (streams > 1)} of pairs, some together: they make "
        f"{made / batch:.1f} pairs for each one used; a run begun with data.streams={lcm(streams, ranks)} does without"
    )
