"""A curation as the pages ask it: lists of pairs, a pair and why, what is most recovered, and what is doubtful."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING

import numpy as np

from curation.curated.judgements import JudgedShare, Judgements, judged_file, share_drawn
from curation.curated.pairs import CuratedPair
from curation.explorer.catalogue import Catalogue, Postings, open_catalogue, shard_keys
from curation.explorer.pictures import Kept, Pictures
from curation.explorer.tables import read_pairs
from curation.runs.manifest import read_manifest
from curation.runs.parquet_parts import reading
from files.errors import CocuError, MisuseError
from files.pictures import BadPicture

if TYPE_CHECKING:
    from curation.encoding.dense import DenseEncoder
    from curation.encoding.encoder import Encoder
    from curation.encoding.model_names import EncoderSpec
    from curation.explorer.space import PairSpace
    from curation.reasons.witnesses import HowRetrieved

LOOKED_AT = 120  # concepts that are recovered most, among which the doubtful are looked for
_OF_EACH = 64  # pairs by which a concept is judged
_PICTURES = 2000  # that say what a similarity is worth
_HEAT_BYTES = 16 << 20
_CAPTIONS = 3  # that name a concept, shown of each
_REASONS = 256  # pairs whose reasons are kept, for each judgement shows them again


@dataclass(frozen=True)
class Standing:
    """A concept among the recovered. fit: how far its pictures are more like it than others are, in deviations.

    score: the mean of its scores. fit None: not known, or not yet.
    """

    concept: int
    word: str
    pairs: int
    score: float
    fit: float | None = None


@dataclass(frozen=True)
class Reason:
    """A retrieved caption. pair: number of its pair, None where it has no picture here."""

    caption: str
    pair: int | None


class Explored:
    """One curation, opened. The encoder is loaded in the background: what needs it waits for it.

    space: None without its index. encoder_missing: why there is none, for people; "" where there is one, or will be.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        space: PairSpace | None,
        judgements: Judgements,
        device: str = "auto",
        encoder: EncoderSpec | None = None,
        name: str = "",
    ) -> None:
        self.catalogue, self.space, self.judgements = catalogue, space, judgements
        self.folder = catalogue.folder
        self.name = name or self.folder.resolve().name
        self.manifest = read_manifest(self.folder, "curated")
        self.pictures = Pictures(catalogue)
        self.encoder_missing = "" if space else "give the index by --index: without it there is no search by words"
        self._wanted = device, encoder
        self._encoder: Encoder | None = None
        self._searching = Lock()  # neither FAISS's settings nor the encoder may be changed by two at once
        self._loading = Thread(target=self._load, daemon=True)
        self._heat = Kept(_HEAT_BYTES)
        self._reasons = Kept(_REASONS)

    @classmethod
    def opened(
        cls,
        curated: Path,
        index: Path | None,
        judged: Path | None = None,
        scratch: Path | None = None,
        device: str = "auto",
        encoder: EncoderSpec | None = None,
    ) -> Explored:
        """The curation of a folder. index: None looks for it beside the folder; without one some pages are poorer.

        scratch: where the catalogue is kept if the folder cannot be written. Raises MisuseError for what is no
        curation, or an index that is another's, CocuError for what is broken.
        """
        from curation.explorer.space import PairSpace
        from curation.reasons.made_from import find_index

        read_manifest(curated, "curated")
        catalogue = open_catalogue(curated, scratch)
        found = index or find_index(curated)
        space = PairSpace.opened(catalogue, found) if found else None
        return cls(catalogue, space, Judgements(judged_file(curated, judged)), device, encoder)

    def start(self) -> None:
        """Begin to load the encoder."""
        if self.space:
            self._loading.start()

    # Lists of pairs.

    def pairs(self, numbers: Sequence[int]) -> list[CuratedPair]:
        """The pairs of these numbers."""
        return read_pairs(self.catalogue, numbers)

    def with_key(self, key: str, most: int) -> list[int]:
        """Pairs of this key, in any shard, else the first of those whose keys begin so."""
        import pyarrow.compute as pc
        import pyarrow.dataset as ds

        field = ds.field("key")
        files = [str(self.folder / "tables" / "pairs" / f"{shard}.parquet") for shard in self.catalogue.shards]
        with reading(self.folder / "tables" / "pairs"):
            table = ds.dataset(files, format="parquet")
            for wanted in (field == key, pc.starts_with(field, key)):
                found = table.head(most, columns=["key", "shard"], filter=wanted)
                if len(found):
                    break
        pairs: list[int] = []
        by_shard: dict[str, set[str]] = {}
        for one in found.to_pylist():
            if one["shard"] in self.catalogue.shards:
                by_shard.setdefault(one["shard"], set()).add(one["key"])
        for shard, names in by_shard.items():
            start = self.catalogue.start(shard)
            keys = shard_keys(self.folder, shard).to_pylist()
            pairs += [start + row for row, name in enumerate(keys) if name in names]
        return sorted(pairs)[:most]

    def of_concept(self, concept: int, which: str) -> list[Postings]:
        """Where the pairs of a concept are listed: recovered, named, or both."""
        both = {"recovered": self.catalogue.recovered, "named": self.catalogue.named}
        return list(both.values()) if which == "both" else [both[which]]

    def concepts_like(self, words: str, most: int) -> list[int]:
        """Concepts in whose name the words stand, the most recovered first."""
        wanted = words.casefold()
        found = [number for word, number in self.catalogue.concept.items() if wanted in word.casefold()]
        exact = self.catalogue.concept.get(words, -1)
        return sorted(found, key=lambda c: (c != exact, -int(self.catalogue.recovered.counts[c]), c))[:most]

    def like_words(self, words: str, k: int, by: str) -> tuple[list[float], list[int]]:
        """The k pairs most like words: similarities, numbers. Raises MisuseError where there is no encoder."""
        encoder, space = self._ready()
        with self._searching:
            query = encoder.encode_texts([words])[0].astype(np.float32)
            similarity, pairs = space.nearest(query, k, by)
        return similarity.tolist(), pairs

    def vector_of(self, picture: bytes) -> np.ndarray:
        """An encoded picture as a unit vector float32 [D]. Raises MisuseError for one that cannot be read."""
        encoder, _ = self._ready()
        with self._searching:
            ((_, vector),) = encoder.encode_pictures([("", picture)])
        if isinstance(vector, BadPicture):
            raise MisuseError(f"the picture cannot be searched with: {vector}")
        return vector.astype(np.float32)

    def like_vector(self, vector: np.ndarray, k: int) -> tuple[list[float], list[int]]:
        """The k pairs whose pictures are most like a unit vector [D]: similarities, numbers."""
        _, space = self._ready()
        with self._searching:
            similarity, pairs = space.nearest(vector, k)
        return similarity.tolist(), pairs

    # One pair.

    def neighbours(self, pair: int, most: int) -> tuple[list[float], list[int]]:
        """The pairs whose pictures are most like its own; none without the index."""
        if not self.space or (self.space.inside and self.space.index.images is None):
            return [], []
        with self._searching:
            similarity, pairs = self.space.nearest(self.space.vectors(np.array([pair]))[0], most + 1)
        others = [(s, p) for s, p in zip(similarity.tolist(), pairs, strict=True) if p != pair][:most]
        return [s for s, _ in others], [p for _, p in others]

    def similarities(self, pair: int, concepts: Sequence[int]) -> list[float | None]:
        """t(c)·v(x) of a pair's concepts; None without the index."""
        if not self.space or not len(concepts):
            return [None] * len(concepts)
        vectors = self.space.index.vocabulary.vectors[list(concepts)]
        return (vectors @ self.space.vectors(np.array([pair]))[0]).tolist()

    def why(self, pair: int, concepts: Sequence[int]) -> dict[int, list[Reason]]:
        """The retrieved captions that name each concept; none without the index."""
        if not self.space:
            return {}
        space, how = self.space, self._how
        from curation.index.search import read_captions
        from curation.reasons.witnesses import witnesses

        def look() -> dict[int, list[Reason]]:
            with self._searching:
                (found,) = witnesses(space.index, how, space.anchor(pair), [concepts], _CAPTIONS)
            captions = read_captions(space.index, sorted({row for rows in found.values() for row in rows}))
            return {
                concept: [Reason(captions[row][-1], space.pair(row)) for row in rows] for concept, rows in found.items()
            }

        reasons: dict[int, list[Reason]] = self._reasons.get((pair, *concepts), look)
        return reasons

    @cached_property
    def _how(self) -> HowRetrieved:
        from curation.reasons.witnesses import how_retrieved

        return how_retrieved(self.folder)

    def heat(self, pair: int, concept: int) -> bytes | None:
        """A PNG to lay over the picture; None where there is none. Raises MisuseError for an encoder without cells."""
        from curation.explorer.heat import heat_maps, heat_sheet

        picture = self.pictures.whole(pair)
        if picture is None:
            return None
        (one,) = self.pairs([pair])
        concepts = [self.catalogue.concept[row.concept] for row in one.archive]
        if concept not in concepts:
            concepts.append(concept)
        _, space = self._ready()
        vectors = space.index.vocabulary.vectors

        def look() -> np.ndarray:
            with self._searching:
                return heat_maps(self._dense, picture, vectors[concepts])

        try:
            return heat_sheet(self._heat.get((pair, len(concepts)), look)[concepts.index(concept)], picture)
        except BadPicture:
            return None

    def so_far(self, depth: int) -> JudgedShare:
        """Of the `depth` best recovered concepts of the drawn pairs, those that are judged: how many are right."""
        return share_drawn(self.judgements.all(), depth)

    # All concepts.

    def most_recovered(self, most: int) -> list[Standing]:
        """The concepts that are recovered for most pairs."""
        counts, score = self.catalogue.recovered.counts, self.catalogue.recovered.score
        top = np.argsort(-counts, kind="stable")[:most]
        fits = self._fits
        return [
            Standing(c, self.catalogue.words[c], int(counts[c]), float(score[c]), fits.get(c))
            for c in top.tolist()
            if counts[c]
        ]

    def doubtful(self, most: int) -> list[Standing]:
        """Of `LOOKED_AT` that are recovered most, those that stand for most doubt: pairs, by what the fit lacks of 1.

        Where it is not known: by what the mean score lacks of theirs.
        """
        found = self.most_recovered(LOOKED_AT)
        usual = float(np.median([one.score for one in found])) if found else 0.0
        lacks = [1 - one.fit if one.fit is not None else usual - one.score for one in found]
        order = sorted(range(len(found)), key=lambda i: -lacks[i] * found[i].pairs)
        return [found[i] for i in order[:most] if lacks[i] > 0]

    @cached_property
    def _fits(self) -> dict[int, float]:
        """Of the concepts recovered most: mean over their pairs of (t(c)·v - mean) / deviation, both over pictures."""
        if not self.space:
            return {}
        recovered = self.catalogue.recovered
        top = [int(c) for c in np.argsort(-recovered.counts, kind="stable")[:LOOKED_AT] if recovered.counts[c]]
        texts = self.space.index.vocabulary.vectors[top]
        every = np.unique(np.linspace(0, len(self.catalogue) - 1, _PICTURES).astype(np.int64))
        usual = self.space.vectors(every) @ texts.T
        centre, spread = usual.mean(0), np.maximum(usual.std(0), 1e-6)
        found = {}
        for i, concept in enumerate(top):
            pairs = recovered.of(concept)
            some = pairs[np.linspace(0, len(pairs) - 1, min(_OF_EACH, len(pairs))).astype(np.int64)]
            own = self.space.vectors(some) @ texts[i]
            found[concept] = float((own.mean() - centre[i]) / spread[i])
        return found

    # The encoder.

    @property
    def loading(self) -> bool:
        """Whether the encoder is not yet there."""
        return self._loading.is_alive()

    def settle(self) -> None:
        """Wait for it, if it is on its way."""
        if self._loading.is_alive():
            self._loading.join()

    def _load(self) -> None:
        assert self.space is not None
        device, named = self._wanted
        try:
            from curation.index.opened import open_encoder

            self._encoder = open_encoder(self.space.index, device, named=named)
        except CocuError as error:
            self.encoder_missing = str(error)

    def _ready(self) -> tuple[Encoder, PairSpace]:
        self.settle()
        if self._encoder is None or self.space is None:
            raise MisuseError(self.encoder_missing or "the encoder could not be loaded")
        return self._encoder, self.space

    @cached_property
    def _dense(self) -> DenseEncoder:
        from curation.encoding.dense import DenseEncoder

        return DenseEncoder(self._ready()[0])
