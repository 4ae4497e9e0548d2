"""What parts the columns of a table and its rows: separators, quotes, and seams between parts."""

import csv
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.reading import shards
from curation.reading.captioned_tables import BadRow
from curation.reading.pairs import CaptionOptions, Pair
from curation.reading.shards import find_caption_tables, find_shards, read_pairs
from curation.reading.tables import CsvTable, JsonLines, TextTable, TsvTable
from files.errors import MisuseError
from tests.curation.reading.written_tables import FORMS, caption_rows, read, reasons, write

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
    ("a.tsv", ","),
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
    found = find_shards([str(images / name)], CaptionOptions(**columns))
    told = capsys.readouterr().err
    pairs = [item for shard in found for item in read_pairs(shard, CaptionOptions(**columns))]
    assert [pair.captions for pair in pairs if isinstance(pair, Pair)] == [(text,) for text in texts]
    spoken = {",": "commas", "\t": "tabs"}[separator]
    assert told.count(f"{name}: read with {spoken} between its columns") == (name != "a.txt" or separator != ",")


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("image,caption;de", ["image", "caption;de"]),
        ('image,"caption;a;b"', ["image", "caption;a;b"]),
        ('x,"a\tb"', ["x", "a\tb"]),
        ("my picture,words; and more", ["my picture", "words; and more"]),
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
    options = CaptionOptions(image_column="photo", caption_column="words")
    found = find_shards([str(write(images / f"a.{form}", rows))], options)
    assert [shard.rows for shard in found] == [(0, 5), (5, 9), (9, 13), (13, 15)]
    items = [item for shard in found for item in read_pairs(shard, options)]
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
    assert [shard.rows for shard in find_shards([str(images / "a.parquet")])] == [(0, 4)]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
@pytest.mark.parametrize("kind", [CsvTable, TsvTable, JsonLines])
def test_wide_encodings_are_named_with_what_to_do(tmp_path: Path, kind: type[TextTable], encoding: str) -> None:
    """They begin with a byte order mark; read as UTF-8 they are no table at all."""
    path = tmp_path / "t"
    path.write_bytes('{"image": "a.jpg"}\r\n'.encode(encoding))
    with pytest.raises(MisuseError, match=f"t: is {encoding.upper()}.*iconv -f {encoding}"):
        kind(str(path)).columns()
