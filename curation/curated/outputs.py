"""What `cocu curate run --output` leaves of each shard besides the tables, and where."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curation.curated.parquet_shards import ParquetShard
from curation.curated.shard_writer import ShardWriter
from curation.curated.shards import CuratedShard
from curation.curated.sidecar import Sidecar, TablesOnly
from curation.reading.pairs import CaptionOptions
from curation.reading.shards import Shard

SIDECAR_SUFFIX = ".concepts.tar"

PARQUET = "parquet"  # shards of this format, which are an output of their own


def shard_writer(
    output: str, shard: Shard, curated: Path, captions: CaptionOptions, caption_field: str | None, localised: bool
) -> ShardWriter:
    """What writes a shard of a curated folder; output: PARQUET, or of OUTPUTS (curation/ranking/options.py)."""
    if output == PARQUET:
        return ParquetShard(shard, curated / "shards" / f"{shard.name}.parquet", captions, caption_field, localised)
    if output == "tables":
        return TablesOnly(shard, captions)
    if output == "sidecar":
        return Sidecar(shard, curated / "shards" / f"{shard.name}{SIDECAR_SUFFIX}", captions, caption_field)
    return CuratedShard(shard, curated / "shards" / f"{shard.name}.tar", captions, caption_field)


def output_of(manifest: Mapping[str, Any]) -> str:
    """What the curation of a manifest has left, PARQUET or of OUTPUTS."""
    made = manifest["parameters"]
    return str(made["shards_format"] if "shards_format" in made else made.get("output", "shards"))
