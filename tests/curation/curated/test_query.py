"""Queries over a curated folder: what they give, and that they reach nothing else."""

from __future__ import annotations

import gc
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.curated.query import connect, connected, run_query
from files.errors import CocuError, MisuseError
from tests.curation.curated_fixture import MadePair, make_curated

SHARDS = {
    "train-0": [MadePair("a1"), MadePair("a2", caption='two, "cats"\nasleep')],
    "train-1": [MadePair("b1", concepts=(("sky", float("nan"), False),))],
}


@pytest.fixture
def curated(tmp_path: Path) -> Path:
    rejects = [("train-1", "b2", "empty caption")]
    return make_curated(tmp_path / "curated", SHARDS, rejects)


def ask(curated: Path, sql: str) -> list[dict[str, Any]]:
    with run_query(curated, sql) as answer:
        return pa.Table.from_batches(list(answer.batches), answer.schema).to_pylist()


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# What queries give


def test_the_views_hold_the_tables(curated: Path) -> None:
    assert ask(curated, "SELECT count(*) AS n FROM pairs") == [{"n": 3}]
    assert ask(curated, "SELECT concept, rank FROM archives WHERE key = 'a1' ORDER BY rank") == [
        {"concept": "grass", "rank": 1},
        {"concept": "dog", "rank": 2},
    ]
    assert ask(curated, "SELECT reason FROM rejects") == [{"reason": "empty caption"}]
    assert {row["concept"] for row in ask(curated, "FROM concepts")} == {"dog", "grass", "sky"}


def test_columns_with_the_names_of_keywords_need_no_quotes(curated: Path) -> None:
    row = ask(curated, "SELECT global, local, rank FROM archives WHERE concept = 'grass' LIMIT 1")
    assert row[0]["global"] == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT 1;", 1),
        ("WITH p AS (FROM pairs) SELECT * FROM p JOIN archives USING (key, shard)", 5),
        ("VALUES (1), (2)", 2),
        ("DESCRIBE pairs", 4),
        ("SHOW TABLES", 4),
        ("SUMMARIZE archives", 12),
        ("SELECT caption FROM pairs WHERE caption LIKE '%;%'", 0),
        ("PIVOT archives ON in_caption IN (true, false) USING count(*) GROUP BY shard", 2),
        ("-- a comment; with a semicolon\nFROM pairs", 3),
    ],
)
def test_every_reading_statement_runs(curated: Path, sql: str, rows: int) -> None:
    assert len(ask(curated, sql)) == rows


def test_a_folder_without_rejects_has_an_empty_view_of_them(curated: Path) -> None:
    (curated / "rejects.parquet").unlink()
    assert ask(curated, "SELECT count(*) AS n FROM rejects") == [{"n": 0}]


def test_folder_names_may_hold_signs_that_mean_something_to_a_glob_or_to_sql(
    tmp_path: Path,
) -> None:
    curated = make_curated(tmp_path / "it's [1] * ?", {"a[0]*": [MadePair("k")]})
    assert ask(curated, "SELECT shard FROM pairs") == [{"shard": "a[0]*"}]


def test_repeated_column_names_become_different_ones(curated: Path) -> None:
    assert ask(curated, "SELECT 1 AS a, 2 AS a, 3 AS a_1, 4 AS a") == [{"a": 1, "a_2": 2, "a_1": 3, "a_3": 4}]


# What queries cannot reach

OUTSIDE = [
    "FROM read_csv('/etc/passwd')",
    "FROM read_csv_auto('/etc/passwd')",
    "FROM '/etc/passwd'",
    "FROM read_text('/etc/passwd')",
    "FROM read_text('/proc/self/environ')",
    "FROM read_blob('file:///etc/passwd')",
    "FROM read_json('/etc/passwd')",
    "FROM sniff_csv('/etc/passwd')",
    "FROM glob('/etc/*')",
    "FROM read_parquet('{other}')",
    "FROM '{other}'",
    "FROM parquet_metadata('{other}')",
    "FROM parquet_schema('{table}/../../../../other.parquet')",
    "FROM read_blob('{table}')",
    "FROM '{table}'",
    "FROM read_duckdb('{other}')",
    "FROM 'https://example.com/a.parquet'",
    "FROM 's3://bucket/a.parquet'",
    "FROM query('FROM read_text(''/etc/passwd'')')",
    "FROM query_table('/etc/passwd')",
    "FROM json_execute_serialized_sql(json_serialize_sql('FROM read_text(''/etc/passwd'')'))",
    "SELECT (SELECT content FROM read_text('/etc/passwd'))",
    "SELECT getenv('HOME')",
    "FROM local_variable",
    "FROM enable_logging(storage = 'file', storage_config = {{'path': '{folder}'}})",
    "FROM enable_profiling(save_location = '{other}')",
]
WRITING = [
    "COPY pairs TO '{other}'",
    "COPY pairs TO '{table}' (USE_TMP_FILE false)",
    "COPY pairs TO '/dev/stdout'",
    "EXPORT DATABASE '{folder}'",
    "ATTACH '{other}' AS x",
    "ATTACH ':memory:' AS x",
    "INSTALL httpfs",
    "LOAD httpfs",
    "FORCE INSTALL json",
    "UPDATE EXTENSIONS",
    "SET lock_configuration = false",
    "SET enable_external_access = true",
    "RESET enable_external_access",
    "PRAGMA enable_profiling",
    "PRAGMA threads = 1",
    "CALL enable_logging(storage = 'file')",
    "CREATE TABLE t AS SELECT 1",
    "CREATE VIEW v AS SELECT 1",
    "CREATE MACRO m() AS 1",
    "CREATE SECRET (TYPE s3)",
    "INSERT INTO pairs VALUES ('k', 's', 'c', [])",
    "DELETE FROM pairs",
    "UPDATE pairs SET key = 'x'",
    "DROP VIEW pairs",
    "ALTER VIEW pairs RENAME TO p",
    "COMMENT ON VIEW pairs IS 'x'",
    "EXPLAIN ANALYZE COPY pairs TO '{table}' (USE_TMP_FILE false)",
    "PREPARE p AS SELECT 1",
    "USE pairs",
    "CHECKPOINT",
    "VACUUM",
    "BEGIN",
    "DETACH memory",
    "IMPORT DATABASE '{folder}'",
]
WRITING_WITHIN = [
    "WITH x AS (COPY pairs TO '{table}' (USE_TMP_FILE false)) FROM x",
    "WITH x AS (COPY pairs TO '{other}' (USE_TMP_FILE false)) FROM x",
    "WITH x AS (COPY pairs TO '{folder}/new.csv') FROM x",
    "WITH x AS (INSERT INTO pairs VALUES ('k', 's', 'c', []) RETURNING *) FROM x",
    "WITH x AS (DELETE FROM pairs RETURNING *) FROM x",
    "FROM query('COPY pairs TO ''{other}''')",
    "FROM query('WITH x AS (COPY pairs TO ''{other}'' (USE_TMP_FILE false)) FROM x')",
]


@pytest.fixture
def attacked(curated: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Files an attack may aim at; in the end nothing on the disk may have changed."""
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"secret": ["hunter2"]}), other)
    before = everything_in(tmp_path)
    table = curated / "tables" / "archives" / "train-0.parquet"
    yield {"other": str(other), "table": str(table), "folder": str(tmp_path)}
    assert everything_in(tmp_path) == before


@pytest.mark.parametrize("sql", OUTSIDE)
def test_nothing_outside_the_views_is_read(curated: Path, attacked: dict[str, str], sql: str) -> None:
    local_variable = pa.table({"secret": ["hunter2"]})
    assert local_variable.num_rows == 1
    with pytest.raises(MisuseError):
        ask(curated, sql.format(**attacked))


@pytest.mark.parametrize("sql", WRITING)
def test_statements_that_do_not_read_are_refused_before_they_run(
    curated: Path, attacked: dict[str, str], sql: str
) -> None:
    with pytest.raises(MisuseError, match="a query only reads"):
        ask(curated, sql.format(**attacked))


@pytest.mark.parametrize("sql", WRITING_WITHIN)
def test_a_select_cannot_hide_a_statement_that_writes(curated: Path, attacked: dict[str, str], sql: str) -> None:
    with pytest.raises(MisuseError):
        ask(curated, sql.format(**attacked))


def test_of_several_statements_none_runs(curated: Path) -> None:
    with pytest.raises(MisuseError, match="2 statements"):
        ask(curated, "SELECT 1; DROP VIEW pairs")
    for nothing in ("", "  ", "-- only a comment", ";"):
        with pytest.raises(MisuseError, match="nothing to run"):
            ask(curated, nothing)


def test_the_environment_stays_hidden(curated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://user:hunter2@proxy:1")
    settings = ask(curated, "FROM duckdb_settings()")
    assert "hunter2" not in str(settings)


def test_refusals_say_what_can_be_read(curated: Path) -> None:
    with pytest.raises(MisuseError, match="reads pairs, archives, concepts, rejects and no other"):
        ask(curated, "FROM read_text('/etc/passwd')")
    with pytest.raises(MisuseError, match=r"PIVOT .* IN \("):
        ask(curated, "PIVOT archives ON concept USING count(*)")


# Faulty queries


def test_an_unknown_table_or_column_gives_the_list_of_them(curated: Path) -> None:
    for sql in (
        "FROM nope",
        "SELECT nope FROM pairs",
        "SELECT p.nope FROM pairs p",
        "SELECT pairs.nope FROM pairs",
    ):
        with pytest.raises(MisuseError) as caught:
            ask(curated, sql)
        message = str(caught.value)
        assert "nope" in message
        assert "archives(key VARCHAR, shard VARCHAR, rank INTEGER" in message
        assert "pg_" not in message


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELCT 1", "SELCT"),
        ("SELECT nothing_like_it(1)", "nothing_like_it"),
        ("SELECT CAST('x' AS INT)", "'x'"),
        ("SELECT error('boom')", "boom"),
        ("SELECT CASE WHEN range = 250000 THEN error('late') END FROM range(300000)", "late"),
    ],
)
def test_other_faults_keep_the_message_of_duckdb(curated: Path, sql: str, said: str) -> None:
    with pytest.raises(MisuseError, match=said):
        ask(curated, sql)


def test_a_folder_that_is_missing_or_unfinished_is_explained(curated: Path, tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="cocu curate run"):
        connect(tmp_path / "nowhere")
    manifest = curated / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"finished": False}))
    with pytest.raises(MisuseError, match="not finished"):
        connect(curated)
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"finished": True}))
    (curated / "tables" / "pairs" / "train-1.parquet").unlink()
    with pytest.raises(MisuseError, match="shard train-1 is missing"):
        connect(curated)
    (curated / "tables" / "archives" / "train-1.parquet").unlink()
    (curated / "tables" / "concepts.parquet").unlink()
    with pytest.raises(MisuseError, match=r"concepts\.parquet is missing"):
        connect(curated)


def test_broken_tables_name_the_file(curated: Path) -> None:
    first, second = sorted((curated / "tables" / "pairs").glob("*.parquet"))
    whole = second.read_bytes()
    second.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CocuError, match=r"train-1\.parquet"):
        ask(curated, "SELECT max(caption) FROM pairs")
    first.write_bytes(b"no Parquet")
    with pytest.raises(CocuError, match=r"train-0\.parquet"):
        connect(curated)


def test_a_table_of_another_version_is_refused(curated: Path) -> None:
    for path in (curated / "tables" / "pairs").glob("*.parquet"):
        pq.write_table(pq.read_table(path).drop_columns(["caption"]), path)
    with pytest.raises(MisuseError, match="no column caption"):
        connect(curated)


def test_large_sorts_spill_into_a_folder_that_goes_away(
    curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spill = tmp_path / "spill"
    spill.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spill))
    connection = connect(curated)
    assert [path.stat().st_mode & 0o777 for path in spill.iterdir()] == [0o700]
    assert connection.execute("SELECT count(*) FROM pairs").fetchone() == (3,)
    connection.close()
    del connection
    gc.collect()
    assert list(spill.iterdir()) == []


def test_a_connection_is_duckdbs_own(curated: Path) -> None:
    assert isinstance(connect(curated), duckdb.DuckDBPyConnection)


@pytest.mark.parametrize(
    "sql",
    [
        "SELEC 1",
        "SELECT\n\n nothing_there\nFROM pairs",
        "FROM\nnowhere",
        "SELECT * FROM read_csv('/etc/passwd')",
        f'SELECT "{"x" * 1_000_000}" FROM pairs',
        f"SELECT '{'x' * 1_000_000}' + 1 FROM pairs",
        f"FROM {'y' * 1_000_000}",
        "(" * 5000,
    ],
)
def test_a_refusal_is_one_short_line(curated: Path, sql: str) -> None:
    with pytest.raises(CocuError) as raised, run_query(curated, sql) as answer:
        list(answer.batches)
    message = str(raised.value)
    assert "\n" not in message
    assert len(message) < 1200


def test_queries_of_ours_tell_damaged_tables(curated: Path) -> None:
    with pytest.raises(CocuError, match="its tables cannot be read"), connected(curated) as connection:
        connection.execute("SELECT * FROM nowhere")


@pytest.mark.parametrize("name", ["archives", "pairs", "concepts"])
def test_of_tables_with_damaged_columns_the_damaged_file_is_named(curated: Path, name: str) -> None:
    tables = curated / "tables"
    path = tables / "concepts.parquet" if name == "concepts" else sorted((tables / name).glob("*.parquet"))[-1]
    with path.open("r+b") as file:
        file.seek(4)
        file.write(b"\xff" * 64)  # the first page; the footer, which tells of the columns, is whole
    sql = f"SELECT * FROM {name}"
    with pytest.raises(CocuError, match=f"{path.name}: broken") as raised, run_query(curated, sql) as answer:
        list(answer.batches)
    assert raised.value.exit_code == 1
    with pytest.raises(CocuError, match=f"{path.name}: broken"), connected(curated) as connection:
        connection.execute(sql).fetchall()
