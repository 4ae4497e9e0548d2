"""Which concepts a picture is trained with: drawn anew at every step from what curation wrote beside the pair.

caption: nouns of the caption, the baseline. curated-top: the K best of the archive, as released. curated-cluster:
cluster-guided sampling (PAPER, curation step 4): K clusters with probability softmax(mean score of the members),
without replacement, then one concept inside each with probability softmax(scores). What an archive cannot fill is left
to the caller, who fills it with the caption. A learner that is taught by whole lists takes them as they are.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import exp
from random import Random

MODES = ("caption", "curated-top", "curated-cluster")
CONCEPTS_VERSION = 1
LEAST_WEIGHT = 0.01  # of a listed concept, whatever its score
_LEAST = 5e-324
_MOST = 1e100  # sums and differences of scores stay finite


@dataclass(frozen=True, slots=True)
class ConceptArchive:
    """Concepts of a pair, best first, as parallel lists. clusters: None where curation wrote none."""

    names: list[str]
    scores: list[float]
    in_caption: list[bool]
    clusters: list[int] | None

    def __len__(self) -> int:
        return len(self.names)


def parse_concepts(data: bytes) -> ConceptArchive:
    """A `.concepts.json` member. Raises ValueError that says what is wrong with it."""
    try:
        described = json.loads(data)
        version, listed = described["version"], described["concepts"]
        if version != CONCEPTS_VERSION:
            raise ValueError(f"version {version}; this reads {CONCEPTS_VERSION}")
        names = [concept["concept"] for concept in listed]
        scores = [concept["score"] for concept in listed]
        in_caption = [concept["in_caption"] for concept in listed]
        clustered = not listed or "cluster" in listed[0]
        clusters = [concept["cluster"] for concept in listed] if clustered else None
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"not as it should be: {type(error).__name__} {error}") from error
    if not all(isinstance(name, str) and name for name in names):
        raise ValueError("a concept is no text")
    if not all(type(score) in (float, int) and -_MOST < score < _MOST for score in scores):
        raise ValueError(f"a score is no finite number below {_MOST:g}")
    if clusters is not None and not all(type(cluster) is int for cluster in clusters):
        raise ValueError("a cluster is no whole number")
    return ConceptArchive(names, scores, in_caption, clusters)


def listed(mode: str, archive: ConceptArchive, count: int) -> list[tuple[str, float]]:
    """The first `count` concepts of the whole list, best first, with their weights: scores, from `LEAST_WEIGHT` to 1.

    mode: one of MODES; caption: only those that the caption names.
    """
    whole = zip(archive.names, archive.scores, archive.in_caption, strict=True)
    wanted = [(name, score) for name, score, named in whole if named or mode != "caption"]
    return [(name, min(1.0, max(LEAST_WEIGHT, score))) for name, score in wanted[:count]]


def draw(mode: str, archive: ConceptArchive, count: int, random: Random, temperature: float = 1.0) -> list[str]:
    """Up to `count` different concepts of the archive by one of MODES; fewer where it holds fewer.

    temperature: divides the scores before both softmaxes of curated-cluster; the paper's is 1.
    Raises ValueError for curated-cluster where the archive has no clusters.
    """
    if mode == "curated-top":
        return archive.names[:count]
    if mode == "caption":
        return _draw_nouns(archive, count, random)
    if mode == "curated-cluster":
        return _draw_by_cluster(archive, count, random, temperature)
    raise ValueError(f"concepts: {mode}; expected one of {', '.join(MODES)}")


def _draw_nouns(archive: ConceptArchive, count: int, random: Random) -> list[str]:
    """Uniformly, without replacement, of those that the caption names."""
    nouns = [name for name, named in zip(archive.names, archive.in_caption, strict=True) if named]
    for i in range(min(count, len(nouns))):
        other = i + int(random.random() * (len(nouns) - i))
        nouns[i], nouns[other] = nouns[other], nouns[i]
    return nouns[:count]


def _draw_by_cluster(archive: ConceptArchive, count: int, random: Random, temperature: float) -> list[str]:
    """In rounds: where there are fewer clusters than wanted, those with concepts left are drawn from again."""
    if archive.clusters is None:
        raise ValueError("concepts without clusters")
    names, scores = archive.names, archive.scores
    if len(names) <= count:  # all of them, whatever the draws
        return list(names)
    groups: dict[int, list[int]] = {}
    for i, cluster in enumerate(archive.clusters):
        if cluster in groups:
            groups[cluster].append(i)
        else:
            groups[cluster] = [i]
    drawn: list[str] = []
    while len(drawn) < count:
        members = list(groups.values())
        means = [scores[g[0]] if len(g) == 1 else sum([scores[i] for i in g]) / len(g) for g in members]
        weights = _weights(means, temperature)
        for _ in range(min(count - len(drawn), len(members))):
            at = _draw_one(weights, random)
            weights[at] = 0.0
            group = members[at]
            inside = 0 if len(group) == 1 else _draw_one(_weights([scores[i] for i in group], temperature), random)
            drawn.append(names[group.pop(inside)])
        groups = {number: group for number, group in groups.items() if group}
    return drawn


def _weights(scores: list[float], temperature: float) -> list[float]:
    """softmax(scores / temperature), not normalised; none is 0, however small."""
    top = max(scores)
    return [exp((score - top) / temperature) or _LEAST for score in scores]


def _draw_one(weights: list[float], random: Random) -> int:
    """Index drawn with probability proportional to its weight; one of weight 0 is never drawn."""
    left = random.random() * sum(weights)
    for i, weight in enumerate(weights):
        left -= weight
        if left < 0.0:
            return i
    return max(range(len(weights)), key=weights.__getitem__)  # rounding left a rest
