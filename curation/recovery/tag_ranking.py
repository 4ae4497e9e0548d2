"""The tags of another model as a ranking of concepts, to be scored beside ours: surest first, on the same pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation.reading.tags import tag_rows
from curation.recovery.naming import Phrases, named_by_concepts
from curation.recovery.truth import some
from files.errors import MisuseError


def read_tag_ranking(
    path: Path, pairs: pa.Table, phrases: Phrases, notes: list[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], NDArray[np.int32]]:
    """Rows of (pair, tag, whether the caption does not name it), each pair's surest first; and each tag's object or -1.

    pairs: key and caption_concepts. Tags are not cut to any vocabulary. Raises MisuseError for a table that is none of
    tags, or of other pairs; CocuError where it cannot be read.
    """
    places = {key: i for i, key in enumerate(pairs["key"].to_pylist())}
    named = [set(concepts or ()) for concepts in pairs["caption_concepts"].to_pylist()]
    best: dict[tuple[int, str], float] = {}
    looked: set[int] = set()
    forms: dict[str, str] = {}
    others: dict[str, None] = {}
    for part in tag_rows(path, "--against"):
        for key, tag, score in zip(part.keys, part.concepts, part.scores.tolist(), strict=True):
            place = places.get(key)
            if place is None:
                others[key] = None
                continue
            looked.add(place)
            if tag:
                if tag not in forms:
                    forms[tag] = phrases.normal(tag)
                one = (place, forms[tag])
                best[one] = max(score, best.get(one, score))
    if not looked:
        raise MisuseError(f"--against {path}: none of its keys ({some(list(others), 2)}) is that of a pair with truth")
    if missing := len(places) - len(looked):
        notes.append(f"{path.name}: says nothing of {missing} of {len(places)} pairs, which count as without tags")
    if others:
        notes.append(f"{path.name}: {len(others)} keys are of no pair with truth: {some(list(others))}")
    words = sorted({tag for _, tag in best})
    ids = {word: i for i, word in enumerate(words)}
    ranked = sorted(best.items(), key=lambda row: (row[0][0], -row[1], row[0][1]))
    pair = np.array([row[0] for row, _ in ranked], np.int64)
    concept = np.array([ids[row[1]] for row, _ in ranked], np.int64)
    new = np.array([row[1] not in named[row[0]] for row, _ in ranked], bool)
    return pair, concept, new, named_by_concepts(pa.array(words, pa.string()), phrases)
