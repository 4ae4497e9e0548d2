"""The manifest of a finished folder: read and checked."""

from __future__ import annotations

import contextlib
import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from files.errors import CocuError, MisuseError

FORMAT = 1


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
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _broken_manifest(path, str(error)) from error
    if not isinstance(manifest, dict):
        raise _broken_manifest(path, f"a {type(manifest).__name__}, not an object")
    return manifest


def checked_manifest(path: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest, if it has the parts that every one has. Raises CocuError."""
    kinds = {"parameters": dict, "inputs": list, "shards": dict} | (
        {"summary": dict} if manifest.get("finished") else {}
    )
    for name, kind in kinds.items():
        if not isinstance(manifest.get(name), kind):
            raise _broken_manifest(path, f"{name!r} is missing or of the wrong kind")
    return manifest


def _broken_manifest(path: Path, reason: str) -> CocuError:
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
