"""The manifest of a finished folder: read and checked."""

from __future__ import annotations

import contextlib
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from files.errors import CocuError, MisuseError
from files.plain_names import plain_name
from files.shapes import ShapeFault, check_shape, count
from files.strict_json import JsonFault, read_json

FORMAT = 1
# Of any kind; what is in a finished one besides, its kind's own reader knows.
INPUT = {"name": plain_name, "url": str, "size": count, "rows": (None, [count]), "offset": count}
BEGUN = {"finished": bool, "parameters": dict, "inputs": [INPUT], "shards": {str: dict}}
FINISHED = {**BEGUN, "summary": dict}

LIBRARIES = ("torch", "open_clip_torch", "faiss-gpu", "faiss-cpu", "spacy", "pyarrow", "numpy", "duckdb", "pillow")


def read_manifest(folder: Path, kind: str) -> dict[str, Any]:
    """Manifest of a finished INDEX or CURATED folder.

    Raises MisuseError when the folder is no such thing or its command has not finished.
    """
    command = {"index": "cocu index build", "curated": "cocu curate run"}[kind]
    path = folder / "manifest.json"
    if not path.is_file():
        raise MisuseError(f"{folder}: no manifest.json there; expected a folder made by `{command}`")
    manifest = parsed_manifest(path)
    if manifest.get("kind") != kind:
        raise MisuseError(
            f"{folder}: is of kind {manifest.get('kind')!r}, not {kind!r}; expected a folder made by `{command}`"
        )
    if manifest.get("format") != FORMAT:
        raise MisuseError(
            f"{folder}: written in format {manifest.get('format')}, this version reads {FORMAT}; build it again"
        )
    if not manifest.get("finished"):
        raise MisuseError(f"{folder}: `{command}` has not finished; run the same command again, it goes on there")
    return checked_manifest(path, manifest)


def parsed_manifest(path: Path) -> dict[str, Any]:
    """A manifest.json as it stands. Raises CocuError when it is no JSON object."""
    try:
        manifest = read_json(path)
        check_shape(manifest, dict)
    except (JsonFault, ShapeFault) as error:
        raise broken_manifest(path, str(error)) from None
    return dict(manifest)


def checked_manifest(path: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest, if it has the parts that every one has. Raises CocuError."""
    try:
        check_shape(manifest, FINISHED if manifest.get("finished") else BEGUN)
    except ShapeFault as fault:
        raise broken_manifest(path, str(fault)) from None
    return manifest


def broken_manifest(path: Path, reason: str) -> CocuError:
    """The error for a manifest that is not as it was written."""
    return CocuError(
        f"{path}: broken ({reason}); put back a copy of it, or run the command into a new folder with another --out"
    )


def versions() -> dict[str, str]:
    """Versions of what shapes a result."""
    found = {"python": platform.python_version()}
    for name in ("cocu", *LIBRARIES):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
