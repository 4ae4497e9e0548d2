"""`cocu index add` and `merge`: however a set is cut, the index is the one built of all at once, also through kills."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cocu as face
from benchmarks.speed.tiny_pairs import caption, write_tar
from curation.curate import run_curation
from curation.index.opened import open_index
from curation.ranking.options import preset_options
from tests.examples import examples
from tests.integration.commands import Answer, cocu, manifest, succeed
from tests.integration.faults import WarmCommand, contents
from tests.integration.faults import same as same_files
from tests.integration.test_one_at_a_time import held
from tests.tiny_world import make_tiny_clip, pair_members, picture

TARS, PAIRS, TABLES = 5, 4, 3
OWN = ("--device", "cpu", "--workers", 1)


class Growing:
    """Tars, with a reject in each second one, and tables of captions; and the index of them all."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.model = folder, make_tiny_clip(folder / "clip")
        self.tars, self.tables = [], []
        for s in range(TARS):
            bad = [("bad.jpg", picture(s)[:200]), ("bad.txt", b"a dog")] if s % 2 else []
            members = [m for i in range(PAIRS) for m in pair_members(f"k{s}{i}", 100 * s + i)]
            self.tars.append(folder / "in" / f"{s}.tar")
            write_tar(self.tars[-1], members + bad)
        for s in range(TABLES):
            rows = {"key": [f"x{i}" for i in range(6)], "caption": [caption(900 + 10 * s + i) for i in range(6)]}
            self.tables.append(folder / f"extra{s}.parquet")
            pq.write_table(pa.table(rows), self.tables[-1])
        self.whole = folder / "whole"
        self.build(self.whole, self.tars, self.tables)

    def build(self, out: Path, tars: Sequence[Path], tables: Sequence[Path], **more: Any) -> None:
        options: Any = {"model": self.model, "device": "cpu", "workers": 1, "max_rejects": 1, "quiet": True} | more
        face.build_index(tars, out, extra_captions=tables, precision="fp32", **options)

    def add(self, out: Path, tars: Sequence[Path], tables: Sequence[Path]) -> None:
        options: Any = {"model": self.model, "device": "cpu", "workers": 1, "max_rejects": 1, "quiet": True}
        face.add_to_index(out, tars, extra_captions=tables, **options)

    def words(self, out: object, *what: Path) -> tuple[object, ...]:
        return ("index", "add", out, *what, "--model", self.model, "--max-rejects", 1, *OWN)


@pytest.fixture(scope="module", autouse=True)
def one_pipeline() -> Iterator[None]:
    """Loaded once and not for each command."""
    import spacy

    load, loaded = spacy.load, dict[str, Any]()

    def once(name: str, **options: Any) -> Any:
        wanted = f"{name} {options}"
        return loaded.get(wanted) or loaded.setdefault(wanted, load(name, **options))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spacy, "load", once)
        yield


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory) -> Growing:
    return Growing(tmp_path_factory.mktemp("growing"))


@pytest.fixture
def begun(growing: Growing, tmp_path: Path) -> Path:
    """The index of the first two tars and the first table."""
    if not (growing.folder / "begun").exists():
        growing.build(growing.folder / "begun", growing.tars[:2], growing.tables[:1])
    return Path(shutil.copytree(growing.folder / "begun", tmp_path / "index"))


def same(grown: Path, whole: Path, version: int) -> None:
    """Assert that an index is the other one, file for file, but for what is told of its versions."""
    left, right = contents(grown), contents(whole)
    assert left["manifest.json"].pop("version") == version
    assert [one["version"] for one in left["manifest.json"].pop("older_versions")] == list(range(1, version))
    assert list(left) == list(right)
    for name, value in left.items():
        assert value.equals(right[name]) if hasattr(value, "equals") else value == right[name], name


def test_processes_share_what_is_new(growing: Growing, begun: Path) -> None:
    tables = [word for table in growing.tables for word in ("--extra-captions", table)]
    told = succeed(*growing.words(begun, *growing.tars), *tables, "--processes", 2)
    same(begun, growing.whole, 2)
    assert "3 shards that it had already" in told.err
    refused = cocu("index", "add", begun, "--embeddings", growing.folder, "--processes", 2)
    assert refused.code == 2
    assert "--processes 2: --embeddings are worked by one process; leave it out" in refused.err


@given(data=st.data())
@examples(3)
def test_however_it_is_cut_it_is_the_index_of_all(
    data: st.DataObject, growing: Growing, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path_factory.mktemp("cut") / "index"
    steps = data.draw(st.integers(2, 3))
    tars = sorted(data.draw(st.lists(st.integers(0, TARS), min_size=steps - 1, max_size=steps - 1)))
    tables = sorted(data.draw(st.lists(st.integers(0, TABLES), min_size=steps - 1, max_size=steps - 1)))
    version = 0
    for a, b, c, d in zip([0, *tars], [*tars, TARS], [0, *tables], [*tables, TABLES], strict=True):
        if a == b and c == d:
            continue
        (growing.add if version else growing.build)(out, growing.tars[a:b], growing.tables[c:d])
        version += 1
        assert manifest(out).get("version", 1) == version
    if version > 1:
        same(out, growing.whole, version)


def killed(growing: Growing, begun: Path, warm: WarmCommand, files: int, driver: str = "") -> bool:
    """Kill an `index add` before it puts one file more than `files` in place; whether it came to that.

    driver: by which the folder is one that lies elsewhere.
    """
    folder = begun.parent
    out = Path(shutil.copytree(begun, folder / f"killed-{files}"))
    arguments = (
        *growing.words(f"{driver}{out}", *growing.tars[2:]),
        *(x for t in growing.tables[1:] for x in ("--extra-captions", t)),
    )
    warm.start(arguments, folder / "log", files)
    code = warm.wait()
    assert code in (0, -signal.SIGKILL), (folder / "log").read_text()
    # Whichever version it is by now, it is a whole one.
    seen = Path(shutil.copytree(out, folder / f"seen-{files}"))
    opened = face.open_index(f"{driver}{seen}", model=growing.model)
    assert len(opened.search("a dog", top=50)) == (20 + 18 if opened.manifest.get("version") else 8 + 6)
    warm.start(arguments, folder / "log")
    assert warm.wait() == 0, (folder / "log").read_text()
    same(out, growing.whole, 2)
    assert not any(path.is_file() for path in (out / "next").rglob("*"))
    return code != 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("files", "driver"), [(4, ""), (17, ""), (21, ""), (40, "local://"), (70, "local://")])
def test_killed_half_way(growing: Growing, begun: Path, warm: WarmCommand, files: int, driver: str) -> None:
    assert killed(growing, begun, warm, files, driver)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("driver", ["", "local://"])
def test_killed_before_every_single_file_is_put_in_place(
    growing: Growing, begun: Path, warm: WarmCommand, driver: str
) -> None:
    kills = 0
    while killed(growing, begun, warm, kills, driver):
        kills += 1
    assert kills > 30


def test_what_is_there_is_left_out_and_counted(growing: Growing, begun: Path) -> None:
    added = succeed(*growing.words(begun, growing.tars[0], growing.tars[2]), "--extra-captions", growing.tables[0])
    assert f"{begun}: version 2, with 4 pairs of 1 shard and 0 extra captions more; 2 shards" in added.err
    assert "embed pairs: 100%, 4 pairs" in added.err
    assert "version         2: +4 pairs, +0 extra captions" in added.out
    before = contents(begun)
    again = succeed(*growing.words(begun, *growing.tars[:3]))
    assert "version 2, as it was: nothing is new; 3 shards that it had already were left out" in again.err
    assert contents(begun).keys() == before.keys()
    assert "version         2" in succeed("index", "info", begun).out


def test_a_copy_under_another_name_is_told(growing: Growing, begun: Path, tmp_path: Path) -> None:
    shutil.copy(growing.tars[1], tmp_path / "copy.tar")
    added = succeed(*growing.words(begun, tmp_path / "copy.tar"))
    assert "1 of the new shards hold what another holds, which counts twice now: copy those of 1" in added.err
    assert "4 keys occur in several shards" in added.out


def refused(answer: Answer, *words: str, code: int = 2) -> None:
    assert answer.code == code, answer.err
    for word in words:
        assert word in answer.err


def test_what_cannot_be_added_is_told_and_nothing_changes(growing: Growing, begun: Path, tmp_path: Path) -> None:
    before = contents(begun)
    refused(cocu("index", "add", begun), "name shards, or --embeddings")
    refused(cocu("index", "add", tmp_path / "none", growing.tars[0]), "no manifest.json there", "cocu index build")
    assert not (tmp_path / "none").exists()
    refused(cocu("index", "add", begun, growing.tars[2]), "may name, too", "name it by these options")
    other = make_tiny_clip(tmp_path / "other", seed=1)
    refused(cocu("index", "add", begun, growing.tars[2], "--model", other), "was built with another model")
    tar = growing.tars[1]
    whole = tar.read_bytes()
    write_tar(tar, pair_members("new", 7))
    try:
        refused(cocu(*growing.words(begun, tar)), str(tar), "has changed since it was indexed", "bytes there")
    finally:
        tar.write_bytes(whole)
    with held("folder", begun) as holder:
        refused(cocu(*growing.words(begun, growing.tars[2])), f"process {holder}", code=1)
    after = contents(begun)
    for name in [name for name in after if name.startswith("next/")]:
        after.pop(name)
    assert after.keys() == before.keys()
    assert after["manifest.json"] == before["manifest.json"]


def test_an_unfinished_version_goes_on_with_what_it_was_begun_with(
    growing: Growing, begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object, **more: object) -> None:
        raise face.CocuError("no room")

    with monkeypatch.context() as patch:
        patch.setattr("curation.index.growth.finish_index", fail)
        refused(cocu(*growing.words(begun, growing.tars[2])), "no room", code=1)
    assert face.open_index(begun).manifest.get("version") is None
    other = cocu(*growing.words(begun, growing.tars[3]))
    refused(other, "input 2: there, not now", "input 3: now, not there", f"or remove {begun / 'next'}")
    assert "embed pairs: 1 of 1 shards are done already" in succeed(*growing.words(begun, growing.tars[2])).err
    assert manifest(begun)["version"] == 2


def test_a_table_grows_by_whole_parts_only(growing: Growing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curation.reading.shards.ROWS_PER_TABLE_SHARD", 6)
    options = ("--extra-captions", tmp_path / "t.jsonl", "--model", growing.model, *OWN)
    add = ("index", "add", tmp_path / "index", *options)

    def write(rows: int) -> None:
        lines = [json.dumps({"key": f"x{i}", "caption": caption(i)}) for i in range(rows)]
        (tmp_path / "t.jsonl").write_text("\n".join(lines) + "\n")

    write(6)
    succeed("index", "build", growing.tars[0], "--out", tmp_path / "index", *options)
    write(9)
    assert "with 0 pairs of 0 shards and 3 extra captions more" in succeed(*add).err
    write(11)
    refused(cocu(*add), "rows 6 to 9 there, rows 6 to 11 now", "a file of its own")


@pytest.mark.parametrize(("first", "extended"), [(4, True), (2, False)])
def test_lists_are_trained_anew_when_the_index_has_grown_by_half(
    growing: Growing, tmp_path: Path, first: int, extended: bool
) -> None:
    lists = {"factory": "IVF2,Flat", "min_recall": 1.0}
    growing.build(tmp_path / "index", growing.tars[:first], growing.tables[:2], **lists)
    growing.add(tmp_path / "index", growing.tars[first:], growing.tables[2:])
    growing.build(tmp_path / "whole", growing.tars, growing.tables, **lists)
    grown = manifest(tmp_path / "index")["indexes"]
    for name in ("images", "captions"):
        assert grown[name]["recall"] == 1
        assert ("trained" in grown[name]) == extended
        if not extended:
            assert (tmp_path / f"index/{name}.faiss").read_bytes() == (tmp_path / f"whole/{name}.faiss").read_bytes()
    found = [
        face.open_index(tmp_path / name, model=growing.model).search("a dog", top=8) for name in ("index", "whole")
    ]
    assert [(one.key, one.caption) for one in found[0]] == [(one.key, one.caption) for one in found[1]]


def test_too_many_rejects_among_what_is_new(growing: Growing, begun: Path, tmp_path: Path) -> None:
    write_tar(tmp_path / "bad.tar", [*pair_members("a", 1), ("b.jpg", picture(1)[:200]), ("b.txt", b"a dog")])
    words = ("index", "add", begun, tmp_path / "bad.tar", "--model", growing.model, "--max-rejects", 0.4, *OWN)
    for _ in range(2):  # what was written is told again, too
        refused(cocu(*words), "1 of 2 (50.0%) were rejected, over --max-rejects 40%", code=1)
    assert manifest(begun)["summary"]["pairs"] == 9


def test_a_curation_is_of_a_version_and_is_done_anew_for_the_next(
    growing: Growing, begun: Path, tmp_path: Path
) -> None:
    curate = ("curate", "run", begun, "--out", tmp_path / "curated", "--neighbours", 4)
    assert "its version 1: 14 captions" in succeed(*curate).out
    first = contents(tmp_path / "curated")
    opened = open_index(begun)
    growing.add(begun, growing.tars[2:4], [])
    assert manifest(tmp_path / "curated")["index_version"] == 1
    assert contents(tmp_path / "curated").keys() == first.keys()

    # What has been opened before stays what it was, to its last table.
    options = preset_options("default", neighbours=4)
    run_curation(opened, tmp_path / "slow", options)
    slow = contents(tmp_path / "slow")
    assert list(slow) == list(first)
    for name, value in slow.items():
        assert value.equals(first[name]) if hasattr(value, "equals") else value == first[name], name

    refused(cocu(*curate, "--keep", 3), "index_content", "keep: 16 there, 3 now")
    again = succeed(*curate)
    assert f"is of version 1 of {begun}, which is at version 2 by now (+8 pairs, +0 extra captions, " in again.err
    assert "its version 2: 22 captions" in again.out
    succeed(*curate[:4], tmp_path / "fresh", *curate[5:])
    same_files(tmp_path / "curated", tmp_path / "fresh")
    assert "nothing to do" in succeed(*curate).err


def test_anchors_stay_embedded_when_the_index_grows(growing: Growing, begun: Path, tmp_path: Path) -> None:
    options = ("--anchors", growing.tars[4], "--model", growing.model, "--neighbours", 4, "--device", "cpu")
    curate = ("curate", "run", begun, "--out", tmp_path / "curated", *options)
    assert "embed pairs" in succeed(*curate).err
    growing.add(begun, growing.tars[2:4], [])
    again = succeed(*curate).err
    assert "the embeddings of --anchors stay" in again
    assert "embed pairs" not in again
    succeed(*curate[:4], tmp_path / "fresh", *options)
    same_files(tmp_path / "curated", tmp_path / "fresh")


@given(data=st.data())
@examples(3)
def test_indexes_of_parts_are_merged_to_the_index_of_all(
    data: st.DataObject, growing: Growing, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("merged")
    tar = data.draw(st.integers(1, TARS - 1))
    table = data.draw(st.integers(0, TABLES))
    twice = data.draw(st.integers(0, tar))  # what both have counts once
    growing.build(folder / "a", growing.tars[:tar], growing.tables[:table])
    growing.build(folder / "b", growing.tars[tar - twice :], growing.tables[table:])
    words = ("index", "merge", folder / "a", folder / "b", "--out", folder / "c", "--model", growing.model)
    merged = succeed(*words, "--device", "cpu")
    assert contents(folder / "c").keys() == contents(growing.whole).keys()
    same_files(folder / "c", growing.whole)
    assert f"{TARS + TABLES} shards of 2 indexes" in merged.err
    assert (f"; {twice} that an earlier one has, too, were left out" in merged.err) == (twice > 0)
    assert "already finished" in succeed(*words).err


def test_what_cannot_be_merged_is_told(growing: Growing, begun: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out", "--model", growing.model)
    refused(cocu("index", "merge", begun, begun.parent / "index", *out), "name two indexes or more")
    refused(cocu("index", "merge", begun, tmp_path / "none", *out), "no manifest.json there")
    refused(cocu("index", "merge", begun, growing.whole, "--out", begun), "is one of the indexes")
    other = tmp_path / "other"
    words = ("--out", other, "--model", growing.model, "--precision", "fp32", *OWN)
    succeed("index", "build", growing.tars[4], *words, "--adjectives")
    refused(
        cocu("index", "merge", begun, other, *out),
        f"{other}: was built otherwise than",
        "noun_adjectives: False and True",
    )
    shutil.rmtree(other)
    second = tmp_path / "second" / "0.tar"  # another tar of the same name
    write_tar(second, pair_members("new", 7))
    succeed("index", "build", second, *words, "--min-count", 1)
    merged = succeed("index", "merge", begun, other, *out)
    assert "differs from" in merged.err
    assert "min_count: 2 and 1" in merged.err
    assert manifest(tmp_path / "out")["order"] == ["0", "1", "0-2", "extra0-00000"]
    whole = growing.tars[0].read_bytes()
    try:
        growing.tars[0].write_bytes(second.read_bytes().ljust(len(whole), b"\0")[: len(whole)])
        succeed("index", "build", growing.tars[0], "--out", tmp_path / "changed", *words[2:], "--min-count", 1)
    finally:
        growing.tars[0].write_bytes(whole)
    refused(
        cocu("index", "merge", begun, tmp_path / "changed", "--out", tmp_path / "new"),
        f"{growing.tars[0]}: is another in",
    )
