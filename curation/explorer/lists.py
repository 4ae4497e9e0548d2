"""Pages that list pairs and concepts: the overview, a concept, a search."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

import numpy as np
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from curation.curated.pairs import CuratedPair
from curation.explorer.explored import Explored, Standing
from curation.explorer.frame import BY, Frame, Missing, asked_choice, asked_number, asked_text, further
from curation.explorer.pictures import Kept
from curation.report.caption_marks import mark_concepts, shown
from files.errors import MisuseError

PAGE = 24  # pairs
_DEEPEST = 20  # pages of a search by likeness
_CONCEPTS = 120
_UPLOADS = 1 << 20  # bytes of vectors
_WHICH = {"recovered": "recovered", "named": "named by the caption", "both": "both"}


@dataclass(frozen=True)
class ListedPair:
    """A pair in a list. note: why it is there, such as its likeness."""

    number: int
    pair: CuratedPair
    caption: Sequence[tuple[str, str | None]]
    recovered: Sequence[str]
    note: str = ""


def cards(explored: Explored, numbers: Sequence[int], notes: Iterable[str] = ()) -> list[ListedPair]:
    """The pairs of these numbers as cards."""
    said = [*notes, *[""] * len(numbers)]
    return [
        ListedPair(
            number,
            pair,
            mark_concepts(shown(pair.caption), pair.named),
            [row.concept for row in pair.archive if not row.in_caption][:6],
            note,
        )
        for number, pair, note in zip(numbers, explored.pairs(numbers), said, strict=False)
    ]


class Lists:
    """The lists of one curation."""

    def __init__(self, frame: Frame) -> None:
        self.frame, self.explored = frame, frame.explored
        self._uploads = Kept(_UPLOADS)

    def routes(self) -> list[Route]:
        """For an application."""
        pages = {
            "/": self.start,
            "/search": self.search,
            "/concepts": self.concepts,
            "/concept/{concept:int}": self.concept,
        }
        return [
            *(self.frame.got(path, page) for path, page in pages.items()),
            self.frame.posted("/search", self.upload),
        ]

    def start(self, request: Request) -> Response:
        """Figures, what is most recovered, what is doubtful."""
        explored = self.explored
        summary = explored.manifest["summary"]
        rejects = sum(summary.get("rejects", {}).values())
        tiles = [
            (f"{len(explored.catalogue):,}", "pairs"),
            (f"{100 * summary['gained_share']:.0f}%" if "gained_share" in summary else "", "gained a concept"),
            (f"{summary['concepts_per_pair']:.1f}" if "concepts_per_pair" in summary else "", "concepts per pair"),
            (f"{int((explored.catalogue.recovered.counts > 0).sum()):,}", "concepts recovered"),
            (f"{rejects:,}", "bad pairs left out"),
            (f"{explored.judgements.count():,}", "judgements given"),
        ]
        doubtful = explored.doubtful(10)
        best = [one for one in explored.most_recovered(25) if one not in doubtful][:15]
        return self.frame.page(
            "start.html.j2",
            tiles=[tile for tile in tiles if tile[0]],
            best=self._examples(best, 3),
            doubtful=self._examples(doubtful, 3),
            folder=str(explored.folder),
            by_fit=explored.space is not None,
        )

    def concepts(self, request: Request) -> Response:
        """All concepts that are recovered, or those like a word."""
        like, at = asked_text(request, "q"), asked_number(request, "at")
        catalogue = self.explored.catalogue
        recovered, named = catalogue.recovered, catalogue.named
        if like:
            order = np.array(self.explored.concepts_like(like, len(catalogue.words)), np.int64)
        else:
            order = np.argsort(-recovered.counts, kind="stable")
            order = order[recovered.counts[order] > 0]
        rows = [
            (c, catalogue.words[c], int(recovered.counts[c]), int(named.counts[c]), float(recovered.score[c]))
            for c in order[at : at + _CONCEPTS].tolist()
        ]
        most = int(recovered.counts.max()) if len(recovered.counts) else 1
        beyond = further(request, at, _CONCEPTS, len(order))
        return self.frame.page(
            "concepts.html.j2", rows=rows, most=max(1, most), like=like, total=len(order), at_row=at, **beyond
        )

    def concept(self, request: Request) -> Response:
        """The pairs that have a concept, best score first."""
        catalogue = self.explored.catalogue
        concept = request.path_params["concept"]
        if concept >= len(catalogue.words):
            raise Missing(f"there is no concept {concept}")
        which = asked_choice(request, "which", _WHICH)
        at = asked_number(request, "at")
        lists = [found.of(concept) for found in self.explored.of_concept(concept, which)]
        total = sum(map(len, lists))
        word = catalogue.words[concept]
        shown = []
        for card in cards(self.explored, _slice(lists, at).tolist()):
            row = next((row for row in card.pair.archive if row.concept == word), None)
            said = "" if row is None or row.score is None else f"score {row.score:.3f}, support {row.support}"
            shown.append(replace(card, note=said))
        counts = {"recovered": catalogue.recovered.counts[concept], "named": catalogue.named.counts[concept]}
        counts["both"] = counts["recovered"] + counts["named"]
        return self.frame.page(
            "concept.html.j2",
            concept=concept,
            word=word,
            which=which,
            counts={name: int(count) for name, count in counts.items()},
            words_of=_WHICH,
            cards=shown,
            total=total,
            at_row=at,
            **further(request, at, PAGE, total),
        )

    def search(self, request: Request) -> Response:
        """By words, by a picture given before, by concept, or by key."""
        asked, at = asked_text(request, "q").strip(), asked_number(request, "at")
        by = asked_choice(request, "by", (*BY, "picture"))
        if not asked:
            return self.frame.page("search.html.j2", by=by, asked="", more="", less="")
        if by == "concept":
            like = self.explored.concepts_like(asked, 2)
            if like and (len(like) == 1 or self.explored.catalogue.words[like[0]] == asked):
                return self.frame.to(f"/concept/{like[0]}")
            return self.frame.to("/concepts?" + urlencode({"q": asked}))
        if by == "key":
            pairs = self.explored.with_key(asked, PAGE + 1)
            if len(pairs) == 1:
                return self.frame.to(f"/pair/{pairs[0]}")
            found, more, cut = cards(self.explored, pairs[:PAGE]), {"more": "", "less": ""}, len(pairs) > PAGE
        else:
            at = min(at, (_DEEPEST - 1) * PAGE)
            likeness, pairs = self._like(asked, by, at + PAGE)
            found = cards(self.explored, pairs[at:], [f"similarity {one:.3f}" for one in likeness[at:]])
            total = min(_DEEPEST * PAGE, len(self.explored.catalogue)) if len(pairs) == at + PAGE else len(pairs)
            more, cut = further(request, at, PAGE, total), False
        named = self.explored.concepts_like(asked, 6) if by in ("words", "captions") else []
        counts = self.explored.catalogue.recovered.counts
        concepts = [(c, self.explored.catalogue.words[c], int(counts[c])) for c in named]
        given = {"by": by, "asked": asked, "cards": found, "cut": cut, "concepts": concepts}
        return self.frame.page("search.html.j2", **given, **more)

    def _like(self, asked: str, by: str, k: int) -> tuple[list[float], list[int]]:
        if by == "picture":
            vector = self._uploads.get(asked, lambda: None)
            if vector is None:
                raise MisuseError("that picture is no longer here: choose it again")
            return self.explored.like_vector(vector, k)
        return self.explored.like_words(asked, k, by)

    def upload(self, request: Request, form: FormData) -> Response:
        """A picture to search with: its vector is kept, the picture is not."""
        file = form.get("picture")
        data = file.file.read() if isinstance(file, UploadFile) else b""
        if not data:
            raise MisuseError("choose a picture to search with")
        vector = self.explored.vector_of(data)
        name = hashlib.sha256(data).hexdigest()[:16]
        self._uploads.get(name, lambda: vector)
        return self.frame.to("/search?" + urlencode({"by": "picture", "q": name}))

    def _examples(self, standings: Sequence[Standing], most: int) -> list[tuple[Standing, list[int]]]:
        """Concepts with pairs spread over all that have them: the best alone would flatter."""
        recovered = self.explored.catalogue.recovered
        found = []
        for one in standings:
            pairs = recovered.of(one.concept)
            spread = np.linspace(0, len(pairs), min(most, len(pairs)), endpoint=False).astype(np.int64)
            found.append((one, pairs[spread].tolist()))
        return found


def _slice(lists: Sequence[np.ndarray], at: int) -> np.ndarray:
    """A page of several long lists, one after the other, of which none is copied whole."""
    found = []
    for pairs in lists:
        found.append(pairs[min(at, len(pairs)) : at + PAGE])
        at = max(0, at - len(pairs))
    return np.concatenate(found)[:PAGE]
