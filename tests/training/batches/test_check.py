"""The look at the data before a run: good data pass, and what must fail says at once why."""

import gzip
import json
from pathlib import Path

import fsspec
import pytest

from benchmarks.speed.tiny_pairs import caption, write_tar
from files.errors import CocuError, MisuseError
from tests.tiny_world import pair_members, picture
from training.batches.check import check_data
from training.shards.found import Source

CONCEPT = {"concept": "grass", "score": 0.4, "in_caption": False}


def described(**more: object) -> bytes:
    return json.dumps({"version": 1, "concepts": [CONCEPT | more]}).encode()


def shard(folder: Path, pairs: int = 3, concepts: bytes | None = None) -> Path:
    extra = {} if concepts is None else {"concepts.json": concepts}
    return write_tar(folder / "0.tar", [m for i in range(pairs) for m in pair_members(f"{i}", i, extra)])


def test_plain_shards_do_without_concepts_and_curated_ones_with(tmp_path: Path) -> None:
    plain, curated = shard(tmp_path / "plain"), shard(tmp_path / "curated", concepts=described(cluster=0))
    assert [found.url for found in check_data([str(plain)])] == [str(plain)]
    for concepts in ("none", "caption", "curated-top", "curated-cluster"):
        check_data([str(curated)], concepts)
        if concepts != "none":
            with pytest.raises(MisuseError, match=r"no \.concepts\.json.*cocu curate run.*concepts: none") as caught:
                check_data([str(plain)], concepts)
            assert str(plain) in str(caught.value)
            assert caught.value.exit_code == 2


def test_clusters_are_asked_for_where_they_are_needed(tmp_path: Path) -> None:
    path = shard(tmp_path, concepts=described())
    check_data([str(path)], "curated-top")
    with pytest.raises(MisuseError, match="without clusters"):
        check_data([str(path)], "curated-cluster")


def test_every_collection_is_looked_at(tmp_path: Path) -> None:
    good, bad = shard(tmp_path / "good", concepts=described(cluster=0)), shard(tmp_path / "bad")
    with pytest.raises(MisuseError, match=str(bad)):
        check_data([Source((str(good),), 1), Source((str(bad),), 1)], "caption")


def test_some_bad_pairs_at_the_beginning_are_no_reason_to_stop(tmp_path: Path) -> None:
    bad = [(f"bad{i}.jpg", b"?") for i in range(60)]
    path = write_tar(tmp_path / "0.tar", [*bad, ("good.jpg", picture(0)), ("good.txt", caption(0).encode())])
    check_data([str(path)])


def test_shards_without_a_usable_pair_are_passed_over_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, members in enumerate(([], [("a.jpg", b"?"), ("a.txt", b"a dog")], pair_members("0", 0, {}), [])):
        write_tar(tmp_path / f"{number}.tar", members)
    (tmp_path / "00.tar").write_bytes(b"")
    assert len(check_data([str(tmp_path)])) == 5
    said = capsys.readouterr().err
    for name, why in (("0.tar", "holds no samples"), ("00.tar", "holds no samples"), ("1.tar", "unreadable picture")):
        assert f"{tmp_path / name}: " in said
        assert why in said.partition(f"{tmp_path / name}: ")[2].partition(";")[0]
    assert "2.tar" not in said
    assert "3.tar" not in said  # a look at the beginning, no more
    # A collection has to have a pair of its own: the others' do not help.
    without = Source(tuple(str(tmp_path / name) for name in ("0.tar", "1.tar")), 1)
    with pytest.raises(MisuseError, match=r"1\.tar: none of the first 1 pairs.*0\.tar: holds no samples"):
        check_data([Source((str(tmp_path / "2.tar"),), 1), without])


@pytest.mark.parametrize(
    ("members", "what"),
    [
        ([], "holds no samples"),
        ([("README", b"hello")], "holds no samples"),
        ([("a.png", picture(0)), ("b.png", picture(1))], r"none of the first 2 pairs can be used: no caption \(2\)"),
        ([("a.txt", b"a dog")], "no image"),
        ([("a.jpg", b"?"), ("a.txt", b"a dog")], "unreadable picture"),
    ],
)
def test_shards_of_something_else_are_refused(tmp_path: Path, members: list[tuple[str, bytes]], what: str) -> None:
    with pytest.raises(MisuseError, match=what):
        check_data([str(write_tar(tmp_path / "0.tar", members))])


def test_what_is_no_tar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0.tar").write_bytes(b"<html>not found</html>" * 100)
    with pytest.raises(MisuseError, match="holds no samples"):
        check_data([str(tmp_path)])


def test_remote_and_packed_shards_are_looked_into_without_copying_them(tmp_path: Path) -> None:
    path = shard(tmp_path, pairs=5)
    fsspec.filesystem("memory").pipe("/checked/0.tar", path.read_bytes())
    packed = tmp_path / "1.tar.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert len(check_data(["memory://checked/0.tar", str(packed)])) == 2
    with pytest.raises(CocuError, match=r"127\.0\.0\.1:9/0\.tar: cannot be read"):
        check_data(["http://127.0.0.1:9/0.tar"])


def test_of_remote_shards_no_more_is_fetched_than_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.batches.check.BEGINNINGS", (20_000, 60_000))
    late = write_tar(tmp_path / "0.tar", [("a.bin", bytes(50_000)), *pair_members("b", 0)]).read_bytes()
    never = write_tar(tmp_path / "1.tar", [("a.bin", bytes(90_000)), *pair_members("b", 0)]).read_bytes()
    for name, data in (("late", late), ("never", never), ("bad", late[:50_000]), ("none", bytes(10_240))):
        fsspec.filesystem("memory").pipe(f"/first/{name}.tar", data)
    for good in ("late", "never"):  # the second cannot be told from a good one without fetching it
        check_data([f"memory://first/{good}.tar"])
    for bad in ("bad", "none"):
        with pytest.raises(MisuseError, match=r"holds no samples|no image"):
            check_data([f"memory://first/{bad}.tar"])


def test_a_shard_that_begins_with_what_is_broken_is_looked_into(tmp_path: Path) -> None:
    path = shard(tmp_path)
    path.write_bytes(b"?" * 700 + path.read_bytes())
    assert len(check_data([str(path)])) == 1
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(MisuseError, match=r"holds no samples \(not a tar"):
        check_data([str(path)])


def test_unknown_concepts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="concepts: all; expected one of none, caption"):
        check_data([str(shard(tmp_path))], "all")
