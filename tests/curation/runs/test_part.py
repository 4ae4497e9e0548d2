"""Parts of a run: each shard is in one of them, they fill one folder at once, and a whole run keeps out meanwhile."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.reading.shards import Shard
from curation.runs.part import Chosen, RunPart, check_all_there, parse_part
from curation.runs.run_folder import RunFolder
from files.errors import CocuError, MisuseError
from files.rejects import Reject

SHARDS = [Shard(f"{i}", f"/data/{i}.tar", 10 + i) for i in range(6)]
HOLDER = """
import sys
from pathlib import Path
from curation.runs.run_folder import RunFolder
from tests.curation.runs.test_part import SHARDS
with RunFolder(Path(sys.argv[1]), "index", {"model": "a"}, SHARDS, part="2/3") as folder:
    folder.commit("1", {})
    print("held", flush=True)
    sys.stdin.read()
"""


def folder(path: Path, part: str = "", model: str = "a") -> RunFolder:
    return RunFolder(path / "out", "index", {"model": model}, SHARDS, part=part)


@given(st.lists(st.integers(0, 1000), max_size=40), st.integers(1, 12))
def test_each_shard_is_in_one_part_and_parts_are_about_as_large(sizes: list[int], count: int) -> None:
    shards = [Shard(f"{i}", "", size) for i, size in enumerate(sizes)]
    parts = [RunPart(number, count).of(shards) for number in range(1, count + 1)]
    assert sorted((s for part in parts for s in part), key=shards.index) == shards
    assert all(part == sorted(part, key=shards.index) for part in parts)
    loads = [sum(max(1, shard.size) for shard in part) for part in parts]
    assert max(loads) - min(loads) <= max([1, *sizes])


def test_what_names_a_part() -> None:
    assert parse_part(None) is None
    assert parse_part("3/8") == RunPart(3, 8)
    assert parse_part("finish") == RunPart(0, 0)
    for wrong in ("", "0/3", "4/3", "3", "1/0", "-1/3", "1/3/3", "a/b", " 1/3", "1/9999999999"):
        with pytest.raises(MisuseError, match="--part"):
            parse_part(wrong)


def test_parts_work_beside_each_other_and_a_whole_run_keeps_out(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "out")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with folder(tmp_path, "1/3") as mine:
            mine.commit("0", {})
            assert mine.missing(SHARDS) == ["2", "3", "4", "5"]
            mine.commit("2", {})
        with pytest.raises(CocuError, match="another run is at work on this folder"):
            folder(tmp_path).__enter__()
        with pytest.raises(
            CocuError, match=r"out: another run is at work on part 2/3 \(process .*\); wait for it to end$"
        ):
            folder(tmp_path, "2/3").__enter__()
        with pytest.raises(MisuseError, match="model"):
            folder(tmp_path, "3/3", model="b").__enter__()
        other.kill()
    left = tmp_path / "out" / "embeddings" / ".half.parquet.99-0123abcd.tmp"
    left.parent.mkdir()
    left.touch()
    with folder(tmp_path, "2/3") as again:
        assert again.done("1")
        assert left.exists()  # it may be another part's
    with folder(tmp_path) as whole:
        assert not left.exists()
        with pytest.raises(CocuError, match=r"3 of 6 shards are missing: 3, 4, 5; "):
            check_all_there(whole, SHARDS)
        for name in ("3", "4", "5"):
            whole.commit(name, {})
        check_all_there(whole, SHARDS)
        whole.finish({})
    with folder(tmp_path, "1/3") as late:
        assert late.was_finished
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_file()) == [
        ".lock",
        "manifest.json",
        "rejects.parquet",
    ]


def test_what_failed_is_chosen_and_the_rest_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    retry = Chosen(retry_failed=True)
    with folder(tmp_path) as mine:
        assert retry.of(mine, SHARDS) == []
        assert "none of 6 shards failed before" in capsys.readouterr().err
        for name in ("4", "1", "1", "2"):
            mine.failed(SHARDS[int(name)], "a worker", "no room \udcff")
        (mine.path / "failed" / "2.json").write_text("{broken")
        mine.commit("4", {})
        assert retry.of(mine, SHARDS) == [SHARDS[1], SHARDS[2]]
        assert "2 of 6 shards failed, at 2 attempts" in capsys.readouterr().err
        assert Chosen(RunPart(1, 3), retry_failed=True).of(mine, SHARDS) == [
            shard for shard in RunPart(1, 3).of(SHARDS) if shard in (SHARDS[1], SHARDS[2])
        ]
        mine.commit("1", {}, [Reject("a", "no image"), Reject("b", "no image: a.jpg"), Reject("", "truncated")])
        assert Chosen(RunPart(1, 2), retry_failed=True).ends_here(mine, SHARDS[1:2], SHARDS)  # it has 5, 2, and 1
        assert (
            "part 1/2 has 1 of its 3 of 6 shards, with rejects: 2 no image, 1 truncated; 4 are missing still"
            in capsys.readouterr().err
        )
        with pytest.raises(CocuError, match="4 of 6 shards are missing still: leave out --retry-failed") as refused:
            retry.ends_here(mine, SHARDS[1:3], SHARDS)
        assert refused.value.exit_code == 1  # for a script that goes on with what is whole
        assert not Chosen().ends_here(mine, SHARDS, SHARDS)
        for name in "0235":
            mine.commit(name, {})
        assert not retry.ends_here(mine, [], SHARDS)
        assert not (mine.path / "failed").exists()
    with pytest.raises(MisuseError, match="--part finish --retry-failed"):
        Chosen(RunPart(0, 0), retry_failed=True)


def test_a_folder_of_nothing_but_failures_may_begin_anew(tmp_path: Path) -> None:
    with folder(tmp_path) as mine:
        mine.failed(SHARDS[0], "a worker", "gone")
    with folder(tmp_path, model="b") as again:
        assert again.parameters == {"model": "b"}


def test_a_shard_that_was_mended_is_taken_as_it_is_now(tmp_path: Path) -> None:
    def begun(size: int, part: str = "") -> RunFolder:
        shards = [replace(shard, size=size) if shard.name == "2" else shard for shard in SHARDS]
        return RunFolder(tmp_path / "out", "index", {"model": "a"}, shards, part=part)

    command = [sys.executable, "-c", HOLDER, str(tmp_path / "out")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(CocuError, match="others are at work there on what it was begun with"):
            begun(13, "1/3").__enter__()
        other.kill()
    with begun(13) as again:
        assert [item["size"] for item in again.manifest["inputs"]] == [10, 11, 13, 13, 14, 15]
        assert again.done("1")
        again.commit("2", {})
    with pytest.raises(MisuseError, match="input 2: size 13 there, 12 now"):
        begun(12).__enter__()
