"""Company: what of a concept's nearness to its pictures follows from what else their captions name.

Captions say "a person and the joy of": their pictures are nearer to "joy" than others are, as people are, and no
picture shows a joy. What of it the company explains is what the company brings where the concept itself is not named:

    explained(c) = mean over the pairs that name c of max over the other concepts d that they name of E[z(c) | d, not c]

z: picture_statistics.py. The rest of the mean z(c) is the concept's own.
"""

from __future__ import annotations

import numpy as np

from curation.index.caption_rows import CaptionRows, pair_similarity
from curation.ranking.cooccurrence import MOST_NAMED, places, places_within
from curation.ranking.picture_statistics import PictureStatistics
from curation.ranking.witness import pictures_summed

# Pairs of z = 0 that are counted to those of each d, so that few explain little.
DOUBT = 5.0
# Mentions side by side in a caption that are looked at: bounds the memory.
MOST_PAIRS = 1 << 22


def explained(statistics: PictureStatistics, rows: CaptionRows, asked: np.ndarray) -> np.ndarray:
    """explained(c), float64 [C], no less than 0; 0 of concepts that are not `asked` for, bool [C].

    Of many pairs it is an estimate by every so many-th.
    """
    count = len(statistics.concepts)
    lengths = np.diff(rows.offsets[: rows.images + 1])
    looked = np.flatnonzero((lengths > 0) & (lengths <= MOST_NAMED))
    looked = looked[:: max(1, -(-int((lengths[looked] ** 2).sum()) // MOST_PAIRS))]
    lengths = lengths[looked]
    mention = places(rows.offsets[looked], lengths)
    concept, owner = rows.concept_ids[mention], np.repeat(np.arange(len(looked)), lengths)
    one, other = places_within(np.cumsum(lengths) - lengths, lengths)
    apart = (concept[one] != concept[other]) & asked[concept[one]]
    one, other = one[apart], other[apart]
    keys, kind = np.unique(concept[one].astype(np.int64) * count + concept[other], return_inverse=True)
    c, d = keys // count, keys % count
    z = statistics.z(rows.similarity[mention], concept)
    named = np.bincount(concept, minlength=count)
    near = pair_similarity(statistics.concepts, c, pictures_summed(rows, looked, concept, owner, count), d)
    of_d = (near - named[d] * statistics.centre[c]) / statistics.spread[c]
    of_both, both = np.bincount(kind, z[one], len(keys)), np.bincount(kind, minlength=len(keys))
    most = np.zeros(len(concept))
    np.maximum.at(most, one, ((of_d - of_both) / (named[d] - both + DOUBT))[kind])
    return np.bincount(concept, most, count) / np.maximum(named, 1)
