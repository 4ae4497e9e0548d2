"""The manifest of an index: whatever is missing in it, or of another kind, is named."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from curation.index.index_manifest import growth_since, older_version, read_index_manifest, version_of
from files.errors import CocuError

BUILT = {
    **{"factory": "Flat", "vectors": 2, "bytes": 9, "settings": {"nprobe": 0, "rerank": 1}},
    **{"recall": 1.0, "recall_k": 2, "recall_queries": 2},
}
PARAMETERS = {
    **{"model": "miniature", "pretrained": None, "precision": "fp32", "weights": None, "min_count": 2},
    **{"caption_field": None, "caption_all_captions": False, "noun_pipeline": "en", "noun_adjectives": False},
    **{"noun_names": False, "noun_max_words": 4, "noun_max_chars": 2000, "vocabulary": None},
}
SUMMARY = {
    **{"pairs": 2, "extra_captions": 0, "concepts": 1, "cut_captions": 0, "repeated_keys": 0},
    **{"rejects": {"no image": 1}, "stage_seconds": {"read": 0.5}},
}
WHOLE: dict[str, Any] = {
    **{"kind": "index", "format": 1, "finished": True, "parameters": PARAMETERS, "summary": SUMMARY},
    "inputs": [{"name": "a", "url": "/a.tar", "size": 3, "rows": None, "offset": 0}],
    "shards": {"a": {"pairs": 2, "cut_captions": 0, "checksum": 7, "seconds": {"read": 0.5}, "rejects": 1}},
    **{"versions": {"cocu": "0.1.0"}, "dim": 2, "fingerprint": [0.5, 0.5], "order": ["a"], "pair_shards": 1},
    "indexes": {"captions": BUILT, "images": BUILT},
}
MAY_LACK = {"images", "no image", "read", "cocu", "rejects", "checksum"}


def written(folder: Path, manifest: Any) -> Path:
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def paths(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*above, key)
        yield from paths(value[key], (*above, key))


FIELDS = [path for path in paths(WHOLE) if path[0] not in ("kind", "format", "finished")]
FIELDS.remove(("shards", "a", "rejects"))  # nobody reads it


def test_a_whole_one_is_read(tmp_path: Path) -> None:
    assert read_index_manifest(written(tmp_path, WHOLE)) == WHOLE


@pytest.mark.parametrize("missing", [True, False], ids=["missing", "other"])
@pytest.mark.parametrize("path", FIELDS, ids=lambda path: ".".join(map(str, path)))
def test_each_field_missing_or_of_another_kind(tmp_path: Path, path: tuple[Any, ...], missing: bool) -> None:
    manifest = copy.deepcopy(WHOLE)
    *above, last = path
    place = manifest
    for key in above:
        place = place[key]
    if not missing:
        place[last] = [{}] if isinstance(place[last], dict) else {"x": []}
    elif isinstance(place, dict) and last not in MAY_LACK:
        del place[last]
    else:
        pytest.skip("may be missing")
    with pytest.raises(CocuError, match=r"manifest\.json: broken \(.*put back a copy") as raised:
        read_index_manifest(written(tmp_path, manifest))
    assert raised.value.exit_code == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"order": [], "pair_shards": 0}, "shards: hold other pairs than summary says"),
        ({"order": ["b"]}, "order: is not that of the inputs"),
        ({"order": ["a", "a"]}, "order: is not that of the inputs"),
        ({"pair_shards": 2}, "order: is not that of the inputs"),
        ({"shards": {}}, "shards.a is missing"),
        ({"inputs": [{**WHOLE["inputs"][0], "name": "../../a"}]}, "'../../a' cannot name a file"),
    ],
)
def test_parts_that_do_not_go_together(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(CocuError, match=said):
        read_index_manifest(written(tmp_path, WHOLE | change))


OLDER = {"version": 1, "content": "a1", "pairs": 1, "extra_captions": 0, "concepts": 1, "shards": 1}


def test_versions(tmp_path: Path) -> None:
    assert version_of(WHOLE) == 1
    grown = WHOLE | {"version": 2, "older_versions": [OLDER]}
    assert version_of(read_index_manifest(written(tmp_path, grown))) == 2
    assert older_version(grown, "a1") == OLDER
    assert older_version(grown, "b2") is older_version(WHOLE, "a1") is None
    assert growth_since(grown, OLDER) == "+1 pairs, +0 extra captions, +0 concepts"


@pytest.mark.parametrize(
    "change", [{"version": 2}, {"version": 3, "older_versions": [OLDER]}, {"version": 2, "older_versions": [{}]}]
)
def test_versions_that_cannot_be(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(CocuError, match="older_versions"):
        read_index_manifest(written(tmp_path, WHOLE | change))
