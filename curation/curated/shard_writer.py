"""What all writers of curated shards have in common: how they begin and end, and what they check."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from curation.curated.originals import CHANGED, Originals
from curation.reading.formats import Original
from curation.reading.pairs import CaptionOptions, checksum_of
from curation.reading.shards import Shard
from files.concepts_json import KeptConcepts
from files.errors import CocuError


class ShardWriter(ABC):
    """Writes one curated shard beside the reading of its source. A context manager; the file appears when it ends well.

    Pairs are given in the order of the source; samples between them (rejects of the index) are left out.
    `checksum` covers the pairs so far, as `checksum_of` gives it; None: they are not read. `unenriched` counts those
    whose `.json` had no place for the enriched caption.
    """

    checksum: int | None = 0
    unenriched = 0

    def __init__(self, shard: Shard, options: CaptionOptions) -> None:
        self.shard, self.originals = shard, Originals(shard, options)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Around all of the writing; what is done after it is done only where that ended well."""
        with self.originals:
            yield

    @abstractmethod
    def write(
        self,
        keys: Sequence[str],
        captions: Sequence[str],
        kept: KeptConcepts,
        originals: Sequence[Original] | None = None,
    ) -> None:
        """Write pairs, whose originals are given or the next ones. Raises CocuError when the source lacks one."""

    def check(self, expected: int | None) -> None:
        """Raises CocuError when the pairs written are not those of `expected`, a checksum; None: unknown."""
        if None not in (expected, self.checksum) and self.checksum != expected:
            raise CocuError(f"{self.shard.url}: other pictures or captions than the index was built from; {CHANGED}")

    def _read(self, keys: Sequence[str], originals: Sequence[Original] | None) -> Iterator[Original]:
        """The pairs to be written, with the checksum of them. Raises CocuError where they cannot be read."""
        with self.originals.reading():
            for original in self.originals.find(keys) if originals is None else originals:
                self.checksum = checksum_of(original.checksum, self.checksum or 0)
                yield original

    def __enter__(self) -> Self:
        self._writing = self.writing()
        self._writing.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writing.__exit__(kind, error, trace)
