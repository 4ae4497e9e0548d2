"""A process that reads tars as curation and as training do, with a bound on its memory; another can do without it."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

SECONDS = 60  # for one tar, on a machine that is busy
MORE_MEMORY = 1 << 30  # bytes beyond what the process holds before it reads anything

Samples = dict[str, tuple[bytes, str]]  # key -> picture and caption


@dataclass(frozen=True)
class Read:
    """What a tar holds by both readers, and what is wrong with it: of pairs left out, and of the tar."""

    curated: Samples
    trained: Samples
    rejects: list[str]
    fault: str
    bad: list[str]


@contextmanager
def tar_reader() -> Iterator[Connection]:
    """The process's end of a pipe, for `read_in`."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        assert ours.recv() == "ready"
        yield ours
    finally:
        process.kill()
        process.join()


def read_in(reader: Connection, path: Path) -> Read:
    """A tar read by the process. Fails where that takes too long, or raises anything."""
    reader.send(path)
    assert reader.poll(SECONDS), f"{path} is not read after {SECONDS} s"
    found = reader.recv()
    assert isinstance(found, Read), found
    return found


def _serve(pipe: Connection) -> None:
    from curation.reading.pairs import CaptionOptions, Pair
    from curation.reading.shards import find_shards, read_pairs
    from files.tar_headers import BrokenTar
    from training.batches.raw_pairs import BadPair, read_pair
    from training.shards.tar_index import index_tar, read_members

    def read(path: Path) -> Read:
        curated: Samples = {}
        trained: Samples = {}
        rejects, bad = [], []
        for one in read_pairs(find_shards([str(path)])[0], CaptionOptions()):
            if isinstance(one, Pair):
                curated[one.key] = one.image, one.captions[0]
            else:
                rejects.append(f"{one.key}: {one.reason}" if one.key else one.reason)
        index = index_tar(path)
        with path.open("rb") as tar:
            for start, stop in index.spans.tolist():
                tar.seek(start)
                try:
                    key, members = read_members(tar.read(stop - start))
                    pair = read_pair(members, "none")
                    trained.setdefault(key, (bytes(pair.image), pair.caption))
                except (BrokenTar, BadPair) as error:
                    bad.append(str(error))
        return Read(curated, trained, rejects, index.fault, bad)

    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MORE_MEMORY, held + MORE_MEMORY))
    pipe.send("ready")
    while True:
        path = pipe.recv()
        try:
            pipe.send(read(path))
        except Exception as error:
            pipe.send(repr(error))
