"""Parquet shards as tars: byte for byte those of the same pairs, and what cannot be read is told."""

from __future__ import annotations

import io
import json
from itertools import chain
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import training.shards.files
from benchmarks.speed.tiny_pairs import caption, write_tar
from files.errors import CocuError
from files.shard_note import ShardNote
from tests.examples import examples
from tests.tiny_world import picture
from tests.training.loader_world import concepts_of, members
from tests.training.parquet_world import IMAGE, SCHEMA, break_group, rows_of, write
from training.shards import parquet_tar
from training.shards.files import ShardFiles
from training.shards.found import find_data
from training.shards.parquet_tar import read_footer
from training.shards.parquet_tar import write_tar as write_as_tar
from training.shards.tar_index import TarIndex, index_tar, read_members

Cell = dict[str, Any]


def made(path: Path) -> tuple[bytes, TarIndex]:
    target = io.BytesIO()
    with path.open("rb") as source:
        index = write_as_tar(str(path), source, target)
    return target.getvalue(), index


def read(path: Path) -> tuple[list[tuple[str, dict[str, bytes]]], TarIndex]:
    data, index = made(path)
    samples = (read_members(data[start:stop]) for start, stop in index.spans.tolist())
    return [(key, {field: bytes(part) for field, part in found.items()}) for key, found in samples], index


def tar_of(folder: Path, count: int) -> Path:
    return write_tar(folder / "0.tar", list(chain.from_iterable(members(f"{i:03d}", i) for i in range(count))))


@pytest.mark.parametrize("group", [1, 4, 100])
def test_it_is_the_tar_of_the_same_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: int) -> None:
    tar = tar_of(tmp_path, 30)
    expected = index_tar(tar)
    for most in (1, 5, 256):
        monkeypatch.setattr(parquet_tar, "_ROWS", most)
        data, index = made(write(tmp_path / "0.parquet", rows_of(tar), group))
        assert data == tar.read_bytes()
        assert (index.spans.tolist(), index.fault, index.lost) == (expected.spans.tolist(), "", 0)


LISTED = pa.list_(pa.string())
FORMS: dict[str, pa.Schema] = {
    "text": pa.schema([("image", IMAGE), ("text", pa.string()), ("id", pa.string())]),
    "bytes": pa.schema([("jpg", pa.binary()), ("txt", pa.large_string()), ("__key__", pa.string())]),
    "large": pa.schema([("img", pa.large_binary()), ("alt", pa.binary()), ("uid", pa.large_string())]),
    "listed": pa.schema([("my", IMAGE), ("captions", LISTED), ("key", pa.dictionary(pa.int32(), pa.string()))]),
    "coded": pa.schema(
        [("image", pa.dictionary(pa.int32(), pa.binary())), ("caption", pa.dictionary(pa.int8(), pa.string()))]
    ).append(pa.field("key", pa.binary())),
}


@pytest.mark.parametrize("form", FORMS)
def test_columns_are_known_by_what_they_hold(tmp_path: Path, form: str) -> None:
    schema = FORMS[form]
    image, text, key = schema.names
    rows = []
    for i in range(9):
        cell: Any = {"bytes": picture(i), "path": None} if schema.field(image).type == IMAGE else picture(i)
        said: Any = [" ", caption(i)] if schema.field(text).type == LISTED else f" {caption(i)}\n"
        rows.append({image: cell, text: said, key: f"k.{i}"})
    found, index = read(write(tmp_path / "0.parquet", rows, 4, schema))
    assert found == [(f"k_{i}", {"jpg": picture(i), "txt": caption(i).encode()}) for i in range(9)]
    assert not index.fault


def test_what_is_noted_goes_before_what_is_usual(tmp_path: Path) -> None:
    table = pa.table({"image": [picture(9)], "caption": ["usual"], "mine": [picture(1)], "said": ["noted"]})
    note = ShardNote("mine", "said", 1, 1, 2048)
    for metadata, expected in ((note.metadata(), (picture(1), b"noted")), ({}, (picture(9), b"usual"))):
        with pq.ParquetWriter(tmp_path / "0.parquet", table.schema) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata(metadata)
        [(key, found)], _ = read(tmp_path / "0.parquet")
        assert (found["jpg"], found["txt"], key) == (*expected, "0-00000000")
        assert read_footer(str(tmp_path / "0.parquet")) == (1, note if metadata else None)


def test_keys_that_are_noted_begin_their_pairs(tmp_path: Path) -> None:
    seeds = [0, 0, 0, 1, 2]
    table = pa.table({"image": [picture(s) for s in seeds], "caption": [f"text {i}" for i in range(5)]})
    for rows, expected in ((5, {"a": 0, "0-00000002": 2, "b": 3, "0-00000004": 4}), (4, {})):
        with pq.ParquetWriter(tmp_path / "0.parquet", table.schema) as writer:
            writer.write_table(table, row_group_size=2)
            keys = {"0": "a", "2": "0-00000002", "3": "b"}
            writer.add_key_value_metadata(ShardNote("image", "caption", rows, 4, 1, keys).metadata())
        found, _ = read(tmp_path / "0.parquet")
        if expected:
            assert {key: int(members["txt"][-1:]) for key, members in found} == expected
        else:  # of other rows
            assert [key for key, _ in found] == ["0-00000000", "0-00000003", "0-00000004"]


def test_a_note_that_is_broken_or_of_other_rows_is_none(tmp_path: Path) -> None:
    table = pa.table({"image": [picture(0)] * 3, "caption": ["a dog"] * 3})
    for note in (b"[", b"{}", b'{"image": 1}', *ShardNote("image", "caption", 4, 4, 1).metadata().values()):
        with pq.ParquetWriter(tmp_path / "0.parquet", table.schema) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata({b"cocu.shard": note})
        assert read_footer(str(tmp_path / "0.parquet")) == (3, None)


def test_rows_of_one_picture_that_follow_each_other_are_one_pair(tmp_path: Path) -> None:
    seeds = [0, 0, 1, 2, 2, 2, 0]
    rows = [{"image": {"bytes": picture(s), "path": f"{s}.jpg"}, "caption": f"text {i}"} for i, s in enumerate(seeds)]
    rows[3]["caption"] = " "
    for group in (1, 2, 7):
        found, _ = read(write(tmp_path / "0.parquet", rows, group, SCHEMA.remove(2)))
        texts = [(key, members["txt"].decode()) for key, members in found]
        assert texts == [("0", "text 0"), ("1", "text 2"), ("2", "text 4"), ("0-2", "text 6")]


def test_a_row_that_is_no_pair_is_a_sample_all_the_same(tmp_path: Path) -> None:
    good = {"bytes": picture(0), "path": None}
    rows: list[Cell] = [
        {"image": None, "caption": b"a dog"},
        {"image": {"bytes": None, "path": "far.jpg"}, "caption": b"a dog"},
        {"image": {"bytes": b"", "path": None}, "caption": None},
        {"image": {"bytes": b"<html>", "path": "page.txt"}, "caption": b"a dog"},
        {"image": good, "caption": None},
        {"image": {"bytes": picture(1), "path": "a\nb.jpg"}, "caption": b"caf\xe9"},
    ]
    found, index = read(write(tmp_path / "0.parquet", rows))
    assert [sorted(one) for _, one in found] == [["txt"], ["txt"], ["txt"], ["jpg", "txt"], ["jpg"], ["jpg", "txt"]]
    assert [key for key, _ in found] == ["0-00000000", "far", "0-00000002", "page", "0-00000004", "0-00000005"]
    assert found[-1][1]["txt"] == b"caf\xe9"
    assert (index.fault, index.lost) == ("", 0)


KINDS: list[tuple[Any, list[Any]]] = [
    (pa.string(), ["dog", None]),
    (pa.list_(pa.string()), [["dog"], [], None]),
    (pa.list_(pa.struct({"concept": pa.string()})), [[{"concept": "dog"}], None]),
    (SCHEMA.field("concepts").type, [[{"concept": "dog", "score": None, "cluster": 0, "in_caption": True}], []]),
    (SCHEMA.field("concepts").type, [[{"concept": "dog", "score": 1e300, "cluster": 0, "in_caption": True}], [None]]),
]


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_concepts_that_are_none_stand_as_they_are(tmp_path: Path, kind: int) -> None:
    """Beside one that is good, where the type has room for it."""
    form, cells = KINDS[kind]
    schema = SCHEMA.set(3, pa.field("concepts", form))
    fits = form == SCHEMA.field("concepts").type
    cells = [*cells, concepts_of(3)] if fits else cells
    rows = [{"image": {"bytes": picture(i), "path": None}, "key": str(i), "concepts": c} for i, c in enumerate(cells)]
    found, index = read(write(tmp_path / "0.parquet", rows, 9, schema))
    assert ["concepts.json" in members for _, members in found] == [cell is not None for cell in cells]
    assert not index.fault
    if fits:
        assert json.loads(found[-1][1]["concepts.json"])["concepts"] == concepts_of(3)


WRONG: dict[str, tuple[pa.Table, str]] = {
    "no picture": (pa.table({"image": ["a.jpg"], "caption": ["a dog"]}), r"no column holds pictures.*has image, capt"),
    "no text": (pa.table({"image": [picture(0)], "caption": [1.5]}), "column of captions, caption, is of double"),
    "twice": (
        pa.Table.from_arrays([pa.array([picture(0)]), *[pa.array(["a dog"])] * 2], ["image", "caption", "caption"]),
        "has 2 columns named caption",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_table_of_other_things_is_told(tmp_path: Path, wrong: str) -> None:
    import re

    table, said = WRONG[wrong]
    pq.write_table(table, tmp_path / "0.parquet")
    found, index = read(tmp_path / "0.parquet")
    assert not found
    assert re.search(said, index.fault)


def test_a_broken_row_group_costs_its_own_rows(tmp_path: Path) -> None:
    rows = rows_of(tar_of(tmp_path, 30))
    path = write(tmp_path / "0.parquet", rows)
    whole, _ = read(path)
    for group, column in ((1, 0), (3, 2)):
        break_group(path, group, column)
    found, index = read(path)
    assert found == [pair for i, pair in enumerate(whole) if i // 7 not in (1, 3)]
    assert index.lost == 14
    assert index.fault.startswith("row group 2 of 5 cannot be read: ")
    assert index.fault.endswith("; and 1 more faults")


@pytest.fixture(scope="module")
def twelve(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    folder = tmp_path_factory.mktemp("damaged")
    path, table = folder / "0.parquet", pa.Table.from_pylist(rows_of(tar_of(folder, 12)), SCHEMA)
    pq.write_table(table, path, row_group_size=4, use_dictionary=False)  # by which one picture may become another
    return path, path.read_bytes()


@examples(60)
@given(st.data())
def test_whatever_is_damaged_nothing_is_lost_in_silence(twelve: tuple[Path, bytes], data: Any) -> None:
    path, whole = twelve
    place = len(whole) - data.draw(st.integers(1, 3000) | st.integers(1, len(whole)))  # most of it is pictures
    other = data.draw(st.binary(max_size=3) | st.integers(1, 600).map(bytes))
    path.write_bytes(whole[:place] + other + whole[place + len(other) :] if other else whole[:place])
    found, index = read(path)
    assert index.fault or len(found) == 12
    assert not index.lost or len(found) + index.lost >= 12


def test_shards_far_away_are_fetched_and_kept_with_their_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rows_of(tar_of(tmp_path, 30))
    path = write(tmp_path / "0.parquet", rows)
    break_group(path, 1)
    there = fsspec.filesystem("memory")
    there.pipe("/parquet/run/manifest.json", b"{}")
    there.pipe("/parquet/run/rejects.parquet", b"")
    there.pipe("/parquet/run/shards/0.parquet", path.read_bytes())
    expected = made(path)
    for copies in (None, tmp_path / "copies", tmp_path / "copies"):
        shards, _ = find_data(["memory://parquet/run"])
        assert [shard.url for shard in shards] == ["memory://parquet/run/shards/0.parquet"]
        files = ShardFiles(shards, copies)
        assert files.count() == 30
        files.hold(0)
        assert files.spans(0).tolist() == expected[1].spans.tolist()
        assert Path(files.path(0)).read_bytes() == expected[0]
        assert files.faults == {0: (expected[1].fault, 7)}
        files.release(0)
        assert Path(files.path(0)).exists() == (copies is not None)
        files.close()
        monkeypatch.setattr(training.shards.files, "write_tar", lambda *_: pytest.fail("made again"))
        if copies is None:
            monkeypatch.undo()


def test_what_is_made_of_a_shard_at_hand_is_never_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "0.parquet", rows_of(tar_of(tmp_path, 5)))
    for count in (5, 3):
        write(path, rows_of(tar_of(tmp_path, count)))
        files = ShardFiles(find_data([str(path)])[0], tmp_path / "copies")
        files.hold(0)
        assert len(files.spans(0)) == files.count() == count
        files.release(0)
        assert not Path(files.path(0)).exists()
        files.close()


def test_no_room_for_the_tar_is_said_with_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(training.shards.files, "write_tar", full)
    files = ShardFiles(find_data([str(write(tmp_path / "0.parquet", rows_of(tar_of(tmp_path, 3))))])[0])
    folder = Path(files.path(0)).parent
    with pytest.raises(CocuError, match=f"no room in {folder}"):
        files.spans(0)
    assert not list(folder.glob("*.tar")) + list(folder.glob("*.part"))
    files.close()
