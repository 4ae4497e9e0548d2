"""Tables of (image path, caption) and of captions alone: CSV, TSV, JSONL and Parquet, with bad rows among the good."""

import csv
import errno
import io
import json
import os
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.reading import captioned_tables, shards
from curation.reading import tables as table_files
from curation.reading.captioned_tables import BadRow, CaptionedTable, CaptionRow, ImageRow, table_key
from curation.reading.pairs import CaptionOptions, Pair
from curation.reading.shards import Shard, find_caption_tables, find_shards, read_pairs
from curation.reading.tables import CsvTable
from files.errors import CocuError, MisuseError
from files.pictures import FIELDS
from files.rejects import Reject
from tests.tiny_world import picture

FORMS = ["csv", "tsv", "jsonl", "parquet"]


def write(path: Path, rows: list[dict[str, Any]], row_group: int = 3) -> Path:
    names = list(rows[0])
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=row_group)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    else:
        with path.open("w", newline="", encoding="utf-8") as target:
            if path.suffix == ".tsv":
                target.writelines(
                    "\t".join(str(cell) for cell in line) + "\n" for line in [names, *map(dict.values, rows)]
                )
            else:
                writer = csv.DictWriter(target, names)
                writer.writeheader()
                writer.writerows(rows)
    return path


def read(path: Path, **options: Any) -> list[Pair | Reject]:
    return [item for shard in find_shards([str(path)]) for item in read_pairs(shard, CaptionOptions(**options))]


def caption_rows(shard: Shard) -> list[CaptionRow | Reject]:
    assert isinstance(shard.reader, CaptionedTable)
    return list(shard.reader.caption_rows())


def reasons(found: list[Pair | Reject]) -> dict[str, str]:
    return {item.key: item.reason for item in found if isinstance(item, Reject)}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(8):
        (folder / f"{i}.jpg").write_bytes(picture(i))
    return tmp_path


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
    table = {"csv": table_files.CsvTable, "jsonl": table_files.JsonLines, "parquet": table_files.ParquetTable}[form]
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


PLAIN = st.text(st.characters(exclude_characters='",', exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=9)


@given(st.lists(PLAIN), st.lists(PLAIN))
def test_an_unclosed_quote_costs_its_line_only(
    tmp_path_factory: pytest.TempPathFactory, before: list[str], after: list[str]
) -> None:
    path = tmp_path_factory.mktemp("table") / "t.csv"
    lines = [f'p,"{text}\nin two ""lines"", with a comma"' for text in before]
    lines += ['bad,"never closed', *(f"p,{text}" for text in after)]
    path.write_text("image,caption\n" + "\n".join(lines) + "\n", encoding="utf-8")
    (shard,) = find_shards([str(path)])
    rows = list(CsvTable(str(path), rows=(0, shard.size)).read(["image", "caption"]))
    captions = [f'{text}\nin two "lines", with a comma' for text in before] + after
    assert [row["caption"] for row in rows if isinstance(row, dict)] == captions
    assert rows[len(before)] == BadRow("broken row: a quote is not closed")


def test_a_quote_that_a_later_row_closes_costs_its_line_only(images: Path) -> None:
    table = images / "t.csv"
    table.write_text('image,caption\nimages/0.jpg,"never closed\nimages/1.jpg,"good, with a comma"\nimages/2.jpg,too\n')
    found = read(table)
    assert [pair.captions[0] for pair in found if isinstance(pair, Pair)] == ["good, with a comma", "too"]
    assert reasons(found) == {"row 1": "broken row: 3 cells under a header of 2"}


SEPARATED = [
    ("a.csv", "\t"),
    ("a.csv", ";"),
    ("a.tsv", ","),
    ("a.tsv", ";"),
    ("a.txt", ","),
    ("a.txt", "\t"),
]


@pytest.mark.parametrize("head", [("filepath", "title"), ("image", "caption"), ("a b", "c")])
@pytest.mark.parametrize(("name", "separator"), SEPARATED)
def test_the_header_says_what_parts_the_columns(
    name: str, separator: str, head: tuple[str, str], images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["plain", "a, b; and\tc", 'a "quoted" one', "in two\nlines"]
    with (images / name).open("w", newline="") as target:
        rows = [(f"images/{i}.jpg", text) for i, text in enumerate(texts)]
        csv.writer(target, delimiter=separator).writerows([head, *rows])
    columns = {"image_column": head[0], "caption_column": head[1]}
    found = find_shards([str(images / name)], head[0])
    told = capsys.readouterr().err
    pairs = [item for shard in found for item in read_pairs(shard, CaptionOptions(**columns))]
    assert [pair.captions for pair in pairs if isinstance(pair, Pair)] == [(text,) for text in texts]
    spoken = {",": "commas", "\t": "tabs", ";": "semicolons"}[separator]
    assert told.count(f"{name}: read with {spoken} between its columns") == (name != "a.txt" or separator != ",")


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("image,caption;de", ["image", "caption;de"]),
        ('image,"caption;a;b"', ["image", "caption;a;b"]),
        ('x,"a\tb"', ["x", "a\tb"]),
        ("my picture,words; and more", ["my picture", "words; and more"]),
        ("image;caption;a, b, c", ["image", "caption", "a, b, c"]),
        ("caption", ["caption"]),
        ("", []),
    ],
)
def test_marks_in_names_of_columns_part_nothing(header: str, columns: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(header + "\n")
    assert CsvTable(str(tmp_path / "a.csv")).columns() == columns


def test_a_text_is_a_table_where_it_is_named_only(images: Path) -> None:
    write(images / "a.csv", [{"image": "images/0.jpg", "caption": "of the table"}])
    write(images / "b.txt", [{"image": "images/0.jpg", "caption": "of the text"}])
    for name, said in ("b.txt", "text"), ("*.txt", "text"), ("{b,b}.txt", "text"), ("*", "table"), ("", "table"):
        (pair,) = read(images / name)
        assert isinstance(pair, Pair), name
        assert pair.captions == (f"of the {said}",), name
    assert [row.caption for row in caption_rows(find_caption_tables([str(images / "b.txt")])[0])] == ["of the text"]
    (images / "b.txt").write_text("A dog, a cat.\nA bird.\n" + "word " * 9_000)
    with pytest.raises(MisuseError, match=r"b.txt: no image column.*it has A dog,  a cat\.; .*first line") as refused:
        read(images / "b.txt")
    (images / "b.txt").write_text("word, " * 9_000 + "\n1, 2\n")
    with pytest.raises(MisuseError, match=r"b.txt: no image column") as refused:
        read(images / "b.txt")
    assert len(str(refused.value)) < 1_000


@pytest.mark.parametrize("form", FORMS)
def test_a_picture_is_one_pair_over_the_seams_of_parts(
    form: str, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "ROWS_PER_TABLE_SHARD", 4)
    order = [0, 0, 1, 1, 1, 2, 3, "", 3, 4, 4, 4, 4, 5, 0]
    rows = [{"photo": f"images/{n}.jpg" if n != "" else "", "words": f"row {i}"} for i, n in enumerate(order)]
    found = find_shards([str(write(images / f"a.{form}", rows))], "photo")
    assert [shard.rows for shard in found] == [(0, 5), (5, 9), (9, 13), (13, 15)]
    items = [
        item for s in found for item in read_pairs(s, CaptionOptions(image_column="photo", caption_column="words"))
    ]
    assert [pair.captions for pair in items if isinstance(pair, Pair)] == [
        *[("row 0", "row 1"), ("row 2", "row 3", "row 4"), ("row 5",), ("row 6", "row 8")],
        *[tuple(f"row {i}" for i in range(9, 13)), ("row 13",), ("row 14",)],
    ]
    assert reasons(items) == {"row 8": "no image: the cell is empty"}


@pytest.mark.parametrize("kind", [pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.binary()])
def test_pictures_of_parquet_columns_of_any_kind_of_text(
    kind: pa.DataType, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "ROWS_PER_TABLE_SHARD", 2)
    names = pa.array([f"images/{n}.jpg" for n in (0, 1, 1, 1)]).cast(kind)
    pq.write_table(pa.table({"image": names, "caption": list("abcd")}), images / "a.parquet")
    rows = [shard.rows for shard in find_shards([str(images / "a.parquet")])]
    assert rows == ([(0, 2), (2, 4)] if kind == pa.binary() else [(0, 4)])  # bytes may be pictures, and are not read


def test_too_many_open_files_are_no_fault_of_a_picture(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(images / "a.csv", [{"image": "images/0.jpg", "caption": "good"}])

    def full(path: str, flags: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)

    monkeypatch.setattr(captioned_tables, "_regular_file", full)
    with pytest.raises(CocuError, match=f"{path}: cannot be read: Too many open files"):
        read(path)
