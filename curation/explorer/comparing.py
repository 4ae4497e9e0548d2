"""Two curations of the same pairs, side by side: which concepts they recover for how many pairs, and for which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlencode

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from curation.curated.pairs import CuratedPair
from curation.explorer.catalogue import shard_keys
from curation.explorer.frame import Frame, Missing, asked_choice, asked_number, asked_text, further
from curation.report.caption_marks import mark_concepts, shown
from files.errors import MisuseError

_ROWS, _PAIRS, _CHIPS = 60, 24, 16
_ORDERS = {"most": "most different", "more": "more in B", "less": "more in A", "all": "most recovered"}
_SIDES = {"b": "in B only", "a": "in A only", "both": "in both"}


@dataclass(frozen=True)
class Difference:
    """A concept: how many pairs it is recovered for in each, in A only, and in B only."""

    word: str
    a: int
    b: int
    only_a: int
    only_b: int


@dataclass(frozen=True)
class Both:
    """A pair of both. chips: what each recovers for it, and whether the other does not."""

    a: int
    b: int
    pair: CuratedPair
    caption: Sequence[tuple[str, str | None]]
    chips: tuple[Sequence[tuple[str, bool]], Sequence[tuple[str, bool]]]


class Comparing:
    """The pages of what differs between A and B."""

    def __init__(self, a: Frame, b: Frame) -> None:
        self.a, self.b = a, b

    def routes(self) -> list[Route]:
        """For an application."""
        return [self.a.got("/", self.concepts), self.a.got("/differs", self.pairs)]

    def concepts(self, request: Request) -> Response:
        """The concepts by how much their numbers of pairs differ."""
        order, like, at = asked_choice(request, "order", _ORDERS), asked_text(request, "q"), asked_number(request, "at")
        words, counts = self._counts
        change = counts[1] - counts[0]
        by = {"most": -np.abs(change), "more": -change, "less": change, "all": -counts.sum(0)}[order]
        ranked = np.argsort(by, kind="stable")
        wanted = {"most": change != 0, "more": change > 0, "less": change < 0, "all": counts.sum(0) > 0}[order]
        ranked = ranked[wanted[ranked]]
        if like:
            part = like.casefold()
            ranked = ranked[[part in words[i].casefold() for i in ranked.tolist()]] if len(ranked) else ranked
        rows = [self._difference(words[i], *counts[:, i].tolist()) for i in ranked[at : at + _ROWS].tolist()]
        return self._page(
            "compare.html.j2",
            rows=rows,
            most=max([1, *(max(row.a, row.b) for row in rows)]),
            order=order,
            orders=_ORDERS,
            like=like,
            total=len(ranked),
            shared=int((self._of_b >= 0).sum()),
            sizes=[len(frame.explored.catalogue) for frame in (self.a, self.b)],
            **further(request, at, _ROWS, len(ranked)),
        )

    def pairs(self, request: Request) -> Response:
        """The pairs for which a concept is recovered in one of the two, or in both."""
        word, side, at = asked_text(request, "word"), asked_choice(request, "side", _SIDES), asked_number(request, "at")
        in_a, in_b = self._pairs_of(word)
        if not len(in_a) + len(in_b):
            raise Missing(f"neither recovers {word!r:.100} for a pair of both")
        parts = {
            "a": in_a[~np.isin(in_a, in_b)],
            "b": in_b[~np.isin(in_b, in_a)],
            "both": in_a[np.isin(in_a, in_b)],
        }
        chosen = parts[side]
        tabs = [
            (value, says, len(parts[value]), "?" + urlencode({"word": word, "side": value}))
            for value, says in _SIDES.items()
        ]
        return self._page(
            "differs.html.j2",
            word=word,
            side=side,
            tabs=tabs,
            total=len(chosen),
            at_row=at,
            both=self._both(chosen[at : at + _PAIRS].tolist()),
            **further(request, at, _PAIRS, len(chosen)),
        )

    def _page(self, template: str, **values: object) -> Response:
        names = [frame.explored.name for frame in (self.a, self.b)]
        return self.a.page(template, names=names, comparing=True, **({"name": " and ".join(names)} | values))

    def _both(self, pairs: Sequence[int]) -> list[Both]:
        theirs = self._of_b[list(pairs)].tolist()
        found = zip(self.a.explored.pairs(pairs), self.b.explored.pairs(theirs), pairs, theirs, strict=True)
        shown_pairs = []
        for pair, other, a, b in found:
            recovered = [[row.concept for row in one.archive if not row.in_caption] for one in (pair, other)]
            ours, others = (
                [(word, word not in recovered[1 - side]) for word in recovered[side][:_CHIPS]] for side in (0, 1)
            )
            shown_pairs.append(Both(a, b, pair, mark_concepts(shown(pair.caption), pair.named), (ours, others)))
        return shown_pairs

    def _difference(self, word: str, a: int, b: int) -> Difference:
        in_a, in_b = self._pairs_of(word)
        shared = len(np.intersect1d(in_a, in_b, assume_unique=True))
        return Difference(word, a, b, len(in_a) - shared, len(in_b) - shared)

    def _pairs_of(self, word: str) -> tuple[np.ndarray, np.ndarray]:
        """The pairs of both, by A's numbers, for which each recovers a concept; best score first."""
        a, b = self.a.explored.catalogue, self.b.explored.catalogue
        none = np.zeros(0, np.int64)
        in_a = a.recovered.of(a.concept[word]).astype(np.int64) if word in a.concept else none
        in_b = b.recovered.of(b.concept[word]).astype(np.int64) if word in b.concept else none
        of_a = self._of_a[in_b]
        return in_a[self._of_b[in_a] >= 0], of_a[of_a >= 0]

    @cached_property
    def _counts(self) -> tuple[list[str], np.ndarray]:
        """The concepts of either, and how many pairs each recovers them for, int64 [2, C]."""
        catalogues = [frame.explored.catalogue for frame in (self.a, self.b)]
        words = list(dict.fromkeys(word for catalogue in catalogues for word in catalogue.words))
        place = {word: i for i, word in enumerate(words)}
        counts = np.zeros((2, len(words)), np.int64)
        for side, catalogue in enumerate(catalogues):
            counts[side, [place[word] for word in catalogue.words]] = catalogue.recovered.counts
        return words, counts

    @property
    def _of_b(self) -> np.ndarray:
        """B's number of each pair of A, int64 [N]; -1 of those that B has not."""
        return self._matched[0]

    @property
    def _of_a(self) -> np.ndarray:
        """A's number of each pair of B."""
        return self._matched[1]

    @cached_property
    def _matched(self) -> tuple[np.ndarray, np.ndarray]:
        a, b = self.a.explored.catalogue, self.b.explored.catalogue
        of_b, of_a = np.full(len(a), -1, np.int64), np.full(len(b), -1, np.int64)
        for shard in sorted({*a.shards} & {*b.shards}):
            keys = shard_keys(b.folder, shard)
            at = pc.index_in(shard_keys(a.folder, shard), keys)
            known = at.is_valid().to_numpy(zero_copy_only=False)
            ours = a.start(shard) + np.flatnonzero(known)
            theirs = b.start(shard) + pc.drop_null(pa.array(at)).to_numpy(zero_copy_only=False).astype(np.int64)
            of_b[ours], of_a[theirs] = theirs, ours
        if (of_b < 0).all():
            raise MisuseError(f"{a.folder} and {b.folder}: have no pair in common, by shard and key; nothing compares")
        return of_b, of_a
