"""What a query gives, as table, CSV, JSON and Parquet."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curation.curated.answers import (
    first_rows,
    print_plain,
    print_table,
    write_csv,
    write_file,
    write_json,
    write_stream,
)
from curation.curated.query import run_query
from files.errors import MisuseError
from tests.curation.curated_fixture import MadePair, make_curated


@pytest.fixture
def curated(tmp_path: Path) -> Path:
    pairs = [MadePair("a1"), MadePair("a2", caption='two, "cats"\nasleep'), MadePair("b1")]
    return make_curated(tmp_path / "curated", {"train-0": pairs})


EVERY_TYPE = """
    SELECT key, caption, caption_concepts, {'n': len(caption), 'x': 0.5} AS info, len(caption) AS n,
           CAST('inf' AS DOUBLE) AS x, CAST(NULL AS INT) AS nothing, true AS yes,
           sum(1) OVER () AS total, DATE '2024-02-29' AS day
    FROM pairs ORDER BY key
"""


def test_json_gives_every_row_as_an_object(curated: Path) -> None:
    stream = io.StringIO()
    with run_query(curated, EVERY_TYPE) as answer:
        write_json(answer, stream)
    rows = json.loads(stream.getvalue())
    assert rows[1] == {
        **{"key": "a2", "caption": 'two, "cats"\nasleep', "caption_concepts": ["dog"]},
        **{"info": {"n": 18, "x": 0.5}, "n": 18, "x": None, "nothing": None, "yes": True},
        **{"total": 3, "day": "2024-02-29"},
    }
    with run_query(curated, "FROM pairs WHERE false") as answer:
        write_json(answer, empty := io.StringIO())
    assert json.loads(empty.getvalue()) == []


def test_json_has_no_word_for_infinity_wherever_it_stands(curated: Path) -> None:
    sql = "SELECT ['nan'::FLOAT, 1] AS l, {'x': '-inf'::DOUBLE} AS s, MAP {'k': 'inf'::DOUBLE} AS m"
    with run_query(curated, sql) as answer:
        write_json(answer, stream := io.StringIO())
    assert json.loads(stream.getvalue()) == [{"l": [None, 1], "s": {"x": None}, "m": {"k": None}}]


def test_csv_comes_back_as_it_went(curated: Path) -> None:
    with run_query(curated, EVERY_TYPE) as answer:
        write_csv(answer, stream := io.StringIO())
    rows = list(csv.DictReader(io.StringIO(stream.getvalue(), newline="")))
    assert [row["key"] for row in rows] == ["a1", "a2", "b1"]
    assert rows[1]["caption"] == 'two, "cats"\nasleep'
    assert json.loads(rows[1]["caption_concepts"]) == ["dog"]
    assert (rows[1]["nothing"], rows[1]["yes"], rows[1]["total"]) == ("", "true", "3")


def test_parquet_comes_back_as_it_went(curated: Path, tmp_path: Path) -> None:
    with run_query(curated, EVERY_TYPE) as answer:
        write_file(answer, "parquet", tmp_path / "out.parquet")
    with run_query(curated, EVERY_TYPE) as answer:
        write_stream(answer, "parquet", io.StringIO(), stream := io.BytesIO())
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.equals(pq.read_table(io.BytesIO(stream.getvalue())))
    assert table["caption_concepts"].to_pylist() == [["dog"]] * 3
    assert table["info"].to_pylist()[0] == {"n": 14, "x": Decimal("0.5")}


def test_types_that_parquet_lacks_are_explained(curated: Path, tmp_path: Path) -> None:
    with (
        run_query(curated, "SELECT INTERVAL 1 DAY AS i") as answer,
        pytest.raises(MisuseError, match="CAST"),
    ):
        write_file(answer, "parquet", tmp_path / "out.parquet")
    assert list(tmp_path.glob("*out*")) == []


# Lists of dates beyond the year 9999 have neither a Python value nor an Arrow text.
BEYOND_PYTHON = ("date_array", "timestamp_array", "timestamptz_array")


@pytest.mark.parametrize("form", ["csv", "json", "table"])
def test_every_type_of_duckdb_can_be_printed(curated: Path, tmp_path: Path, form: str) -> None:
    sql = f"SELECT * EXCLUDE ({', '.join(BEYOND_PYTHON)}) FROM test_all_types()"
    with run_query(curated, sql) as answer:
        write_file(answer, form, tmp_path / "out")
    assert len((tmp_path / "out").read_text().splitlines()) >= 3


@pytest.mark.parametrize("column", BEYOND_PYTHON)
def test_lists_of_impossible_dates_are_explained(curated: Path, tmp_path: Path, column: str) -> None:
    with (
        run_query(curated, f"SELECT {column} FROM test_all_types()") as answer,
        pytest.raises(MisuseError, match=f"{column}.*CAST"),
    ):
        write_file(answer, "csv", tmp_path / "out")


def test_a_query_that_fails_half_way_leaves_the_old_file(curated: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("old")
    sql = "SELECT CASE WHEN range = 250000 THEN error('late') END FROM range(300000)"
    with run_query(curated, sql) as answer, pytest.raises(MisuseError, match="late"):
        write_file(answer, "csv", out)
    assert out.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["curated", "out.csv"]


def test_plain_tables_are_aligned_and_say_how_much_they_leave_out(curated: Path) -> None:
    with run_query(curated, "SELECT range AS n, 'x' || range AS word FROM range(1000)") as answer:
        counts = print_plain(answer, stream := io.StringIO(), limit=11)
    assert counts == (11, 1000)
    lines = stream.getvalue().splitlines()
    assert lines[:3] == [" n  word", "--  ----", " 0  x0"]
    assert lines[-1] == "10  x10"


def test_first_rows_end_the_work_early(curated: Path) -> None:
    with run_query(curated, "SELECT * FROM range(100000000000)") as answer:
        rows = [batch.num_rows for batch in first_rows(answer, 3).batches]
    assert sum(rows) == 3


class Screen(io.StringIO):
    """A terminal, as far as rich can tell."""

    def isatty(self) -> bool:
        return True


def test_captions_cannot_command_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    evil = "\x1b[31mred\x1b]0;title\x07 [bold]not bold[/bold] \x9b2J \u202egnp.exe\r\nnext"
    curated = make_curated(tmp_path / "c", {"s": [MadePair("k", caption=evil)]})
    with run_query(curated, "SELECT caption FROM pairs") as answer:
        print_plain(answer, plain := io.StringIO(), None)
    with run_query(curated, "SELECT caption, [caption] AS list FROM pairs") as answer:
        counts = print_table(answer, framed := Screen(), None)
    assert counts == (1, 1)
    with run_query(curated, "SELECT caption FROM pairs") as answer:
        write_json(answer, as_json := io.StringIO())
    with run_query(curated, "SELECT caption FROM pairs") as answer:
        write_csv(answer, as_csv := Screen())
    for printed in (plain.getvalue(), framed.getvalue(), as_json.getvalue(), as_csv.getvalue()):
        # The bold header is the only style that is ours.
        rest = re.sub("\x1b\\[[01]m", "", printed)
        assert not set(rest) & {"\x1b", "\x07", "\x9b"}
        assert "[bold]not bold[/bold]" in printed
        assert "\u202e" not in printed
    assert json.loads(as_json.getvalue()) == [{"caption": evil}]
    with run_query(curated, "SELECT caption FROM pairs") as answer:
        write_csv(answer, piped := io.StringIO(newline=""))
    assert list(csv.reader(io.StringIO(piped.getvalue(), newline=""))) == [["caption"], [evil]], "to a pipe as it is"


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"])
def test_formulas_are_defused(tmp_path: Path, first: str) -> None:
    texts = [f"{first}1+cmd|' /C calc'!A0", f" {first}1", "1", ""]
    pairs = [MadePair(str(i), caption=text) for i, text in enumerate(texts)]
    curated = make_curated(tmp_path / "c", {"s": pairs})
    sql = 'SELECT caption, -1 AS number, -1.5::DECIMAL(3,1) AS "=x" FROM pairs ORDER BY key'
    rows = {}
    for defuse in (False, True):
        with run_query(curated, sql) as answer:
            write_csv(answer, text := io.StringIO(newline=""), defuse)
        rows[defuse] = list(csv.reader(io.StringIO(text.getvalue(), newline="")))
    plain = [[text, "-1", "-1.5"] for text in texts]
    assert rows[False] == [["caption", "number", "=x"], *plain]
    plain[0][0] = f"'{texts[0]}"
    assert rows[True] == [["caption", "number", "'=x"], *plain]


def test_wide_signs_keep_columns_aligned(curated: Path) -> None:
    with run_query(curated, "SELECT * FROM (VALUES ('犬', 'a'), ('dog', 'b')) t(x, y)") as answer:
        print_plain(answer, stream := io.StringIO(), None)
    assert stream.getvalue().splitlines()[2:] == ["犬   a", "dog  b"]
