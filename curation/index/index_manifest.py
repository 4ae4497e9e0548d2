"""The manifest of an index: what it must hold, read and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curation.concepts.languages import known_languages
from curation.runs.manifest import broken_manifest, read_manifest
from files.shapes import ShapeFault, check_shape, count

RECORD = {"pairs": count, "cut_captions": count, "checksum?": (None, int), "seconds": {str: float}}


def _language(value: Any) -> None:
    if value not in known_languages():
        raise ValueError(f"{value!r:.40} is no language that this cocu knows: {', '.join(known_languages())}")


BUILT = {
    "factory": str,
    "vectors": count,
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
    },
}
SUMMARY = {
    **{"pairs": count, "extra_captions": count, "concepts": count, "cut_captions": count, "repeated_keys": count},
    **{"rejects": {str: count}, "stage_seconds": {str: float}},
}
FINISHED = {
    "parameters": PARAMETERS,
    "versions": {str: str},
    "summary": SUMMARY,
    "dim": count,
    "fingerprint": [float],
    "order": [str],
    "pair_shards": count,
    "indexes": {"captions": BUILT, "images?": BUILT},
}


def read_index_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a finished index. Raises as `read_manifest`, CocuError where a part is not as it must be."""
    return checked_index_manifest(folder / "manifest.json", read_manifest(folder, "index"))


def checked_index_manifest(path: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a finished index, if it is whole. Raises CocuError."""
    try:
        check_shape(manifest, FINISHED)
        known = {item["name"] for item in manifest["inputs"]}
        order, shards = manifest["order"], manifest["shards"]
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
