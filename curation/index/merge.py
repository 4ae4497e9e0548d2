"""`cocu index merge`: embeddings of several indexes -> the index that would be built of all their shards at once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from curation.encoding.model_names import EncoderSpec
from curation.index.build import LATE_PARAMETERS, finish_index, options_of, told_apart
from curation.index.growth import parted, rejects_of
from curation.index.index_manifest import RECORD, checked_index_manifest
from curation.index.opened import Index, all_shards, has_pictures, open_encoder, open_index
from curation.reading.shards import Shard
from curation.runs.run_folder import RunFolder
from files.atomic import atomic
from files.errors import MisuseError
from files.rejects import Reject
from files.remote_folders import at_hand
from files.saying import say

# Where they are of the same bytes, another name or place of them counts for nothing.
NAMED_ONLY = {
    "weights": ("model", "pretrained"),
    "tokenizer_digest": ("tokenizer",),
    "vocabulary_digest": ("vocabulary",),
}


@dataclass(frozen=True)
class _Taken:
    """A shard of the new index, and where it is taken from: an index, and its name there."""

    shard: Shard
    index: Index
    name: str


def merge_indexes(
    paths: Sequence[Path],
    out: Path,
    encoder: EncoderSpec | None = None,
    spacy_pipeline: str | None = None,
    device: str = "auto",
    batch_size: int = 64,
) -> dict[str, Any]:
    """Merge indexes of one encoder into `out`, or go on; returns the manifest.

    encoder, spacy_pipeline: of the first index, where its manifest alone must not name them. A shard that an earlier
    one has, too, counts once. Raises MisuseError for indexes that were not built alike, CocuError as `build_index`.
    """
    if len(set(map(os.path.realpath, paths))) < 2:
        raise MisuseError("nothing to merge: name two indexes or more")
    if os.path.realpath(out) in map(os.path.realpath, paths):
        raise MisuseError(f"--out {out}: is one of the indexes; give another folder")
    indexes = [open_index(path, spacy_pipeline) for path in paths]
    first = indexes[0]
    for other in indexes[1:]:
        _check_alike(first, other)
    taken, left_out = _taken(indexes)
    shards = [*taken[0], *taken[1]]
    with RunFolder(out, "index", first.manifest["parameters"], [one.shard for one in shards], record=RECORD) as folder:
        if folder.was_finished:
            checked_index_manifest(out / "manifest.json", folder.manifest)
            say(f"{out}: already finished; nothing to do")
        else:
            loaded = open_encoder(first, device, batch_size, 1, encoder, first.manifest["parameters"]["precision"])
            for index in indexes[1:]:
                loaded.check_fingerprint(index.manifest["fingerprint"], str(index.path))
            _take_over(folder, shards)
            pairs, extra = ([one.shard for one in some] for some in taken)
            finish_index(folder, pairs, extra, loaded, options_of(first, loaded.spec))
        say(
            f"{out}: {len(shards):,} shards of {len(indexes):,} indexes"
            + (f"; {left_out:,} that an earlier one has, too, were left out" if left_out else "")
        )
        return folder.manifest


def _check_alike(first: Index, other: Index) -> None:
    """Raises MisuseError where pairs of one index would have been read or encoded otherwise for the other."""
    one, two = first.manifest["parameters"], other.manifest["parameters"]
    same = {name for by, names in NAMED_ONLY.items() for name in names if one.get(by) and one.get(by) == two.get(by)}
    if has_pictures(first) == has_pictures(other):
        same.add("embeddings")  # whose folders speak of their own pairs
    differ = [name for name in sorted({*one, *two} - same) if one.get(name) != two.get(name)]
    told = [f"{name}: {one.get(name)!r} and {two.get(name)!r}" for name in differ]
    if not set(differ) <= set(LATE_PARAMETERS):
        raise MisuseError(
            f"{other.path}: was built otherwise than {first.path} ({'; '.join(told)}); build one of them as the other"
        )
    if told:
        say(f"{other.path}: differs from {first.path} in {'; '.join(told)}; the former goes for the new index")


def _taken(indexes: Sequence[Index]) -> tuple[list[list[_Taken]], int]:
    """The shards of pairs, and those of captions without pictures; and how many were left out.

    Raises MisuseError for one that two indexes have of different content.
    """
    found: list[list[_Taken]] = [[], []]
    left_out = 0
    for index in indexes:
        for kind, shards in enumerate(all_shards(index)):
            there = {one.shard: one for one in found[kind]}
            new, known = parted(shards, list(there))
            names = {(shard.url, shard.rows): shard.name for shard in shards}
            for shard in known:
                before, name = there[shard], names[shard.url, shard.rows]
                if _checksum(before.index, before.name) != _checksum(index, name):
                    raise MisuseError(
                        f"{shard.url}: is another in {index.path} than in {before.index.path}; build one of them anew"
                    )
            left_out += len(known)
            found[kind] += [_Taken(shard, index, shard.name) for shard in new]
    for kind, shards in enumerate(told_apart([[one.shard for one in some] for some in found])):
        found[kind] = [replace(one, shard=shard) for one, shard in zip(found[kind], shards, strict=True)]
    return found, left_out


def _checksum(index: Index, name: str) -> int | None:
    found: int | None = index.manifest["shards"][name].get("checksum")
    return found


def _take_over(folder: RunFolder, shards: Sequence[_Taken]) -> None:
    """Embeddings and records of shards; the files are one with the old ones where the disk can do so."""
    rejects = {one.index.path: rejects_of(one.index.path) for one in shards}
    for one in shards:
        if folder.done(one.shard.name):
            continue
        with atomic(folder.path / "embeddings" / f"{one.shard.name}.parquet") as temporary:
            source = at_hand(one.index.path / "embeddings" / f"{one.name}.parquet")
            try:
                os.link(source, temporary)
            except OSError:
                shutil.copyfile(source, temporary)
        record = one.index.manifest["shards"][one.name]
        folder.commit(one.shard.name, record, [Reject(*reject) for reject in rejects[one.index.path].get(one.name, ())])
