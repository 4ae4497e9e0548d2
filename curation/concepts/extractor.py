"""Captions -> the concepts that they name, by batches and in several processes; files of listed concepts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from copy import copy
from dataclasses import replace

from curation.concepts.inference import one_thread
from curation.concepts.languages import language_of
from curation.concepts.lexicon import resolve_pipeline
from curation.concepts.noun_phrases import NounOptions
from curation.concepts.parser import CaptionParser, parser_of
from files.workers import WorkerPool

# Below this many captions a pool costs more to start than it saves.
POOL_THRESHOLD = 2_000


class ConceptExtractor:
    """Extracts concepts from captions, in this process or in a pool of processes.

    Use as a context manager; the pool starts at the first large batch. Order is kept, and the result does not
    depend on the number of processes.
    """

    def __init__(self, options: NounOptions, processes: int = 1, batch_size: int = 256) -> None:
        self.options = replace(options, pipeline=resolve_pipeline(options.pipeline, language_of(options.language)))
        self._made = parser_of(options)
        self.processes = processes
        self.batch_size = batch_size
        self._pool: WorkerPool | None = None
        self._parser: CaptionParser | None = None
        self._seen = 0

    def __enter__(self) -> ConceptExtractor:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._pool is not None:
            self._pool.close(at_once=exc[0] is not None)
            self._pool = None

    def single(self) -> ConceptExtractor:
        """The same for another process, to be sent there: it starts none of its own."""
        other = copy(self)
        other.processes, other._pool, other._parser = 1, None, None
        return other

    def extract(self, captions: Sequence[str]) -> list[list[str]]:
        """Concepts of each caption; [] where a caption names nothing."""
        captions = [caption[: self.options.max_chars] for caption in captions]
        different = list(dict.fromkeys(captions))
        found = dict(zip(different, self._extract(different), strict=True))
        return [list(found[caption]) for caption in captions]

    def _extract(self, captions: Sequence[str]) -> list[list[str]]:
        self._seen += len(captions)
        if self._pool is None and (self.processes < 2 or self._seen < POOL_THRESHOLD):
            if self._parser is None:
                self._parser = self._made(self.options)
            return self._parser.concepts(captions)
        if self._pool is None:
            self._pool = WorkerPool(self.processes, _start_worker, (self._made, self.options))
        chunks = [captions[i : i + self.batch_size] for i in range(0, len(captions), self.batch_size)]
        return [row for rows in self._pool.map(_work, chunks) for row in rows]


_worker: CaptionParser | None = None


def _start_worker(made: type[CaptionParser], options: NounOptions) -> None:
    global _worker
    if not getattr(made, "needs_torch", True):  # spaCy imports torch when it finds it
        sys.modules.setdefault("torch", None)  # type: ignore[arg-type]
    one_thread()
    _worker = made(options)


def _work(captions: Sequence[str]) -> list[list[str]]:
    assert _worker is not None
    return _worker.concepts(captions)
