"""What the manifest of a curated folder must hold, and the record of a shard while it is curated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curation.runs.manifest import broken_manifest
from files.shapes import ShapeFault, check_shape, count

_TOLD = {"unenriched?": count, "left_out?": count, "unknown?": count, "localised?": {str: count}}
_LEFT_OUT = {"joined": count, "of_no_pair": count, "repeated": count, "unknown": count, "examples": str}
_TAGS = {"log_odds": [float], "silent": float, "tags": count, "of_them_named": count}
SUMMARY = {
    **_TOLD,
    "tags?": _LEFT_OUT,
    **{"pairs": count, "rejects": {str: count}, "concepts_per_pair": float, "gained_share": float},
    **{"top_recovered": [list], "stage_seconds": {str: float}},
}


def record_of(concepts: int) -> dict[str, Any]:
    """The shape of a shard's record, where so many concepts are known."""

    def recovered(value: Any) -> None:
        check_shape(value, {str: count})
        if unknown := next((key for key in value if not (key.isdecimal() and int(key[:18]) < concepts)), None):
            raise ValueError(f"{unknown!r:.40} is no concept")

    counts = {"pairs": count, "concepts": count, "gained": count, "tags?": count, **_TOLD}
    return {**counts, "recovered": recovered, "seconds": {str: float}}


def check_finished(path: Path, manifest: dict[str, Any]) -> None:
    """Raises CocuError for a finished manifest of which the closing summary could not be told."""
    try:
        check_shape(
            manifest,
            {"summary": SUMMARY, "index_version?": count, "support?": {"neighbours": (None, count)}, "tags?": _TAGS},
        )
        if "tags" in manifest["summary"] and not manifest.get("tags", {}).get("log_odds"):
            raise ShapeFault("tags.log_odds: missing or empty")
        for number, row in enumerate(manifest["summary"]["top_recovered"]):
            if [type(part) for part in row] != [str, int]:
                raise ShapeFault(f"summary.top_recovered[{number}]: not a concept and its count")
    except ShapeFault as fault:
        raise broken_manifest(path, str(fault)) from None
