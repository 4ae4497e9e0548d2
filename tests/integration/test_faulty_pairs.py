"""Bad pairs and broken shards among good ones, through whole commands: what is good arrives, what is bad is listed."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks.speed.tiny_pairs import caption, write_tar
from tests.integration.commands import World, cocu, manifest, members_of
from tests.integration.faults import build, curate, rejects
from tests.tiny_world import make_shards, pair_members, picture, png_bomb

LONG = ("A dog and a cat in the park. " * 4_000)[:100_000]


def make_dirty(folder: Path) -> Path:
    """Shards: every kind of bad pair; a tar cut short; no tar at all; a good one."""
    jpeg = picture(7, (200, 160))
    write_tar(
        folder / "0-pairs.tar",
        [
            *pair_members("good", 1),
            *pair_members("truncated", 2)[1:],
            ("truncated.jpg", jpeg[: len(jpeg) // 2]),
            ("bomb.png", png_bomb(20_000, 20_000)),
            ("bomb.txt", b"a bomb"),
            ("noise.jpg", b"\xff\xd8\xff" + bytes(range(256))),
            ("noise.txt", b"a dog"),
            ("empty.jpg", picture(3)),
            ("empty.txt", b" \n"),
            ("long.jpg", picture(4)),
            ("long.txt", LONG.encode()),
            ("latin.jpg", picture(5)),
            ("latin.txt", "un café".encode("latin-1")),
            ("silent.jpg", picture(6)),
            ("blind.txt", b"a dog in the park"),
            *pair_members("twice", 8),
            *pair_members("twice", 9),
            *pair_members("good-2", 10),
            *pair_members("good", 11),
        ],
    )
    cut = write_tar(folder / "1-cut.tar", [m for i in range(9) for m in pair_members(f"c{i}", 20 + i)])
    data = cut.read_bytes()
    cut.write_bytes(data[: data.index(picture(24)) + 300])
    (folder / "2-page.tar").write_bytes(b"<html>404 Not Found</html>")
    (folder / "3-empty.tar").write_bytes(b"")
    make_shards(folder / "good", 1, 6)[0].rename(folder / "4-good.tar")
    return folder


BAD = {
    ("0-pairs", "truncated", "truncated picture"),
    ("0-pairs", "bomb", "oversized picture"),
    ("0-pairs", "noise", "unreadable picture"),
    ("0-pairs", "empty", "empty caption"),
    ("0-pairs", "latin", "caption is not UTF-8"),
    ("0-pairs", "silent", "no caption"),
    ("0-pairs", "blind", "no image"),
    ("0-pairs", "twice", "repeated key"),
    ("0-pairs", "good", "repeated key"),
    ("1-cut", "", "tar cut short"),
    ("2-page", "", "not a tar"),
    ("3-empty", "", "tar is empty"),
}
GOOD = ["good", "long", "twice", "good-2", *(f"c{i}" for i in range(4)), *(f"00000{i:04d}" for i in range(6))]
EXCEEDED = "12 of 26 (46.2%) were rejected, over --max-rejects 10%"


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dirty(tmp_path_factory.mktemp("dirty"))


@pytest.fixture(scope="module")
def dirty_index(dirty: Path, world: World) -> Path:
    """An index of the dirty shards; its build ended with exit code 1 for the share of rejects."""
    arguments = build(dirty, dirty.parent / "dirty-index", world.model, "--min-count", 1)
    for _ in range(2):  # once more, when all is done: the share is as bad as before
        answer = cocu(*arguments)
        assert answer.code == 1, answer.err
        assert f"error: {EXCEEDED}: 2 repeated key, 1 " in answer.err
        assert f"Everything good is written; see {dirty.parent / 'dirty-index' / 'rejects.parquet'}" in answer.err
    assert "already finished" in answer.err
    answer = cocu(*arguments, "--max-rejects", 0.5)
    assert answer.code == 0, answer.err
    assert "rejects         12 (2 repeated key, 1 " in answer.out
    assert "), 46.2% of what was read; each with its reason in" in answer.out
    return dirty.parent / "dirty-index"


def test_rejects_are_listed_and_good_pairs_embedded(dirty_index: Path) -> None:
    assert rejects(dirty_index) == BAD
    assert pq.read_table(dirty_index / "rejects.parquet").num_rows == len(BAD)
    embedded = [pq.read_table(path) for path in sorted((dirty_index / "embeddings").iterdir())]
    assert [key for table in embedded for key in table["key"].to_pylist()] == GOOD
    captions = dict(zip(embedded[0]["key"].to_pylist(), embedded[0]["caption"].to_pylist(), strict=True))
    assert captions["long"] == LONG.strip()
    assert captions["twice"] == caption(8), "the first of two is kept"
    assert manifest(dirty_index)["summary"]["cut_captions"] == 1
    reasons = {row["key"]: row["reason"] for row in pq.read_table(dirty_index / "rejects.parquet").to_pylist()}
    assert reasons["bomb"] == "oversized picture: more than 100,000,000 pixels"


def test_what_is_good_is_curated(dirty_index: Path, tmp_path: Path) -> None:
    answer = cocu(*curate(dirty_index, tmp_path / "curated"))
    assert answer.code == 0, answer.err
    assert rejects(tmp_path / "curated") == BAD
    shards = {path.stem: members_of(path) for path in sorted((tmp_path / "curated" / "shards").iterdir())}
    keys = [
        name.partition(".")[0] for members in shards.values() for name, _ in members if name.endswith(".concepts.json")
    ]
    assert keys == GOOD
    members = dict(shards["0-pairs"])
    assert members["long.txt"] == LONG.encode()
    assert members["twice.jpg"] == picture(8)
    assert json.loads(members["good.concepts.json"])["version"] == 1


def test_anchors_with_too_many_rejects(dirty: Path, index: Path, world: World, tmp_path: Path) -> None:
    more = ("--model", world.model, "--device", "cpu", "--workers", 1)
    arguments = curate(index, tmp_path / "curated", "--anchors", dirty, *more)
    for _ in range(2):
        answer = cocu(*arguments)
        assert answer.code == 1, answer.err
        assert f"error: {EXCEEDED}" in answer.err
        assert str(tmp_path / "curated" / "rejects.parquet") in answer.err
    assert rejects(tmp_path / "curated") == BAD
    assert manifest(tmp_path / "curated")["summary"]["pairs"] == len(GOOD)
    assert cocu(*arguments, "--max-rejects", 0.5).code == 0


def test_nothing_but_rejects(world: World, tmp_path: Path) -> None:
    write_tar(tmp_path / "0.tar", [("a.jpg", b"x"), ("a.txt", b"a dog"), ("b.txt", b"a cat")])
    out = tmp_path / "index"
    answer = cocu(*build(tmp_path / "0.tar", out, world.model))
    assert answer.code == 1
    assert answer.err.splitlines()[-1] == (
        f"error: {out}: no pair could be read; rejects: 1 no image, 1 unreadable picture; "
        f"the first of 'no image': b: no image: it has .txt; each stands with its reason in {out / 'rejects.parquet'}"
    )
    assert rejects(out) == {("0", "a", "unreadable picture"), ("0", "b", "no image")}


@pytest.mark.parametrize("text", ["", "image,caption\n"])
def test_a_table_without_rows_is_misuse(text: str, world: World, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text(text)
    answer = cocu(*build(tmp_path / "empty.csv", tmp_path / "index", world.model))
    assert answer.code == 2
    assert "the tables that were named hold no row" in answer.err
    assert not (tmp_path / "index").exists()


def test_bad_rows_of_extra_captions(world: World, tmp_path: Path) -> None:
    lines = ["key,caption", "a,a dog and a cat", "b,", "c,caf\udce9", "d,a dog, a cat", "e,a dog on a beach"]
    table, out = tmp_path / "more.csv", tmp_path / "index"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogateescape")
    answer = cocu(*build(world.shards, out, world.model, "--extra-captions", table))
    assert answer.code == 0, answer.err
    assert rejects(out) == {
        ("more-00000", "b", "empty caption"),
        ("more-00000", "c", "caption is not UTF-8"),
        ("more-00000", "row 4", "broken row"),
    }
    assert manifest(out)["summary"]["extra_captions"] == 2
