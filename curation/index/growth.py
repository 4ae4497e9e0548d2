"""`cocu index add`: new shards, and those that an index has -> its next version, as if it was built of all at once.

Only what is new is read, parsed and encoded. Of all captions concepts are counted anew, as a new caption may be the
second that names one, and their vectors too, which differ in a last bit by the company in which they are encoded.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curation.concepts.extractor import ConceptExtractor
from curation.concepts.lemmas import lexicon_of
from curation.concepts.listed import read_vocabulary
from curation.encoding.model_names import EncoderSpec, weights_digest
from curation.index.build import crew_for, finish_index, options_of, told_apart
from curation.index.embedding import embed_all
from curation.index.given_vectors import GivenVectors, embed_all_given
from curation.index.index_manifest import RECORD, read_index_manifest, version_of
from curation.index.next_version import MANIFEST, NEXT, is_begun, put_in_place
from curation.index.opened import (
    Index,
    all_shards,
    index_captions,
    index_identity,
    index_nouns,
    open_encoder,
    open_index,
)
from curation.reading.embeddings import find_parts
from curation.reading.shards import Shard, find_caption_tables, find_shards
from curation.runs.manifest import versions
from curation.runs.parquet_parts import parquet_batches
from curation.runs.run_folder import RunFolder, check_rejects
from curation.runs.team import USUAL, Team, WorkingTeam
from files.errors import MisuseError
from files.locks import locked
from files.remote_folders import LARGE, bring, remove
from files.saying import say

REJECTS_AT_ONCE = 10_000


def add_to_index(
    path: Path,
    shards: Sequence[str],
    extra: Sequence[str],
    encoder: EncoderSpec | None = None,
    spacy_pipeline: str | None = None,
    max_rejects: float = 0.10,
    device: str = "auto",
    batch_size: int = 64,
    workers: int = 4,
    embeddings: Path | None = None,
    team: Team = USUAL,
) -> dict[str, Any]:
    """Add shards of pairs, and tables of captions without pictures, to the index at `path`; returns its manifest.

    encoder, spacy_pipeline: the index's own, where its manifest alone must not name them. Shards that it has are left
    out. Killed, the same call goes on; until all is done the index is as it was. embeddings: a folder of vectors of
    what is new, for an index that was built so. team: that shares the new shards. Raises MisuseError for a model that
    is another now and for shards that are no longer as they were indexed, CocuError as `build_index`.
    """
    if not shards and not extra and not embeddings:
        raise MisuseError("nothing to add: name shards, or --embeddings, or --extra-captions")
    crew = crew_for(team, device, embeddings is not None)
    bring(path, LARGE)
    read_index_manifest(path)  # told before a lock is made where no index is
    with locked(path, MANIFEST):
        put_in_place(path)
        if not is_begun(path):  # what is there is of one that is in place, or of two runs at once
            remove(path / NEXT, ignore_errors=True)
        index = open_index(path, spacy_pipeline)
        given = _given(index, embeddings, bool(shards))
        tables = [part.table for part in given.parts] if given and not given.matched else []
        named = tables or find_shards(shards, index_captions(index)), find_caption_tables(extra)
        new, known = zip(*(parted(*both) for both in zip(named, all_shards(index), strict=True)), strict=True)
        left_out = f"; {len(known[0] + known[1]):,} shards that it had already were left out" if any(known) else ""
        pairs, captions = told_apart(new, index.manifest["order"])
        manifest = index.manifest
        if pairs or captions:
            at_once = (team.here(device), batch_size, workers)
            manifest = _grow(index, pairs, captions, encoder, *at_once, given, crew)
            put_in_place(path)
    added = [[shard.name for shard in some] for some in (pairs, captions)]
    rows = [sum(manifest["shards"][name]["pairs"] for name in some) for some in added]
    say(
        f"{path}: version {version_of(manifest)}"
        + (
            f", with {rows[0]:,} pairs of {len(pairs):,} shard{'s' * (len(pairs) != 1)} "
            f"and {rows[1]:,} extra captions more"
            if any(added)
            else ", as it was: nothing is new"
        )
        + left_out
    )
    _tell_of_copies(path, manifest, [*added[0], *added[1]])
    _check_rejects(path, manifest, [*added[0], *added[1], *(shard.name for shard in known[0] + known[1])], max_rejects)
    return manifest


def parted(named: Sequence[Shard], old: Sequence[Shard]) -> tuple[list[Shard], list[Shard]]:
    """Those that are none of the old ones, and those old ones that the others are.

    Raises MisuseError for one that is an old one no longer.
    """
    there: dict[str, list[Shard]] = {}
    for shard in old:
        there.setdefault(shard.url, []).append(shard)
    new, known = [], []
    for shard in named:
        for other in there.get(shard.url, ()):
            if (shard.rows, shard.size) == (other.rows, other.size):
                known.append(other)
                break
            if shard.rows is None or other.rows is None or _overlap(shard.rows, other.rows):
                was, now = (
                    f"{one.size:,} bytes" if one.rows is None else f"rows {one.rows[0]:,} to {one.rows[1]:,}"
                    for one in (other, shard)
                )
                raise MisuseError(
                    f"{shard.url}: has changed since it was indexed ({was} there, {now} now); put the old one back, "
                    "and what is new into a file of its own"
                )
        else:
            new.append(shard)
    return new, known


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _grow(
    index: Index,
    new: Sequence[Shard],
    new_extra: Sequence[Shard],
    named: EncoderSpec | None,
    device: str,
    batch_size: int,
    workers: int,
    given: GivenVectors | None,
    crew: WorkingTeam,
) -> dict[str, Any]:
    """Fill the folder of the next version, or go on; returns its manifest."""
    path, built = index.path, index.manifest["parameters"]
    given = given if new else None
    grown = built | ({"embeddings": _both(built["embeddings"], given.parameters())} if given else {})
    nouns, captions = index_nouns(index), index_captions(index)
    vocabulary = built["vocabulary"]
    listed = read_vocabulary(vocabulary, lexicon_of(nouns), built.get("vocabulary_digest")) if vocabulary else None
    pairs, extra = ([*old, *some] for old, some in zip(all_shards(index), (new, new_extra), strict=True))
    other = [f"{name} {was}" for name, was in index.manifest["versions"].items() if versions().get(name, was) != was]
    if other:
        say(f"{path}: was built with {', '.join(other)}; what is new may differ from what that would give")
    advice = f"give the same ones to go on, or remove {path / NEXT}, the unfinished version, to leave out what it adds"
    with RunFolder(path / NEXT, "index", grown, [*pairs, *extra], record=RECORD, advice=advice) as folder:
        folder.records |= _records(index)
        encoder = open_encoder(index, device, batch_size, workers, named, built["precision"])
        if built["weights"] != weights_digest(encoder.spec):
            raise MisuseError(f"{path}: was built with other weights than {encoder.spec.model} has now; put them back")
        options = options_of(index, encoder.spec)
        with ConceptExtractor(nouns, workers) as extractor:
            if given and new:
                embed_all_given(folder, given, new, encoder, extractor, listed)
            embed_all(folder, [] if given else new, new_extra, encoder, extractor, captions, listed, crew)
        version, older = version_of(index.manifest), index.manifest.get("older_versions", [])
        more: dict[str, Any] = {"version": version + 1, "older_versions": [*older, _as_older(index)]}
        of_vectors = index.manifest["summary"].get("embeddings", 0)
        if given:
            of_vectors += given.rows if given.matched else sum(shard.size for shard in new)
        finish_index(folder, pairs, extra, encoder, options, of_vectors, grown_from=index, **more)
        return folder.manifest


def _given(index: Index, embeddings: Path | None, beside: bool) -> GivenVectors | None:
    """The vectors of what is new, of an index that has such; beside: whether shards are named, too."""
    built = index.manifest["parameters"].get("embeddings")
    if embeddings is None and not (built and beside):
        return None
    if embeddings is None or built is None or built["matched"] != beside:
        was = "without --embeddings" if not built else "with SHARDS and --embeddings" if built["matched"] else ""
        raise MisuseError(
            f"{index.path}: was built {was or 'from --embeddings alone'}; give what is new in the same way"
        )
    return GivenVectors(embeddings, find_parts(embeddings), beside, index_captions(index))


def _both(built: dict[str, Any], added: dict[str, Any]) -> dict[str, Any]:
    """What a manifest says of the vectors of an index that has grown."""
    files = hashlib.sha256(repr([built["files"], added["files"]]).encode()).hexdigest()[:16]
    return {**built, "folder": f"{built['folder']}, {added['folder']}", "files": files}


def _as_older(index: Index) -> dict[str, Any]:
    """What the next versions keep of this one."""
    manifest = index.manifest
    counts = {name: manifest["summary"][name] for name in ("pairs", "extra_captions", "concepts")}
    content = index_identity(index)["index_content"]
    return {"version": version_of(manifest), "content": content, **counts, "shards": len(manifest["order"])}


def _records(index: Index) -> dict[str, dict[str, Any]]:
    """The records of the shards of an index, with their rejects, as they were when these shards were done."""
    rejects = rejects_of(index.path)
    return {
        name: {**index.manifest["shards"][name], "rejects": rejects.get(name, [])} for name in index.manifest["order"]
    }


def _tell_of_copies(path: Path, manifest: dict[str, Any], added: Sequence[str]) -> None:
    """Say which new shards hold the very pairs of another, under another name: they are kept, and count twice."""
    shards, new, seen = manifest["shards"], set(added), dict[tuple[int, int | None], str]()
    copies = []
    for name in sorted(manifest["order"], key=lambda name: name in new):
        content = shards[name]["pairs"], shards[name].get("checksum")
        if name in new and content[0] and content in seen:
            copies.append(f"{name} those of {seen[content]}")
        seen.setdefault(content, name)
    if copies:
        say(f"{path}: {len(copies):,} of the new shards hold what another holds, which counts twice now: {copies[0]}")


def rejects_of(path: Path) -> dict[str, list[list[str]]]:
    """Key and reason of the rejects of each shard."""
    found: dict[str, list[list[str]]] = {}
    for batch in parquet_batches(path / "rejects.parquet", REJECTS_AT_ONCE, ("shard", "key", "reason")):
        for row in batch.to_pylist():
            found.setdefault(row["shard"], []).append([row["key"], row["reason"]])
    return found


def _check_rejects(path: Path, manifest: dict[str, Any], names: Sequence[str], limit: float) -> None:
    """Raises CocuError when the share of rejects in these shards is over the limit: those of the others hide none."""
    rejects = rejects_of(path)
    counts = Counter(reason.partition(":")[0] for name in names for _, reason in rejects.get(name, ()))
    pairs = sum(manifest["shards"][name]["pairs"] for name in names)
    check_rejects({"pairs": pairs, "rejects": dict(counts.most_common())}, limit, path)
