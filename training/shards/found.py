"""Where the pairs lie: names given by the user -> tars, or Parquet of pictures, in a fixed order, local or remote."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from files.addresses import is_remote
from files.errors import MisuseError
from files.shard_names import PAIR_SUFFIXES, PARQUET, find_urls, shard_suffix, sizes_of, with_folders
from training.shards.beside import Beside, find_beside


@dataclass(frozen=True)
class Source:
    """Shards that are read as one collection.

    names: tars, Parquet files, folders, globs, brace patterns, URLs. weight: its part of the samples drawn, relative to
    that of the other sources; None, for all sources at once: the shards of all are one collection, each sample once in
    an epoch. concepts: curations whose sidecars or tables have the concepts of these shards; strict: of every one of
    them, else those that no curation knows are read as they are.
    """

    names: tuple[str, ...]
    weight: float | None = None
    concepts: tuple[Path, ...] = ()
    strict: bool = True

    def __post_init__(self) -> None:
        if self.weight is not None and not (math.isfinite(self.weight) and self.weight > 0):
            raise MisuseError(f"data source {', '.join(self.names)}: weight {self.weight}; give a number above 0")


@dataclass(frozen=True)
class TarShard:
    """One tar, or Parquet file. name: short, unique in the run, the same on every machine.

    size: bytes, 0 if its server does not say. beside: where its concepts lie, if not in it.
    """

    name: str
    url: str
    size: int
    beside: Beside | None = None

    @property
    def needs_copy(self) -> bool:
        """Whether it cannot be read in place at any offset: it is remote, packed, or no tar."""
        return is_remote(self.url) or shard_suffix(self.url) != ".tar"

    @property
    def is_table(self) -> bool:
        """Whether it is a Parquet file."""
        return shard_suffix(self.url, PAIR_SUFFIXES) == PARQUET


@dataclass(frozen=True)
class Collection:
    """Shards, as indexes into all of the run, that have epochs together; weight: their part of the samples drawn."""

    shards: tuple[int, ...]
    weight: float


def find_data(sources: Sequence[str | Source]) -> tuple[list[TarShard], list[Collection]]:
    """All shards of the run, and the collections they form.

    Raises MisuseError for names without shards, and where some sources have weights and others not.
    """
    given = [Source((source,)) if isinstance(source, str) else source for source in sources]
    if not given:
        raise MisuseError("no training data is named; give folders, shards or patterns of shards")
    weights = [source.weight for source in given]
    if None in weights and any(weight is not None for weight in weights):
        raise MisuseError("some data sources have a weight and others have none; give one to each, or to none")
    urls = [find_urls(source.names, PAIR_SUFFIXES, (PARQUET,)) for source in given]
    beside: dict[str, Beside] = {}
    for source, some in zip(given, urls, strict=True):
        if source.concepts:
            beside |= find_beside(source.concepts, some, source.strict)
            some.sort(key=lambda url: (0, beside[url].whole) if url in beside else (1, ""))  # as these would lie
    every = list(dict.fromkeys(url for some in urls for url in some))
    names = _short_names([beside[url].whole if url in beside else url for url in every])
    shards = [
        TarShard(name, url, size, beside.get(url))
        for name, url, size in zip(names, every, sizes_of(every), strict=True)
    ]
    number = {url: i for i, url in enumerate(every)}
    if weights[0] is None:
        return shards, [Collection(tuple(range(len(every))), 1.0)]
    total = sum(weight or 0.0 for weight in weights)
    return shards, [
        Collection(tuple(number[url] for url in some), (weight or 0.0) / total)
        for some, weight in zip(urls, weights, strict=True)
    ]


def _short_names(urls: Sequence[str]) -> list[str]:
    """Of shards in reports: their stems, with folders where needed, and endings where nothing else differs."""
    names = with_folders(urls, suffixes=PAIR_SUFFIXES)
    count = Counter(names)
    return [
        name if count[name] == 1 else name + shard_suffix(url, PAIR_SUFFIXES)
        for name, url in zip(names, urls, strict=True)
    ]
