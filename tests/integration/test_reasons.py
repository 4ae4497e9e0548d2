"""Why a concept was recovered, as pages quote it: the retrieved captions that name it, by looking at all captions."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from curation.curated.pairs import CuratedPair
from curation.explorer.catalogue import open_catalogue
from curation.explorer.tables import read_pairs
from curation.report.evidence import CAPTIONS, Evidence, _quoted, read_evidence
from tests.integration.commands import UNFILTERED, World, cocu, succeed
from tests.parsed_page import read_page

NEIGHBOURS = 8
FREELY = ("--ranking", "paper", "--expansion", "mixed", *UNFILTERED)
COLUMNS = ["key", "image", "caption", "concepts", "image_vec", "text_vec"]


@pytest.fixture(scope="module")
def inside(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A curation in which much is recovered."""
    out = tmp_path_factory.mktemp("inside") / "curated"
    succeed("curate", "run", index, "--out", out, "--neighbours", NEIGHBOURS, *FREELY)
    return out


@pytest.fixture(scope="module")
def outside(index: Path, world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A curation of pairs that are not the index's."""
    out = tmp_path_factory.mktemp("outside") / "curated"
    shard = sorted(world.shards.glob("*.tar"))[0]
    options = ("--neighbours", NEIGHBOURS, "--model", world.model, "--anchors", shard)
    succeed("curate", "run", index, "--out", out, *options, *FREELY)
    return out


def every_pair(curated: Path, scratch: Path) -> list[CuratedPair]:
    catalogue = open_catalogue(curated, scratch)
    return read_pairs(catalogue, range(len(catalogue)))


def embedded(folder: Path) -> list[dict[str, object]]:
    return [
        row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path, columns=COLUMNS).to_pylist()
    ]


def plain(caption: str) -> str:
    return re.sub(r"\W+", "", caption.casefold())


def retrieved(pair: CuratedPair, own: dict[str, object], rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """The captions most like the pair by picture and words, without those of its own picture or of its own words."""
    query = np.asarray(own["image_vec"], np.float32) + np.asarray(own["text_vec"], np.float32)
    others = [
        row
        for row in rows
        if pair.key not in (row["key"], str(row["image"]).removesuffix(".jpg"))
        and plain(str(row["caption"])) != plain(pair.caption)
    ]
    return sorted(others, key=lambda row: -float(np.asarray(row["text_vec"], np.float32) @ query))[:NEIGHBOURS]


def quoted(evidence: Evidence, pair: CuratedPair) -> dict[str, list[str]]:
    return {
        reason.concept: ["".join(text for text, _ in quote) for quote in reason.quotes]
        for reason in evidence.reasons[pair.shard, pair.key]
    }


@pytest.mark.parametrize("which", ["inside", "outside"])
def test_quotes_are_the_nearest_captions_that_name_it(
    which: str, index: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    curated: Path = request.getfixturevalue(which)
    rows = embedded(index / "embeddings")
    own = {
        row["key"]: row
        for row in embedded(curated / "anchors" / "embeddings" if which == "outside" else index / "embeddings")
    }
    pairs = every_pair(curated, tmp_path)
    evidence = read_evidence(curated, pairs, index)
    seen = 0
    for pair in pairs:
        near = retrieved(pair, own[pair.key], rows)
        wanted: dict[str, list[str]] = {row.concept: [] for row in pair.archive if not row.in_caption}
        for row in near:
            said = str(row["caption"])
            for concept in row["concepts"]:  # type: ignore[attr-defined]
                if concept in wanted and plain(said) not in map(plain, wanted[concept]):
                    wanted[concept].append(said)
        assert quoted(evidence, pair) == {concept: found[:CAPTIONS] for concept, found in wanted.items()}
        seen += sum(map(len, wanted.values()))
    assert seen > 100


def test_the_report_and_the_page_of_a_pair_quote(inside: Path, index: Path, tmp_path: Path) -> None:
    (tmp_path / "beside").mkdir()
    shutil.copytree(inside, tmp_path / "beside" / "curated", ignore=shutil.ignore_patterns(".explorer"))
    shutil.copytree(index, tmp_path / "beside" / "some name")
    beside = tmp_path / "beside" / "curated"
    pair = next(pair for pair in every_pair(inside, tmp_path) if any(not row.in_caption for row in pair.archive))
    said = [q for quotes in quoted(read_evidence(inside, [pair], index), pair).values() for q in quotes]
    for command in (("report", beside), ("show", beside, pair.key)):
        answer = succeed("curate", *command, "--out", tmp_path / "page.html")
        assert answer.err == ""
        page = read_page((tmp_path / "page.html").read_text("utf-8"))
        assert len(page.by_class["rest why"]) >= (40 if command[0] == "report" else 1)
    assert said
    assert all(quote in page.by_class["rest why"][0] for quote in said)


def test_without_its_index_a_page_says_so_and_with_another_there_is_none(
    curated: Path, index: Path, tmp_path: Path
) -> None:
    out = ("--out", tmp_path / "page.html")
    alone = tmp_path / "alone" / "curated"
    shutil.copytree(curated, alone)
    answer = succeed("curate", "report", alone, *out)
    assert "give it by --index" in answer.err
    assert "rest why" not in read_page((tmp_path / "page.html").read_text("utf-8")).by_class
    succeed("curate", "report", alone, *out, "--index", index)
    other = tmp_path / "alone" / "index"
    shutil.copytree(index, other)
    for file in (other / "embeddings").iterdir():
        file.write_bytes(file.read_bytes()[:50])
    answer = succeed("curate", "report", alone, *out)
    assert str(other / "embeddings") in answer.err
    assert cocu("curate", "report", alone, *out, "--index", other).code == 1
    manifest = json.loads((other / "manifest.json").read_text("utf-8"))
    manifest["parameters"]["min_count"] = 77
    (other / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    refused = cocu("curate", "report", alone, *out, "--index", other)
    assert (refused.code, "from another index" in refused.err) == (2, True)
    assert cocu("curate", "show", alone, "k", "--index", index).code == 2


@pytest.mark.parametrize("odd", [{"expansion": 7}, {"expansion": None}, {"neighbours": "x"}, {"neighbours": -3}])
def test_a_manifest_that_does_not_say_how_is_told(
    odd: dict[str, object], inside: Path, index: Path, tmp_path: Path
) -> None:
    shutil.copytree(inside, tmp_path / "curated")
    manifest = json.loads((inside / "manifest.json").read_text("utf-8"))
    manifest["parameters"] |= odd
    (tmp_path / "curated" / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    answer = cocu("curate", "report", tmp_path / "curated", "--out", tmp_path / "page.html", "--index", index)
    assert answer.code == 1
    assert f"manifest.json: broken (parameters.{next(iter(odd))}" in answer.err


def test_long_captions_are_cut_around_the_word() -> None:
    pieces = _quoted("word " * 3000 + "a Sea-lion " + "more " * 3000, "sea lion")
    assert 150 < sum(len(text) for text, _ in pieces) < 170
    assert ("Sea-lion", "sea lion") in pieces or len(pieces) == 1
    (first, none), (word, named), (last, _) = _quoted("x" * 500 + " a sea lion " + "y" * 500, "sea lion")
    assert (first[0], none, word, named, last[-1]) == ("…", None, "sea lion", "sea lion", "…")
    assert _quoted("short", "none") == [("short", None)]
