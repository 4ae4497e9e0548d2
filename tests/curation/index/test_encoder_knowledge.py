"""What an encoder knows, against a plain loop, and at both ends of its scale."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curation.index.encoder_knowledge import EncoderKnowledge, among_nearest, encoder_knowledge
from curation.index.vocabulary import Vocabulary
from tests.curation.small_index import small_index


def known(pictures: np.ndarray | None, folder: Path) -> tuple[EncoderKnowledge | None, list[list[int]], np.ndarray]:
    small = small_index(folder, pairs=40, extra=20)
    vocabulary = Vocabulary(pa.array([f"c{i}" for i in range(25)]), np.ones(25, np.int64), small.concepts)
    rows = small.rows
    if pictures is not None:
        object.__setattr__(rows, "image_vectors", pictures)
    products = np.asarray(rows.image_vectors, np.float32) @ small.concepts.T
    return encoder_knowledge(rows, vocabulary), [sorted(ids) for ids in small.named[:40]], products


def test_it_is_the_share_of_what_captions_name_among_the_nearest(tmp_path: Path) -> None:
    found, named, products = known(None, tmp_path)
    assert found is not None
    hits = [c in np.argsort(-products[i])[:6] for i, ids in enumerate(named) for c in ids]
    assert (found.nearest, found.concepts, found.mentions) == (6, 25, len(hits))
    assert found.share == pytest.approx(np.mean(hits), abs=1e-4)


def test_a_clear_view_has_nearly_all(tmp_path: Path) -> None:
    small = small_index(tmp_path, pairs=40, extra=20)
    clear = np.stack([small.concepts[sorted(ids)].sum(0) if ids else small.concepts[0] for ids in small.named[:40]])
    found, _, _ = known((clear / np.linalg.norm(clear, axis=1, keepdims=True)).astype(np.float16), tmp_path)
    assert found is not None
    assert found.share > 0.7


def test_where_nothing_is_named_nothing_is_known(tmp_path: Path) -> None:
    small = small_index(tmp_path, pairs=40, extra=20)
    vocabulary = Vocabulary(pa.array([f"c{i}" for i in range(25)]), np.ones(25, np.int64), small.concepts)
    for name in ("offsets", "concept_ids"):
        array = getattr(small.rows, name)
        object.__setattr__(small.rows, name, np.zeros_like(array) if name == "offsets" else array[:0])
    assert encoder_knowledge(small.rows, vocabulary) is None


def test_a_small_vocabulary_has_a_quarter_of_it() -> None:
    assert [among_nearest(n) for n in (1, 3, 8, 248, 256, 14_117)] == [1, 1, 2, 62, 64, 64]
