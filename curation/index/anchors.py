"""Pairs to curate that are not in the index (`cocu curate run INDEX --anchors SHARDS`), embedded as the index was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from curation.concepts.extractor import ConceptExtractor
from curation.concepts.lexicon import Lexicon
from curation.concepts.listed import file_digest, read_vocabulary
from curation.concepts.noun_phrases import NounOptions
from curation.index.embedding import embed_all
from curation.index.opened import Index, open_encoder
from curation.reading.pairs import CaptionOptions
from curation.reading.shards import Shard
from curation.runs.run_folder import RunFolder
from files.errors import MisuseError


def index_nouns(index: Index) -> NounOptions:
    """The noun options that the index was built with."""
    parameters = index.manifest["parameters"]
    prefix = "noun_"
    return NounOptions(**{k.removeprefix(prefix): v for k, v in parameters.items() if k.startswith(prefix)})


def index_captions(index: Index) -> CaptionOptions:
    """The caption options that the index was built with."""
    parameters = index.manifest["parameters"]
    return CaptionOptions(
        parameters["caption_field"],
        parameters["caption_all_captions"],
        parameters["caption_image_column"],
        parameters["caption_caption_column"],
    )


def caption_parameters(captions: CaptionOptions) -> dict[str, Any]:
    """Where captions are found, as a manifest names it."""
    return {f"caption_{name}": value for name, value in asdict(captions).items()}


def embed_anchors(
    index: Index,
    shards: Sequence[Shard],
    out: Path,
    captions: CaptionOptions,
    device: str = "auto",
    batch_size: int = 64,
    workers: int = 4,
) -> dict[str, Any]:
    """Embed anchor shards into `out`/embeddings with the index's encoder and concepts; returns the manifest there.

    Raises MisuseError when the encoder is no longer the one that built the index.
    """
    listed = index.manifest["parameters"]["vocabulary"]
    nouns = index_nouns(index)
    parameters = {"index": index.manifest["fingerprint"], **caption_parameters(captions)}
    with RunFolder(out, "anchors", parameters, shards) as folder:
        if not folder.was_finished:
            vocabulary = read_vocabulary(listed, Lexicon(nouns.pipeline)) if listed else None
            known = index.manifest["parameters"].get("vocabulary_digest")
            if listed and known not in (None, file_digest(listed)):
                raise MisuseError(f"{listed}: the vocabulary of the index has changed since; put the old one back")
            encoder = open_encoder(index, device, batch_size, workers)
            with ConceptExtractor(nouns, workers) as extractor:
                embed_all(folder, shards, [], encoder, extractor, captions, vocabulary)
            pairs = sum(folder.records[shard.name]["pairs"] for shard in shards)
            folder.finish({"pairs": pairs, "rejects": folder.reject_counts()})
        return folder.manifest


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
