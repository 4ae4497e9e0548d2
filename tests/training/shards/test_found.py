"""Names of training data -> shards and collections."""

import sys
from pathlib import Path

import fsspec
import pytest

from files.errors import CocuError, MisuseError
from tests.curation.curated_fixture import MadePair, make_curated
from tests.tiny_world import make_shards
from training.shards.found import Source, find_data


def urls_of(*names: Path | str) -> list[str]:
    return [shard.url for shard in find_data(list(map(str, names)))[0]]


def names(*given: Path | str) -> list[str]:
    return [Path(url).relative_to(Path(url).parent.parent).as_posix() for url in urls_of(*given)]


def test_tars_folders_braces_and_globs(tmp_path: Path) -> None:
    make_shards(tmp_path / "a", shards=3, pairs=1)
    make_shards(tmp_path / "b", shards=1, pairs=1)
    (tmp_path / "a" / ".00009.tar").write_bytes(b"")
    (tmp_path / "a" / "notes.txt").write_bytes(b"")
    every = ["a/00000.tar", "a/00001.tar", "a/00002.tar"]
    assert (
        names(tmp_path / "a")
        == names(tmp_path / "a" / "*.tar")
        == names(tmp_path / "a" / "{00000..00002}.tar")
        == every
    )
    assert names(tmp_path / "a" / "00001.tar", tmp_path / "a") == ["a/00001.tar", "a/00000.tar", "a/00002.tar"]
    assert names(tmp_path / "*") == [*every, "b/00000.tar"]
    assert urls_of(f"file://{tmp_path}/b") == [str(tmp_path / "b" / "00000.tar")]


def test_a_curated_folder_stands_for_its_shards(tmp_path: Path) -> None:
    make_curated(tmp_path / "curated", {"00000": [MadePair("a")], "00001": [MadePair("b")]})
    assert names(tmp_path / "curated") == ["shards/00000.tar", "shards/00001.tar"]


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("nowhere", "no such file or folder"),
        ("empty", "holds no shards"),
        ("file.txt", "not a shard"),
        ("*.txt", "none of them a shard"),
        ("x-{0..9999999}.tar", "stands for more than"),
        ("x-{0..", "unbalanced braces|no such file"),
        ("x-{0,1}}.tar", "unbalanced braces|no such file"),
        ("pipe:cat x.tar", "commands in shard names are not run"),
        ("ftp://host/x.tar", "addresses of this kind are not read"),
        ("simplecache::s3://bucket/x.tar", "addresses of this kind are not read"),
        ("https://host/folder/", "not a tar"),
        ("memory://nothing/*.tar", "matches no shard"),
        ("memory://nothing/x.tar", "no such file"),
    ],
)
def test_names_that_cannot_be_used_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_bytes(b"")
    with pytest.raises(MisuseError, match=what) as caught:
        find_data([name])
    assert caught.value.exit_code == 2
    assert name.split("{")[0] in str(caught.value)


def test_no_data_at_all_is_refused() -> None:
    with pytest.raises(MisuseError, match="no training data"):
        find_data([])


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)  # as if it were not installed
    with pytest.raises(MisuseError, match=r"pip install -c constraints.txt '\.\[s3\]'"):
        find_data(["s3://b/x.tar"])


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(CocuError, match=r"http://127\.0\.0\.1:9/x\.tar: cannot be read"):
        find_data(["http://127.0.0.1:9/x.tar"])


def test_remote_globs(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    for path in make_shards(tmp_path, shards=2, pairs=1):
        memory.pipe(f"/globbed/{path.name}", path.read_bytes())
    shards, _ = find_data(["memory://globbed/*.tar"])
    assert [shard.url for shard in shards] == ["memory://globbed/00000.tar", "memory://globbed/00001.tar"]
    assert [shard.size for shard in shards] == [path.stat().st_size for path in sorted(tmp_path.glob("*.tar"))]


def test_shard_names_are_short_and_tell_shards_apart(tmp_path: Path) -> None:
    for folder in ("x/a", "y/a", "z"):
        make_shards(tmp_path / folder, shards=1, pairs=1)
    (tmp_path / "z" / "only.tar").write_bytes((tmp_path / "z" / "00000.tar").read_bytes())
    shards, collections = find_data([str(tmp_path)])
    assert [shard.name for shard in shards] == ["x/a/00000", "y/a/00000", "z/00000", "only"]
    assert collections[0].shards == (0, 1, 2, 3)


def test_weights_make_collections_of_their_own(tmp_path: Path) -> None:
    a, b = (make_shards(tmp_path / name, shards=2, pairs=1) for name in "ab")
    _, pooled = find_data([str(tmp_path / "a"), str(tmp_path / "b")])
    assert [(c.shards, c.weight) for c in pooled] == [((0, 1, 2, 3), 1.0)]
    shards, weighed = find_data([Source((str(tmp_path / "a"),), 3), Source((str(tmp_path / "b"), str(a[0])), 1)])
    assert [(c.shards, c.weight) for c in weighed] == [((0, 1), 0.75), ((2, 3, 0), 0.25)]
    assert [shard.url for shard in shards] == list(map(str, [*a, *b]))
    with pytest.raises(MisuseError, match="give one to each, or to none"):
        find_data([Source((str(tmp_path / "a"),), 3), str(tmp_path / "b")])
    for weight in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(MisuseError, match="weight"):
            Source(("a",), weight)
