"""A finished index, opened for retrieval, and what its manifest says of how it was built."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from curation.concepts.languages import usual_pipelines
from curation.concepts.noun_phrases import NounOptions
from curation.encoding.encoder import Encoder
from curation.encoding.model_names import EncoderSpec
from curation.index.caption_rows import CaptionRows, read_rows
from curation.index.index_manifest import read_index_manifest
from curation.index.neighbours import NearestRows, SearchSettings
from curation.index.next_version import state_of
from curation.index.vocabulary import Vocabulary, read_vocabulary_table
from curation.reading.pairs import CaptionOptions
from curation.reading.shards import Shard
from curation.runs.manifest import broken_manifest
from curation.runs.parquet_parts import reading
from data_cards.miniature.clip import built_in
from files.errors import CocuError, MisuseError
from files.text_towers import tokenizer_digest


@dataclass(frozen=True)
class Index:
    """A finished index, opened for retrieval. `images` is None when no row has a picture.

    spacy_pipeline: the pipeline that built it, as a person names it again; None: it is left to the manifest.
    """

    path: Path
    manifest: dict[str, Any]
    vocabulary: Vocabulary
    rows: CaptionRows
    captions: NearestRows
    images: NearestRows | None
    spacy_pipeline: str | None = None


def open_index(path: Path, spacy_pipeline: str | None = None) -> Index:
    """Open a finished index. Raises MisuseError when there is none, CocuError when a part is missing or broken."""
    while True:
        before = state_of(path)
        try:
            index = _opened(path, spacy_pipeline)
        except CocuError:
            if state_of(path) == before:
                raise
        else:
            if state_of(path) == before:
                return index
        # It grew meanwhile, and what was read may be of two versions.


def _opened(path: Path, spacy_pipeline: str | None) -> Index:
    manifest = read_index_manifest(path)
    rows = replace(read_rows(path / "rows"), sources=_sources(manifest))
    summary = manifest["summary"]
    if (rows.images, len(rows), rows.dim) != (
        summary["pairs"],
        summary["pairs"] + summary["extra_captions"],
        manifest["dim"],
    ):
        raise broken_manifest(path / "manifest.json", f"it is not of the arrays in {path / 'rows'}")

    def nearest(name: str, vectors: np.ndarray) -> NearestRows:
        built = manifest["indexes"][name]
        deeper = [(deep["k"], SearchSettings(deep["nprobe"], deep["rerank"])) for deep in built.get("deeper", ())]
        with reading(path / f"{name}.faiss"):
            (path / f"{name}.faiss").stat()
            return NearestRows(path / f"{name}.faiss", vectors, SearchSettings(**built["settings"]), deeper=deeper)

    with reading(path / "concepts.parquet"):
        vocabulary = read_vocabulary_table(path / "concepts.parquet")
    rows.check(path / "rows", vocabulary)
    return Index(
        path,
        manifest,
        vocabulary,
        rows,
        nearest("captions", rows.text_vectors),
        nearest("images", rows.image_vectors) if "images" in manifest["indexes"] else None,
        spacy_pipeline,
    )


def _sources(manifest: dict[str, Any]) -> np.ndarray:
    """First rows of the sources of the pairs, as `CaptionRows` has them: the parts of a table are one."""
    urls = {item["name"]: item["url"] for item in manifest["inputs"]}
    shards = manifest["order"][: manifest["pair_shards"]]
    starts = np.cumsum([0, *(manifest["shards"][name]["pairs"] for name in shards)])[:-1]
    opens = [i == 0 or urls[name] != urls[shards[i - 1]] for i, name in enumerate(shards)]
    return starts[np.array(opens, bool)].astype(np.int64)


def open_encoder(
    index: Index,
    device: str = "auto",
    batch_size: int = 64,
    workers: int = 4,
    named: EncoderSpec | None = None,
    precision: str = "auto",
    texts_only: bool = False,
) -> Encoder:
    """The encoder that built the index; named: the one that a person names, None: the one that the manifest names.

    precision: auto: what the device is fast at, whatever the index was built with. texts_only: `Encoder`'s. Raises
    MisuseError when the model of that name, or its tokenizer, is now another, and where none is named but in the
    manifest, and there by a path or repository, which may have come from anybody.
    """
    made = index.manifest["parameters"].get("tokenizer_digest")
    if named and named.tokenizer and made not in (None, tokenizer_digest(named.tokenizer)):
        raise MisuseError(f"--tokenizer {named.tokenizer}: is not the one that {index.path} was built with; give that")
    spec = replace(named or _published(index), precision=precision)
    encoder = Encoder(spec, device, batch_size, workers, texts_only)
    encoder.check_fingerprint(index.manifest["fingerprint"], str(index.path))
    return encoder


def _published(index: Index) -> EncoderSpec:
    """The model that the manifest names, if it is the built-in one or in open_clip's list."""
    made = index.manifest["parameters"]
    model, pretrained, tokenizer = (made.get(name) for name in ("model", "pretrained", "tokenizer"))
    if tokenizer or (model != built_in.NAME and not _listed(model, pretrained)):
        given = f"--model {model}" + (f" --pretrained {pretrained}" if pretrained else "")
        given += f" --tokenizer {tokenizer}" if tokenizer else ""
        raise MisuseError(
            f"{index.path}: was built with {given}, which an index that came from elsewhere may name, too; "
            "where you trust that model, name it by these options"
        )
    return EncoderSpec(model, pretrained)


def _listed(model: str, pretrained: str | None) -> bool:
    import open_clip

    return (model, pretrained) in open_clip.list_pretrained()


def has_pictures(index: Index) -> bool:
    """Whether its shards hold the pictures: not those of an index that was built from embeddings alone."""
    return bool(index.manifest["parameters"].get("embeddings", {}).get("matched", True))


def index_shards(index: Index) -> list[Shard]:
    """The shards of pairs that the index was built from."""
    return all_shards(index)[0]


def all_shards(index: Index) -> tuple[list[Shard], list[Shard]]:
    """The shards that the index was built from: of pairs, and of captions without pictures."""
    known = {item["name"]: item for item in index.manifest["inputs"]}
    shards = [
        Shard(**{**known[name], "rows": tuple(known[name]["rows"]) if known[name]["rows"] else None})
        for name in index.manifest["order"]
    ]
    pairs = index.manifest["pair_shards"]
    return shards[:pairs], shards[pairs:]


def index_captions(index: Index) -> CaptionOptions:
    """The caption options that the index was built with."""
    return CaptionOptions(**_named(index, "caption_", CaptionOptions))


def index_nouns(index: Index) -> NounOptions:
    """The noun options that the index was built with.

    Raises MisuseError where only the manifest, which may have come from anybody, names a spaCy pipeline other than the
    usual ones: its package or folder may hold code. Also where a person names another than the manifest.
    """
    nouns = NounOptions(**_named(index, "noun_", NounOptions))
    if index.spacy_pipeline not in (None, nouns.pipeline):
        raise MisuseError(
            f"--spacy-pipeline {index.spacy_pipeline}: {index.path} was built with {nouns.pipeline}; give that one"
        )
    if index.spacy_pipeline is None and nouns.pipeline not in usual_pipelines():
        raise MisuseError(
            f"{index.path}: was built with --spacy-pipeline {nouns.pipeline}, which an index that came from elsewhere "
            "may name, too; where you trust that pipeline, name it by this option"
        )
    return nouns


def _named(index: Index, prefix: str, options: type[Any]) -> dict[str, Any]:
    parameters = index.manifest["parameters"]
    names = [field.name for field in fields(options)]
    return {name: parameters[prefix + name] for name in names if prefix + name in parameters}


def content_digest(manifest: dict[str, Any]) -> str:
    """Of what an index holds, by its manifest: the same of two that cannot be told apart."""
    content = {
        "parameters": manifest["parameters"],
        "fingerprint": manifest["fingerprint"],
        "shards": [(name, manifest["shards"][name].get("checksum")) for name in manifest["order"]],
        "indexes": {
            name: (built["factory"], built["settings"], *([built["deeper"]] if "deeper" in built else []))
            for name, built in manifest["indexes"].items()
        },
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def index_identity(index: Index) -> dict[str, Any]:
    """What tells one index from another: enough to refuse going on with a different one."""
    names = ("model", "pretrained", "precision", "weights", "noun_pipeline", "min_count", "vocabulary")
    made = index.manifest["parameters"]
    return {
        **{f"index_{name}": made[name] for name in names},
        **({"index_noun_language": made["noun_language"]} if "noun_language" in made else {}),
        "index_rows": len(index.rows),
        "index_concepts": len(index.vocabulary),
        "index_content": content_digest(index.manifest),
    }
