"""The pairs of a source, found by key in the order of the index, for what is written beside the reading of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import Self

from curation.reading.formats import Original
from curation.reading.pairs import IMAGE_FIELDS, CaptionOptions
from curation.reading.shards import Shard
from files.addresses import is_remote, unreachable
from files.errors import CocuError

CHANGED = (
    "the shard has changed since `cocu index build`: put the old one back and run the same command again, "
    "or build a new index"
)


class Originals:
    """What a shard holds of its pairs. A context manager; the shard is opened when a pair is first asked for."""

    def __init__(self, shard: Shard, options: CaptionOptions) -> None:
        self.shard, self.options, self._stack = shard, options, ExitStack()
        self._opened = False

    def open(self) -> Self:
        """Open the shard now."""
        if not self._opened:
            self._originals = self._stack.enter_context(self.source())
            self._opened = True
        return self

    def source(self) -> AbstractContextManager[Iterator[Original]]:
        """All pairs of the shard, to be opened."""
        return self.shard.reader.originals(self.options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def find(self, keys: Sequence[str]) -> Iterator[Original]:
        """The next pairs, of these keys; what lies between them is passed over. Raises CocuError where one is not."""
        originals = self.open()._originals
        for key in keys:
            for original in originals:
                if original.key == key:
                    yield original
                    break
            else:
                raise CocuError(f"{self.shard.url}: pair {key!r} is in the index but no longer in the shard; {CHANGED}")

    def with_pictures(self, keys: Sequence[str]) -> tuple[list[Original], list[bytes]]:
        """The pairs of these keys and their encoded pictures, all read: another thread may write them."""
        with self.reading():
            originals = list(self.find(keys))
            return originals, [one.data(*IMAGE_FIELDS) or b"" for one in originals]

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Around what reads the pairs, and does not write: failures as CocuErrors."""
        try:
            yield
        except OSError as error:
            raise unreachable(self.shard.url, error) from error


def check_size(shard: Shard) -> None:
    """Raises CocuError for a file at hand that has not the size it had, though nothing of it is going to be read."""
    if shard.rows is not None or is_remote(shard.url) or not os.path.isfile(shard.url):
        return
    size = os.path.getsize(shard.url)
    if size != shard.size:
        raise CocuError(f"{shard.url}: has {size:,} bytes, but had {shard.size:,}; {CHANGED}")
