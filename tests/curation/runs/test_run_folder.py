"""The folder of a run: atomic files, the manifest, what is done, what is refused."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from curation.reading.shards import Shard
from curation.runs.manifest import read_manifest
from curation.runs.run_folder import RunFolder
from files.atomic import HOST, MINE, atomic, write_json
from files.errors import CocuError, MisuseError
from files.rejects import Reject

SHARDS = [Shard("0", "/data/0.tar", 100), Shard("t-00000", "/data/t.csv", 5, (0, 5))]


def folder(path: Path, shards: list[Shard] = SHARDS, late: tuple[str, ...] = (), **parameters: Any) -> RunFolder:
    return RunFolder(path / "out", "index", {"model": "a", "list": [1], **parameters}, shards, late)


def files(path: Path) -> list[str]:
    return sorted(str(p.relative_to(path)) for p in path.rglob("*") if p.is_file())


def half_written(path: Path) -> None:
    with atomic(path) as temporary:
        temporary.write_text("half")
        raise KeyError


def test_atomic_files_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    with atomic(path) as temporary:
        temporary.write_text("whole")
        assert files(tmp_path) == [f"new/folder/.file.{HOST}-{os.getpid()}-{MINE}.tmp"]
    assert path.read_text() == "whole"
    with pytest.raises(KeyError):
        half_written(path)
    assert files(tmp_path) == ["new/folder/file"]
    assert path.read_text() == "whole"


def test_an_error_of_the_system_names_the_final_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space") as full, atomic(tmp_path / "file"):
        raise OSError(28, "No space left on device")
    assert full.value.filename == str(tmp_path / "file")
    (tmp_path / "plain").touch()
    with pytest.raises(OSError, match=r"File exists: .*plain"):
        write_json(tmp_path / "plain" / "x.json", {})


def test_what_is_done_stays_done(tmp_path: Path) -> None:
    with folder(tmp_path) as run:
        assert not run.done("0")
        run.commit("0", {"pairs": 3}, [Reject("k", "no image"), Reject("", "tar broken: from byte 1")])
        assert run.done("0")
    with folder(tmp_path) as run:
        assert run.done("0")
        assert not run.done("t-00000")
        assert run.records["0"]["pairs"] == 3
        run.commit("t-00000", {"pairs": 1}, [Reject("\udcff", "no image: \ud800")])
        assert run.reject_counts() == {"no image": 2, "tar broken": 1}
        assert not run.was_finished
        run.finish({"pairs": 4}, order=["0"])
    assert files(tmp_path / "out") == [".lock", "manifest.json", "rejects.parquet"]
    manifest = read_manifest(tmp_path / "out", "index")
    assert manifest["summary"] == {"pairs": 4}
    assert {name: record["rejects"] for name, record in manifest["shards"].items()} == {"0": 2, "t-00000": 1}
    rejects = pq.read_table(tmp_path / "out" / "rejects.parquet").to_pylist()
    assert rejects[0] == {"shard": "0", "key": "k", "reason": "no image"}
    assert len(rejects) == 3
    with folder(tmp_path) as run:
        assert run.was_finished
        assert run.done("t-00000")


def test_a_finish_that_was_killed_halfway_is_finished(tmp_path: Path) -> None:
    with folder(tmp_path) as run:
        run.commit("0", {"pairs": 3}, [Reject("k", "no image")])
        state = (tmp_path / "out/state/0.json").read_bytes()
        run.write_rejects()  # killed here
    with folder(tmp_path) as run:
        assert run.done("0")
        run.finish({"pairs": 3})
    assert pq.read_table(tmp_path / "out/rejects.parquet").num_rows == 1
    (tmp_path / "out/state").mkdir()
    (tmp_path / "out/state/0.json").write_bytes(state)  # killed before this was removed
    with folder(tmp_path) as run:
        assert run.was_finished
        assert run.records["0"]["rejects"] == 1
    assert not (tmp_path / "out/state").exists()


def test_leavings_of_a_killed_run_are_cleared_away(tmp_path: Path) -> None:
    with folder(tmp_path) as run:
        run.commit("0", {})
    (tmp_path / "out/embeddings").mkdir()
    for name in (".x.parquet.123.tmp", "embeddings/.y.parquet.99.tmp", "state/.t.json.1.tmp", ".z.node7-9-0a1b.tmp"):
        (tmp_path / "out" / name).write_text("half")
    (tmp_path / "out/embeddings/.counting.99.tmp").mkdir()
    (tmp_path / "out/embeddings/.counting.99.tmp/.x.tmp").touch()
    (tmp_path / "out/state/t-00000.json").write_text("{")  # a disk that lost what it had promised
    with folder(tmp_path) as run:
        assert run.done("0")
        assert not run.done("t-00000")
    assert files(tmp_path / "out") == [".lock", "manifest.json", "state/0.json", "state/t-00000.json"]


def test_nothing_is_cleared_away_in_a_folder_of_another_kind(tmp_path: Path) -> None:
    with folder(tmp_path):
        (tmp_path / "out/.precious.tmp").touch()
    with pytest.raises(MisuseError, match="holds 'index' of format 1, this run writes 'curated' of format 1"):
        RunFolder(tmp_path / "out", "curated", {}, []).__enter__()
    assert (tmp_path / "out/.precious.tmp").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "b"}, 'model: "a" there, "b" now'),
        ({"list": [1, 2]}, "list: [1] there, [1, 2] now"),
        ({"more": True}, "more: null there, true now"),
        ({"shards": SHARDS[:1]}, "input t-00000: there, not now"),
        ({"shards": [*SHARDS, Shard("9", "/9.tar", 1)]}, "input 9: now, not there"),
        ({"shards": [SHARDS[0], replace(SHARDS[1], rows=(0, 6))]}, "input t-00000: rows [0, 5] there, (0, 6) now"),
        ({"shards": [replace(SHARDS[0], size=101), SHARDS[1]]}, "input 0: size 100 there, 101 now"),
        ({"shards": [replace(SHARDS[0], url="/b/0.tar"), SHARDS[1]]}, "input 0: url /data/0.tar there, /b/0.tar now"),
    ],
)
@pytest.mark.parametrize("finished", [False, True])
def test_other_parameters_are_refused_with_both_values(
    change: dict[str, Any], said: str, finished: bool, tmp_path: Path
) -> None:
    with folder(tmp_path) as run:
        run.commit("0", {})
        if finished:
            run.finish({})
    before = (tmp_path / "out/manifest.json").read_bytes()
    with pytest.raises(MisuseError) as refused, folder(tmp_path, **change):
        pass
    assert said in str(refused.value)
    assert str(tmp_path / "out") in str(refused.value)
    assert "another --out" in str(refused.value)
    assert (tmp_path / "out/manifest.json").read_bytes() == before


def test_long_values_are_shown_where_they_differ(tmp_path: Path) -> None:
    with folder(tmp_path, text="x" * 500 + "1" + "y" * 500) as run:
        run.commit("0", {})
    with pytest.raises(MisuseError) as refused, folder(tmp_path, text="x" * 500 + "2" + "y" * 500):
        pass
    line = str(refused.value).splitlines()[1]
    assert "x1y" in line
    assert "x2y" in line
    assert len(line) < 400


def test_many_changed_inputs_are_counted(tmp_path: Path) -> None:
    many = [Shard(f"{i:03d}", f"/{i}.tar", 1) for i in range(100)]
    with folder(tmp_path, many) as run:
        run.commit("000", {})
    with pytest.raises(MisuseError, match=r"input 000: there, not now(.|\n)*\.\.\. and 97 more such inputs"):
        folder(tmp_path, []).__enter__()


def test_late_parameters_may_change_until_the_end(tmp_path: Path) -> None:
    with folder(tmp_path, late=("memory",), memory=1) as run:
        run.commit("0", {})
    with folder(tmp_path, late=("memory",), memory=2) as run:
        run.finish({})
    assert read_manifest(tmp_path / "out", "index")["parameters"]["memory"] == 2
    with pytest.raises(MisuseError, match="memory: 2 there, 3 now"):
        folder(tmp_path, late=("memory",), memory=3).__enter__()


def test_a_folder_in_which_nothing_was_begun_takes_other_parameters(tmp_path: Path) -> None:
    with folder(tmp_path):
        pass
    with folder(tmp_path, model="b") as run:
        run.finish({})
    assert read_manifest(tmp_path / "out", "index")["parameters"]["model"] == "b"


def test_going_on_with_other_libraries_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with folder(tmp_path) as run:
        run.commit("0", {})
    monkeypatch.setattr("curation.runs.run_folder.versions", lambda: {"spacy": "99"})
    with folder(tmp_path) as run:
        run.finish({})
    manifest = read_manifest(tmp_path / "out", "index")
    assert "numpy" in manifest["versions"]
    assert manifest["resumed_with_versions"] == {"spacy": "99"}


def test_two_runs_on_one_folder(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from curation.runs.run_folder import RunFolder\n"
        "try:\n    RunFolder(Path(sys.argv[1]), 'index', {}, []).__enter__()\n"
        "except Exception as error: print(error)"
    )
    with RunFolder(tmp_path / "out", "index", {}, []):
        done = subprocess.run([sys.executable, "-c", program, tmp_path / "out"], capture_output=True, text=True)
        said = f"another run is at work on this folder (process {os.getpid()} on "
        assert done.stdout.startswith(f"{tmp_path / 'out'}: {said}")
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "out"], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_folders_that_are_not_ours(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    with pytest.raises(MisuseError, match="out: is a file; give a folder"):
        folder(tmp_path).__enter__()
    (tmp_path / "out").unlink()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").touch()
    with pytest.raises(MisuseError, match=r"out: holds other files \(thesis.tex\) and no manifest.json; give a new"):
        folder(tmp_path).__enter__()
    assert files(tmp_path / "out") == ["thesis.tex"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"x"',
        '{"kind": "index", "format": 1, "finished": true}',
        '{"a": 1, "a": 2}',
        "[" * 100_000,
    ],
)
def test_a_broken_manifest_is_called_so(text: str, tmp_path: Path) -> None:
    with folder(tmp_path) as run:
        run.commit("0", {})
    path = tmp_path / "out/manifest.json"
    path.write_text(text)
    for use in (lambda: folder(tmp_path).__enter__(), lambda: read_manifest(tmp_path / "out", "index")):
        with pytest.raises(CocuError, match=r"manifest.json: broken \(.*put back a copy") as broken:
            use()
        assert broken.value.exit_code == 1
    assert path.read_text() == text
    assert (tmp_path / "out/state/0.json").exists()


def test_a_manifest_of_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(b"\xff\xfe\0")
    with pytest.raises(CocuError, match=r"manifest.json: broken"):
        read_manifest(tmp_path, "index")


def test_manifests_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match=r"out: no manifest.json there; expected a folder made by `cocu index build`"):
        read_manifest(tmp_path / "out", "index")
    with folder(tmp_path) as run:
        with pytest.raises(MisuseError, match="`cocu index build` has not finished; run the same command again"):
            read_manifest(tmp_path / "out", "index")
        run.finish({})
    with pytest.raises(MisuseError, match=r"out: is of kind 'index', not 'curated'; .*`cocu curate run`"):
        read_manifest(tmp_path / "out", "curated")
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    write_json(tmp_path / "out/manifest.json", manifest | {"format": 7})
    with pytest.raises(MisuseError, match="written in format 7, this version reads 1"):
        read_manifest(tmp_path / "out", "index")


def test_what_is_outgrown_is_done_anew_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def grown(shards: list[Shard], model: str = "b") -> RunFolder:
        parameters = {"model": model, "list": [1]}
        return RunFolder(tmp_path / "out", "index", parameters, shards, renewed=lambda old: f"was {old['model']}")

    with folder(tmp_path) as run:
        run.commit("0", {"pairs": 1})
    third = Shard("1", "/data/1.tar", 7)
    with grown([*SHARDS, third]) as run:
        assert not run.done("0")
        assert not list((tmp_path / "out" / "state").glob("*"))
        assert [item["name"] for item in run.manifest["inputs"]] == ["0", "t-00000", "1"]
        run.commit("0", {"pairs": 2})
    assert capsys.readouterr().err == "was a\n"
    with grown([*SHARDS, third]) as run:  # and goes on from there
        assert run.records["0"]["pairs"] == 2
    with pytest.raises(MisuseError, match="input 0: there, not now"), grown([SHARDS[1], third], "c"):
        pass
    other = [replace(SHARDS[0], url="/other"), SHARDS[1], third]
    with pytest.raises(MisuseError, match=r"/data/0\.tar there, /other now"), grown(other, "c"):
        pass


def test_rejects_of_the_stage_before_are_those_of_these_shards(tmp_path: Path) -> None:
    with folder(tmp_path) as run:
        run.commit("0", {}, [Reject("x", "no image")])
        run.commit("t-00000", {}, [Reject("y", "no image")])
        run.finish({})
    other = RunFolder(tmp_path / "other", "curated", {}, SHARDS)
    with other as run:
        run.finish({}, tmp_path / "out" / "rejects.parquet", ["t-00000"])
    assert [row["key"] for row in pq.read_table(tmp_path / "other" / "rejects.parquet").to_pylist()] == ["y"]
