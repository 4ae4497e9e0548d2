"""Names given by the user -> shards: patterns, folders, collisions, what is refused."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.speed.tiny_pairs import write_tar
from curation.reading.shards import Shard, distinct, find_caption_tables, find_shards
from files.errors import MisuseError
from files.plain_names import MOST_NAME_BYTES
from files.shard_names import shard_suffix
from tests.tiny_world import make_shards, pair_members


def files(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.lower().endswith(".tar"):
            write_tar(path, pair_members("k", 0))
        else:
            path.write_text("image,caption\na.jpg,a dog\n" if name.lower().endswith(".csv") else "{}")
    return folder


def urls(found: list[Shard], folder: Path) -> list[str]:
    return [os.path.relpath(shard.url, folder) for shard in found]


def test_braces_expand_in_their_order(tmp_path: Path) -> None:
    files(tmp_path, *(f"{i:05d}.tar" for i in range(8, 12)))
    found = find_shards([f"{tmp_path}/{{00008..00011}}.tar"])
    assert [shard.name for shard in found] == ["00008", "00009", "00010", "00011"]
    assert [shard.size for shard in found] == [(tmp_path / f"{shard.name}.tar").stat().st_size for shard in found]
    assert urls(find_shards([f"{tmp_path}/{{00010,00008}}.tar"]), tmp_path) == ["00010.tar", "00008.tar"]


def test_glob_and_folder_and_recursive_glob_give_sorted_tars(tmp_path: Path) -> None:
    files(tmp_path, "a/2.tar", "a/1.tar", "b/c/3.tar")
    assert urls(find_shards([f"{tmp_path}/a/*.tar"]), tmp_path) == ["a/1.tar", "a/2.tar"]
    assert urls(find_shards([f"{tmp_path}/a"]), tmp_path) == ["a/1.tar", "a/2.tar"]
    assert urls(find_shards([str(tmp_path)]), tmp_path) == ["a/1.tar", "a/2.tar", "b/c/3.tar"]
    assert urls(find_shards([f"{tmp_path}/**/*.tar"]), tmp_path) == ["a/1.tar", "a/2.tar", "b/c/3.tar"]
    assert urls(find_shards([f"{tmp_path}/?"]), tmp_path) == ["a/1.tar", "a/2.tar", "b/c/3.tar"]


def test_several_arguments_keep_their_order_and_each_shard_comes_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(tmp_path, "a/1.tar", "b/2.tar")
    monkeypatch.chdir(tmp_path)
    found = find_shards(["b/2.tar", "a", "./b/../b/*.tar", f"file://{tmp_path}/a/1.tar"])
    assert urls(found, tmp_path) == ["b/2.tar", "a/1.tar"]
    assert all(Path(shard.url).is_absolute() for shard in found), "a later run may stand in another folder"


def test_equal_names_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    files(tmp_path, "x/a/0.tar", "x/b/0.tar", "y/b/0.tar", "y/1.tar")
    assert [shard.name for shard in find_shards([str(tmp_path)])] == ["a-0", "x-b-0", "1", "y-b-0"]


def test_names_of_outputs_stay_unique_and_possible(tmp_path: Path) -> None:
    long = "n" * 240
    files(tmp_path, "photos.csv", "photos-00000.tar", f"{long}.tar", "@images.tar", ".hidden.tar", "a b%2F.tar")
    names = [
        "photos.csv",
        "photos-00000.tar",
        f"{long}.tar",
        "@images.tar",
        ".hidden.tar",
        "a b%2F.tar",
    ]
    found = [shard.name for shard in find_shards([str(tmp_path / name) for name in names])]
    assert len(set(found)) == len(found)
    assert found[:2] == ["photos-00000", "photos-00000-2"]
    assert not any(name.startswith((".", "@")) or "/" in name for name in found)
    assert all(len(name.encode()) <= MOST_NAME_BYTES for name in found)


@given(st.lists(st.sampled_from(["a", "a-2", "a-2-2", "b", "extra-a"]), max_size=12), st.sets(st.just("a")))
def test_distinct_names(names: list[str], taken: set[str]) -> None:
    found = [shard.name for shard in distinct([Shard(name, name, 0) for name in names], taken)]
    assert len({*found, *taken}) == len(found) + len(taken)


def test_img2dataset_output_gives_its_tars_only(tmp_path: Path) -> None:
    files(tmp_path, "00000.tar", "00000.parquet", "00000_stats.json", "00001.tar", "00001.parquet", "._00000.tar")
    (tmp_path / "folder.tar").mkdir()
    for name in (str(tmp_path), f"{tmp_path}/*", f"{tmp_path}/0000*"):
        assert urls(find_shards([name]), tmp_path) == ["00000.tar", "00001.tar"], name


def test_a_folder_without_tars_gives_its_one_table(tmp_path: Path) -> None:
    files(tmp_path, "captions.csv", "a.jpg", "notes.md")
    (shard,) = find_shards([str(tmp_path)])
    assert (shard.name, shard.rows, shard.size) == ("captions-00000", (0, 1), 1)
    files(tmp_path, "more.csv")
    with pytest.raises(MisuseError, match=r"several tables \(captions.csv, more.csv\); name one"):
        find_shards([str(tmp_path)])


def test_suffixes_in_capitals(tmp_path: Path) -> None:
    files(tmp_path, "A.TAR", "B.Csv")
    assert [shard.name for shard in find_shards([f"{tmp_path}/A.TAR", f"{tmp_path}/B.Csv"])] == ["A", "B-00000"]
    assert [shard_suffix(name) for name in ("x.Tar.GZ", "x.tgz", "x.gz", "tar", "https://h/x.tar?sig=a/b.csv")] == [
        ".tar.gz",
        ".tgz",
        "",
        "",
        ".tar",
    ]


def test_names_that_look_like_patterns_are_taken_as_they_are(tmp_path: Path) -> None:
    files(tmp_path, "a[1]/{0..1}.tar", "b*/0.tar")
    assert len(find_shards([f"{tmp_path}/a[1]/{{0..1}}.tar"])) == 1
    assert len(find_shards([f"{tmp_path}/a[1]"])) == 1
    assert len(find_shards([f"{tmp_path}/b*/0.tar"])) == 1


@pytest.mark.parametrize(
    "name",
    [
        "pipe:cat 0.tar",
        " pipe:cat 0.tar",
        "PIPE:cat 0.tar",
        "|cat 0.tar",
        "{pipe:cat a,pipe:cat b}.tar",
        "simplecache::s3://bucket/0.tar",
        "zip://0.tar::http://host/x.zip",
        "ftp://host/0.tar",
        "ssh://host/0.tar",
        "javascript://x/0.tar",
        "shell://touch%20/tmp/x/0.tar",
    ],
)
def test_commands_chains_and_odd_schemes_are_refused(name: str) -> None:
    with pytest.raises(MisuseError) as refused:
        find_shards([name])
    assert any(part in str(refused.value) for part in (name, "pipe:cat a.tar"))
    assert "not run" in str(refused.value) or "not read" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("{a,b.tar", "unbalanced braces"),
        ("{0..99999999}.tar", "stands for more than"),
        ("{0..9999}{a,b}{0..99}.tar", "stands for more than"),
        ("missing.tar", "no such file or folder"),
        ("missing/*.tar", "no file matches"),
        ("notes.md", "not a shard; expected a file of kind .tar"),
        ("pipe.tar", "not a shard"),
        ("*.md", "none of them a shard"),
        ("empty", "holds neither tars nor a table"),
        ("{missing-0,missing-1}.tar", "missing-0.tar: no such file"),
        ("x" * 300 + ".tar", "no such file"),
        ("https://host/shards", "neither a tar nor a table"),
        ("https://host/*", "neither a tar nor a table"),
        ("a\udcff.tar", "not UTF-8"),
    ],
)
def test_what_matches_nothing_says_so(name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files(tmp_path, "notes.md")
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe.tar")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MisuseError, match=said):
        find_shards([name])


def test_caption_tables(tmp_path: Path) -> None:
    files(tmp_path, "a.csv", "b/a.csv", "c.tar")
    assert [shard.name for shard in find_caption_tables([f"{tmp_path}/a.csv", f"{tmp_path}/b"])] == [
        f"{tmp_path.name}-a-00000",
        "b-a-00000",
    ]
    with pytest.raises(MisuseError, match=r"c\.tar: not a table of captions; expected \.csv"):
        find_caption_tables([f"{tmp_path}/c.tar"])


def test_thousands_of_shards_are_found_quickly(tmp_path: Path) -> None:
    one = make_shards(tmp_path, 1, 1)[0]
    many = tmp_path / "many"
    for folder in ("a", "b"):
        (many / folder).mkdir(parents=True)
        for i in range(1_500):
            (many / folder / f"{i:05d}.tar").hardlink_to(one)
    found = find_shards([str(many)])
    assert len({shard.name for shard in found}) == 3_000
    assert (found[0].name, found[-1].name) == ("a-00000", "b-01499")
