"""`cocu curate run`: an index, and the pairs to curate -> ranked concepts in tables and curated shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation.concepts.lemmas import lexicon_of
from curation.curated.curated_manifest import check_finished, record_of
from curation.curated.outputs import PARQUET
from curation.curated.parquet_shards import check_parquet
from curation.curated.tables import CONCEPTS
from curation.curating import Curating
from curation.curator import TOP_RECOVERED, Curator
from curation.encoding.dense import DenseEncoder
from curation.encoding.encoder import Encoder
from curation.index.anchors import AnchorShards, embed_anchors
from curation.index.index_manifest import growth_since, older_version, version_of
from curation.index.opened import (
    Index,
    has_pictures,
    index_captions,
    index_identity,
    index_nouns,
    index_shards,
    open_encoder,
    open_index,
)
from curation.ranking.archives import Archives
from curation.ranking.embedded import anchors_of
from curation.ranking.kept_fits import fitted_models, packed, unpacked
from curation.ranking.localisation import Localiser
from curation.ranking.options import CurateOptions
from curation.ranking.tags import (
    FIT_BLOCK,
    FIT_MENTIONS,
    FIT_PAIRS,
    SUSPECT,
    PairTags,
    TagModel,
    Tags,
    fit_tags,
    held_out,
    read_tags,
)
from curation.reading.pairs import CaptionOptions
from curation.reading.shards import Shard
from curation.runs.each_shard import each_shard
from curation.runs.parquet_parts import parquet_batches
from curation.runs.part import ALL, Chosen
from curation.runs.progress import Stopwatch
from curation.runs.run_folder import RunFolder, check_rejects
from curation.runs.shard_stage import ShardStage
from curation.runs.spread import Seat, Work
from curation.runs.team import USUAL, Team, WorkingTeam
from files.atomic import atomic
from files.errors import CocuError, MisuseError
from files.remote_folders import local_folder
from files.saying import say


def run_curation(
    index: Index,
    out: Path,
    options: CurateOptions,
    anchors: AnchorShards | None = None,
    max_rejects: float = 0.10,
    encoder: Callable[..., Encoder] = open_encoder,
    chosen: Chosen = ALL,
    team: Team = USUAL,
    device: str = "auto",
) -> dict[str, Any]:
    """Curate the indexed pairs, or `anchors`, into `out`; returns the manifest.

    encoder: opens the one to localise concepts with, as `open_encoder`. chosen: which of the shards it does; where
    others are missing then, its manifest is not finished. team: that shares them. device: of encoders, if any.

    Raises MisuseError for parameters other than those the folder was begun with and as `index_nouns`, CocuError for
    shards that could not be curated, after all others are done, and for a share of rejected anchors over `max_rejects`.
    """
    index_nouns(index)  # what it refuses is refused before any work
    options = options if anchors or has_pictures(index) else _of_tables(index, options)
    captions = anchors.captions if anchors else index_captions(index)
    shards = list(anchors.shards) if anchors else index_shards(index)
    parameters = {**index_identity(index), **options.parameters(), "anchors": anchors is not None}
    if anchors:
        parameters |= captions.parameters()
    tags = None
    if options.tags is not None:
        tags = read_tags(Path(options.tags), index.vocabulary, lexicon_of(index_nouns(index)).normal_form)
        parameters["tags"] = tags.digest
    embedding, looking = _crews(team, device, options.localise, anchors is not None)
    some = "--part" if chosen.name else "--retry-failed" if chosen.retry_failed else ""
    if some and anchors and tags is not None and not anchors.embedded:
        raise MisuseError(
            f"{some}, --anchors and --tags: tags are fitted to all anchors, of which it has some; leave out {some}"
        )
    record, outgrown = record_of(len(index.vocabulary)), _if_outgrown(index, out, parameters)
    with RunFolder(out, "curated", parameters, shards, record=record, renewed=outgrown, part=chosen.name) as folder:
        if folder.was_finished:
            check_finished(out / "manifest.json", folder.manifest)
            say(f"{out}: already finished; nothing to do")
            if anchors:
                check_rejects(folder.manifest["summary"], max_rejects, out)
            return folder.manifest
        mine = chosen.of(folder, shards)
        if options.left == PARQUET:
            check_parquet(shards, captions, options.write_caption)
        source, embedded = index.path, index.manifest
        clock = Stopwatch()
        index.rows.check_vectors(index.path / "rows")
        clock.lap("check")
        localiser = None
        if looking and not looking.gather:
            localiser = _localiser(index, options, encoder(index))
            clock.lap("open encoder")
        if anchors:
            source = anchors.embedded or out / "anchors"
            embedded = embed_anchors(index, anchors, source, chosen, embedding)
            clock.lap("embed anchors")
        fitted = fitted_models(index, options)
        if fitted.picture:
            say(fitted.picture.because())
        if (fitted.support or options.grounded or options.synonyms) and fitted.statistics.alike:
            say(f"{index.path}: its pictures are all alike; no concept is left out or merged for what they show")
        curator = Curator(index, options, fitted, localiser)
        first_rows = _first_rows(shards, embedded["shards"], anchors is None)
        if tags is not None:
            curator.witness = tags, _fit_tags(curator, tags, shards, source / "embeddings", first_rows)
            _tell_of_tags(curator.witness[1])
        clock.lap("fit")
        _copy_concepts(index, out)
        done = embedded["shards"]
        places = {shard.name: (done[shard.name].get("checksum"), first_rows[shard.name]) for shard in mine}
        what = (folder.path, source / "embeddings", places, captions)
        of_index = (index.path, index.spacy_pipeline, index_identity(index))
        known = {shard.name: done[shard.name]["pairs"] for shard in mine}
        crew = looking or replace(team, gpus=None).on_arrays(sum(known.values()), len(mine))
        others = partial(_elsewhere, *of_index, options, packed(fitted), curator.witness, encoder, crew.workers, what)
        curating = Curating(curator, *what)
        stage = ShardStage("curate", "pairs", mine, curating, others, known=lambda shard: known[shard.name])
        with closing(curating):
            each_shard(folder, "curated", [stage], crew.gather)
        if chosen.ends_here(folder, mine, shards):
            return folder.manifest
        details = {"index_version": version_of(index.manifest), **fitted.describe()}
        if curator.witness:
            details["tags"] = curator.witness[1].describe()
        folder.finish(
            _summary(folder, index, shards, embedded, clock.seconds, tags),
            source / "rejects.parquet",
            None if anchors else index.manifest["order"],  # it may have grown meanwhile
            **details,
        )
        if anchors:
            check_rejects(embedded["summary"], max_rejects, out)
        return folder.manifest


def _crews(team: Team, device: str, localise: bool, anchors: bool) -> tuple[WorkingTeam, WorkingTeam | None]:
    """Who embeds anchors, and who looks at pictures again, if anybody does; all else works on cores."""
    if team.gpus and not (anchors or localise):
        raise MisuseError(f"--gpus {team.gpus}: is of --anchors and --localise; all else works on cores: --processes")
    embedding = team.on(device) if anchors else replace(team, gpus=None).on("cpu")
    return embedding, team.on(device) if localise else None


def _if_outgrown(index: Index, out: Path, parameters: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], str]:
    """What tells why a curation with these parameters is done anew: it is of an older version of this index."""

    def reason(before: Mapping[str, Any]) -> str:
        older = older_version(index.manifest, before.get("index_content"))
        changed = {name for name in {*before, *parameters} if before.get(name) != parameters.get(name)}
        if older is None or any(not name.startswith("index_") for name in changed):
            return ""
        return (
            f"{out}: is of version {older['version']} of {index.path}, which is at version "
            f"{version_of(index.manifest)} by now ({growth_since(index.manifest, older)}); what is retrieved, fitted "
            "and ranked may be another for every pair, so all shards are curated anew"
            + ("; the embeddings of --anchors stay" if parameters["anchors"] else "")
        )

    return reason


def _of_tables(index: Index, options: CurateOptions) -> CurateOptions:
    """What can be made where no picture is at hand. Raises MisuseError for what cannot."""
    made = "was built from embeddings alone; without pictures"
    asked = "--localise" if options.localise else f"--output {options.output}" if options.output == "sidecar" else ""
    if asked or options.write_caption:
        raise MisuseError(
            f"{index.path}: {made} there is no {asked or '--write-caption'}; build it with its shards, too"
        )
    say(f"{index.path}: {made} the result is tables (--output tables)")
    return replace(options, output="tables")


def _fit_tags(
    curator: Curator, tags: Tags, shards: Sequence[Shard], embeddings: Path, first_rows: Mapping[str, int]
) -> TagModel:
    """How reliable tags are, by some pairs of every shard that have them."""
    index, support = curator.index, curator.support
    assert support is not None
    most = max(FIT_BLOCK, FIT_PAIRS // max(1, len(shards)))

    def blocks() -> Iterator[tuple[Archives, np.ndarray, PairTags]]:
        total = 0
        for number in np.random.default_rng(0).permutation(len(shards)).tolist():
            shard, row, here = shards[number], first_rows[shards[number].name], 0
            for batch in parquet_batches(embeddings / f"{shard.name}.parquet", FIT_BLOCK):
                found = tags.of(shard.name, batch["key"].to_pylist())
                if found.looked.any():
                    yield held_out(index, anchors_of(batch, row, index), curator.expansions, support, found)
                row += len(batch) if row >= 0 else 0
                here += int(found.looked.sum())
                if here >= most or total + here >= FIT_PAIRS:
                    break
            total += here
            if total >= FIT_PAIRS:
                return

    return fit_tags(blocks(), tags.known)


def _first_rows(shards: Sequence[Shard], embedded: Mapping[str, Mapping[str, Any]], own: bool) -> dict[str, int]:
    """Of each shard, the row of its first pair in the index; -1 where the pairs are not its own."""
    rows = {}
    row = 0
    for shard in shards:
        rows[shard.name] = row if own else -1
        row += embedded[shard.name]["pairs"] if own else 0
    return rows


@contextmanager
def _elsewhere(
    path: Path,
    spacy_pipeline: str | None,
    identity: Mapping[str, Any],
    options: CurateOptions,
    fitted: tuple[dict[str, Any], dict[str, Any]],
    witness: tuple[Tags, TagModel] | None,
    encoder: Callable[..., Encoder],
    workers: int | None,
    what: tuple[Path, Path, Mapping[str, tuple[int | None, int]], CaptionOptions],
    seat: Seat,
) -> Iterator[Work]:
    """What curates in a worker. Raises CocuError where the index has changed meanwhile, or is not to be seen there."""
    seat.share_of_threads()
    index = open_index(local_folder(path), spacy_pipeline)
    if index_identity(index) != identity:
        raise CocuError(f"{path}: has changed since this run began; run the same command again")
    localiser = _localiser(index, options, encoder(index, workers=seat.share(workers))) if options.localise else None
    curator = Curator(index, options, unpacked(index, *fitted), localiser)
    curator.witness = witness
    with closing(Curating(curator, *what)) as curating:
        yield curating


def _localiser(index: Index, options: CurateOptions, encoder: Encoder) -> Localiser:
    return Localiser(DenseEncoder(encoder), index.vocabulary, options.min_peak)


def _tell_of_tags(model: TagModel) -> None:
    named, share = model.report["of_them_named"], model.report["named_and_tagged"]
    if named < FIT_MENTIONS:
        say(f"--tags: held-out captions name {named} of them, too few to rely on: they join, and add nothing to scores")
    if share > SUSPECT:
        say(f"--tags: hold {share:.1%} of what captions name; if they are made of captions, that is believed too much")


def _tags_left_out(tags: Tags, joined: int) -> dict[str, Any]:
    """How many tags joined, and what became of the others."""
    unknown = sum(tags.unknown.values())
    left = {"of_no_pair": len(tags.pairs) - joined, "repeated": tags.repeated, "unknown": unknown}
    return {"joined": joined, **left, "examples": tags.examples()}


def _copy_concepts(index: Index, out: Path) -> None:
    vocabulary = index.vocabulary  # and not its file, which may be of a newer version by now
    columns = np.arange(len(vocabulary), dtype=np.int32), vocabulary.names, vocabulary.counts
    with atomic(out / "tables" / "concepts.parquet") as temporary:
        pq.write_table(pa.table([pa.array(column) for column in columns], CONCEPTS), temporary)


def _summary(
    folder: RunFolder,
    index: Index,
    shards: Sequence[Shard],
    embedded: Mapping[str, Any],
    before: Mapping[str, float],
    tags: Tags | None,
) -> dict[str, Any]:
    """What the closing summary and the report show. before: seconds of the stages before the shards."""
    records = [folder.records[shard.name] for shard in shards]
    pairs = sum(record["pairs"] for record in records)
    unenriched = sum(record.get("unenriched", 0) for record in records)
    localised: Counter[str] = Counter()
    for record in records:
        localised.update(record.get("localised", {}))
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
        **({"unenriched": unenriched} if unenriched else {}),
        **({"tags": _tags_left_out(tags, sum(record.get("tags", 0) for record in records))} if tags else {}),
        **{name: sum(record.get(name, 0) for record in records) for name in ("left_out", "unknown")},
        "not_kept": _not_kept(records),
        **({"localised": dict(localised)} if localised else {}),
        "concepts_per_pair": round(sum(record["concepts"] for record in records) / max(1, pairs), 3),
        "gained_share": round(sum(record["gained"] for record in records) / max(1, pairs), 4),
        "top_recovered": [[index.vocabulary.words[i], count] for i, count in best],
        "stage_seconds": seconds,
    }


def _not_kept(records: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Entries of archives that are not kept, by the reason."""
    found: dict[str, int] = {}
    for record in records:
        for reason, count in record.get("not_kept", {}).items():
            found[reason] = found.get(reason, 0) + count
    return found
