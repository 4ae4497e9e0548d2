"""Where the pairs of a curated folder lie: in its own shards, or, where it has none, in those that it was made from."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from dataclasses import fields
from pathlib import Path

from curation.curated.outputs import PARQUET, output_of
from curation.reading.pairs import IMAGE_FIELDS, MAX_IMAGE_BYTES, CaptionOptions
from curation.reading.parquet_tables import ParquetTable
from curation.reading.shards import Shard
from curation.reading.tars import Tar
from curation.runs.manifest import read_manifest
from files.addresses import is_remote, open_tar
from files.errors import CocuError
from files.rejects import Reject
from files.remote_folders import at_hand
from files.tar import read_member, read_samples


def shard_of(curated: Path, name: str) -> Shard | None:
    """The shard that holds the pairs of one of a curated folder; None where neither it nor its source is at hand.

    Raises MisuseError for a folder that is no finished curation.
    """
    manifest = read_manifest(curated, "curated")
    if (output := output_of(manifest)) in ("shards", PARQUET):
        # The name may come out of a table: it must not lead elsewhere.
        if Path(name).name != name:
            return None
        path = at_hand(curated.absolute() / "shards" / f"{name}{'.tar' if output == 'shards' else '.parquet'}")
        if not path.is_file():
            return None
        return Shard(name, str(path), path.stat().st_size, None if output == "shards" else (0, sys.maxsize))
    known = next((item for item in manifest["inputs"] if item["name"] == name), None)
    if known is None or is_remote(known["url"]) or not Path(known["url"]).is_file():
        return None
    return Shard(**{**known, "rows": tuple(known["rows"]) if known["rows"] else None})


def pictures_of(curated: Path, name: str, keys: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Encoded pictures of pairs of a shard; those that are not to be had are left out.

    A tar is walked along its headers; only the wanted pictures are read.
    """
    shard = shard_of(curated, name)
    if shard is None:
        return
    left = set(keys)
    try:
        for key, data in (
            _tar_pictures(shard, left) if isinstance(shard.reader, Tar) else _pictures(curated, shard, left)
        ):
            yield key, data
            left.discard(key)
            if not left:
                return
    except (OSError, CocuError):  # a page without pictures is better than none
        return


def _tar_pictures(shard: Shard, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    with open_tar(shard.url, shard.size) as tar:
        for sample in read_samples(tar.file):
            if not isinstance(sample, Reject) and sample.key in wanted:
                member = sample.member(IMAGE_FIELDS)
                if member is not None and member.size <= MAX_IMAGE_BYTES:
                    yield sample.key, read_member(tar.file, member)


def _pictures(curated: Path, shard: Shard, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    options = read_options(curated, shard)
    with shard.reader.originals(options) as originals:
        for original in originals:
            if original.key in wanted and (data := original.data(*IMAGE_FIELDS)):
                yield original.key, data


def read_options(curated: Path, shard: Shard) -> CaptionOptions:
    """How a shard of a curation is read: as it notes of itself, or as the manifest says."""
    manifest = read_manifest(curated, "curated")
    if output_of(manifest) == PARQUET and isinstance(shard.reader, ParquetTable) and (note := shard.reader.noted):
        return CaptionOptions(image_column=note.image, caption_column=note.caption)
    said = {field.name: f"caption_{field.name}" for field in fields(CaptionOptions)}
    made = manifest["parameters"]
    return CaptionOptions(**{name: made[key] for name, key in said.items() if key in made})
