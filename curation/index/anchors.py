"""Pairs to curate that are not in the index (`cocu curate run INDEX --anchors SHARDS`), embedded as the index was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.concepts.extractor import ConceptExtractor
from curation.concepts.lemmas import lexicon_of
from curation.concepts.listed import read_vocabulary
from curation.encoding.model_names import EncoderSpec
from curation.index.embedding import embed_all
from curation.index.index_manifest import RECORD
from curation.index.opened import Index, index_nouns, open_encoder
from curation.reading.pairs import CaptionOptions
from curation.reading.shards import Shard, find_shards
from curation.runs.manifest import broken_manifest
from curation.runs.part import ALL, Chosen
from curation.runs.run_folder import RunFolder
from curation.runs.team import ALONE, WorkingTeam
from files.errors import MisuseError
from files.shapes import ShapeFault, check_shape, count


@dataclass(frozen=True)
class AnchorShards:
    """Pairs from outside the index to curate instead of the indexed ones.

    embedded: folder where they are embedded, by default inside the curation's; several curations of the same anchors
    can share one. encoder: the index's, where its manifest alone must not name it.
    """

    shards: Sequence[Shard]
    captions: CaptionOptions
    device: str = "auto"
    batch_size: int = 64
    workers: int = 4
    embedded: Path | None = None
    encoder: EncoderSpec | None = None


def find_anchors(
    names: Sequence[str],
    captions: Sequence[Any],
    device: str,
    batch_size: int,
    workers: int,
    encoder: EncoderSpec | None,
) -> AnchorShards | None:
    """The shards of these names, None where none is named; captions: the fields of `CaptionOptions`.

    Raises MisuseError for captions that are no anchors'.
    """
    if names:
        options = CaptionOptions(*captions)
        shards = find_shards(names, options)
        return AnchorShards(shards, options, device, batch_size, workers, encoder=encoder)
    if any(captions):
        raise MisuseError(
            "--caption-field, --all-captions, --image-column, --caption-column, --images or --columns says how to read "
            "--anchors; indexed pairs are read as the index was built"
        )
    return None


def embed_anchors(
    index: Index, anchors: AnchorShards, out: Path, chosen: Chosen = ALL, crew: WorkingTeam = ALONE
) -> dict[str, Any]:
    """Embed anchor shards into `out`/embeddings with the index's encoder and concepts; returns the manifest there.

    chosen: which of the shards are done; where others are missing then, what is returned knows of what is done by then.
    crew: as of `embed_all`.
    Raises MisuseError when the encoder or the vocabulary is no longer the one that built the index.
    """
    parameters = {"index": index.manifest["fingerprint"], **anchors.captions.parameters()}
    with RunFolder(out, "anchors", parameters, anchors.shards, record=RECORD, part=chosen.name) as folder:
        if not folder.was_finished:
            mine = chosen.of(folder, anchors.shards)
            nouns, built = index_nouns(index), index.manifest["parameters"]
            encoder = open_encoder(index, anchors.device, anchors.batch_size, anchors.workers, anchors.encoder)
            path, digest = built["vocabulary"], built.get("vocabulary_digest")
            vocabulary = read_vocabulary(path, lexicon_of(nouns), digest) if path else None
            with ConceptExtractor(nouns, anchors.workers) as extractor:
                embed_all(folder, mine, [], encoder, extractor, anchors.captions, vocabulary, crew)
            if folder.missing(anchors.shards):
                return {"shards": folder.records}
            pairs = sum(folder.records[shard.name]["pairs"] for shard in anchors.shards)
            folder.finish({"pairs": pairs, "rejects": folder.reject_counts()})
        try:
            check_shape(
                folder.manifest,
                {
                    "shards": {shard.name: RECORD for shard in anchors.shards},
                    "summary": {"pairs": count, "rejects": {str: count}},
                },
            )
        except ShapeFault as fault:
            raise broken_manifest(out / "manifest.json", str(fault)) from None
        return folder.manifest
