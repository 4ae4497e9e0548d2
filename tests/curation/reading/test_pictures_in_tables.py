"""Tables that hold the pictures themselves, as Hugging Face and img2dataset publish them."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.reading.captioned_tables import picture_of
from curation.reading.pairs import CaptionOptions, Pair
from curation.reading.shards import find_shards
from files.errors import MisuseError
from files.rejects import Reject
from tests.curation.reading.written_tables import read, reasons, write
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
    keys = [f"k{i}" if key else f"{i:08d}" for i in range(7)]
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


def test_no_more_is_held_than_some_rows(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    pictures = [b"\xff\xd8\0" + noise.bytes(200_000) for _ in range(300)]
    pq.write_table(
        pa.table({"image": pictures, "caption": [f"dog {i}" for i in range(300)]}),
        tmp_path / "a.parquet",
        row_group_size=50,
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
    import io

    from PIL import Image

    for side in (1, 3, 300):
        out = io.BytesIO()
        Image.new("RGB", (side, side), (255, 9, 77)).save(out, form)
        assert picture_of(out.getvalue()) == (out.getvalue(), "")
    assert picture_of(b"folder/a.jpg") == (None, "folder/a.jpg")
    assert picture_of("folder/a.jpg") == (None, "folder/a.jpg")
    assert picture_of(None) == picture_of(b"") == picture_of({"bytes": None, "path": None}) == (None, "")
