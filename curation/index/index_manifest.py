"""The manifest of an index: what it must hold, read and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curation.concepts.languages import known_languages
from curation.index.next_version import settle
from curation.runs.manifest import broken_manifest, read_manifest
from files.shapes import ShapeFault, check_shape, count

RECORD = {"pairs": count, "cut_captions": count, "checksum?": (None, int), "seconds": {str: float}}


def _language(value: Any) -> None:
    if value not in known_languages():
        raise ValueError(f"{value!r:.40} is no language that this cocu knows: {', '.join(known_languages())}")


BUILT = {
    "factory": str,
    "vectors": count,
    "trained?": count,
    "bytes": count,
    "settings": {"nprobe": count, "rerank": count},
    "recall": float,
    "recall_k": count,
    "recall_queries": count,
}
PARAMETERS = {
    **{"model": str, "pretrained": (None, str), "precision": str, "weights": (None, str), "min_count": count},
    **{"caption_field": (None, str), "caption_all_captions": bool},
    **{"caption_image_column?": (None, str), "caption_caption_column?": (None, str)},
    **{"caption_images?": (None, str), "caption_columns?": (None, [str])},
    **{"noun_pipeline": str, "noun_adjectives": bool, "noun_names": bool, "noun_max_words": count},
    **{
        "noun_max_chars": count,
        "noun_parser?": str,
        "noun_language?": _language,
        "prompt?": str,
        "tokenizer?": str,
        "embeddings?": {"folder": str, "files": str, "matched": bool},
        "tokenizer_digest?": str,
        "vocabulary": (None, str),
        "vocabulary_digest?": (None, str),
        **{"factory?": str, "memory?": count, "min_recall?": float},
    },
}
SUMMARY = {
    **{"pairs": count, "extra_captions": count, "concepts": count, "cut_captions": count, "repeated_keys": count},
    **{"rejects": {str: count}, "stage_seconds": {str: float}},
}
# Of an index that grew, what its older versions were.
OLDER = {"version": count, "content": str, "pairs": count, "extra_captions": count, "concepts": count, "shards": count}
FINISHED = {
    "parameters": PARAMETERS,
    "versions": {str: str},
    "summary": SUMMARY,
    "dim": count,
    "fingerprint": [float],
    "order": [str],
    "pair_shards": count,
    "indexes": {"captions": BUILT, "images?": BUILT},
    **{"version?": count, "older_versions?": [OLDER]},
}


def read_index_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a finished index. Raises as `read_manifest`, CocuError where a part is not as it must be."""
    settle(folder)
    return checked_index_manifest(folder / "manifest.json", read_manifest(folder, "index"))


def version_of(manifest: dict[str, Any]) -> int:
    """1 for an index as it was built; one more each time that it grew."""
    return int(manifest.get("version", 1))


def older_version(manifest: dict[str, Any], content: Any) -> dict[str, Any] | None:
    """What is kept of the older version with this `index_content` (`index_identity`); None where there was none."""
    return next((one for one in manifest.get("older_versions", ()) if one["content"] == content), None)


def growth_since(manifest: dict[str, Any], older: dict[str, Any]) -> str:
    """What the index has more than an older version: "+30 pairs, +0 extra captions, +4 concepts"."""
    names, summary = ("pairs", "extra_captions", "concepts"), manifest["summary"]
    return ", ".join(f"{summary[name] - older[name]:+,} {name.replace('_', ' ')}" for name in names)


def checked_index_manifest(path: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a finished index, if it is whole. Raises CocuError."""
    try:
        check_shape(manifest, FINISHED)
        known = {item["name"] for item in manifest["inputs"]}
        order, shards = manifest["order"], manifest["shards"]
        if version_of(manifest) != 1 + len(manifest.get("older_versions", ())):
            raise ShapeFault("older_versions: are not all those before this version")
        if len(set(order)) < len(order) or not known.issuperset(order) or manifest["pair_shards"] > len(order):
            raise ShapeFault("order: is not that of the inputs")
        for name in order:
            check_shape(shards, {name: RECORD}, "shards")
        if sum(shards[name]["pairs"] for name in order) != sum(
            manifest["summary"][n] for n in ("pairs", "extra_captions")
        ):
            raise ShapeFault("shards: hold other pairs than summary says")
    except ShapeFault as fault:
        raise broken_manifest(path, str(fault)) from None
    return manifest
