"""Queries in a process of their own: the rows are those of the query, and nothing outlasts its time or its memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from curation.curated.bounded import LARGEST_ROW, PIECE, bounded_query
from curation.curated.query import run_query
from files.errors import CocuError, MisuseError
from tests.curation.curated_fixture import MadePair, make_curated
from tests.integration.processes import at_work

ENDLESS = "SELECT count(*) FROM range(1000000) a, range(1000000) b, range(1000) c"
# One call, between whose beginning and end DuckDB neither counts nor looks.
ONE_CALL = "SELECT length(array_to_string(range(300000000), ','))"


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_curated(
        tmp_path_factory.mktemp("bounded") / "c", {"s": [MadePair(f"k{i:03d}", caption="é\0\n" * i) for i in range(9)]}
    )


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "spill").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "spill"))
    yield
    assert list((tmp_path / "spill").iterdir()) == []


@pytest.mark.parametrize(
    "sql",
    [
        "FROM pairs ORDER BY key",
        "FROM archives ORDER BY key, rank",
        "SELECT * FROM test_all_types()",
        "SELECT key, key FROM pairs WHERE false",
        "SELECT range AS n, repeat('x', 300) AS s FROM range(100000)",
        "SELECT repeat('x', 20000000) AS s, [1, 2] AS l FROM range(3)",
    ],
)
def test_the_rows_are_those_of_the_query(curated: Path, sql: str) -> None:
    with run_query(curated, sql) as answer:
        plain = pa.Table.from_batches(list(answer.batches), answer.schema).combine_chunks()
    with bounded_query(curated, sql, memory=1 << 30) as answer:
        batches = list(answer.batches)
    assert answer.schema == plain.schema
    found = pa.Table.from_batches(batches, answer.schema).combine_chunks()
    alike = [a.equals(b) or a.to_string() == b.to_string() for a, b in zip(found.columns, plain.columns, strict=True)]
    assert all(alike), "but for NaN, by their values"
    assert all(batch.nbytes <= PIECE or len(batch) == 1 for batch in batches)


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("DROP VIEW pairs", "DROP statements are not run"),
        ("SELECT nothing FROM pairs", "There is:"),
        ("SELECT CAST(key AS INTEGER) FROM pairs", "Could not convert"),
        ("SELECT 1 / (range - 99999) FROM range(100000) WHERE error('half' || 'way') IS NULL", "halfway"),
        (f"SELECT repeat('x', {LARGEST_ROW + 1})", "a row of the answer takes"),
    ],
)
def test_what_is_wrong_is_told_as_ever(curated: Path, sql: str, said: str) -> None:
    with pytest.raises(MisuseError, match=said), bounded_query(curated, sql, memory=1 << 30) as answer:
        list(answer.batches)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="cocu curate run"), bounded_query(tmp_path / "none", "SELECT 1"):
        pass


@pytest.mark.parametrize("sql", [ENDLESS, ONE_CALL])
def test_time(curated: Path, sql: str) -> None:
    start = time.monotonic()
    with pytest.raises(CocuError, match=r"took more than 3 s; .*--timeout"), bounded_query(curated, sql, 3) as answer:
        list(answer.batches)
    assert time.monotonic() - start < 40


def test_time_is_not_taken_by_whoever_reads(curated: Path) -> None:
    with bounded_query(curated, "SELECT repeat('x', 1000) FROM range(20000)", 8, 1 << 30) as answer:
        next(answer.batches)
        time.sleep(8.5)
        assert sum(map(len, answer.batches)) > 0


@pytest.mark.parametrize(
    "sql",
    [
        ONE_CALL,
        "SELECT range(1000000000)",
        "SELECT list(range) FROM range(1000000000)",
        "SELECT repeat('x', 3000000000)",
    ],
)
def test_memory(curated: Path, sql: str) -> None:
    with (
        pytest.raises(CocuError, match=r"(?is)memory.*Ask for less at once.*--memory"),
        bounded_query(curated, sql, 100, 256 << 20) as answer,
    ):
        list(answer.batches)


PARENT = """
import sys
from pathlib import Path
from curation.curated.bounded import bounded_query
with bounded_query(Path(sys.argv[1]), sys.argv[2]) as answer:
    print("begun", flush=True)
    list(answer.batches)
"""


def children(process: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def wait_for(there: object, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not there():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_the_process_goes_with_the_command(curated: Path, tmp_path: Path, sent: signal.Signals) -> None:
    folder = tmp_path / "spill"
    environment = os.environ | {"TMPDIR": str(folder)}
    command = [sys.executable, "-m", "cocu", "curate", "query", str(curated), ENDLESS, "--format", "csv"]
    parent = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert parent.stderr is not None
    wait_for(lambda: children(parent.pid))
    (child,) = children(parent.pid)
    wait_for(lambda: Path(f"/proc/{child}/status").read_text().count("Threads:\t1\n") == 0)
    parent.send_signal(sent)
    parent.wait(60)
    said = parent.stderr.read()
    parent.stderr.close()
    wait_for(lambda: not at_work(child))
    wait_for(lambda: not list(folder.iterdir()))
    if sent == signal.SIGINT:
        assert parent.returncode == 130
        assert said == "interrupted; run the same command again to go on\n"
