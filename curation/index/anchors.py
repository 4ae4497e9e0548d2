"""Pairs to curate that are not in the index (`cocu curate run INDEX --anchors SHARDS`), embedded as the index was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.concepts.extractor import ConceptExtractor
from curation.concepts.lexicon import Lexicon
from curation.concepts.listed import file_digest, read_vocabulary
from curation.index.embedding import embed_all
from curation.index.opened import Index, index_nouns, open_encoder
from curation.reading.pairs import CaptionOptions
from curation.reading.shards import Shard
from curation.runs.run_folder import RunFolder
from files.errors import MisuseError


@dataclass(frozen=True)
class AnchorShards:
    """Pairs from outside the index to curate instead of the indexed ones.

    embedded: folder where they are embedded, by default inside the curation's; several curations of the same anchors
    can share one.
    """

    shards: Sequence[Shard]
    captions: CaptionOptions
    device: str = "auto"
    batch_size: int = 64
    workers: int = 4
    embedded: Path | None = None


def embed_anchors(index: Index, anchors: AnchorShards, out: Path) -> dict[str, Any]:
    """Embed anchor shards into `out`/embeddings with the index's encoder and concepts; returns the manifest there.

    Raises MisuseError when the encoder or the vocabulary is no longer the one that built the index.
    """
    parameters = {"index": index.manifest["fingerprint"], **anchors.captions.parameters()}
    with RunFolder(out, "anchors", parameters, anchors.shards) as folder:
        if not folder.was_finished:
            nouns = index_nouns(index)
            encoder = open_encoder(index, anchors.device, anchors.batch_size, anchors.workers)
            vocabulary = _vocabulary(index.manifest["parameters"])
            with ConceptExtractor(nouns, anchors.workers) as extractor:
                embed_all(folder, anchors.shards, [], encoder, extractor, anchors.captions, vocabulary)
            pairs = sum(folder.records[shard.name]["pairs"] for shard in anchors.shards)
            folder.finish({"pairs": pairs, "rejects": folder.reject_counts()})
        return folder.manifest


def _vocabulary(parameters: dict[str, Any]) -> frozenset[str] | None:
    """The only concepts that the index keeps; None: all."""
    path = parameters["vocabulary"]
    if not path:
        return None
    listed = read_vocabulary(path, Lexicon(parameters["noun_pipeline"]))
    if parameters.get("vocabulary_digest") not in (None, file_digest(path)):
        raise MisuseError(f"{path}: the vocabulary of the index has changed since; put the old one back")
    return listed
