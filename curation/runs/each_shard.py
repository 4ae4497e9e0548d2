"""A stage of work over shards: each one that is not done is done and committed, and what fails is told at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curation.reading.shards import Shard
from curation.runs.progress import Progress
from curation.runs.run_folder import RunFolder
from files.errors import CocuError, MisuseError
from files.rejects import Reject
from files.saying import say

SHOWN_FAILURES = 20


@dataclass(frozen=True)
class ShardStage:
    """One stage. name, unit: what its progress is called and counts.

    work: does a shard, moving the bar, and gives the record of it to keep and the rejects.
    """

    name: str
    unit: str
    shards: Sequence[Shard]
    work: Callable[[Shard, Progress], tuple[Mapping[str, Any], Sequence[Reject]]]


def each_shard(folder: RunFolder, verb: str, stages: Iterable[ShardStage]) -> None:
    """Do the stages. Raises CocuError for shards that could not be had, after all others; verb: "read", in its words.

    A MisuseError ends the work at once: a wrong option is wrong for all of them.
    """
    failures: list[str] = []
    count = 0
    for stage in stages:
        count += len(stage.shards)
        left = [shard for shard in stage.shards if not folder.done(shard.name)]
        if len(left) < len(stage.shards):
            say(f"{stage.name}: {len(stage.shards) - len(left)} of {len(stage.shards)} shards are done already")
        with Progress(stage.name, sum(shard.size for shard in left), stage.unit) as bar:
            for shard in left:
                end = bar.done + shard.size
                try:
                    record, rejects = stage.work(shard, bar)
                except MisuseError:
                    raise
                except CocuError as error:
                    failures.append(str(error))
                    continue
                finally:
                    bar.advance(0, end - bar.done)  # the weights of what is counted are estimates
                folder.commit(shard.name, record, rejects)
    if failures:
        more = len(failures) - SHOWN_FAILURES
        raise CocuError(
            f"{len(failures)} of {count} shards could not be {verb}; the others are done and kept:\n  "
            + "\n  ".join(failures[:SHOWN_FAILURES])
            + (f"\n  ... and {more} more" if more > 0 else "")
            + "\nrun the same command again when they are back"
        )
