"""A look at the first pairs of the data before a run begins, so that what must fail fails at once and clearly."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import BinaryIO

from files.addresses import open_bytes, open_stream, unpack, unreachable
from files.concepts_json import CONCEPTS_FIELD
from files.errors import CocuError, MisuseError
from files.pictures import BadPicture, with_header
from files.saying import ProgressLine, say
from files.tar import Fault, File, group_files
from files.tar_headers import BLOCK, BrokenTar
from training.batches.raw_pairs import MAX_SAMPLE_BYTES, MODES, NO_CONCEPTS, BadPair, read_pair, with_concepts
from training.shards.beside import matched
from training.shards.files import NO_SAMPLES
from training.shards.found import Source, TarShard, find_data
from training.shards.parquet_tar import BadTable
from training.shards.parquet_tar import samples as samples_of_table
from training.shards.tar_index import read_members

LOOKED_AT = 100
# Bytes that are fetched or unpacked of a shard that cannot be read in place: so many, then more for want of a pair.
BEGINNINGS = (4 << 20, 256 << 20)


def check_all(given: Iterable[Sequence[str | Source]], concepts: str) -> None:
    """`check_data` for all that a run is given, such as its training and its validation shards; none is no fault."""
    for sources in given:
        if sources:
            check_data(sources, concepts)


def check_data(sources: Sequence[str | Source], concepts: str = NO_CONCEPTS) -> list[TarShard]:
    """The shards of the sources, after a look into each collection, shard by shard until one has a usable pair.

    Shards passed over on the way are told of. Raises MisuseError where there are no shards, or where none of a
    collection has a pair among its first that can be used with these concepts; CocuError where a shard cannot be read.
    """
    if concepts not in MODES:
        raise MisuseError(f"concepts: {concepts}; expected one of {', '.join(MODES)}")
    shards, collections = find_data(sources)
    for collection in collections:
        _check([shards[number] for number in collection.shards], concepts)
    return shards


def _check(shards: Sequence[TarShard], concepts: str) -> None:
    faults: list[str] = []
    progress = ProgressLine()
    for shard in shards:
        fault = _fault(shard, concepts)
        if not fault:
            break
        faults.append(f"{shard.url}: {fault}")
        if progress.due:
            progress.tell(f"looking for a pair that can be used: none in {len(faults):,} of {len(shards):,} shards")
    else:
        hint = (
            "; expected WebDataset tars with .jpg and .txt members, or Parquet of pictures"
            if all(NO_SAMPLES in f for f in faults)
            else ""
        )
        if any(CONCEPTS_FIELD in fault for fault in faults):
            hint = (
                "; give shards that `cocu curate run` has written, or train without concepts, "
                f"by captions alone (concepts: {NO_CONCEPTS})"
            )
        # One that holds something says more than one that is empty.
        faults.sort(key=lambda fault: NO_SAMPLES in fault)
        raise MisuseError(_some(faults) + hint)
    if faults:
        say(f"passed over at the beginning: {_some(faults)}")


def _some(faults: Sequence[str]) -> str:
    more = f"; and {len(faults) - 3:,} more shards without a usable pair" if len(faults) > 3 else ""
    return "; ".join(faults[:3]) + more


def _fault(shard: TarShard, concepts: str) -> str:
    """Why none of the first pairs of a shard can be used; "" where one can, or where these are not reached."""
    try:
        if not shard.needs_copy:
            with open(shard.url, "rb") as file:
                return _look(_of_tar(file, shard), concepts)[0]
        if shard.is_table and shard.beside is None:
            return _look(_of_table(shard.url), concepts)[0]
        if shard.is_table:
            with tempfile.TemporaryFile(prefix="cocu-") as copy:
                seen = (sample for sample, _ in _of_table(shard.url) if isinstance(sample, bytes))
                copy.writelines(islice(seen, LOOKED_AT))
                copy.write(bytes(2 * BLOCK))
                copy.seek(0)
                return _look(_of_tar(copy, shard, cut=True), concepts)[0]
        for most in BEGINNINGS:
            with open_stream(shard.url) as source, tempfile.TemporaryFile(prefix="cocu-") as copy:
                target = _Beginning(copy, most)
                with suppress(_Enough):
                    unpack(source, target)  # type: ignore[arg-type]
                fault, looked_at = _look(_of_tar(copy, shard, cut=not target.room), concepts)
            if not fault or looked_at == LOOKED_AT or target.room:
                return fault
    except CocuError:
        raise
    except Exception as error:  # every driver has kinds of its own
        raise unreachable(shard.url, error) from error
    return fault if looked_at else ""


def _look(samples: Iterable[_Seen], concepts: str) -> tuple[str, int]:
    """Why none of the first pairs can be used, "" where one can, and how many pairs were looked at."""
    reasons: Counter[str] = Counter()
    broken = ""
    for sample, beside in samples:
        if isinstance(sample, str):
            broken = broken or f" ({sample})"
            continue
        try:
            if isinstance(sample, BadPair):
                raise sample
            key, members = read_members(sample)
            members = with_concepts(key, members, beside) if beside else members
            with_header(read_pair(members, concepts).image)
            return "", reasons.total()
        except (BadPair, BadPicture, BrokenTar) as error:
            reasons[str(error)] += 1
        if reasons.total() == LOOKED_AT:
            break
    if not reasons:
        return NO_SAMPLES + broken, 0
    reason, count = reasons.most_common(1)[0]
    return f"none of the first {reasons.total()} pairs can be used: {reason} ({count})", reasons.total()


# A sample and what lies beside it; in place of the first a fault of the shard, or why the sample is not read.
_Seen = tuple[bytes | str | BadPair, bytes]


def _of_tar(tar: BinaryIO, shard: TarShard, cut: bool = False) -> Iterator[_Seen]:
    """cut: it is a beginning only."""
    for files, beside in _samples(tar, shard, cut):
        if isinstance(files, Fault):
            yield files.reason, b""
            continue
        start, stop = files[0][0], files[-1][5]
        if stop - start > MAX_SAMPLE_BYTES:
            yield BadPair("oversized sample"), b""
            continue
        tar.seek(start)
        yield tar.read(stop - start), beside


def _samples(tar: BinaryIO, shard: TarShard, cut: bool) -> Iterator[tuple[list[File] | Fault, bytes]]:
    if shard.beside is None:
        yield from ((files, b"") for files in group_files(tar))
        return
    for match in matched(tar, shard.beside, shard.url, tables=True, cut=cut):
        yield match.files, match.made


def _of_table(url: str) -> Iterator[_Seen]:
    with open_bytes(url, seek=True) as table:
        for sample in samples_of_table(url, table):
            yield str(sample) if isinstance(sample, BadTable) else sample, b""


class _Enough(Exception):
    """The beginning is there."""


class _Beginning:
    """A file that takes so many bytes, and then raises _Enough."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file, self.room = file, most

    def write(self, data: bytes) -> int:
        written = self._file.write(data[: self.room])
        self.room -= written
        if not self.room:
            raise _Enough
        return written

    def tell(self) -> int:
        return self._file.tell()
