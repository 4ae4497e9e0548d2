"""Witnesses: tags that another model gave the pictures, as one more source beside the captions retrieved.

A tag speaks by added log-odds, fitted to how often it is right beyond what the captions retrieved tell already:

    logit score'(c) = logit score(c) + weight d(s)      s: the tag's score for c; or that the tagger did not name c

d is a step function of s, which never falls, over quantiles of the scores. In each step it is such that, over pairs
whose own captions are held out, as many concepts are expected to be named as the captions do name. So any tagger can
join, on whatever scale, and one that tells nothing new gets d = 0. Of a concept that the tagger never names, its
silence says nothing. A concept that is tagged competes even where no caption retrieved names it.

People do not name all that they see, so that d understates what a tag tells of the picture. Hence the weight: the
largest under which hardly fewer of the concepts that held-out captions name are among the best 32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.index.identity import name_hashes
from curation.index.vocabulary import Vocabulary
from curation.ranking.anchor import Anchors
from curation.ranking.archives import CONCEPT_BITS, Archives, gather, with_concepts
from curation.ranking.expansion import Retrieved, by_picture_alone, expand
from curation.ranking.own_captions import is_own
from curation.ranking.support import SupportModel, posterior
from curation.reading.tags import tag_rows
from files.errors import MisuseError

if TYPE_CHECKING:
    from curation.index.opened import Index

STEPS = 8
FIT_PAIRS, FIT_BLOCK = 2_000, 500
FIT_MENTIONS = 50
# d is drawn towards 0 as by a normal prior of this deviation, which matters where a step has few entries.
SPREAD, MOST = 2.0, 10.0
LOWEST = 1e-6  # of a probability, for its logarithm
# Tags that hold so much of what captions name were made of captions.
SUSPECT = 0.97
SHOWN = 5
WEIGHTS = (1.0, 2.0, 3.0, 5.0, 8.0, 12.0)
# "Among the best", and the share of what captions name that a larger weight may cost.
BEST, PRICE = 32, 0.03
_NOTHING = (np.empty(0, np.float32), np.zeros(1, np.float32), 0.0)


@dataclass(frozen=True)
class PairTags:
    """Tags of a block of B pairs, sorted by pair and concept. pair int64 [T], concept int32 [T], score float32 [T].

    looked bool [B]: which pairs the table speaks of.
    """

    pair: np.ndarray
    concept: np.ndarray
    score: np.ndarray
    looked: np.ndarray

    @property
    def keys(self) -> np.ndarray:
        """int64 [T], ascending: pair and concept in one."""
        return (self.pair << CONCEPT_BITS) + self.concept


@dataclass(frozen=True)
class Tags:
    """A table of tags, in memory: 20 bytes a row.

    pairs uint64 [N]: hashes of the pairs, ascending; concept int32 [N], score float32 [N]. looked uint64: hashes of all
    pairs that it speaks of. known bool [C]: concepts that it names anywhere. unknown: tags that are not in the
    vocabulary, with their rows. repeated: rows of a tag that another row has. digest: of all rows.
    """

    pairs: np.ndarray
    concept: np.ndarray
    score: np.ndarray
    looked: np.ndarray
    known: np.ndarray
    by_shard: bool
    unknown: dict[str, int]
    repeated: int
    digest: str

    def of(self, shard: str, keys: Sequence[str]) -> PairTags:
        """Those of some pairs of a shard."""
        hashes = _hashes(shard if self.by_shard else "", keys)
        first = np.searchsorted(self.pairs, hashes)
        counts = np.searchsorted(self.pairs, hashes, "right") - first
        pair = np.repeat(np.arange(len(keys)), counts)
        at = np.arange(len(pair)) + np.repeat(first - (np.cumsum(counts) - counts), counts)
        place = np.minimum(np.searchsorted(self.looked, hashes), max(0, len(self.looked) - 1))
        looked = self.looked[place] == hashes if len(self.looked) else np.zeros(len(keys), bool)
        return PairTags(pair, self.concept[at], self.score[at], looked)

    def examples(self) -> str:
        """Tags that name no concept of the vocabulary, the most frequent first, with their rows."""
        most = sorted(self.unknown.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]
        return ", ".join(f"{concept} {count:,}" for concept, count in most)


def read_tags(path: Path, vocabulary: Vocabulary, normal_form: Callable[[str], str]) -> Tags:
    """A table of tags; each is put into the form of a concept. Of several rows of one tag the highest score counts.

    Raises MisuseError for a table that is none of tags, or names nothing of the vocabulary, CocuError for one that
    cannot be read.
    """
    parts = [(np.empty(0, np.uint64), np.empty(0, np.int32), np.empty(0, np.float32))]
    seen = [np.empty(0, np.uint64)]
    forms: dict[str, str] = {"": ""}
    ids: dict[str, int] = {word: i for i, word in enumerate(vocabulary.words)}
    unknown: dict[str, int] = {}
    rows, by_shard, content = 0, False, blake2b(digest_size=16)
    for part in tag_rows(path, "--tags"):
        by_shard = part.shards is not None
        hashes = _hashes_by_row(part.shards, part.keys)
        for tag in set(part.concepts) - forms.keys():
            forms[tag] = normal_form(tag)
        concept = np.array([ids.get(forms[name], -1) for name in part.concepts], np.int32)
        for i in np.flatnonzero(concept < 0):
            if name := part.concepts[i]:
                unknown[name] = unknown.get(name, 0) + 1
        rows += len(hashes)
        for array in (hashes, concept, part.scores):
            content.update(array.tobytes())
        known = concept >= 0
        seen.append(np.unique(hashes))
        parts.append((hashes[known], concept[known], part.scores[known]))
    pairs, concept, score = (np.concatenate(column) for column in zip(*parts, strict=True))
    if not len(pairs):
        raise MisuseError(
            f"--tags {path}: none of its {rows:,} tags names a concept of the vocabulary"
            + (f" (such as {min(unknown)!r})" if unknown else "")
        )
    order = np.lexsort((-score, concept, pairs))
    pairs, concept, score = pairs[order], concept[order], score[order]
    first = np.append(True, (pairs[1:] != pairs[:-1]) | (concept[1:] != concept[:-1]))
    ever = np.bincount(concept, minlength=len(vocabulary)) > 0
    columns = (pairs[first], concept[first], score[first], np.unique(np.concatenate(seen)))
    return Tags(*columns, ever, by_shard, unknown, int((~first).sum()), content.hexdigest())


@dataclass(frozen=True)
class TagModel:
    """What tags add: weight times d.

    edges float32 [K-1]: scores at which the next step begins; log_odds float32 [K]; silent: where no tag is given.
    """

    edges: np.ndarray
    log_odds: np.ndarray
    silent: float
    report: dict[str, Any]

    def added(self, archives: Archives, tags: PairTags, known: np.ndarray) -> np.ndarray:
        """d of the entries of archives, float32 [P]; 0 for pairs that the table does not speak of."""
        at, tagged = _places(archives, tags)
        silent = tags.looked[archives.anchor] & known[archives.concept]
        found = np.where(silent, np.float32(self.silent), np.float32(0))
        step = np.searchsorted(self.edges, tags.score[at[tagged]], "right")
        found[tagged] = self.log_odds[step]
        return found

    def describe(self) -> dict[str, Any]:
        """For the manifest."""
        steps = [round(float(value), 3) for value in self.log_odds]
        edges = [float(f"{value:.6g}") for value in self.edges]
        return {"edges": edges, "log_odds": steps, "silent": round(self.silent, 3), **self.report}


def shifted(score: np.ndarray, log_odds: np.ndarray) -> np.ndarray:
    """Probabilities float32 [P] with log-odds added; those that get 0 stay as they are."""
    p = np.clip(score.astype(np.float64), LOWEST, 1 - LOWEST)
    odds = p / (1 - p) * np.exp(log_odds.astype(np.float64))
    return np.where(log_odds == 0, score, odds / (1 + odds)).astype(np.float32)


def held_out(
    index: Index, anchors: Anchors, expansions: Sequence[str], support: SupportModel, tags: PairTags
) -> tuple[Archives, np.ndarray, PairTags]:
    """What `fit_tags` takes of pairs: archives of what is retrieved without a look at their own captions."""
    asking = anchors.take(np.arange(len(anchors)))  # knows nothing of what the own caption names
    blind = by_picture_alone(expansions)
    rows = expand(asking, blind, support.neighbours, index.images, index.captions, index.rows).rows
    rows = np.where(is_own(anchors, rows, index.rows), -1, rows)
    found = gather(anchors, Retrieved(rows, np.zeros(len(rows), bool)), index.rows, index.vocabulary.vectors)
    found = with_concepts(found, anchors, index.vocabulary.vectors, tags.pair, tags.concept)
    return found, posterior(found, support), tags


def fit_tags(blocks: Iterable[tuple[Archives, np.ndarray, PairTags]], known: np.ndarray) -> TagModel:
    """Fit d and its weight. blocks: held-out archives with the tags in them, scores without tags, and the tags."""
    parts = [_entries(*block, known, first) for first, block in enumerate(blocks)]
    if not parts:
        return TagModel(*_NOTHING, {"fitted_on_pairs": 0, "tags": 0, "of_them_named": 0, "named_and_tagged": 0.0})
    pair, logit, named, score, looked, fair = (np.concatenate(column) for column in zip(*parts, strict=True))
    tagged = ~np.isnan(score)
    mentions = int((named & tagged).sum())
    share = round(mentions / max(1, int((named & looked).sum())), 4)
    report: dict[str, Any] = {
        "fitted_on_pairs": len(np.unique(pair[looked])),
        "tags": int(tagged.sum()),
        "of_them_named": mentions,
    }
    report |= {"named_and_tagged": share}
    if mentions < FIT_MENTIONS:
        return TagModel(*_NOTHING, report)
    edges = np.unique(np.quantile(score[tagged], np.linspace(0, 1, STEPS + 1)[1:-1], method="higher"))
    edges = edges[edges > score[tagged].min()].astype(np.float32)
    edges, steps = _never_falling(edges, np.searchsorted(edges, score[tagged], "right"), logit[tagged], named[tagged])
    silent = _calibrating(logit[fair & ~tagged], named[fair & ~tagged])

    added = np.where(tagged, steps[np.searchsorted(edges, score, "right").clip(max=len(steps) - 1)], silent * looked)
    shares = [_among_best(pair, logit + weight * added, named) for weight in WEIGHTS]
    weight = max(weight for weight, one in zip(WEIGHTS, shares, strict=True) if one >= (1 - PRICE) * max(shares))
    by_weight = {f"{one:g}": round(share, 4) for one, share in zip(WEIGHTS, shares, strict=True)}
    report |= {"weight": weight, "named_among_best": by_weight}
    return TagModel(edges, (weight * steps).clip(-MOST, MOST), max(weight * silent, -MOST), report)


def _entries(
    archives: Archives, score: np.ndarray, tags: PairTags, known: np.ndarray, block: int
) -> tuple[np.ndarray, ...]:
    """Of the entries of pairs that the table speaks of: pair, log-odds, named, the tag's score or NaN, looked, fair.

    looked: whether the tagger ever names the concept. fair: whether the entry would be there as well if the caption did
    not name it.
    """
    at, tagged = _places(archives, tags)
    given = np.full(len(at), np.nan, np.float32)
    given[tagged] = tags.score[at[tagged]]
    looked = known[archives.concept]
    fair = looked & (tagged | (archives.support > 0))
    p = np.clip(score.astype(np.float64), LOWEST, 1 - LOWEST)
    columns = (archives.anchor + (block << 32), np.log(p / (1 - p)), archives.in_caption, given, looked, fair)
    return tuple(column[tags.looked[archives.anchor]] for column in columns)


def _among_best(pair: np.ndarray, logit: np.ndarray, named: np.ndarray) -> float:
    """Share of the named concepts that are among the `BEST` of their pair."""
    order = np.lexsort((-logit, pair))
    _, first, counts = np.unique(pair[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(first, counts)
    return float((rank[named[order]] < BEST).mean())


def _never_falling(
    edges: np.ndarray, step: np.ndarray, logit: np.ndarray, named: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """d of each step; neighbours of which the later would have less are made one (pool adjacent violators)."""
    pooled: list[tuple[int, np.ndarray, float]] = []  # where it begins, its entries, d
    for number in range(len(edges) + 1):
        entries = np.flatnonzero(step == number)
        pooled.append((number, entries, _calibrating(logit[entries], named[entries])))
        while len(pooled) > 1 and pooled[-1][2] <= pooled[-2][2]:
            (begin, one, _), (_, other, _) = pooled[-2:]
            both = np.concatenate([one, other])
            pooled[-2:] = [(begin, both, _calibrating(logit[both], named[both]))]
    begins, _, steps = zip(*pooled, strict=True)
    return edges[[begin - 1 for begin in begins[1:]]], np.array(steps, np.float32)


def _calibrating(logit: np.ndarray, named: np.ndarray) -> float:
    """d under which as many are expected to be named as are, but for the prior: a root of a rising function."""
    low, high = -MOST, MOST
    for _ in range(40):
        d = (low + high) / 2
        excess = float((1 / (1 + np.exp(-(logit + d)))).sum() - named.sum()) + d / SPREAD**2
        low, high = (low, d) if excess > 0 else (d, high)
    return (low + high) / 2


def _places(archives: Archives, tags: PairTags) -> tuple[np.ndarray, np.ndarray]:
    """Of entries of archives: the place among the tags int64 [P], and whether they are tagged bool [P]."""
    entries = (archives.anchor << CONCEPT_BITS) + archives.concept
    keys = tags.keys
    if not len(keys):
        return np.zeros(len(entries), np.int64), np.zeros(len(entries), bool)
    at = np.minimum(np.searchsorted(keys, entries), len(keys) - 1)
    return at, keys[at] == entries


def _hashes(shard: str, keys: Sequence[str]) -> np.ndarray:
    return name_hashes([f"{shard}/{key}" for key in keys])


def _hashes_by_row(shards: list[str] | None, keys: list[str]) -> np.ndarray:
    if shards is None:
        return _hashes("", keys)
    return name_hashes([f"{shard}/{key}" for shard, key in zip(shards, keys, strict=True)])
