"""Ranking by support (placeholder until the measured form is in)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.archives import Archives
from curation.vocabulary import Vocabulary

if TYPE_CHECKING:
    from curation.curate import CurateOptions
    from curation.index import Index


@dataclass(frozen=True)
class SupportModel:
    """Coefficients."""

    weight: float = 1.0

    def describe(self, vocabulary: Vocabulary) -> dict[str, Any]:
        """For the manifest."""
        return {"weight": self.weight}


def support_scores(archives: Archives, model: SupportModel) -> np.ndarray:
    """Scores float32 [P]."""
    return archives.similarity * np.log1p(archives.support)


def fit_support(index: Index, options: CurateOptions) -> SupportModel:
    """Fit."""
    return SupportModel()
