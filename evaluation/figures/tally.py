"""Counting: pictures are segmented and held against their truth, and of each one the counts are kept.

Decoding goes on in threads while the device works. Batches are the same however many processes share them, so the
counts are, too.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_cards.layouts.benchmark import Benchmark
from data_cards.layouts.decoding import BadItem
from evaluation.figures.boundary import boundary_counts
from evaluation.figures.confusion import confusion, counts_of
from evaluation.figures.distraction import distracted_counts, taken_pixels
from evaluation.labels.inference import Labelled, Rules, segment_images, too_large
from evaluation.models.segmenters import Segmenter
from files.errors import CocuError

NOTHING_IGNORED = -1
# Batches that are decoded while one is segmented.
AHEAD = 2
# Bytes of decoded pictures that wait, and of those that are segmented together.
HELD = 1 << 29

Item = tuple[NDArray[np.uint8], NDArray[np.unsignedinteger]]


@dataclass(frozen=True)
class Bad:
    """A picture that was left out: its key, the file that is wrong, and what is wrong with it."""

    key: str
    path: str
    reason: str


@dataclass(frozen=True)
class PictureTally:
    """What was counted over N pictures of a benchmark with C classes.

    indices: of the pictures in the benchmark, ascending, [N]. counts: pixels right, of the truth, predicted, int64
    [N, 3, C]. boundary: the same near outlines. matrix: the confusion matrix over all of them, int64 [C, C], rows the
    truth. swept: counts over all of them for each threshold of Rules.sweep, int64 [T, 3, C]. bad: what was left out.
    distracted: counts beside each number of Rules.distractors, int64 [N, M, 3, C]. taken: pixels over all of them that
    each distractor took from each class beside the last of these numbers, int64 [D, C].
    """

    indices: NDArray[np.int64]
    counts: NDArray[np.int64]
    boundary: NDArray[np.int64]
    matrix: NDArray[np.int64]
    swept: NDArray[np.int64]
    bad: tuple[Bad, ...] = ()
    distracted: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0, 3, 0), np.int64))
    taken: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))


def chosen_pictures(total: int, limit: int | None) -> NDArray[np.int64]:
    """Which pictures are measured: all, or `limit` of them, spread evenly over the set."""
    if limit is None or limit >= total:
        return np.arange(total)
    return np.arange(limit) * total // limit


@dataclass(frozen=True)
class Share:
    """The part of the batches that is this process's: every `of`-th from number `number`."""

    number: int = 0
    of: int = 1


def tally(
    segmenter: Segmenter,
    benchmark: Benchmark,
    vectors: Tensor,
    rules: Rules,
    *,
    indices: NDArray[np.int64],
    batch: int = 8,
    threads: int = 4,
    skip_bad: bool = False,
    share: Share = Share(),
    progress: Callable[[int], None] = lambda done: None,
) -> PictureTally:
    """Segment the pictures of `indices` and count.

    vectors: of the card's text classes [C', D], or what else the rules expect. batch: pictures that are segmented
    together. progress: told how many are done. Raises BadItem, which names the file, unless skip_bad.
    """
    classes = len(benchmark.card.classes)
    counter = _Counter(segmenter.device, classes, benchmark.card.ignore_index, len(rules.sweep), rules.distractors)
    batches = [indices[start : start + batch].tolist() for start in range(0, len(indices), batch)]
    bad: list[Bad] = []
    for wanted, found in _decoded(benchmark, batches[share.number :: share.of], threads, rules):
        good: list[tuple[int, Item]] = []
        for index, item in zip(wanted, found, strict=True):
            if not isinstance(item, BadItem):
                good.append((index, item))
            elif skip_bad:
                bad.append(Bad(benchmark.keys[index], item.path, item.reason))
            else:
                raise item
        labelled = segment_images(segmenter, benchmark.card, vectors, [item[0] for _, item in good], rules)
        for (index, (_, truth)), result in zip(good, labelled, strict=True):
            counter.add(index, truth, result)
        progress(len(wanted))
    return counter.tally(tuple(bad))


def merged(parts: Sequence[PictureTally]) -> PictureTally:
    """The tally of all processes' parts, in the order of the benchmark."""
    indices = np.concatenate([part.indices for part in parts])
    order = np.argsort(indices, kind="stable")
    return PictureTally(
        indices=indices[order],
        counts=np.concatenate([part.counts for part in parts])[order],
        boundary=np.concatenate([part.boundary for part in parts])[order],
        matrix=np.sum([part.matrix for part in parts], axis=0),
        swept=np.sum([part.swept for part in parts], axis=0),
        bad=tuple(sorted((one for part in parts for one in part.bad), key=lambda one: one.key)),
        distracted=np.concatenate([part.distracted for part in parts])[order],
        taken=np.sum([part.taken for part in parts], axis=0),
    )


def ignored(ignore_index: int | None) -> int:
    """The ignore index, or a value that no label has."""
    return NOTHING_IGNORED if ignore_index is None else ignore_index


def refuse_missing(benchmark: Benchmark, hint: str = "complete the data set, or give --skip-bad") -> None:
    """Raise CocuError where files are missing, so that it is not found out after hours; hint: what to do."""
    if missing := benchmark.source.missing():
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        raise CocuError(f"{benchmark.card.name}: {missing[0]}{more} is missing; {hint}")


@dataclass
class _Counter:
    """The counts so far; the matrix stays on the device."""

    device: torch.device
    classes: int
    ignore_index: int | None
    thresholds: int
    distractors: tuple[int, ...] = ()
    indices: list[int] = field(default_factory=list)
    counts: list[Tensor] = field(default_factory=list)
    boundary: list[Tensor] = field(default_factory=list)
    distracted: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.matrix = torch.zeros(self.classes, self.classes, dtype=torch.int64, device=self.device)
        self.swept = torch.zeros(self.thresholds, 3, self.classes, dtype=torch.int64, device=self.device)
        self.most = max(self.distractors, default=0)
        self.taken = torch.zeros(self.most, self.classes, dtype=torch.int64, device=self.device)

    def add(self, index: int, truth: NDArray[np.unsignedinteger], result: Labelled) -> None:
        """Count a picture."""
        true = torch.from_numpy(truth.astype(np.int32)).to(self.device)
        rest = (self.classes, ignored(self.ignore_index))
        predicted = result.labels
        matrix = confusion(predicted, true, *rest)
        self.matrix += matrix
        self.indices.append(index)
        self.counts.append(counts_of(matrix).cpu())
        self.boundary.append(boundary_counts(predicted, true, *rest).cpu())
        if result.swept is not None:
            self.swept += torch.stack([counts_of(confusion(labels, true, *rest)) for labels in result.swept])
        if result.distracted is not None:
            self.distracted.append(
                torch.stack([distracted_counts(labels, true, *rest) for labels in result.distracted]).cpu()
            )
            self.taken += taken_pixels(result.distracted[-1], true, self.classes, self.most, rest[1])

    def tally(self, bad: tuple[Bad, ...]) -> PictureTally:
        """What was counted."""
        nothing = torch.zeros(0, 3, self.classes, dtype=torch.int64)
        undistracted = torch.zeros(len(self.indices), len(self.distractors), 3, self.classes, dtype=torch.int64)
        return PictureTally(
            indices=np.array(self.indices, np.int64),
            counts=(torch.stack(self.counts) if self.counts else nothing).numpy(),
            boundary=(torch.stack(self.boundary) if self.boundary else nothing).numpy(),
            matrix=self.matrix.cpu().numpy(),
            swept=self.swept.cpu().numpy(),
            bad=bad,
            distracted=(torch.stack(self.distracted) if self.distracted else undistracted).numpy(),
            taken=self.taken.cpu().numpy(),
        )


def _decoded(
    benchmark: Benchmark, batches: Sequence[list[int]], threads: int, rules: Rules
) -> Iterator[tuple[list[int], list[Item | BadItem]]]:
    """Batch after batch with its items, or what is wrong with them, decoded ahead; huge pictures a few at a time."""
    ready = _Ready()

    def read(index: int, turn: int) -> Item | BadItem:
        ready.wait(turn)
        found: Item | BadItem
        try:
            found = benchmark.item(index)
            if reason := too_large(benchmark.card, found[1].shape, rules):
                found = BadItem(benchmark.source.picture_file(index), reason)
        except BadItem as error:
            found = error
        ready.add(_size(found))
        return found

    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[list[tuple[int, Future[Item | BadItem]]]] = deque()
        turns = itertools.count()
        try:
            for wanted in [*batches, *[[]] * AHEAD]:
                waiting.append([(index, pool.submit(read, index, next(turns))) for index in wanted])
                if len(waiting) > AHEAD:
                    yield from _few(waiting.popleft(), ready)
        finally:
            ready.close()


def _few(
    futures: Sequence[tuple[int, Future[Item | BadItem]]], ready: _Ready
) -> Iterator[tuple[list[int], list[Item | BadItem]]]:
    """A batch as one, or where that would be large, in parts."""
    indices: list[int] = []
    items: list[Item | BadItem] = []
    for index, future in futures:
        items.append(future.result())
        indices.append(index)
        ready.take(_size(items[-1]))
        if sum(map(_size, items)) > HELD:
            yield indices, items
            indices, items = [], []
    if items:
        yield indices, items


def _size(item: Item | BadItem) -> int:
    return 0 if isinstance(item, BadItem) else item[0].nbytes + item[1].nbytes


class _Ready:
    """Bytes of items that are decoded and not yet taken: no more of them are begun where there are many.

    The one that is taken next never waits, so there is always an end to it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held, self._next, self._closed = 0, 0, False

    def wait(self, turn: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._held <= HELD or turn <= self._next)

    def add(self, size: int) -> None:
        with self._changed:
            self._held += size

    def take(self, size: int) -> None:
        with self._changed:
            self._held -= size
            self._next += 1
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
