"""A look at the first pairs of the data before a run begins, so that what must fail fails at once and clearly."""

from __future__ import annotations

import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from files.addresses import open_stream, unreachable
from files.errors import CocuError, MisuseError
from files.pictures import BadPicture, with_header
from files.saying import ProgressLine, say
from files.tar import split_name
from files.tar_headers import PosixInfo
from training.batches.raw_pairs import CONCEPTS_FIELD, MODES, NO_CONCEPTS, BadPair, read_pair
from training.shards.files import NO_SAMPLES
from training.shards.found import Source, TarShard, find_data

LOOKED_AT = 100


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
        hint = "; expected WebDataset tars with .jpg and .txt members" if all(NO_SAMPLES in f for f in faults) else ""
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
    """Why none of the first pairs of a shard can be used; "" where one can."""
    reasons: Counter[str] = Counter()
    for members in islice(_first_samples(shard), LOOKED_AT):
        try:
            with_header(read_pair({name: memoryview(data) for name, data in members.items()}, concepts).image)
            return ""
        except (BadPair, BadPicture) as error:
            reasons[str(error)] += 1
    if not reasons:
        return NO_SAMPLES
    reason, count = reasons.most_common(1)[0]
    return f"none of the first {reasons.total()} pairs can be used: {reason} ({count})"


def _first_samples(shard: TarShard) -> Iterator[dict[str, bytes]]:
    """Members of the samples of a shard, read from its beginning, wherever it lies and however it is packed."""
    key: bytes | None = None
    members: dict[str, bytes] = {}
    try:
        with open_stream(shard.url) as file, tarfile.open(fileobj=file, mode="r|*", tarinfo=PosixInfo) as tar:
            for info in tar:
                name = info.name.encode("utf-8", "surrogateescape")
                this, field = split_name(name)
                if not field or not info.isreg():
                    continue
                if this != key and members:
                    yield members
                    members = {}
                key = this
                content = tar.extractfile(info)
                members[field.decode("utf-8", "replace")] = content.read() if content else b""
    except (tarfile.TarError, EOFError):
        pass  # what is whole before the break has been seen
    except CocuError:
        raise
    except Exception as error:  # every driver has kinds of its own
        raise unreachable(shard.url, error) from error
    if members:
        yield members
