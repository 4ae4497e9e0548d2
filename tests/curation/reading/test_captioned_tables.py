"""Tables of (image path, caption) and of captions alone: CSV, TSV, JSONL and Parquet, with bad rows among the good."""

import csv
import errno
import io
import os
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.reading import captioned_tables, shards
from curation.reading import tables as table_files
from curation.reading.captioned_tables import CaptionRow, ImageRow
from curation.reading.pairs import CaptionOptions, Pair
from curation.reading.parquet_tables import ParquetTable
from curation.reading.shards import find_caption_tables, find_shards, read_pairs
from files.errors import CocuError, MisuseError
from files.picture_tables import table_key
from files.pictures import FIELDS
from files.rejects import Reject
from tests.curation.reading.written_tables import FORMS, caption_rows, read, reasons, write
from tests.tiny_world import picture


@pytest.mark.parametrize("form", FORMS)
def test_a_folder_of_images_and_a_table(form: str, images: Path) -> None:
    rows = [{"image": f"images/{i}.jpg", "n": i, "caption": f'A "dog", {i} 狗'} for i in range(8)]
    write(images / f"captions.{form}", rows)
    found = read(images)
    assert [(p.key, p.image, p.captions[0]) for p in found if isinstance(p, Pair)] == [
        (f"images/{i}", picture(i), f'A "dog", {i} 狗') for i in range(8)
    ]


@pytest.mark.parametrize("form", FORMS)
def test_bad_rows_do_not_stop_the_others(form: str, images: Path) -> None:
    (images / "folder.jpg").mkdir()
    os.mkfifo(images / "pipe.jpg")
    rows = [
        {"file_name": "images/0.jpg", "title": "good"},
        {"file_name": "images/gone.jpg", "title": "no picture"},
        {"file_name": "", "title": "no name"},
        {"file_name": "images/1.jpg", "title": " "},
        {"file_name": "./images/0.jpg", "title": "again"},
        {"file_name": "folder.jpg", "title": "a folder"},
        {"file_name": "pipe.jpg", "title": "a pipe"},
        {"file_name": "https://host/2.jpg", "title": "an address"},
        {"file_name": str(images / "images/2.jpg"), "title": "good, too"},
    ]
    found = read(write(images / f"captions.{form}", rows))
    assert [pair.captions for pair in found if isinstance(pair, Pair)] == [("good", "again"), ("good, too",)]
    assert {key: reason.partition(":")[0] for key, reason in reasons(found).items()} == {
        "images/gone": "image cannot be read",
        "row 3": "no image",
        "images/1": "empty caption",
        "folder": "image cannot be read",
        "pipe": "image cannot be read",
        "2": "image is no file",
    }


def test_what_is_not_utf8_costs_its_row_only(images: Path) -> None:
    lines = b"image,caption\nimages/0.jpg,caf\xe9\nimages/1.jpg,good\nimages/\xff.jpg,bad name\n"
    (images / "a.csv").write_bytes(lines)
    (images / "a.tsv").write_bytes(lines.replace(b",", b"\t"))
    column = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.array([0, 4, 8], pa.int32()).buffers()[1], pa.py_buffer(b"caf\xe9good")]
    )
    pq.write_table(pa.table({"image": ["images/0.jpg", "images/1.jpg"], "caption": column}), images / "a.parquet")
    for name in ("a.csv", "a.tsv", "a.parquet"):
        found = read(images / name)
        assert [item.key for item in found if isinstance(item, Pair)] == ["images/1"], name
        assert reasons(found)["images/0"] == "caption is not UTF-8"


def test_broken_rows_of_text_tables(images: Path) -> None:
    (images / "a.csv").write_text('image,caption\nimages/0.jpg,a, b\nimages/1.jpg\n\nimages/2.jpg,"two\nlines"\n')
    found = read(images / "a.csv")
    assert [(p.key, p.captions[0]) for p in found if isinstance(p, Pair)] == [("images/2", "two\nlines")]
    assert reasons(found) == {
        "row 1": "broken row: 3 cells under a header of 2",
        "row 2": "broken row: 1 cells under a header of 2",
    }
    (images / "a.jsonl").write_text(
        '{"image": "images/0.jpg"}\n{"image": \n[1]\n\n{"image": "images/1.jpg", "caption": ["good", 2]}\n'
        '{"image": 7, "caption": {"a": 1}}\n'
    )
    found = read(images / "a.jsonl")
    assert [(p.key, p.captions[0]) for p in found if isinstance(p, Pair)] == [("images/1", "good")]
    assert {key: reason.split(":")[0] for key, reason in reasons(found).items()} == {
        "images/0": "no caption",
        "row 2": "broken row",
        "row 3": "broken row",
        "7": "caption is no text",
    }


def test_lists_of_captions_in_a_column(images: Path) -> None:
    rows = [{"image": "images/0.jpg", "captions": ["", "one", "two"]}, {"image": "images/1.jpg", "captions": []}]
    for form in ("jsonl", "parquet"):
        path = write(images / f"a.{form}", rows)
        first, second = read(path, caption_column="captions")
        assert isinstance(first, Pair)
        assert first.captions == ("one",)
        assert second == Reject("images/1", "empty caption")
        first, _ = read(path, caption_column="captions", all_captions=True)
        assert isinstance(first, Pair)
        assert first.captions == ("one", "two")


def test_columns_are_found_or_named(images: Path) -> None:
    path = write(images / "a.csv", [{"url": "images/0.jpg", "words": "a dog"}])
    with pytest.raises(
        MisuseError, match=r"a.csv: no image column \(looked for image, .*it has url, words; name it with"
    ):
        read(path)
    with pytest.raises(MisuseError, match=r"a.csv: no column 'word'; it has url, words; name it with --caption-column"):
        read(path, image_column="url", caption_column="word")
    (pair,) = read(path, image_column="url", caption_column="words")
    assert isinstance(pair, Pair)


@pytest.mark.parametrize("form", FORMS)
def test_large_tables_are_cut_into_parts(form: str, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "ROWS_PER_TABLE_SHARD", 3)
    rows = [
        {"image": f"images/{i}.jpg", "caption": f"number {i}" + ("\nline" if form == "csv" else "")} for i in range(8)
    ]
    found = find_shards([str(write(images / f"a.{form}", rows, row_group=4))])
    assert [(shard.name, shard.rows, shard.size) for shard in found] == [
        ("a-00000", (0, 3), 3),
        ("a-00001", (3, 6), 3),
        ("a-00002", (6, 8), 2),
    ]
    parts = [[item.key for item in read_pairs(shard, CaptionOptions())] for shard in reversed(found)]
    assert parts == [[f"images/{i}" for i in range(*part)] for part in ((6, 8), (3, 6), (0, 3))]


ROWS = st.lists(
    st.tuples(
        st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=30),
        st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=30),
    ),
    max_size=9,
)


@given(ROWS, st.integers(1, 4), st.sampled_from(["csv", "jsonl", "parquet"]))
def test_parts_join_to_the_whole_table(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], part: int, form: str
) -> None:
    path = tmp_path_factory.mktemp("t") / f"t.{form}"
    write(path, [{"image": image, "caption": caption} for image, caption in [("first", "row"), *rows]], row_group=2)
    joined = []
    table = {"csv": table_files.CsvTable, "jsonl": table_files.JsonLines, "parquet": ParquetTable}[form]
    for start, stop, offset in table(str(path)).cut(part):
        rows_in = list(table(str(path), 0, (start, stop), offset).read(["image", "caption"]))
        assert len(rows_in) == stop - start
        joined += rows_in
    texts = [[cell.decode() if isinstance(cell, bytes) else cell for cell in row.values()] for row in joined]  # type: ignore[union-attr]
    assert texts == [["first", "row"], *map(list, rows)]


def test_lines_without_end_do_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_files, "MOST_LINE_BYTES", 100)
    path = tmp_path / "a.jsonl"
    path.write_text('{"caption": "' + "x" * 1_000 + '"}\n{"caption": "good"}\n')
    (shard,) = find_caption_tables([str(path)])
    found = caption_rows(shard)
    assert found[-1] == CaptionRow(str(len(found) - 1), "good", None)
    assert all(isinstance(item, Reject) for item in found[:-1])


def test_caption_only_tables(tmp_path: Path) -> None:
    rows = [{"key": "k1", "caption": "a dog", "image": "x/1.jpg"}, {"key": "", "caption": "", "image": ""}]
    for form in FORMS:
        (shard,) = find_caption_tables([str(write(tmp_path / f"a.{form}", rows))])
        first, second = caption_rows(shard)
        assert isinstance(first, CaptionRow)
        assert isinstance(second, CaptionRow)
        assert (first.key, first.image, second.key, second.image) == ("k1", "x/1.jpg", "1", None)
    path = write(tmp_path / "bare.tsv", [{"sentence": "a cat"}])
    assert caption_rows(find_caption_tables([str(path)])[0]) == [CaptionRow("0", "a cat", None)]
    path = write(tmp_path / "none.tsv", [{"words": "a cat"}])
    with pytest.raises(MisuseError, match=r"none.tsv: no caption column \(looked for caption, "):
        caption_rows(find_caption_tables([str(path)])[0])


def test_remote_tables_with_their_images_beside_them() -> None:
    with fsspec.open("memory://set/images/a.jpg", "wb") as target:
        target.write(picture(3))
    text = io.StringIO()
    csv.writer(text).writerows([["image", "caption"], ["images/a.jpg", "a dog"], ["images/b.jpg", "gone"]])
    with fsspec.open("memory://set/captions.csv", "w") as target:
        target.write(text.getvalue())
    (shard,) = find_shards(["memory://set/captions.csv"])
    pair, reject = read_pairs(shard, CaptionOptions())
    assert isinstance(pair, Pair)
    assert (pair.key, pair.image) == ("images/a", picture(3))
    assert isinstance(reject, Reject)
    assert reject.reason.startswith("image cannot be read: memory://set/images/b.jpg")


@pytest.mark.parametrize("data", [b"PAR1", b"not parquet", b""])
def test_a_broken_parquet_file_is_named(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(data)
    with pytest.raises(MisuseError, match=r"a.parquet: cannot be read as Parquet"):
        find_shards([str(tmp_path / "a.parquet")])


def test_a_parquet_file_that_breaks_later_is_named(images: Path) -> None:
    path = write(images / "a.parquet", [{"image": f"images/{i % 8}.jpg", "caption": "x" * i} for i in range(500)])
    (shard,) = find_shards([str(path)])
    raw = bytearray(path.read_bytes())
    raw[4:1000] = os.urandom(996)
    path.write_bytes(raw)
    with pytest.raises(CocuError, match=r"a.parquet: "):
        list(read_pairs(shard, CaptionOptions()))


def test_an_empty_table_gives_no_shards(tmp_path: Path) -> None:
    for name, text in (("a.csv", "image,caption\n"), ("b.csv", ""), ("c.jsonl", "\n")):
        (tmp_path / name).write_text(text)
        assert find_shards([str(tmp_path / name)]) == []


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("a/b.jpg", "a/b"),
        ("./a/b.c.jpg", "a/b_c"),
        ("../a.jpg", "a"),
        ("/data/a.jpg", "data/a"),
        ("a", "a"),
        ("s3://bucket/a/b.jpg", "a/b"),
    ],
)
def test_keys_of_image_paths(path: str, key: str) -> None:
    assert table_key(path) == key


@pytest.mark.parametrize(
    ("name", "form", "field"),
    [
        ("x/a.JPG", "JPEG", "jpg"),
        ("a.jpeg", "PNG", "jpeg"),  # decoders look at the bytes
        ("3f2a9c0b7d", "JPEG", "jpg"),
        ("photo.jpg?w=300", "PNG", "png"),
        ("a.jfif", "JPEG", "jpg"),
        ("a.gif", "GIF", "gif"),
        ("a.dib", "BMP", "bmp"),
        ("a.b", "TIFF", "tif"),
    ],
)
def test_a_picture_is_called_as_readers_call_it(name: str, form: str, field: str) -> None:
    assert ImageRow("a", name, []).field(picture(0, form=form)) == field
    assert field in FIELDS


def test_pictures_of_one_key_are_numbered(images: Path) -> None:
    names = ["twin.jpg", "twin.png", "img.v1.jpg", "img_v1.jpg", "twin-2.jpg"]
    for i, name in enumerate(names):
        (images / name).write_bytes(picture(i))
    rows = [{"image": name, "caption": f"of {name}"} for name in ["twin.gone", *names]]
    found = read(write(images / "t.csv", rows))
    pairs = {pair.key: pair.captions[0].removeprefix("of ") for pair in found if isinstance(pair, Pair)}
    assert pairs == dict(zip(["twin", "twin-2", "img_v1", "img_v1-2", "twin-2-2"], names, strict=True))


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_rows_of_one_picture_are_one_pair(form: str, images: Path) -> None:
    rows = [{"image": f"images/{i}.jpg", "caption": f"caption {j} of {i}"} for j in range(3) for i in range(2)]
    found = read(write(images / f"t.{form}", rows))
    assert [(pair.key, pair.captions) for pair in found if isinstance(pair, Pair)] == [
        (f"images/{i}", tuple(f"caption {j} of {i}" for j in range(3))) for i in range(2)
    ]


def test_too_many_open_files_are_no_fault_of_a_picture(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(images / "a.csv", [{"image": "images/0.jpg", "caption": "good"}])

    def full(path: str, flags: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)

    monkeypatch.setattr(captioned_tables, "_regular_file", full)
    with pytest.raises(CocuError, match=f"{path}: cannot be read: Too many open files"):
        read(path)
