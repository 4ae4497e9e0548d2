"""Grounding: whether pictures show what a concept names at all.

Captions name much that no picture shows: whose dog it is, the day, the camera. A concept is grounded where t(c)·v is
higher for the pictures whose captions name it than for all. The mean of z(c) (picture_statistics.py) over the pairs
that name c is then well above nought; for "anniversary" it is not, whatever its similarity.
"""

from __future__ import annotations

import numpy as np

from curation.index.caption_rows import CaptionRows
from curation.ranking.company import explained
from curation.ranking.picture_statistics import PictureStatistics

# The least mean z of a grounded concept; one more pair of z = 0 is counted, so that few pairs prove little.
LEAST = 0.5
# Deviations from which a mean is no chance.
BEYOND_CHANCE = 3.0
BEYOND_COMPANY = 2.0


def grounded(statistics: PictureStatistics, rows: CaptionRows) -> np.ndarray:
    """bool [C]: which of the concepts the indexed pairs show to be grounded.

    One that no indexed pair names (captions without pictures alone do) has the benefit of the doubt. So have all where
    the pairs show none: pictures that are all alike, or two or three in all, tell nothing apart.
    """
    concept, z = statistics.z_named(rows)
    count = len(statistics.concepts)
    pairs = np.bincount(concept, minlength=count)
    mean = np.bincount(concept, z, minlength=count) / (pairs + 1)
    shown = mean >= LEAST
    if statistics.alike or not shown.any():
        return np.ones(count, bool)
    return (pairs == 0) | shown


def proven(statistics: PictureStatistics, rows: CaptionRows) -> np.ndarray:
    """bool [C]: which concepts are grounded beyond doubt: so high a mean, from so many pairs, is no chance.

    Were the pairs that name c like all others, the sum of z over n of them would have the deviation sqrt(n). Nor must
    it be what else these pairs name (company.py).
    """
    concept, z = statistics.z_named(rows)
    count = len(statistics.concepts)
    pairs = np.bincount(concept, minlength=count)
    total = np.bincount(concept, z, minlength=count)
    sure = (total >= LEAST * (pairs + 1)) & (total >= BEYOND_CHANCE * np.sqrt(pairs)) & (pairs > 0)
    own = total - pairs * explained(statistics, rows, sure)
    return sure & (own >= BEYOND_COMPANY * np.sqrt(pairs))
