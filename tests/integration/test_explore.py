"""The explorer over what commands have made: its searches, its reasons, its map, and the command itself."""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from curation.encoding.model_names import EncoderSpec
from curation.explorer.atlas import write_atlas
from curation.explorer.explored import Explored
from curation.explorer.space import PairSpace
from curation.reasons.made_from import find_index
from files.errors import MisuseError
from tests.integration.commands import World, cocu, succeed


@pytest.fixture(scope="module")
def folder(curated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A curation of one's own, for what the explorer keeps lies beside the tables."""
    copy = tmp_path_factory.mktemp("explored") / "curated"
    shutil.copytree(curated, copy)
    return copy


@pytest.fixture(scope="module")
def explored(folder: Path, index: Path, world: World) -> Explored:
    found = Explored.opened(folder, index, encoder=EncoderSpec(world.model))
    found.start()
    return found


@pytest.fixture(scope="module")
def outside(index: Path, world: World, tmp_path_factory: pytest.TempPathFactory) -> Explored:
    """Of pairs that are not the index's."""
    out = tmp_path_factory.mktemp("outside") / "curated"
    shard = sorted(world.shards.glob("*.tar"))[0]
    options = ["--neighbours", 8, "--model", world.model, "--anchors", shard]
    succeed("curate", "run", index, "--out", out, *options)
    found = Explored.opened(out, index, encoder=EncoderSpec(world.model))
    found.start()
    return found


def space_of(explored: Explored) -> PairSpace:
    assert explored.space is not None
    return explored.space


def pictures(explored: Explored) -> np.ndarray:
    return space_of(explored).vectors(np.arange(len(explored.catalogue)))


@pytest.mark.parametrize("which", ["explored", "outside"])
def test_searches_find_what_looking_at_all_finds(which: str, request: pytest.FixtureRequest) -> None:
    explored: Explored = request.getfixturevalue(which)
    encoder, _ = explored._ready()
    wanted = pictures(explored) @ encoder.encode_texts(["a red car"])[0].astype(np.float32)
    similarity, pairs = explored.like_words("a red car", 7, "words")
    assert similarity == pytest.approx(np.sort(wanted)[::-1][:7], abs=2e-3)
    assert wanted[pairs] == pytest.approx(similarity, abs=2e-3)
    own = explored.pictures.whole(5)
    assert own is not None
    nearest, found = explored.like_vector(explored.vector_of(own), 3)
    assert nearest[0] == pytest.approx(1, abs=0.02)
    assert 5 in found
    beside = pictures(explored) @ pictures(explored)[5]
    beside[5] = -1
    assert explored.neighbours(5, 4)[0] == pytest.approx(np.sort(beside)[::-1][:4], abs=2e-3)
    assert 5 not in explored.neighbours(5, 4)[1]


@pytest.mark.parametrize("which", ["explored", "outside"])
def test_reasons_are_captions_that_name_the_concept(which: str, request: pytest.FixtureRequest) -> None:
    explored: Explored = request.getfixturevalue(which)
    index = space_of(explored).index
    named = {
        (row["caption"], word)
        for path in (index.path / "embeddings").glob("*.parquet")
        for row in pq.read_table(path, columns=["caption", "concepts"]).to_pylist()
        for word in row["concepts"]
    }
    seen = 0
    for number in range(0, len(explored.catalogue), 7):
        (pair,) = explored.pairs([number])
        ids = [explored.catalogue.concept[row.concept] for row in pair.archive]
        found = explored.why(number, ids)
        for concept, row in zip(ids, pair.archive, strict=True):
            assert bool(row.support) <= len(found[concept]) <= min(3, row.support), (number, row)
            assert len({one.caption for one in found[concept]}) == len(found[concept])
            assert all((one.caption, row.concept) in named for one in found[concept])
            seen += len(found[concept])
    assert seen > 20


def test_similarities_are_cosines(explored: Explored) -> None:
    vectors = space_of(explored).index.vocabulary.vectors
    assert explored.similarities(3, [0, 2]) == pytest.approx(vectors[[0, 2]] @ pictures(explored)[3])


def test_heat_lies_over_the_picture(explored: Explored) -> None:
    (pair,) = explored.pairs([3])
    data, picture = explored.heat(3, explored.catalogue.concept[pair.archive[0].concept]), explored.pictures.whole(3)
    assert data is not None
    assert picture is not None
    sheet, below = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(picture))
    assert sheet.mode == "RGBA"
    assert sheet.width / sheet.height == pytest.approx(below.width / below.height, rel=0.02)
    veil = np.asarray(sheet)[..., 3]
    assert veil.min() == 0
    assert veil.max() > 150


def test_the_index_is_found_beside_and_another_is_refused(folder: Path, index: Path, tmp_path: Path) -> None:
    assert find_index(folder) is None
    shutil.copytree(folder, tmp_path / "curated")
    shutil.copytree(index, tmp_path / "some name")
    assert find_index(tmp_path / "curated") == tmp_path / "some name"
    manifest = json.loads((tmp_path / "some name" / "manifest.json").read_text())
    manifest["parameters"]["min_count"] = 77
    (tmp_path / "some name" / "manifest.json").write_text(json.dumps(manifest))
    assert find_index(tmp_path / "curated") is None
    with pytest.raises(MisuseError, match="was curated from another index"):
        Explored.opened(tmp_path / "curated", tmp_path / "some name")


@pytest.mark.parametrize("which", ["explored", "outside"])
def test_the_map_has_every_pair_and_its_nearest(which: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    explored: Explored = request.getfixturevalue(which)
    written = write_atlas(explored.folder, space_of(explored).index.path, tmp_path / "map.parquet")
    assert written == len(explored.catalogue)
    rows = pq.read_table(tmp_path / "map.parquet").to_pylist()
    pairs = explored.pairs(range(len(explored.catalogue)))
    assert [(row["shard"], row["key"], row["caption"]) for row in rows] == [(p.shard, p.key, p.caption) for p in pairs]
    assert [row["recovered"] for row in rows] == [[c.concept for c in p.archive if not c.in_caption] for p in pairs]
    places = np.array([[row["x"], row["y"]] for row in rows])
    assert np.mean((places > -0.1) & (places < 1.1)) > 0.95
    assert places.std(0).min() > 0.1
    likeness = pictures(explored) @ pictures(explored).T
    np.fill_diagonal(likeness, -1)
    for i in (0, 7):
        near = rows[i]["neighbors"]
        assert i not in near["ids"]
        wanted = np.sort(likeness[i])[::-1][: len(near["ids"])]
        assert 1 - np.array(near["distances"]) == pytest.approx(wanted, abs=5e-3)


def test_the_command_serves_until_it_is_ended(folder: Path, index: Path) -> None:
    program = "import sys; from cli.main import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", program, "explore", str(folder), "--index", str(index), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().split("  ")[0]
        try:
            assert address.startswith("http://127.0.0.1:")
            page = urlopen(address).read().decode()
            assert "What the captions left out" in page
            taken = cocu("explore", folder, "--index", index, "--port", address.rstrip("/").rpartition(":")[2])
            assert taken.code == 2
            assert "give another port" in taken.err
        finally:
            server.send_signal(signal.SIGINT)
        _, err = server.communicate(timeout=60)
    assert (server.returncode, err) == (0, "")


@pytest.mark.parametrize("serves", [False, True])
def test_the_command_ends_well_at_any_time(serves: bool, folder: Path, index: Path) -> None:
    """Before it serves, and while the encoder is loading."""
    program = "import sys; from cli.main import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", program, "explore", str(folder), "--index", str(index), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().split("  ")[0]
        if serves:
            urlopen(address).read()
        server.send_signal(signal.SIGINT)
        _, err = server.communicate(timeout=60)
    assert (server.returncode, err) == (0, "")


def test_what_cannot_be_explored_is_told(folder: Path, index: Path, tmp_path: Path) -> None:
    for arguments, said in (
        ([tmp_path / "nowhere"], "no manifest.json there"),
        ([folder, folder, folder], "give one to explore, or two to compare"),
        ([folder, "--index", tmp_path / "nowhere"], "nowhere"),
        ([folder, "--index", index, "--host", "no.such.host.invalid"], "--host no.such.host.invalid"),
    ):
        found = cocu("explore", *arguments)
        assert found.code == 2
        assert said in found.err
