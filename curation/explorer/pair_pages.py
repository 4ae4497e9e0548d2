"""Pages of a single pair: what was recovered for it, why, and where it shows; and the draw, in which it is judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from curation.curated.enriched import CONCEPTS_IN_CAPTION, enriched_caption
from curation.curated.judgements import Judgement
from curation.curated.pairs import CuratedPair
from curation.explorer.frame import Frame, Missing, asked_number, field
from curation.report.caption_marks import mark_concepts, shown
from files.errors import MisuseError

DEPTH = 5  # recovered concepts of a drawn pair that are asked for
_DEEPEST = 16
_NEIGHBOURS = 12
_SIDES = (160, 320, 960)
_DAY = {"Cache-Control": "private, max-age=86400"}


@dataclass(frozen=True)
class ConceptRow:
    """A concept of a pair. share: of the bar, 0 to 1. judged: what was said of it, if anything."""

    number: int
    word: str
    rank: int
    named: bool
    score: str
    share: float
    support: int
    likeness: str
    confidence: str
    judged: bool | None
    why: Sequence[Any] = ()


class PairPages:
    """The pairs of one curation."""

    def __init__(self, frame: Frame) -> None:
        self.frame, self.explored = frame, frame.explored
        self._done: dict[int, int] = {}  # by depth: the first turn that may have something to judge
        self._draw = np.random.default_rng(0).permutation(len(frame.explored.catalogue))

    def routes(self) -> list[Route]:
        """For an application."""
        pages = {
            "/pair/{pair:int}": self.pair,
            "/judge": self.judge_next,
            "/judge/{turn:int}": self.judge,
            "/judged": self.judged,
            "/picture/{pair:int}": self.picture,
            "/heat/{pair:int}/{concept:int}": self.heat,
        }
        judged = self.frame.posted("/pair/{pair:int}", self.judge_concept)
        return [*(self.frame.got(path, page) for path, page in pages.items()), judged]

    def pair(self, request: Request) -> Response:
        """A pair, its concepts, and why each is there."""
        number = self.frame.pair_of(request)
        likeness, others = self.explored.neighbours(number, _NEIGHBOURS)
        last = len(self.explored.catalogue) - 1
        return self.frame.page(
            "pair.html.j2",
            **self._pair_values(number, request, drawn=False),
            neighbours=list(zip(others, likeness, strict=True)),
            previous=f"{self.frame.at}/pair/{number - 1}" if number else "",
            following=f"{self.frame.at}/pair/{number + 1}" if number < last else "",
        )

    def judge_next(self, request: Request) -> Response:
        """To the first pair of the draw that is not judged yet."""
        depth = _depth(request)
        begun = self._done.get(depth, 0)
        for turn, number in enumerate(self._draw[begun:].tolist(), begun):
            (pair,) = self.explored.pairs([number])
            wanted = [row.concept for row in pair.archive if not row.in_caption][:depth]
            said = self.explored.judgements.of(pair.shard, pair.key)
            if any(concept not in said for concept in wanted):
                self._done[depth] = turn
                return self.frame.to(f"/judge/{turn}?k={depth}")
        return self.frame.to("/judged")

    def judge(self, request: Request) -> Response:
        """A pair of the draw, with its best recovered concepts."""
        turn, depth = request.path_params["turn"], _depth(request)
        if turn >= len(self._draw):
            raise Missing("the draw has no further pair: all have been shown")
        number = int(self._draw[turn])
        values = self._pair_values(number, request, drawn=True)
        values["enriched"] = ""
        values["rows"] = [row for row in values["rows"] if not row.named][:depth]
        return self.frame.page(
            "judge.html.j2",
            **values,
            turn=turn,
            depth=depth,
            score=self.explored.so_far(depth),
            previous=f"{self.frame.at}/judge/{turn - 1}?k={depth}" if turn else "",
            following=f"{self.frame.at}/judge/{turn + 1}?k={depth}",
        )

    def judge_concept(self, request: Request, form: FormData) -> Response:
        """Write down what a person says of a concept of a pair."""
        number = self.frame.pair_of(request)
        (pair,) = self.explored.pairs([number])
        concept, said, drawn = field(form, "concept"), field(form, "said"), field(form, "drawn") == "1"
        if concept not in {row.concept for row in pair.archive}:
            raise MisuseError(f"{concept!r:.100} is no concept of this pair")
        if said in ("yes", "no"):
            recovered = [row.concept for row in pair.archive if not row.in_caption]
            place = recovered.index(concept) + 1 if concept in recovered else 0
            given = Judgement(pair.shard, pair.key, concept, said == "yes", drawn, place)
            self.explored.judgements.judge(given)
        elif said == "withdraw":
            self._done.clear()
            self.explored.judgements.withdraw(pair.shard, pair.key, concept)
        else:
            raise MisuseError("say yes, no or withdraw")
        if request.headers.get("hx-request"):
            return self._row(number, self.explored.catalogue.concept[concept], drawn)
        back = field(form, "back")
        known = f"/judge/{back}" if back.isdecimal() else f"/pair/{number}"
        return self.frame.to(f"{known}#c{self.explored.catalogue.concept[concept]}")

    def judged(self, request: Request) -> Response:
        """What the judgements say so far, and how to score and export them."""
        return self.frame.page(
            "judged.html.j2",
            scores=[(k, self.explored.so_far(k)) for k in (1, 3, 5, 8)],
            count=self.explored.judgements.count(),
            file=str(self.explored.judgements.path),
            folder=str(self.explored.folder),
        )

    def _row(self, number: int, concept: int, drawn: bool) -> Response:
        (pair,) = self.explored.pairs([number])
        rows = [row for row in self._concept_rows(number, pair, drawn) if row.number == concept]
        if not rows:
            raise Missing("the pair has no such concept")
        return self.frame.page("row.html.j2", row=rows[0], number=number, drawn=drawn, back="")

    def _pair_values(self, number: int, request: Request, drawn: bool) -> dict[str, Any]:
        (pair,) = self.explored.pairs([number])
        rows = self._concept_rows(number, pair, drawn)
        best = [row.concept for row in pair.archive if not row.in_caption]
        asked = request.query_params.get("heat", "")
        return {
            "number": number,
            "pair": pair,
            "rows": rows,
            "caption": mark_concepts(shown(pair.caption), pair.named),
            "enriched": enriched_caption(shown(pair.caption), best[:CONCEPTS_IN_CAPTION]) if best else "",
            "hot": next((row for row in rows if str(row.number) == asked), None),
            "drawn": drawn,
            "back": str(request.path_params.get("turn", "")),
            "sees": self.explored.space is not None,
        }

    def _concept_rows(self, number: int, pair: CuratedPair, drawn: bool) -> list[ConceptRow]:
        ids = [self.explored.catalogue.concept[row.concept] for row in pair.archive]
        likeness = self.explored.similarities(number, ids)
        why = {} if drawn else self.explored.why(number, ids)
        said = self.explored.judgements.of(pair.shard, pair.key)
        best = max((row.score or 0 for row in pair.archive), default=0) or 1
        return [
            ConceptRow(
                concept,
                row.concept,
                row.rank,
                row.in_caption,
                _score(row.score),
                min(1.0, max(0.0, (row.score or 0) / best)),
                row.support,
                "" if like is None else f"{like:.3f}",
                "" if row.confidence is None else f"{row.confidence:.0%}",
                said.get(row.concept),
                why.get(concept, ()),
            )
            for concept, row, like in zip(ids, pair.archive, likeness, strict=True)
        ]

    def picture(self, request: Request) -> Response:
        """A picture, small."""
        number = self.frame.pair_of(request)
        side = asked_number(request, "side") or 320
        data = self.explored.pictures.small(number, side if side in _SIDES else 320)
        if data is None:
            return Response(_NO_PICTURE, media_type="image/svg+xml", headers=_DAY)
        return Response(data, media_type="image/jpeg", headers=_DAY)

    def heat(self, request: Request) -> Response:
        """Where a concept shows, to lay over the picture."""
        number, concept = self.frame.pair_of(request), request.path_params["concept"]
        if concept >= len(self.explored.catalogue.words):
            raise Missing("there is no such concept")
        data = self.explored.heat(number, concept)
        if data is None:
            raise Missing("there is no picture to look at")
        return Response(data, media_type="image/png", headers=_DAY)


def _depth(request: Request) -> int:
    return min(max(asked_number(request, "k") or DEPTH, 1), _DEEPEST)


def _score(score: float | None) -> str:
    return "" if score is None else f"{score:.3f}"


_NO_PICTURE = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 240"><rect width="320" height="240" fill="#8883"/>'
    '<text x="160" y="124" text-anchor="middle" font-family="sans-serif" font-size="15" fill="#888">no picture</text>'
    "</svg>"
)
