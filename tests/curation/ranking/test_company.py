"""What of a concept its company explains, against a plain loop, and on words that are said of what is shown."""

from __future__ import annotations

import numpy as np
import pytest

from curation.index.caption_rows import CaptionRows, pair_similarity
from curation.ranking import company
from curation.ranking.company import DOUBT, explained
from curation.ranking.grounding import grounded, proven
from curation.ranking.picture_statistics import PictureStatistics
from tests.curation.small_index import small_index


@pytest.mark.parametrize("every", [1, 3])
def test_it_is_that_of_the_plain_loop(every: int, monkeypatch: pytest.MonkeyPatch) -> None:
    index = small_index(pairs=60, concepts=9, lean=0.3)
    rows = index.rows
    lengths = np.diff(rows.offsets[:61])
    monkeypatch.setattr(company, "MOST_PAIRS", -(-int((lengths**2).sum()) // every))
    statistics = PictureStatistics(index.concepts, rows.image_vectors)
    asked = np.arange(9) != 4
    got = explained(statistics, rows, asked)
    z = statistics.z(rows.image_vectors[:60].astype(np.float32) @ index.concepts.T, slice(None))
    looked = [i for i in range(60) if index.named[i]][::every]
    for c in range(9):
        best = []
        for i in looked:
            if c not in index.named[i]:
                continue
            others = [[z[j, c] for j in looked if d in index.named[j] and c not in index.named[j]]
                      for d in index.named[i] if d != c]  # fmt: skip
            best.append(max([0.0, *(sum(brought) / (len(brought) + DOUBT) for brought in others)]))
        assert got[c] == pytest.approx(np.mean(best) if asked[c] and best else 0, abs=1e-4)


def said_of(share_own: float, seed: int) -> tuple[PictureStatistics, CaptionRows]:
    """500 pictures of one of 5 things each. Captions name it; concept 5 is said of every fifth picture of thing 0.

    Its text is near to that of thing 0, and to those fifth pictures by share_own of something of their own.
    """
    rng = np.random.default_rng(seed)
    things = np.linalg.qr(rng.standard_normal((48, 8)))[0].T
    shown = np.arange(500) % 5
    special = (shown == 0) & (np.arange(500) % 25 == 0)
    pictures = things[shown] + share_own * special[:, None] * things[6] + 0.05 * rng.standard_normal((500, 48))
    texts = np.vstack([things[:5], 0.5 * things[0] + things[6] + things[7]])
    texts, pictures = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (texts, pictures))
    named = [[int(thing), 5] if one else [int(thing)] for thing, one in zip(shown, special, strict=True)]
    offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in named])])
    ids, texts, vectors = np.concatenate(named).astype(np.int32), texts.astype(np.float32), pictures.astype(np.float16)
    similarity = pair_similarity(texts, ids, vectors, np.repeat(np.arange(500), np.diff(offsets)))
    hashes = np.arange(1, 501).astype(np.uint64)
    rows = CaptionRows(offsets, ids, similarity, hashes, hashes, vectors, vectors)
    return PictureStatistics(texts, vectors), rows


@pytest.mark.parametrize("seed", range(5))
def test_what_is_said_of_people_only_is_not_proven_by_them(seed: int) -> None:
    statistics, rows = said_of(0.0, seed)
    assert grounded(statistics, rows)[5]
    assert proven(statistics, rows).tolist() == [True] * 5 + [False]
    assert explained(statistics, rows, np.ones(6, bool))[5] > 1


@pytest.mark.parametrize("seed", range(5))
def test_what_these_pictures_show_besides_is_proven(seed: int) -> None:
    assert proven(*said_of(0.5, seed)).all()
