"""`cocu curate query`, `show` and `report` as a person calls them."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sysconfig
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cli.main import main
from tests.curation.curated_fixture import MadePair, make_curated

COCU = Path(sysconfig.get_path("scripts")) / "cocu"


@pytest.fixture
def curated(tmp_path: Path) -> Path:
    return make_curated(tmp_path / "curated", {"s": [MadePair(f"k{i:03d}") for i in range(150)]})


def run(*arguments: object) -> int:
    """Exit code of `cocu` with these arguments, in this process."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    assert isinstance(end.value.code, int)
    return end.value.code


def test_a_table_is_cut_and_says_so(curated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("curate", "query", curated, "SELECT key FROM pairs ORDER BY key") == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[:3] == ["key", "----", "k000"]
    assert len(out.splitlines()) == 2 + 100
    assert "100 of 150 rows" in err
    assert run("curate", "query", curated, "FROM pairs", "--limit", 1000) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2 + 150
    assert err == ""


def test_every_format_gives_all_rows_on_standard_output(
    curated: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    sql = "SELECT key, caption_concepts FROM pairs ORDER BY key"
    assert run("curate", "query", curated, sql, "--format", "json") == 0
    rows = json.loads(capfdbinary.readouterr().out)
    assert len(rows) == 150
    assert rows[0] == {"key": "k000", "caption_concepts": ["dog"]}
    assert run("curate", "query", curated, sql, "--format", "csv", "--limit", 7) == 0
    text = capfdbinary.readouterr().out.decode()
    assert [row["key"] for row in csv.DictReader(io.StringIO(text))] == [f"k{i:03d}" for i in range(7)]
    assert run("curate", "query", curated, sql, "--format", "parquet") == 0
    table = pq.read_table(io.BytesIO(capfdbinary.readouterr().out))
    assert table.to_pylist() == rows


def test_the_ending_of_out_chooses_the_format(
    curated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.csv", "a.json", "a.parquet", "a.txt"):
        assert run("curate", "query", curated, "FROM pairs", "--out", tmp_path / name) == 0
    assert run("curate", "query", curated, "FROM pairs", "--format", "json", "--out", tmp_path / "b") == 0
    assert capsys.readouterr().out == ""
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 1 + 150
    assert len(json.loads((tmp_path / "a.json").read_text())) == 150
    assert pq.read_metadata(tmp_path / "a.parquet").num_rows == 150
    assert len((tmp_path / "a.txt").read_text().splitlines()) == 2 + 150
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a.json").read_bytes()


def test_a_spreadsheet_gets_no_formulas(tmp_path: Path, curated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sql = "SELECT '=' || key AS key, -1 AS n FROM pairs ORDER BY key LIMIT 1"
    assert run("curate", "query", curated, sql, "--format", "csv", "--defuse") == 0
    assert capsys.readouterr().out == "key,n\n'=k000,-1\n"
    assert run("curate", "query", curated, sql, "--defuse", "--out", tmp_path / "a.csv") == 0
    assert (tmp_path / "a.csv").read_text() == "key,n\n'=k000,-1\n"
    assert run("curate", "query", curated, sql, "--defuse") == 2
    assert "is for CSV" in capsys.readouterr().err


def test_mistakes_end_with_code_2_and_one_clear_message(
    curated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, said in (
        (("query", curated, "DROP VIEW pairs"), "a query only reads"),
        (("query", curated, "FROM read_csv('/etc/passwd')"), "no other file"),
        (("query", curated, "SELECT nope FROM pairs"), "archives(key VARCHAR"),
        (("query", curated, "FROM pairs", "--format", "xml"), "table, csv, json, parquet"),
        (("query", tmp_path / "nowhere", "FROM pairs"), "cocu curate run"),
        (("show", curated, "k0000"), "the nearest are 'k000'"),
        (("show", curated, "nope", "--out", tmp_path / "p.html"), "no pair has the key 'nope'"),
        (("report", tmp_path, "--out", tmp_path / "r.html"), "cocu curate run"),
    ):
        assert run("curate", *arguments) == 2
        err = capsys.readouterr().err
        assert said in err
        assert "Traceback" not in err
    assert not list(tmp_path.glob("*.html"))


def test_parquet_is_not_thrown_at_a_terminal(curated: Path) -> None:
    outside, inside = pty.openpty()
    try:
        done = subprocess.run(
            [COCU, "curate", "query", curated, "FROM pairs", "--format", "parquet"],
            stdout=inside,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(inside)
        os.close(outside)
    assert done.returncode == 2
    assert "--out" in done.stderr


def test_a_reader_that_leaves_early_is_no_error(curated: Path) -> None:
    sql = "SELECT * FROM range(10000000)"
    query = subprocess.Popen(
        [COCU, "curate", "query", curated, sql, "--format", "csv"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert query.stdout is not None
    assert query.stderr is not None
    assert query.stdout.readline() == b"range\n"
    query.stdout.close()
    assert query.wait(timeout=60) == 141
    assert query.stderr.read() == b""
    query.stderr.close()


def test_show_prints_and_writes(curated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("curate", "show", curated, "k001", "k002") == 0
    out = capsys.readouterr().out
    assert out.index("k001") < out.index("k002")
    assert "recovered" in out
    assert run("curate", "show", curated, "k001", "--out", tmp_path / "p.html") == 0
    assert "k001" in (tmp_path / "p.html").read_text()


def test_report_writes_one_page(curated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "report.html"
    assert run("curate", "report", curated, "--out", page, "--sample", 5, "--seed", 3) == 0
    assert f"wrote {page} (" in (out := capsys.readouterr().out)
    assert out.endswith("pairs left out by the curation: 0\n")
    assert page.read_text().count("<article") == 5
