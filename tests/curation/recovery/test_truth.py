"""Truth and synonyms files: the forms they come in, and what is wrong with them in words."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.recovery.naming import named_by_concepts, phrases_of
from curation.recovery.truth import read_synonyms, read_truth
from files.errors import MisuseError

ROWS = [
    {"key": "a", "object": "dog", "area": 0.25},
    {"key": "a", "object": "ball", "area": 0.0},
    {"key": "b", "object": "dog", "area": 0.5},
    {"key": "b", "object": "dog", "area": 0.7},
    {"key": "c", "object": None, "area": None},
]


def write_tar(path: Path, members: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".tar":
        pairs: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            listed = pairs.setdefault(row["key"], [])
            if row["object"] is not None:
                listed.append({"name": row["object"], "area": row["area"]})
        members = {f"{k}.json": json.dumps({"objects": o}).encode() for k, o in pairs.items()}
        write_tar(path, {"a.jpg": b"no picture", **members})
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("name", ["t.parquet", "t.jsonl", "t.tar"])
def test_every_form_reads_the_same(tmp_path: Path, name: str) -> None:
    truth = read_truth(write_rows(tmp_path / name, ROWS))
    assert truth.keys == ("a", "b", "c")
    assert truth.objects == ("dog", "ball")
    # instances are added up to the whole picture; nothing there is not the same as no area
    expected = [[0.25, 0.0], [1.0, np.nan], [np.nan, np.nan]]
    np.testing.assert_array_equal(truth.area, np.array(expected, dtype=np.float32))
    assert truth.notes == ()


def test_columns_beyond_the_three_are_noted(tmp_path: Path) -> None:
    rows = [{**ROWS[0], "split": "dev"}]
    (note,) = read_truth(write_rows(tmp_path / "t.jsonl", rows)).notes
    assert note == "t.jsonl: 1 columns not used (split)"


def test_tar_members_without_objects_are_noted(tmp_path: Path) -> None:
    path = write_tar(
        tmp_path / "t.tar",
        {
            "deep/er/a.b.json": b"{}",  # the ending begins at the first dot: not a .json member
            "deep/er/a.json": b'{"objects": [{"name": "dog", "area": 0.5}]}',
            "b.json": b'{"caption": "a dog"}',
            "c.json": b"not JSON",
            "d.json": b'{"objects": [{"name": "dog"}]}',
            "e.json": b"[1]",
        },
    )
    truth = read_truth(path)
    assert truth.keys == ("deep/er/a",)
    (note,) = truth.notes
    assert note.startswith("t.tar: 4 .json members hold no objects of name and area (b, c, d, e")


def test_a_packed_tar_is_read_and_one_cut_short_is_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "t.tar", {"a.json": b'{"objects": [{"name": "dog", "area": 0.5}]}', "b.jpg": b"b"})
    whole, truth = path.read_bytes(), read_truth(path)
    path.write_bytes(gzip.compress(whole))
    assert read_truth(path).area.tolist() == truth.area.tolist() == [[0.5]]
    for cut in (whole[:1600], gzip.compress(whole)[:-40]):
        path.write_bytes(cut)
        with pytest.raises(MisuseError, match=r"--truth .*t\.tar: cannot be read \(.*cut short"):
            read_truth(path)


@pytest.mark.parametrize(
    "odd",
    [
        *(b"[]", b"\xff", b"[" * 200_000, b'{"objects": 3}', b'{"objects": [{"name": "\\ud800", "area": 0.5}]}'),
        *(b'{"objects": [{"name": "dog", "area": ' + b"1" * digits + b"}]}" for digits in (400, 5000)),
    ],
)
def test_members_that_are_no_annotation_are_counted(tmp_path: Path, odd: bytes) -> None:
    good = b'{"objects": [{"name": "dog", "area": 0.5}]}'
    truth = read_truth(write_tar(tmp_path / "t.tar", {"a.json": odd, "b.json": good, "\udcff.json": good}))
    assert truth.keys == ("b",)
    assert truth.notes[0].startswith("t.tar: 2 .json members hold no objects of name and area (a")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"key": "a", "object": "dog"}], "no column area; it needs key, object, area and has key"),
        ([{**ROWS[0], "area": 25}, ROWS[2]], "1 of 2 areas are not between 0 and 1"),
        ([{**ROWS[0], "area": -0.1}], r"first: -0.1 of dog in a"),
        ([{**ROWS[0], "area": None}], "areas are not between 0 and 1"),
        ([{**ROWS[0], "key": None}, ROWS[1]], "1 rows have no key"),
        ([{**ROWS[0], "area": "large"}], "area a number"),
    ],
)
@pytest.mark.parametrize("name", ["t.parquet", "t.jsonl"])
def test_wrong_rows_are_refused(tmp_path: Path, name: str, rows: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(MisuseError, match=said):
        read_truth(write_rows(tmp_path / name, rows))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", b"key,object,area\n", "give Parquet"),
        ("t.parquet", b"not Parquet", "cannot be read"),
        ("t.jsonl", b"{", "cannot be read"),
        ("t.tar", b"not a tar" * 100, "cannot be read"),
    ],
)
def test_unreadable_files_are_refused(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MisuseError, match=said):
        read_truth(tmp_path / name)


def test_missing_and_empty_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="no such file"):
        read_truth(tmp_path / "t.tar")
    with pytest.raises(MisuseError, match=r"no \.json member"):
        read_truth(write_tar(tmp_path / "t.tar", {"a.jpg": b""}))
    schema = pa.schema({"key": pa.string(), "object": pa.string(), "area": pa.float64()})
    pq.write_table(schema.empty_table(), tmp_path / "t.parquet")
    with pytest.raises(MisuseError, match="holds no picture"):
        read_truth(tmp_path / "t.parquet")


def test_synonyms(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text('{"dog": ["dog", "puppy"], "cat": ["cat"]}')
    assert read_synonyms(path) == {"dog": ("dog", "puppy"), "cat": ("cat",)}
    with pytest.raises(MisuseError, match="no such file"):
        read_synonyms(tmp_path / "absent.json")
    for wrong in (b"{", b"[]", b"{}", b'{"dog": "puppy"}', b'{"dog": []}', b'{"dog": [""]}', b"\xff"):
        path.write_bytes(wrong)
        with pytest.raises(MisuseError, match=r"--synonyms .*s\.json"):
            read_synonyms(path)


DEEP = "[" * 100_000 + "]" * 100_000
HALF = '"\\ud800"'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'{{"dog": ["dog"], "x": {DEEP}}}', "nests deeper than 100 levels"),
        (f'{{"dog": [{HALF}]}}', "holds half of a letter"),
        (f'{{{HALF}: ["dog"]}}', "holds half of a letter"),
        ('{"dog": [' + "9" * 5000 + "]}", "a number of 5,000 digits"),
        ('{"dog": ["dog"], "dog": ["puppy"]}', "the key 'dog' comes twice"),
    ],
)
def test_synonyms_that_nest_or_lie(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "s.json"
    path.write_text(text)
    with pytest.raises(MisuseError, match=rf"--synonyms .*s\.json: cannot be read \({said}"):
        read_synonyms(path)


@pytest.mark.parametrize("area", [DEEP, "9" * 5000, '{"a": 1}', HALF])
def test_lines_of_truth_that_nest_or_lie(tmp_path: Path, area: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(f'{{"key": "a", "object": "dog", "area": 0.5}}\n{{"key": "a", "object": "b", "area": {area}}}\n')
    with pytest.raises(MisuseError, match=r"--truth .*t\.jsonl: ") as raised:
        read_truth(path)
    assert len(str(raised.value)) < 600
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("more", "said"),
    [("\nnull", "line 2 is no object"), (" null", "line 1: is no JSON: Extra data"), ("\n[1]", "line 2 is no object")],
)
def test_lines_of_truth_that_are_no_objects(tmp_path: Path, more: str, said: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"key": "a", "object": "dog", "area": 0.5}' + more + "\n")
    with pytest.raises(MisuseError, match=said):  # Arrow dies of them
        read_truth(path)


def test_members_of_a_truth_tar_that_nest_or_lie_are_noted(tmp_path: Path) -> None:
    areas = {f"x{n}": area for n, area in enumerate([DEEP, "9" * 5000, "NaN", '{"a": 1}'])}
    members = {f"{key}.json": f'{{"objects": [{{"name": "dog", "area": {area}}}]}}' for key, area in areas.items()}
    members |= {
        "h.json": f'{{"objects": [{{"name": {HALF}, "area": 0.5}}]}}',
        "l.json": "[]",
        "m.json": '{"objects": 3}',
    }
    members |= {"good.json": '{"objects": [{"name": "dog", "area": 0.5}]}'}
    truth = read_truth(write_tar(tmp_path / "t.tar", {name: text.encode() for name, text in members.items()}))
    assert (truth.keys, truth.objects, truth.area.tolist()) == (("good",), ("dog",), [[0.5]])
    assert truth.notes == ("t.tar: 7 .json members hold no objects of name and area (x0, x1, x2, x3, h, ...)",)


def test_text_that_is_no_utf_8_in_parquet(tmp_path: Path) -> None:
    keys = pa.array([b"a", b"\xff\xfe"]).cast(pa.binary())
    keys = pa.StringArray.from_buffers(2, *keys.buffers()[1:])
    pq.write_table(pa.table({"key": keys, "object": ["dog", "dog"], "area": [0.5, 0.5]}), tmp_path / "t.parquet")
    with pytest.raises(MisuseError, match=r"t\.parquet: cannot be read"):
        read_truth(tmp_path / "t.parquet")


@pytest.mark.parametrize("pictures", [1, 60])
def test_many_objects_take_little_time(tmp_path: Path, pictures: int) -> None:
    rows = [{"key": f"k{n % pictures}", "object": f"thing{n}", "area": 0.25} for n in range(60_000)]
    began = time.process_time()
    truth = read_truth(write_rows(tmp_path / "t.jsonl", rows))
    phrases = phrases_of({"dog": ("dog",)} | {name: (name, f"a {name}") for name in truth.objects[:20_000]}, str)
    assert time.process_time() - began < 10
    assert truth.area.shape == (pictures, 60_000)
    assert np.nansum(truth.area) == 15_000
    assert named_by_concepts(["thing19999", "a thing7"], phrases).tolist() == [20_000, 8]


def test_areas_of_too_many_pictures_and_objects_are_refused(tmp_path: Path) -> None:
    rows = [{"key": f"k{n}", "object": f"thing{n}", "area": 0.25} for n in range(60_000)]
    with pytest.raises(MisuseError, match="60,000 pictures of 60,000 different objects are more than can be compared"):
        read_truth(write_rows(tmp_path / "t.parquet", rows))
