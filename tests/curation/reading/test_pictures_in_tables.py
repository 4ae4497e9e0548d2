"""Tables that hold the pictures themselves, as Hugging Face and img2dataset publish them."""

from __future__ import annotations

import io
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curation.reading import shards
from curation.reading.pairs import CaptionOptions, Pair
from curation.reading.parquet_tables import ParquetTable
from curation.reading.shards import find_caption_tables, find_shards, read_pairs
from files.errors import CocuError, MisuseError
from files.picture_tables import picture_of
from files.rejects import Reject
from tests.curation.reading.written_tables import caption_rows, read, reasons, write
from tests.tiny_world import picture

PICTURES = [picture(i) for i in range(7)]


def of_hugging_face(data: bytes | None, path: str | None) -> dict[str, Any]:
    return {"bytes": data, "path": path}


def pairs(found: list[Pair | Reject]) -> list[tuple[str, bytes, tuple[str, ...]]]:
    assert not reasons(found)
    return [(pair.key, pair.image, pair.captions) for pair in found if isinstance(pair, Pair)]


@pytest.mark.parametrize("large", [False, True])
def test_objects_of_bytes_and_path(tmp_path: Path, large: bool) -> None:
    kind = pa.struct({"bytes": pa.large_binary() if large else pa.binary(), "path": pa.string()})
    cells = pa.array([of_hugging_face(data, f"train/p.{i}.jpg") for i, data in enumerate(PICTURES)], kind)
    texts = [f"a dog {i}" for i in range(7)]
    pq.write_table(pa.table({"image": cells, "caption": texts}), tmp_path / "a.parquet", row_group_size=2)
    expected = [(f"train/p_{i}", data, (f"a dog {i}",)) for i, data in enumerate(PICTURES)]
    assert pairs(read(tmp_path / "a.parquet")) == expected


@pytest.mark.parametrize(("column", "key"), [("image", None), ("jpg", "key"), ("image_bytes", "uid"), ("webp", "id")])
def test_columns_of_bytes(tmp_path: Path, column: str, key: str | None) -> None:
    rows = [{column: data, "text": f"dog {i}"} | ({key: f"k{i}"} if key else {}) for i, data in enumerate(PICTURES)]
    write(tmp_path / "a.parquet", rows)
    keys = [f"k{i}" if key else f"a-{i:08d}" for i in range(7)]
    assert pairs(read(tmp_path / "a.parquet")) == [
        (key, data, (f"dog {i}",)) for i, (key, data) in enumerate(zip(keys, PICTURES, strict=True))
    ]


def test_lists_of_captions_and_rows_of_one_picture(tmp_path: Path) -> None:
    rows = [{"image": of_hugging_face(data, None), "caption": ["one dog", "two"]} for data in PICTURES[:2]]
    assert [p[2] for p in pairs(read(write(tmp_path / "lists.parquet", rows)))] == [("one dog",)] * 2
    several = read(tmp_path / "lists.parquet", all_captions=True, caption_column="caption")
    assert [p[2] for p in pairs(several)] == [("one dog", "two")] * 2
    rows = [{"image": of_hugging_face(PICTURES[i // 3], f"{i // 3}.jpg"), "caption": f"c{i}"} for i in range(7)]
    assert [p[2] for p in pairs(read(write(tmp_path / "rows.parquet", rows)))] == [
        ("c0", "c1", "c2"),
        ("c3", "c4", "c5"),
        ("c6",),
    ]


def test_paths_where_the_bytes_are_missing(tmp_path: Path) -> None:
    (tmp_path / "beside.jpg").write_bytes(PICTURES[0])
    rows = [
        {"image": of_hugging_face(None, "beside.jpg"), "caption": "a dog"},
        {"image": of_hugging_face(None, None), "caption": "nothing"},
        {"image": of_hugging_face(b"", ""), "caption": "nothing, too"},
        {"image": None, "caption": "null"},
        {"image": of_hugging_face(PICTURES[1], "in.png"), "caption": ""},
        {"image": of_hugging_face(PICTURES[2], "in.png"), "caption": "a cat"},
    ]
    found = read(write(tmp_path / "a.parquet", rows))
    assert {pair.key: pair.image for pair in found if isinstance(pair, Pair)} == {
        "beside": PICTURES[0],
        "in": PICTURES[2],  # the first of the name is no pair
    }
    assert {key: reason.partition(":")[0] for key, reason in reasons(found).items()} == {
        **{f"row {i}": "no image" for i in (2, 3, 4)},
        "in": "empty caption",
    }


def test_keys_are_told_apart_and_pictures_copied_under_their_format(tmp_path: Path) -> None:
    rows = [{"image": of_hugging_face(data, "same.bin"), "caption": f"dog {i}"} for i, data in enumerate(PICTURES[:3])]
    (shard,) = find_shards([str(write(tmp_path / "a.parquet", rows))])
    with shard.reader.originals(CaptionOptions()) as originals:
        found = list(originals)
    assert [one.key for one in found] == ["same", "same-2", "same-3"]
    assert [one.data("jpg") for one in found] == PICTURES[:3]
    assert [one.data("txt") for one in found] == [b"dog 0", b"dog 1", b"dog 2"]


def test_parts_of_a_table_in_a_folder(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / "set" / "data").mkdir(parents=True, exist_ok=True)
        rows = [{"image": of_hugging_face(data, None), "caption": f"dog {i}"} for data in PICTURES[2 * i : 2 * i + 2]]
        write(tmp_path / "set" / "data" / f"train-{i:05d}-of-00003.parquet", rows)
    for name in ("set", "set/data", "set/data/train-*.parquet"):
        assert [p[2] for p in pairs(read(tmp_path / name))] == [(f"dog {i // 2}",) for i in range(6)]
    write(tmp_path / "set" / "data" / "test-00000-of-00001.parquet", rows)
    with pytest.raises(MisuseError, match=r"several tables \(test-00000-of-00001.parquet, train-.*name one"):
        find_shards([str(tmp_path / "set")])


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=12), st.integers(1, 4), st.integers(1, 5))
def test_seams_between_parts_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], part: int, group: int
) -> None:
    path = tmp_path_factory.mktemp("t") / "a.parquet"
    data = [PICTURES[n] if n >= 0 else None for n in order]
    write(path, [{"img": one, "caption": f"c{i}"} for i, one in enumerate([*data, PICTURES[5]])], group)

    def found(rows: int) -> list[tuple[str, ...] | str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shards, "ROWS_PER_TABLE_SHARD", rows)
            return [one.captions if isinstance(one, Pair) else one.key for one in read(path)]

    rows: list[list[str] | str] = []
    for i, one in enumerate(data):
        if one is None:
            rows.append(f"row {i + 1}")
        elif i and one == data[i - 1]:
            rows[-1].append(f"c{i}")  # type: ignore[union-attr]
        else:
            rows.append([f"c{i}"])
    rows.append([f"c{len(order)}"])
    assert found(part) == found(100) == [row if isinstance(row, str) else tuple(row) for row in rows]


@pytest.mark.parametrize(
    ("columns", "chosen"),
    [
        ({"file_name": "a.jpg", "image_bytes": PICTURES[0]}, "image_bytes"),
        ({"file_name": "a.jpg", "photo": of_hugging_face(PICTURES[0], None)}, "file_name"),
        ({"n": 1, "photo": of_hugging_face(PICTURES[0], None)}, "photo"),
        ({"n": 1, "photo": PICTURES[0]}, None),
        ({"path": b"images/a.jpg", "jpg": PICTURES[0]}, "jpg"),
    ],
)
def test_the_column_that_holds_pictures_comes_first(
    tmp_path: Path, columns: dict[str, Any], chosen: str | None
) -> None:
    table = ParquetTable(str(write(tmp_path / "a.parquet", [columns | {"caption": "a dog"}])))
    assert table.image_column(None) == chosen


def test_what_is_no_picture_is_not_taken_for_a_path(tmp_path: Path) -> None:
    rows = [{"image": of_hugging_face(b"no picture", "../beside.jpg"), "caption": "a dog"}]
    assert pairs(read(write(tmp_path / "a.parquet", rows))) == [("beside", b"no picture", ("a dog",))]


@pytest.mark.parametrize(
    ("key", "expected"),
    [(b"\xff", "a-00000000"), (b"", "a-00000000"), (b"a\nb", "a-00000000"), (b"/x/../y.z", "x/__/y_z"), (7, "7")],
)
def test_keys_are_made_plain(tmp_path: Path, key: Any, expected: str) -> None:
    rows = [{"jpg": PICTURES[0], "key": key, "caption": "a dog"}]
    assert [pair[0] for pair in pairs(read(write(tmp_path / "a.parquet", rows)))] == [expected]


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.string()),
        pa.large_list(pa.large_string()),
        pa.list_(pa.dictionary(pa.int32(), pa.string())),
        pa.list_(pa.string(), 2),
    ],
)
def test_lists_of_captions_of_any_kind(tmp_path: Path, kind: pa.DataType) -> None:
    cells = pa.array([["a dog", "two"]] * 2, kind)
    pq.write_table(pa.table({"jpg": PICTURES[:2], "caption": cells}), tmp_path / "a.parquet")
    found = read(tmp_path / "a.parquet", all_captions=True, caption_column="caption")
    assert [p[2] for p in pairs(found)] == [("a dog", "two")] * 2


def test_captions_alone_leave_the_pictures_unread(tmp_path: Path) -> None:
    rows = [{"image": of_hugging_face(data, f"p{i}.jpg"), "caption": f"dog {i}"} for i, data in enumerate(PICTURES)]
    bare = [{"image": data, "caption": f"dog {i}"} for i, data in enumerate(PICTURES)]
    for name, written in (("a", rows), ("b", bare)):
        (shard,) = find_caption_tables([str(write(tmp_path / f"{name}.parquet", written))])
        named = [f"p{i}.jpg" if name == "a" else None for i in range(7)]
        assert [row.image for row in caption_rows(shard)] == named  # type: ignore[union-attr]


def test_remote_folders(tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for i in range(2):
        rows = [{"image": of_hugging_face(data, None), "caption": f"dog {i}"} for data in PICTURES[2 * i : 2 * i + 2]]
        file = write(tmp_path / "a.parquet", rows)
        memory.pipe(f"/hub/set/data/train-{i:05d}-of-00002-{i:016x}.parquet", file.read_bytes())
    for name in ("memory://hub/set", "memory://hub/set/data/", "memory://hub/set/data/train-*.parquet"):
        found = [one for shard in find_shards([name]) for one in read_pairs(shard, CaptionOptions())]
        assert [p[2] for p in pairs(found)] == [(f"dog {i // 2}",) for i in range(4)]
    memory.pipe("/hub/set/data/test-00000-of-00001.parquet", file.read_bytes())
    with pytest.raises(MisuseError, match="several tables"):
        find_shards(["memory://hub/set"])
    with pytest.raises(MisuseError, match=r"neither a tar nor a table.*parquet"):
        find_shards(["memory://hub/nothing"])
    memory.rm("/hub", recursive=True)


@given(
    st.sampled_from(["snappy", "zstd"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_damage_is_told(
    tmp_path_factory: pytest.TempPathFactory, packer: str, changes: list[tuple[float, int]]
) -> None:
    path = tmp_path_factory.mktemp("t") / "a.parquet"
    texts = pa.array([f"dog {i}" for i in range(7)]).dictionary_encode()
    pq.write_table(pa.table({"image": PICTURES, "caption": texts}), path, row_group_size=3, compression=packer)
    damaged = bytearray(path.read_bytes())
    for place, value in changes:
        damaged[int(place * len(damaged))] = value
    path.write_bytes(damaged)
    with suppress(CocuError):  # which is told; anything else would be a crash
        read(path)


def test_no_more_is_held_than_some_rows(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    pictures = [b"\xff\xd8\0" + noise.bytes(200_000) for _ in range(300)]
    pq.write_table(
        pa.table({"image": pictures, "caption": [f"dog {i}" for i in range(300)]}),
        tmp_path / "a.parquet",
        row_group_size=25,
    )
    del pictures
    (shard,) = find_shards([str(tmp_path / "a.parquet")])
    tracemalloc.start()
    assert sum(len(item.image) for item in shard.reader.pairs(CaptionOptions()) if isinstance(item, Pair)) > 60_000_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_pictures_are_told_from_paths(form: str) -> None:
    for side in (1, 3, 300):
        out = io.BytesIO()
        Image.new("RGB", (side, side), (255, 9, 77)).save(out, form)
        assert picture_of(out.getvalue()) == (out.getvalue(), "")
    assert picture_of(b"folder/a.jpg") == (None, "folder/a.jpg")
    assert picture_of("folder/a.jpg") == (None, "folder/a.jpg")
    assert picture_of(None) == picture_of(b"") == picture_of({"bytes": None, "path": None}) == (None, "")


def test_a_column_that_stands_twice_is_refused_where_it_is_asked_for(tmp_path: Path) -> None:
    texts = [f"dog {i}" for i in range(7)]
    columns: list[Any] = [PICTURES, texts, texts, texts]
    names = ["image", "caption", "note", "note"]
    pq.write_table(pa.table([pa.array(cells) for cells in columns], names=names), tmp_path / "other.parquet")
    assert [found[2] for found in pairs(read(tmp_path / "other.parquet"))] == [(text,) for text in texts]
    for name in ("image", "caption"):
        twice = [*names[:3], name]
        cells = [pa.array(PICTURES if column == "image" else texts) for column in twice]
        pq.write_table(pa.table(cells, names=twice), tmp_path / "twice.parquet")
        with pytest.raises(MisuseError, match=rf"twice\.parquet: has 2 columns named '{name}'"):
            read(tmp_path / "twice.parquet")
