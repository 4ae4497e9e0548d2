"""`cocu curate run`: an index, and the pairs to curate -> ranked concepts in tables and curated shards."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.anchor_shards import caption_parameters, embed_anchors, index_captions
from curation.archives import Anchors, Archives, expand, gather, parse_expansion
from curation.clusters import Clusterer
from curation.curated_shards import CuratedShard, PairConcepts
from curation.embeddings import arrow_to_vectors
from curation.grounding import grounded
from curation.index import Index, check_rejects
from curation.nouns import normal_form
from curation.pairs import CaptionOptions
from curation.parts import count_rows, parquet_batches
from curation.prefetch import ahead
from curation.presets import PAPER_NEIGHBOURS, CurateOptions
from curation.progress import Progress, Stopwatch, say
from curation.ranking import FITTED, RankingContext, WordFamilies, rank, seeds_of, select
from curation.rows import concept_ids_of, name_hashes, text_hashes
from curation.run_folder import RunFolder
from curation.shards import Shard
from curation.support import SupportModel, fit_support, has_support
from curation.synonyms import Synonyms
from curation.tables import ARCHIVES, PAIRS, TableWriter, archive_rows, pair_rows
from files.atomic import atomic
from files.errors import CocuError, MisuseError

BLOCK = 1024
TOP_RECOVERED = 20


@dataclass(frozen=True)
class Block:
    """What one block of pairs gave: the rows of both tables, and what goes into the curated shard."""

    pairs: pa.Table
    archives: pa.Table
    concepts: list[PairConcepts]


@dataclass
class Tally:
    """Counts for the summary, over the blocks of one shard; seconds by stage."""

    pairs: int = 0
    kept: int = 0
    gained: int = 0
    recovered: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    seconds: dict[str, float] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """What the manifest keeps of the shard; the long tail of recovered concepts is left to the tables."""
        top = np.argsort(-self.recovered, kind="stable")[: 10 * TOP_RECOVERED]
        return {
            "pairs": self.pairs,
            "concepts": self.kept,
            "gained": self.gained,
            "recovered": {str(i): int(self.recovered[i]) for i in top if self.recovered[i]},
            "seconds": {stage: round(value, 4) for stage, value in self.seconds.items()},
        }


class Curator:
    """Curates blocks of pairs against an open index. Thread-safe only in that one thread calls it at a time."""

    def __init__(self, index: Index, options: CurateOptions, support: SupportModel | None) -> None:
        self.index, self.options, self.support = index, options, support
        self.clusterer = Clusterer(index.vocabulary.vectors)
        self.expansions = parse_expansion(options.expansion)
        self.neighbours = support.neighbours if support else options.neighbours or PAPER_NEIGHBOURS
        pipeline = index.manifest["parameters"]["noun_pipeline"]
        self.families = (
            WordFamilies(index.vocabulary, lambda word: normal_form(word, pipeline)) if options.merge else None
        )
        vectors = index.vocabulary.vectors
        self.synonyms = Synonyms(vectors, index.rows.image_vectors) if options.synonyms else None
        self.grounded = grounded(vectors, index.rows) if options.grounded else None

    def curate(self, shard: str, batch: pa.RecordBatch, first_row: int, tally: Tally) -> Block:
        """Curate the pairs of an embeddings batch; `first_row` is their first row in the index, -1 for none."""
        options, vocabulary = self.options, self.index.vocabulary
        clock = Stopwatch(tally.seconds)
        anchors = anchors_of(batch, first_row, self.index)
        clock.lap("read")
        retrieved = expand(
            anchors, self.expansions, self.neighbours, self.index.images, self.index.captions, self.index.rows
        )
        clock.lap("search")
        archives = gather(anchors, retrieved, self.index.rows, vocabulary.vectors)
        seeds = seeds_of(batch["key"].to_pylist(), options.seed)
        scores = rank(archives, options.ranking, RankingContext(vocabulary, self.support, seeds))
        kept = select(archives, scores.score, options.keep, options.min_score, self._gone(archives, scores.score))
        clock.lap("rank")
        entries = kept.entries
        clusters = self.clusterer.cluster(kept.offsets, archives.concept[entries], seeds)
        clock.lap("cluster")
        columns = {
            "rank": kept.rank,
            "concept_id": archives.concept[entries],
            "score": scores.score[entries],
            "global": scores.globally[entries],
            "local": scores.locally[entries],
            "support": archives.support[entries],
            "cluster": clusters,
            "in_caption": archives.in_caption[entries],
        }
        pairs = pair_rows(shard, batch["key"], batch["caption"], batch["concepts"])
        rows = archive_rows(shard, batch["key"], kept.offsets, columns, vocabulary)
        tally.pairs += len(batch)
        tally.kept += len(entries)
        new = ~columns["in_caption"]
        tally.gained += len(np.unique(archives.anchor[entries][new]))
        counts = np.bincount(columns["concept_id"][new], minlength=len(vocabulary))
        tally.recovered = counts if not len(tally.recovered) else tally.recovered + counts
        block = Block(pairs, rows, list(_pair_concepts(batch, kept.offsets, columns, vocabulary.words)))
        clock.lap("tables")
        return block

    def _gone(self, archives: Archives, score: np.ndarray) -> np.ndarray:
        """bool [P]: entries left out whatever their rank; what the caption names never is."""
        gone = self.families.merged_away(archives, score) if self.families else np.zeros(len(score), bool)
        if self.options.ranking == "support" and self.support is not None:
            gone |= ~has_support(archives, score, self.support) & ~archives.in_caption
        if self.grounded is not None:
            gone |= ~self.grounded[archives.concept] & ~archives.in_caption
        return self.synonyms.merged_away(archives, score, gone, self.options.keep) if self.synonyms else gone


def anchors_of(batch: pa.RecordBatch, first_row: int, index: Index) -> Anchors:
    """The pairs of an embeddings batch as anchors."""
    ids, counts = concept_ids_of(batch["concepts"], index.vocabulary)
    inside = first_row >= 0
    part = slice(first_row, first_row + len(batch))
    return Anchors(
        arrow_to_vectors(batch["image_vec"]).astype(np.float32),
        arrow_to_vectors(batch["text_vec"]).astype(np.float32),
        np.arange(first_row, first_row + len(batch)) if inside else np.full(len(batch), -1),
        index.rows.text_hash[part] if inside else text_hashes(batch["caption"].to_pylist()),
        index.rows.image_hash[part] if inside else name_hashes(batch["image"].to_pylist()),
        ids,
        counts,
    )


def _pair_concepts(
    batch: pa.RecordBatch, offsets: np.ndarray, columns: Mapping[str, np.ndarray], words: list[str]
) -> Iterator[PairConcepts]:
    rows = list(
        zip(
            [words[i] for i in columns["concept_id"].tolist()],
            [round(score, 5) for score in columns["score"].tolist()],
            columns["cluster"].tolist(),
            columns["in_caption"].tolist(),
            strict=True,
        )
    )
    bounds = offsets.tolist()
    for i, (key, caption) in enumerate(zip(batch["key"].to_pylist(), batch["caption"].to_pylist(), strict=True)):
        yield PairConcepts(key, caption, rows[bounds[i] : bounds[i + 1]])


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


def run_curation(
    index: Index, out: Path, options: CurateOptions, anchors: AnchorShards | None = None, max_rejects: float = 0.10
) -> dict[str, Any]:
    """Curate the indexed pairs, or `anchors`, into `out`; returns the manifest.

    Raises MisuseError for parameters other than those the folder was begun with, CocuError for shards that could
    not be curated, after all others are done, and for a share of rejected anchors over `max_rejects`.
    """
    captions = anchors.captions if anchors else index_captions(index)
    shards = list(anchors.shards) if anchors else index_shards(index)
    parameters = {**_index_identity(index), **asdict(options), "anchors": anchors is not None}
    if anchors:
        parameters |= caption_parameters(captions)
    with RunFolder(out, "curated", parameters, shards) as folder:
        if folder.was_finished:
            say(f"{out}: already finished; nothing to do")
            if anchors:
                check_rejects(folder.manifest["summary"], max_rejects, out)
            return folder.manifest
        source, embedded = index.path, index.manifest
        clock = Stopwatch()
        if anchors:
            source = anchors.embedded or out / "anchors"
            work = (anchors.device, anchors.batch_size, anchors.workers)
            embedded = embed_anchors(index, shards, source, captions, *work)
            clock.lap("embed anchors")
        if options.ranking in FITTED:
            say(f"ranking {options.ranking}: fitting it to held-out captions of the index")
        support = (
            fit_support(index, parse_expansion(options.expansion), options.neighbours)
            if options.ranking in FITTED
            else None
        )
        clock.lap("fit")
        curator = Curator(index, options, support)
        _copy_concepts(index, out)
        _curate_all(folder, curator, shards, source / "embeddings", embedded["shards"], captions, anchors is None)
        details = {"support": support.describe()} if support is not None else {}
        folder.finish(_summary(folder, index, shards, embedded, clock.seconds), source / "rejects.parquet", **details)
        if anchors:
            check_rejects(embedded["summary"], max_rejects, out)
        return folder.manifest


def index_shards(index: Index) -> list[Shard]:
    """The shards of pairs that the index was built from."""
    known = {item["name"]: item for item in index.manifest["inputs"]}
    shards = [
        Shard(**{**known[name], "rows": tuple(known[name]["rows"]) if known[name]["rows"] else None})
        for name in index.manifest["order"]
    ]
    return shards[: index.manifest["pair_shards"]]


def _curate_all(
    folder: RunFolder,
    curator: Curator,
    shards: Sequence[Shard],
    embeddings: Path,
    embedded: Mapping[str, Mapping[str, Any]],
    captions: CaptionOptions,
    own: bool,
) -> None:
    left = [shard for shard in shards if not folder.done(shard.name)]
    if len(left) < len(shards):
        say(f"curate: {len(shards) - len(left)} of {len(shards)} shards are done already")
    first_rows: dict[str, int] = {}
    row = 0
    for shard in shards:
        first_rows[shard.name] = row if own else -1
        row += embedded[shard.name]["pairs"] if own else 0
    failures: list[str] = []
    with Progress("curate", sum(shard.size for shard in left)) as bar:
        for shard in left:
            try:
                checksum = embedded[shard.name].get("checksum")
                tally = _curate_shard(
                    curator, shard, folder.path, embeddings, checksum, captions, first_rows[shard.name], bar
                )
            except MisuseError:  # a wrong option is wrong for all of them
                raise
            except CocuError as error:
                failures.append(str(error))
                continue
            folder.commit(shard.name, tally.record())
    if failures:
        raise CocuError(
            f"{len(failures)} of {len(shards)} shards could not be curated; the others are done and kept:\n  "
            + "\n  ".join(failures[:20])
            + "\nrun the same command again when they are back"
        )


def _curate_shard(
    curator: Curator,
    shard: Shard,
    out: Path,
    embeddings: Path,
    checksum: int | None,
    captions: CaptionOptions,
    first_row: int,
    bar: Progress,
) -> Tally:
    tally = Tally()
    source = embeddings / f"{shard.name}.parquet"
    total = max(1, count_rows(source))

    def blocks() -> Iterator[Block]:
        row = first_row
        for batch in parquet_batches(source, BLOCK):
            yield curator.curate(shard.name, batch, row, tally)
            row += len(batch) if row >= 0 else 0

    with (
        CuratedShard(shard, out / "shards" / f"{shard.name}.tar", captions, curator.options.write_caption) as tar,
        TableWriter(out / "tables" / "pairs" / f"{shard.name}.parquet", PAIRS) as pairs,
        TableWriter(out / "tables" / "archives" / f"{shard.name}.parquet", ARCHIVES) as archives,
    ):
        written = 0.0
        # Writing is Python and disk, curating is array code without the GIL: they run side by side.
        for block in ahead(blocks()):
            start = time.perf_counter()
            pairs.write(block.pairs)
            archives.write(block.archives)
            tar.write(block.concepts)
            bar.advance(len(block.pairs), shard.size * len(block.pairs) / total)
            written += time.perf_counter() - start
        tar.check(checksum)
        tally.seconds["write"] = written
    return tally


def _copy_concepts(index: Index, out: Path) -> None:
    path = out / "tables" / "concepts.parquet"
    if not path.exists():
        with atomic(path) as temporary:
            columns = ["concept_id", "concept", "count"]
            pq.write_table(pq.read_table(index.path / "concepts.parquet", columns=columns), temporary)


def _index_identity(index: Index) -> dict[str, Any]:
    """What tells one index from another: enough to refuse going on with a different one."""
    manifest = index.manifest
    names = ("model", "pretrained", "precision", "weights", "noun_pipeline", "min_count", "vocabulary")
    content = {
        "parameters": manifest["parameters"],
        "fingerprint": manifest["fingerprint"],
        "shards": [(name, manifest["shards"][name].get("checksum")) for name in manifest["order"]],
        "indexes": {name: (built["factory"], built["settings"]) for name, built in manifest["indexes"].items()},
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    return {
        **{f"index_{name}": manifest["parameters"][name] for name in names},
        "index_rows": len(index.rows),
        "index_concepts": len(index.vocabulary),
        "index_content": digest,
    }


def _summary(
    folder: RunFolder,
    index: Index,
    shards: Sequence[Shard],
    embedded: Mapping[str, Any],
    before: Mapping[str, float],
) -> dict[str, Any]:
    """What the closing summary and the report show. before: seconds of the stages before the shards."""
    records = [folder.records[shard.name] for shard in shards]
    pairs = sum(record["pairs"] for record in records)
    seconds = {stage: round(value, 3) for stage, value in before.items()}
    recovered: dict[int, int] = {}
    for record in records:
        for stage, value in record["seconds"].items():
            seconds[stage] = round(seconds.get(stage, 0.0) + value, 3)
        for concept, count in record["recovered"].items():
            recovered[int(concept)] = recovered.get(int(concept), 0) + count
    best = sorted(recovered.items(), key=lambda item: (-item[1], item[0]))[:TOP_RECOVERED]
    return {
        "pairs": pairs,
        "rejects": dict(embedded["summary"]["rejects"]),
        "concepts_per_pair": round(sum(record["concepts"] for record in records) / max(1, pairs), 3),
        "gained_share": round(sum(record["gained"] for record in records) / max(1, pairs), 4),
        "top_recovered": [[index.vocabulary.words[i], count] for i, count in best],
        "stage_seconds": seconds,
    }
