"""A finished index, opened for retrieval, and the encoder that built it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curation.encoding.encoder import Encoder
from curation.encoding.model_names import EncoderSpec
from curation.index.caption_rows import CaptionRows, read_rows
from curation.index.neighbours import NearestRows, SearchSettings
from curation.index.vocabulary import Vocabulary, read_vocabulary_table
from curation.reading.shards import Shard
from curation.runs.parquet_parts import reading


def index_shards(index: Index) -> list[Shard]:
    """The shards of pairs that the index was built from."""
    known = {item["name"]: item for item in index.manifest["inputs"]}
    shards = [
        Shard(**{**known[name], "rows": tuple(known[name]["rows"]) if known[name]["rows"] else None})
        for name in index.manifest["order"]
    ]
    return shards[: index.manifest["pair_shards"]]


@dataclass(frozen=True)
class Index:
    """A finished index, opened for retrieval. `images` is None when no row has a picture."""

    path: Path
    manifest: dict[str, Any]
    vocabulary: Vocabulary
    rows: CaptionRows
    captions: NearestRows
    images: NearestRows | None


def open_index(path: Path) -> Index:
    """Open a finished index. Raises MisuseError when there is none, CocuError when a part is missing or broken."""
    from curation.runs.manifest import read_manifest

    manifest = read_manifest(path, "index")
    rows = read_rows(path / "rows")

    def nearest(name: str, vectors: np.ndarray) -> NearestRows:
        settings = SearchSettings(**manifest["indexes"][name]["settings"])
        with reading(path / f"{name}.faiss"):
            (path / f"{name}.faiss").stat()
            return NearestRows(path / f"{name}.faiss", vectors, settings)

    with reading(path / "concepts.parquet"):
        vocabulary = read_vocabulary_table(path / "concepts.parquet")
    return Index(
        path,
        manifest,
        vocabulary,
        rows,
        nearest("captions", rows.text_vectors),
        nearest("images", rows.image_vectors) if "images" in manifest["indexes"] else None,
    )


def open_encoder(index: Index, device: str = "auto", batch_size: int = 64, workers: int = 4) -> Encoder:
    """The encoder that built the index. Raises MisuseError when the model of that name is now another."""
    parameters = index.manifest["parameters"]
    spec = EncoderSpec(parameters["model"], parameters["pretrained"], "auto")
    encoder = Encoder(spec, device, batch_size, workers)
    encoder.check_fingerprint(index.manifest["fingerprint"], str(index.path))
    return encoder
