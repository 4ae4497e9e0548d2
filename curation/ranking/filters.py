"""Filters: what leaves an archive whatever its rank. What the caption names never does.

A filter is a step: it gets what is gone already, bool [P], and adds to it. They run in the order of `filters_of`:
merging comes last, for nothing may go for the sake of what goes itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from curation.index.caption_rows import CaptionRows
from curation.ranking.archives import Archives
from curation.ranking.grounding import grounded
from curation.ranking.merging import Relation, Synonyms, WordFamilies, merged_away, within_reach
from curation.ranking.options import CurateOptions
from curation.ranking.picture_statistics import PictureStatistics

# Of archives, the scores of their entries float32 [P], and what is gone.
Step = Callable[[Archives, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Filter:
    """A step, and what it says of what it leaves out."""

    reason: str
    step: Step

    def __call__(self, archives: Archives, score: np.ndarray, gone: np.ndarray) -> np.ndarray:
        """What is gone after the step."""
        return self.step(archives, score, gone)


def filters_of(
    options: CurateOptions, rows: CaptionRows, statistics: PictureStatistics, families: WordFamilies | None
) -> list[Filter]:
    """The filters that the options ask for. families: of the vocabulary, where words are merged."""
    steps: list[Filter] = []

    def add(reason: str, step: Step) -> None:
        steps.append(Filter(reason, step))

    if options.grounded:
        shown = grounded(statistics, rows)
        add("no picture shows", lambda archives, score, gone: gone | ~(shown[archives.concept] | archives.in_caption))
    if options.synonyms:
        add("behind the best", lambda archives, score, gone: within_reach(archives, score, gone, options.keep))
    relations: list[Relation] = []
    order = np.arange(len(statistics.concepts))
    if families is not None:
        relations, order = [families], families.order
    if options.synonyms:
        relations.append(Synonyms(statistics, rows))
    if relations:
        add("said by another", lambda archives, score, gone: merged_away(archives, score, gone, relations, order))
    return steps
