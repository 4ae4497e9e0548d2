"""What is fitted to an index before its first pair is curated: the models of a ranking, and which words go together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.concepts.lemmas import lexicon_of
from curation.index.opened import index_nouns
from curation.ranking.confidence import ConfidenceModel, fit_confidence
from curation.ranking.evidence import PictureWeight, fit_picture_weight
from curation.ranking.expansion import parse_expansion
from curation.ranking.grounding import grounded
from curation.ranking.merging import WordFamilies, word_families
from curation.ranking.options import PAPER_NEIGHBOURS, CurateOptions
from curation.ranking.picture_statistics import PictureStatistics
from curation.ranking.relevance import RANKINGS
from curation.ranking.support import SupportModel, fit_support

if TYPE_CHECKING:
    from curation.index.opened import Index


@dataclass(frozen=True)
class FittedModels:
    """support: of a ranking that is fitted. picture: of one for which all concepts compete. judge: tells confidence.

    families: of the words of concepts, where they are merged. None of what the options do not ask for.
    """

    statistics: PictureStatistics
    support: SupportModel | None = None
    judge: ConfidenceModel | None = None
    picture: PictureWeight | None = None
    families: WordFamilies | None = None

    def describe(self) -> dict[str, Any]:
        """For the manifest."""
        parts = {"support": self.support, "picture": self.picture, "confidence": self.judge}
        return {name: part.describe() for name, part in parts.items() if part is not None}


def fit_models(index: Index, options: CurateOptions) -> FittedModels:
    """Fit what the options ask for."""
    statistics = PictureStatistics(index.vocabulary.vectors, index.rows.image_vectors)
    support = judge = picture = families = None
    ranking, expansions = RANKINGS[options.ranking], parse_expansion(options.expansion)
    if ranking.fitted:
        support = fit_support(index, statistics, expansions, options.neighbours)
    if support or options.confidence > 0:
        judge = fit_confidence(index, statistics, expansions, neighbours_of(options, support), support)
    if support and ranking.everything:
        shown = grounded(statistics, index.rows) if options.grounded else np.ones(len(index.vocabulary), bool)
        picture = fit_picture_weight(index, statistics, support, judge, expansions, shown)
    if options.merge:
        lexicon = lexicon_of(index_nouns(index))
        families = word_families(index.vocabulary, lexicon.normal_form, lexicon.set_phrases, index.rows)
    return FittedModels(statistics, support, judge, picture, families)


def neighbours_of(options: CurateOptions, support: SupportModel | None) -> int:
    """How many captions each expansion retrieves."""
    return support.neighbours if support else options.neighbours or PAPER_NEIGHBOURS
