"""`curate run --output`: what is left of each shard is that of whole curated shards, without their pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.integration.commands import SHARDS, World, cocu, digests, manifest, members_of, succeed

OPTIONS = ("--preset", "paper")


@pytest.fixture(scope="module")
def whole(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "curated"
    succeed("curate", "run", index, "--out", out, *OPTIONS, "--write-caption", "caption")
    return out


@pytest.fixture(scope="module")
def hidden(world: World, index: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Curated while the sources were away, as what opens none of them can be."""
    folder = tmp_path_factory.mktemp("outputs")
    world.shards.rename(folder / "away")
    try:
        for output in ("sidecar", "tables"):
            succeed("curate", "run", index, "--out", folder / output, *OPTIONS, "--output", output)
        named = ("--output", "sidecar", "--write-caption", "meta.caption")
        succeed("curate", "run", index, "--out", folder / "named", *OPTIONS, *named)
    finally:
        (folder / "away").rename(world.shards)
    return {name: folder / name for name in ("sidecar", "tables", "named")}


def test_a_sidecar_has_the_concepts_alone(whole: Path, hidden: dict[str, Path]) -> None:
    for name in SHARDS:
        curated = members_of(whole / "shards" / f"{name}.tar")
        concepts = [member for member in curated if member[0].endswith(".concepts.json")]
        assert members_of(hidden["sidecar"] / "shards" / f"{name}.concepts.tar") == concepts
        enriched = {
            key[:-5]: json.loads(data)["caption"] for key, data in curated if key.count(".") == 1 and ".json" in key
        }
        named = dict(members_of(hidden["named"] / "shards" / f"{name}.concepts.tar"))
        assert {
            key[:-5]: json.loads(named.pop(key))["meta"]["caption"] for key in [*named] if key.count(".") == 1
        } == enriched
        assert list(named.items()) == concepts
    assert not (hidden["tables"] / "shards").exists()


def test_the_tables_are_the_same(whole: Path, hidden: dict[str, Path]) -> None:
    for folder in hidden.values():
        assert digests(folder, "tables") == digests(whole, "tables")


def test_a_run_goes_on_with_the_same_output_only(index: Path, hidden: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "curated"
    shutil.copytree(hidden["sidecar"], out)
    before = digests(out, "shards", "tables")
    begun = manifest(out)
    (out / "manifest.json").write_text(json.dumps(begun | {"finished": False, "shards": {}}))
    (out / "shards" / f"{SHARDS[1]}.concepts.tar").unlink()
    refused = cocu("curate", "run", index, "--out", out, *OPTIONS)
    assert refused.code == 2
    assert 'output: "sidecar" there, null now' in refused.err
    succeed("curate", "run", index, "--out", out, *OPTIONS, "--output", "sidecar")
    assert digests(out, "shards", "tables") == before


def test_a_source_that_has_changed_is_told(world: World, index: Path, tmp_path: Path) -> None:
    path = world.shards / f"{SHARDS[0]}.tar"
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(512))
    try:
        answer = cocu("curate", "run", index, "--out", tmp_path, *OPTIONS, "--output", "sidecar")
    finally:
        path.write_bytes(whole)
    assert answer.code == 1
    assert f"{path}: has {len(whole) + 512:,} bytes" in answer.err


@pytest.mark.parametrize("output", ["sidecar", "tables"])
def test_a_report_shows_pictures_of_the_source(
    output: str, world: World, hidden: dict[str, Path], tmp_path: Path
) -> None:
    pages = []
    for away in (False, True):
        if away:
            world.shards.rename(tmp_path / "away")
        try:
            succeed("curate", "report", hidden[output], "--out", tmp_path / "report.html")
        finally:
            if away:
                (tmp_path / "away").rename(world.shards)
        pages.append((tmp_path / "report.html").read_text().count("data:image/jpeg"))
    assert pages == [48, 0]


def test_what_needs_whole_shards_says_so(whole: Path, hidden: dict[str, Path], tmp_path: Path) -> None:
    for name, out in (("whole", whole), ("sidecar", hidden["sidecar"])):
        succeed("curate", "balance", out, "--out", tmp_path / f"{name}.parquet", "--cap", 3)
    assert (tmp_path / "whole.parquet").read_bytes() == (tmp_path / "sidecar.parquet").read_bytes()
    answer = cocu("curate", "balance", hidden["tables"], "--out", tmp_path / "subset", "--cap", 3)
    assert answer.code == 2
    assert "its --output is tables" in answer.err
    answer = cocu("curate", "run", tmp_path, "--out", tmp_path, "--output", "tables", "--write-caption", "caption")
    assert answer.code == 2
    assert "--write-caption" in answer.err
