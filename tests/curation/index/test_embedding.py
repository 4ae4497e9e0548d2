"""Embeddings files by the contract in the design: columns, types, order, blocks, rejects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.speed.tiny_pairs import caption, write_tar
from curation.concepts.extractor import ConceptExtractor
from curation.concepts.noun_phrases import NounOptions
from curation.encoding.encoder import Encoder
from curation.encoding.model_names import EncoderSpec
from curation.index import blocks
from curation.index import embedding as embeddings
from curation.index.embedding import embed_shard
from curation.reading.pairs import CaptionOptions
from curation.reading.shards import Shard, find_caption_tables, find_shards
from curation.runs.parquet_parts import arrow_to_vectors, vectors_to_arrow
from tests.tiny_world import make_tiny_clip, pair_members, picture


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    model = make_tiny_clip(tmp_path_factory.mktemp("embeddings") / "clip")
    return Encoder(EncoderSpec(model, None, "fp32"), "cpu", batch_size=4, workers=2)


@pytest.fixture(scope="module")
def extractor() -> ConceptExtractor:
    return ConceptExtractor(NounOptions())


@pytest.fixture
def shard(tmp_path: Path) -> Shard:
    """Ten pairs, the fourth with a broken picture, the eighth with an empty caption."""
    members = [m for i in range(10) for m in pair_members(f"k{i}", i)]
    broken = {"k3.jpg": picture(3)[:200], "k7.txt": b"  "}
    path = write_tar(tmp_path / "00000.tar", [(name, broken.get(name, data)) for name, data in members])
    return find_shards([str(path)])[0]


def test_columns_order_and_rejects(
    shard: Shard, tmp_path: Path, encoder: Encoder, extractor: ConceptExtractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_PAIRS", 4)
    out = tmp_path / "out.parquet"
    advanced: list[tuple[int, float]] = []
    result = embed_shard(shard, out, encoder, extractor, CaptionOptions(), None, lambda *step: advanced.append(step))
    table = pq.read_table(out)
    vector = pa.list_(pa.float16(), encoder.dim)
    assert table.schema.types == [pa.string()] * 3 + [pa.list_(pa.string()), vector, vector]
    assert table.column_names == ["key", "image", "caption", "concepts", "image_vec", "text_vec"]
    good = [i for i in range(10) if i not in (3, 7)]
    assert table["key"].to_pylist() == table["image"].to_pylist() == [f"k{i}" for i in good]
    assert table["caption"].to_pylist() == [caption(i) for i in good]
    assert table["concepts"].to_pylist() == extractor.extract([caption(i) for i in good])
    vectors = arrow_to_vectors(table["text_vec"].combine_chunks())
    np.testing.assert_allclose(vectors, encoder.encode_texts([caption(i) for i in good]), atol=1e-3)
    pictures = arrow_to_vectors(table["image_vec"].combine_chunks())
    expected = [vector for _, vector in encoder.encode_pictures((str(i), picture(i)) for i in good)]
    np.testing.assert_allclose(pictures, np.stack(expected), atol=1e-3)  # type: ignore[arg-type]
    assert result.pairs == 8
    assert {reject.key for reject in result.rejects} == {"k3", "k7"}
    assert [pairs for pairs, _ in advanced] == [4, 4, 1]
    assert 0.5 < sum(weight for _, weight in advanced) / shard.size < 1.5


def test_a_vocabulary_keeps_only_its_concepts(
    shard: Shard, tmp_path: Path, encoder: Encoder, extractor: ConceptExtractor
) -> None:
    listed = frozenset(["dog", "beach", "cat", "tree"])
    embed_shard(shard, tmp_path / "out.parquet", encoder, extractor, CaptionOptions(), listed)
    found = pq.read_table(tmp_path / "out.parquet")["concepts"].to_pylist()
    assert {concept for named in found for concept in named} <= listed
    assert any(found)


def test_captions_without_pictures(tmp_path: Path, encoder: Encoder, extractor: ConceptExtractor) -> None:
    table = pa.table(
        {
            "key": ["a", "b", "c"],
            "caption": ["a dog on a beach", "", "two cats"],
            "image": ["folder/k1.jpg", "k2.jpg", None],
        }
    )
    pq.write_table(table, tmp_path / "extra.parquet")
    (shard,) = find_caption_tables([str(tmp_path / "extra.parquet")])
    result = embed_shard(shard, tmp_path / "out.parquet", encoder, extractor, None)
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.schema == embeddings.schema(encoder.dim)
    assert found.drop_columns(["image_vec", "text_vec"]).to_pylist() == [
        {"key": "a", "image": "folder/k1", "caption": "a dog on a beach", "concepts": ["dog", "beach"]},
        {"key": "c", "image": None, "caption": "two cats", "concepts": ["cat"]},
    ]
    assert found["image_vec"].null_count == 2
    assert result.pairs == 2
    assert [reject.key for reject in result.rejects] == ["b"]


def test_vectors_survive_arrow() -> None:
    vectors = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float16)
    np.testing.assert_array_equal(arrow_to_vectors(vectors_to_arrow(vectors)), vectors)
    np.testing.assert_array_equal(arrow_to_vectors(vectors_to_arrow(vectors)[2:4]), vectors[2:4])
