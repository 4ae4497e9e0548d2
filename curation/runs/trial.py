"""A trial: the beginning of a run that is not gone on with, to tell how long all of it would take and what it needs.

Inside `trying` the first stage that has shards is begun as always, in this process and into a folder that goes. Pairs
are estimated from a sample of shards, their speed from what the time allows; then `TrialEnded` ends the run.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from math import inf

from curation.reading.pairs import Pair
from curation.reading.shards import Shard
from curation.runs.shard_stage import ShardStage
from files.rejects import Reject

SAMPLED_SHARDS, SAMPLED_PAIRS = 8, 100  # of which pairs are estimated: shards, and pairs of each
WHOLE_SECONDS = 5.0  # that the one that is read to its end may take


class TrialEnded(Exception):
    """The trial has seen enough."""


@dataclass
class TriedStage:
    """A stage, and what its trial tells.

    pairs: of all shards, estimated or known. tried, seconds: pairs that were done, and in what time, but for the first
    batch, with which things are loaded. sampled: pairs that were read for the estimate, rejects: how many of them are
    none, picture_bytes: of the mean picture.
    """

    name: str
    unit: str
    shards: Sequence[Shard]
    pairs: float = 0.0
    tried: int = 0
    seconds: float = 0.0
    sampled: int = 0
    rejects: int = 0
    picture_bytes: float = 0.0


@dataclass
class Trial:
    """What is tried for so many seconds; dim: of the vectors. before: seconds until the first pair, by loading."""

    most_seconds: float
    dim: int = 0
    before: float = 0.0
    stages: list[TriedStage] = field(default_factory=list)
    _begun: float = field(default_factory=time.monotonic)

    @property
    def peak_bytes(self) -> int:
        """The most memory that this process has held, and, of those that it began and ended, the largest."""
        kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        return sum(resource.getrusage(kind).ru_maxrss for kind in kinds) * 1024

    def run(self, stages: Sequence[ShardStage]) -> None:
        """Try stages, each of which has its share of the time. Raises TrialEnded, and what their work raises."""
        self.before = time.monotonic() - self._begun
        wanted = [stage for stage in stages if stage.shards]
        for stage in wanted:
            tried = TriedStage(stage.name, stage.unit, stage.shards)
            self.stages.append(tried)
            self._count(stage, tried)
        until = time.monotonic()
        for stage, tried in zip(wanted, self.stages, strict=True):
            until += max(1.0, self.most_seconds - self.before) / len(wanted)
            self._try(stage, tried, until)
        raise TrialEnded

    def _count(self, stage: ShardStage, tried: TriedStage) -> None:
        """Estimate the pairs of all shards from some of them: by bytes of tars, while rows of tables are counted."""
        if stage.known is not None:
            tried.pairs = sum(map(stage.known, stage.shards))
            return
        assert stage.pairs is not None
        scale = 1.0  # bytes of a tar to those that its pairs weigh, by one that is read to its end
        some = _spread(stage.shards)
        samples = [
            _sample(shard, stage.pairs(shard), inf if number == len(some) // 2 else SAMPLED_PAIRS)
            for number, shard in enumerate(some)
        ]
        tried.sampled = sum(one.read for one in samples)
        tried.rejects = sum(one.rejects for one in samples)
        tried.picture_bytes = sum(one.pictures for one in samples) / max(1, tried.sampled - tried.rejects)
        of_tars = [(shard, one) for shard, one in zip(some, samples, strict=True) if shard.rows is None and one.weight]
        if ended := [shard.size / one.weight for shard, one in of_tars if one.ended]:
            scale = sum(ended) / len(ended)
        weight = sum(one.weight for _, one in of_tars) * scale
        tried.pairs = sum(shard.size for shard in stage.shards if shard.rows is not None)
        if weight:
            tars = sum(shard.size for shard in stage.shards if shard.rows is None)
            tried.pairs += tars * sum(one.read for _, one in of_tars) / weight

    def _try(self, stage: ShardStage, tried: TriedStage, until: float) -> None:
        first: float | None = None
        loaded = 0

        def advance(pairs: int, weight: float) -> None:
            nonlocal first, loaded
            now = time.monotonic()
            if first is None:
                first, loaded = now, pairs
            else:
                tried.tried, tried.seconds = tried.tried + pairs, now - first
            if now >= until:
                raise _Enough

        begun = time.monotonic()
        try:
            for shard in stage.shards:
                stage.work(shard, advance)
        except _Enough:
            pass
        if not tried.tried:  # all of it was one batch
            tried.tried, tried.seconds = loaded, time.monotonic() - begun


class _Enough(Exception):
    """The time of a stage is over."""


_trial: ContextVar[Trial | None] = ContextVar("trial", default=None)


@contextmanager
def trying(seconds: float) -> Iterator[Trial]:
    """Inside the block a run of shards is a trial of so many seconds; the block ends where that ends."""
    trial = Trial(seconds)
    token = _trial.set(trial)
    try:
        yield trial
    except TrialEnded:
        pass
    finally:
        _trial.reset(token)


def trial_here() -> Trial | None:
    """The trial that this run is, None where it is none."""
    return _trial.get()


@dataclass
class _Sample:
    """The first pairs of a shard: how many, how many of them rejects, what they weigh; whether these are all."""

    read: int = 0
    rejects: int = 0
    weight: float = 0.0
    pictures: int = 0
    ended: bool = True


def _sample(shard: Shard, pairs: Iterable[Pair | Reject], most: float) -> _Sample:
    until, sample = time.monotonic() + WHOLE_SECONDS, _Sample()
    for one in pairs:
        if sample.read >= most or time.monotonic() > until:
            sample.ended = False
            break
        sample.read += 1
        if isinstance(one, Pair):
            sample.weight += shard.reader.weight([one])
            sample.pictures += len(one.image)
        else:
            sample.rejects += 1
    return sample


def _spread(shards: Sequence[Shard]) -> Sequence[Shard]:
    """Some of the shards, from the first to the last."""
    most = min(SAMPLED_SHARDS, len(shards))
    return [shards[n * (len(shards) - 1) // max(1, most - 1)] for n in range(most)]
