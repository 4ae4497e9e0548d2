"""A stage of work over shards: each one that is not done is done and committed, and what fails is told at the end."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing

from curation.reading.shards import Shard
from curation.runs.attempts import FAILED
from curation.runs.local_workers import named
from curation.runs.progress import Progress
from curation.runs.run_folder import RunFolder
from curation.runs.shard_stage import ShardStage
from curation.runs.spread import Done, Failed, Gather, Work, spread
from curation.runs.trial import trial_here
from files.atomic import sweep
from files.errors import CocuError, MisuseError
from files.saying import say

SHOWN_FAILURES = 20


def each_shard(folder: RunFolder, verb: str, stages: Iterable[ShardStage], gather: Gather | None = None) -> None:
    """Do the stages. Raises CocuError for shards that could not be had, after all others; verb: "read", in its words.

    gather: begins workers for the shards of stages that can be made in others; None: this process does them. A
    MisuseError ends the work at once: a wrong option is wrong for all of them.
    """
    if trial := trial_here():
        trial.run(list(stages))
    failures: list[str] = []
    count = 0
    for stage in stages:
        count += len(stage.shards)
        left = [shard for shard in stage.shards if not folder.done(shard.name)]
        if len(left) < len(stage.shards):
            say(f"{stage.name}: {len(stage.shards) - len(left)} of {len(stage.shards)} shards are done already")
        with Progress(stage.name, sum(shard.size for shard in left), stage.unit) as bar:
            if gather and stage.make:
                outcomes = spread(left, stage.make, gather, bar.advance, folder.failed)
            else:
                outcomes = _here(left, stage.work, bar, folder.failed)
            with closing(outcomes):  # workers end with it
                for shard, found in outcomes:
                    if isinstance(found, CocuError):
                        failures.append(str(found))
                    else:
                        folder.commit(shard.name, *found)
    if gather and not folder.part:
        sweep(folder.path)  # of workers that died
    if failures:
        more = len(failures) - SHOWN_FAILURES
        raise CocuError(
            f"{len(failures)} of {count} shards could not be {verb}; the others are done and kept:\n  "
            + "\n  ".join(failures[:SHOWN_FAILURES])
            + (f"\n  ... and {more} more" if more > 0 else "")
            + "\nrun the same command again when they are back, or with --retry-failed for these alone; "
            f"{folder.path / FAILED} has what was tried"
        )


def _here(
    shards: Sequence[Shard], work: Work, bar: Progress, failed: Failed
) -> Generator[tuple[Shard, Done | CocuError], None, None]:
    soon = getattr(work, "soon", None)
    for number, shard in enumerate(shards):
        if soon:  # of this one it was told before, but for the first
            for coming in shards[number + 1 if number else 0 : number + 2]:
                soon(coming)
        end = bar.done + shard.size
        found: Done | CocuError
        try:
            found = work(shard, bar.advance)
        except MisuseError:
            raise
        except CocuError as error:
            failed(shard, named(), str(error))
            found = error
        finally:
            bar.advance(0, end - bar.done)  # the weights of what is counted are estimates
        yield shard, found
