"""Short names of shards: they tell shards apart with as few folders as that takes."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.speed.tiny_pairs import write_tar
from files.errors import MisuseError
from files.plain_names import plain_name
from files.shard_names import TAR_SUFFIXES, expand, file_names, find_urls, sizes_of, with_folders

FOLDERS = st.lists(st.sampled_from(["a", "b", "a-0"]), max_size=3)
URLS = st.builds(
    lambda root, folders, stem, suffix: root + "/".join([*folders, stem + suffix]),
    st.sampled_from(["/", "/data/", "s3://bucket/"]),
    FOLDERS,
    st.sampled_from(["0", "1", "a-0", ".0", "@0", "n" * 200]),
    st.sampled_from([".tar", ".tar.gz"]),
)


@given(st.lists(URLS, max_size=8, unique=True))
def test_names_are_the_shortest_ends_of_paths_that_tell_apart(urls: list[str]) -> None:
    names = with_folders(urls)
    paths = [url.replace("://", "/").removesuffix(".gz").removesuffix(".tar") for url in urls]
    for name, path in zip(names, paths, strict=True):
        assert f"/{path}".endswith(f"/{name}")
        others = [other for other in paths if other != path]
        assert not any(f"/{other}".endswith(f"/{name}") for other in others)
        if "/" in name:  # with one folder less it would be another's, too
            shorter = name.partition("/")[2]
            assert Counter(f"/{one}".endswith(f"/{shorter}") for one in paths)[True] > 1


@given(st.lists(URLS, max_size=8, unique=True))
def test_names_of_files_differ_and_are_possible(urls: list[str]) -> None:
    names = file_names(urls)
    assert len(set(names)) == len(urls)
    assert not any(name.startswith("@") for name in names)
    assert [plain_name(name) for name in names] == names


def test_two_ways_to_name_the_same_shards() -> None:
    urls = ["/x/a/0.tar", "/x/b/0.tar", "/y/b/0.tar.gz", "/y/1.tar"]
    assert with_folders(urls) == ["a/0", "x/b/0", "y/b/0", "1"]
    assert file_names(urls) == ["a-0", "x-b-0", "y-b-0", "1"]
    assert with_folders(["/data/0.tar", "/mnt/data/0.tar"]) == ["/data/0", "mnt/data/0"]
    assert file_names(["/data/0.tar", "/mnt/data/0.tar"]) == ["data-0", "mnt-data-0"]
    assert with_folders(["/a/0.tar", "/a/0.tar.gz"]) == ["/a/0", "/a/0"]  # nothing but the ending differs
    assert file_names(["/a/0.tar", "/a/0.tar.gz"]) == ["00000-0", "00001-0"]


def test_only_the_wanted_kinds_are_found(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,caption\n")
    both = ((*TAR_SUFFIXES, ".csv"), (".csv",))
    assert expand(str(tmp_path), *both) == [str(tmp_path / "t.csv")]
    for name, said in [
        (tmp_path, r"holds no shards \(\.tar, "),
        (tmp_path / "t.csv", r"not a shard; expected a file of kind \.tar,.*\.tar\.xz$"),
        (tmp_path / "*.csv", "none of them a shard"),
        ("https://host/t.csv", "not a tar; name the shards"),
    ]:
        with pytest.raises(MisuseError, match=said):
            expand(str(name))
    tars = [str(write_tar(tmp_path / "deep" / f"{i}.tar", [("a.jpg", bytes(i))])) for i in range(2)]
    assert expand(str(tmp_path)) == expand(str(tmp_path), *both) == tars
    assert find_urls([tars[1], str(tmp_path)], *both) == tars[::-1]
    (tmp_path / "deep" / "2.tar").mkdir()
    assert expand(str(tmp_path)) == tars
    (tmp_path / "deep" / "3.tar").symlink_to(tmp_path / "gone")
    for name in (tmp_path, tmp_path / "deep", tmp_path / "deep" / "*.tar", tmp_path / "d*"):  # nothing is left out
        with pytest.raises(MisuseError, match=r"deep/3.tar: is a link to nothing; "):
            expand(str(name))
    assert sizes_of(tars) == [Path(tar).stat().st_size for tar in tars]


def test_home_stands_for_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = write_tar(tmp_path / "0.tar", [("a.jpg", b"")])
    assert expand("~/{0..0}.tar") == [str(path)]
