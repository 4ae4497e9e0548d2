"""A look at the first pairs of the data before a run begins, so that what must fail fails at once and clearly."""

from __future__ import annotations

import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from files.addresses import open_stream, unreachable
from files.errors import CocuError, MisuseError
from files.pictures import BadPicture, with_header
from files.tar import split_name
from files.tar_headers import PosixInfo
from training.batches.raw_pairs import CONCEPTS_FIELD, MODES, NO_CONCEPTS, BadPair, read_pair
from training.shards.found import Shard, Source, find_data

LOOKED_AT = 100


def check_all(given: Iterable[Sequence[str | Source]], concepts: str) -> None:
    """`check_data` for all that a run is given, such as its training and its validation shards; none is no fault."""
    for sources in given:
        if sources:
            check_data(sources, concepts)


def check_data(sources: Sequence[str | Source], concepts: str = NO_CONCEPTS) -> list[Shard]:
    """The shards of the sources, after a look at the first of each collection.

    Raises MisuseError where there are no shards, or where none of the first pairs can be used with these concepts;
    CocuError where a shard cannot be read.
    """
    if concepts not in MODES:
        raise MisuseError(f"concepts: {concepts}; expected one of {', '.join(MODES)}")
    shards, collections = find_data(sources)
    for collection in collections:
        _check_first(shards[collection.shards[0]], concepts)
    return shards


def _check_first(shard: Shard, concepts: str) -> None:
    reasons: Counter[str] = Counter()
    for members in islice(_first_samples(shard), LOOKED_AT):
        try:
            with_header(read_pair({name: memoryview(data) for name, data in members.items()}, concepts).image)
            return
        except (BadPair, BadPicture) as error:
            reasons[str(error)] += 1
    if not reasons:
        raise MisuseError(f"{shard.url}: holds no samples; expected a WebDataset tar with .jpg and .txt members")
    reason, count = reasons.most_common(1)[0]
    hint = ""
    if CONCEPTS_FIELD in reason:
        hint = (
            "; give shards that `cocu curate run` has written, or train without concepts, "
            f"by captions alone (concepts: {NO_CONCEPTS})"
        )
    raise MisuseError(f"{shard.url}: none of the first {reasons.total()} pairs can be used: {reason} ({count}){hint}")


def _first_samples(shard: Shard) -> Iterator[dict[str, bytes]]:
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
