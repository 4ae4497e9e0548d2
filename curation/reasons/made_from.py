"""The index that a curation was made from: found beside it, opened, and where its shards begin."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from curation.index.opened import Index, content_digest, open_index
from curation.runs.manifest import parsed_manifest, read_manifest
from files.errors import CocuError, MisuseError
from files.remote_folders import address_of, beside, is_there, local_folder
from files.saying import say


def find_index(curated: Path) -> Path | None:
    """The index that a curation was made from, where it lies beside it: by what its manifest says of itself."""
    wanted = read_manifest(curated, "curated")["parameters"].get("index_content")
    try:
        for path in beside(curated):
            if _is_index(path, wanted):
                return local_folder(address_of(path))
    except CocuError as error:  # the other side may show the folder, and nothing beside it
        say(f"the index was looked for in vain: {error}")
    return None


def _is_index(path: Path, content: Any) -> bool:
    with suppress(CocuError, KeyError, TypeError):
        manifest = parsed_manifest(path / "manifest.json")
        return manifest.get("kind") == "index" and content_digest(manifest) == content
    return False


def open_index_of(curated: Path, path: Path) -> Index:
    """The index in `path`. Raises MisuseError where the curation was made from another, CocuError for a broken one."""
    index = open_index(path)
    made = read_manifest(curated, "curated")["parameters"]
    if content_digest(index.manifest) != made.get("index_content"):
        raise MisuseError(f"--index {path}: {curated} was curated from another index; give that one")
    return index


def embedded_outside(curated: Path) -> Path | None:
    """Where the pairs of a curation were embedded, those from outside its index; None where they are the index's.

    Raises MisuseError where the folder is missing.
    """
    if not read_manifest(curated, "curated")["parameters"].get("anchors"):
        return None
    folder = curated / "anchors" / "embeddings"
    if not folder.is_dir() and not is_there(folder):
        raise MisuseError(f"{folder}: missing; its pairs are from outside the index, and were embedded there")
    return folder


def shard_starts(manifest: dict[str, Any]) -> dict[str, int]:
    """Of each shard of an index the first row, in their order."""
    order = manifest["order"]
    starts = np.cumsum([0, *(manifest["shards"][name]["pairs"] for name in order)])
    return dict(zip(order, starts.tolist(), strict=False))
