"""SQL over a curated folder: views on its tables, and a DuckDB that can reach nothing else.

The views read the Parquet files through Arrow, so DuckDB itself is given no path at all. Listing
the files as allowed paths would not do: DuckDB 2.0 runs `WITH x AS (COPY ... TO ...)` as a SELECT,
and an allowed path may be written.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from curation.curated.tables import LATER, TABLES
from curation.runs.manifest import read_manifest
from curation.runs.parquet_parts import parquet_batches
from files.errors import CocuError, MisuseError, one_line
from files.machine import free_memory
from files.scratch import scratch_folder

_CONFIG = {
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_persistent_secrets": "false",
    # A name in a query is a view, never a Python variable.
    "python_enable_replacements": "false",
}
_BATCH_ROWS = 65_536
SPILL = "cocu-query-"  # folders for what sorts have no memory for are called so
TOO_MUCH = "Ask for less at once: fewer columns, WHERE, or LIMIT; or let it have more by --memory."
# DuckDB guesses among its own system tables, which leads away from the four views.
_QUERY_SHOWN = re.compile(r"\n+LINE \d+: .*", re.DOTALL)  # the query, which its author has, and a mark under it
_READ = re.compile(r"stream registered as '(\w+)' failed")  # which view Arrow could not read
_FOREIGN_SUGGESTION = re.compile(r'\nDid you mean "(pg_|duckdb_|sqlite_|information_)[^"]*"\?')


@dataclass(frozen=True)
class Answer:
    """The rows of a query as they come.

    schema: column names are unique, a repeated name gets "_1", "_2".
    batches: can be gone through once, inside the context of `run_query`.
    """

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


def connect(curated: Path, memory: int | None = None, spill: Path | None = None) -> duckdb.DuckDBPyConnection:
    """A locked in-memory DuckDB with the views `pairs`, `archives`, `concepts` and `rejects`.

    No file, network or extension can be reached from it and its settings cannot be changed.
    memory: bytes that it may take; None: half of what is free. spill: where sorts that outgrow it
    go on; None: a private folder, which goes away with the connection. One result can be open at a
    time.
    Raises MisuseError for a folder that is missing or unfinished, CocuError for a table that
    cannot be read.
    """
    read_manifest(curated, "curated")
    views = {name: _dataset(name, files) for name, files in _files(curated).items()}
    held = ExitStack()
    spill = spill or held.enter_context(scratch_folder(SPILL))
    most = memory or free_memory() // 2
    limits: dict[str, Any] = {"memory_limit": f"{max(1, most // 1_000_000)}MB", "temp_directory": str(spill)}
    connection = duckdb.connect(":memory:", config=limits | _CONFIG)
    weakref.finalize(connection, held.close)
    for name, source in views.items():
        connection.register(name, source)
    # It would show what the environment's HTTP_PROXY holds, passwords included.
    connection.execute("SET http_proxy = ''")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


@contextmanager
def connected(curated: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """`connect`, for queries of ours: one that fails is told as damage of the tables. Raises CocuError."""
    connection = connect(curated)
    try:
        yield connection
    except duckdb.Error as error:
        if damage := _damage(curated, error):
            raise damage from error
        said = one_line(error)
        raise CocuError(f"{curated}: its tables cannot be read ({said}); curate into a new folder") from error
    finally:
        connection.close()


@contextmanager
def run_query(curated: Path, sql: str, memory: int | None = None, spill: Path | None = None) -> Iterator[Answer]:
    """The rows of one reading statement: SELECT, FROM, WITH, VALUES, DESCRIBE, SHOW or SUMMARIZE.

    Raises MisuseError, with DuckDB's message, for any other statement, for several, and for faulty
    SQL: while the batches are read, too, since a query may fail at its thousandth row.
    """
    connection = connect(curated, memory, spill)
    try:
        found = relation(connection, sql)
        try:
            reader = found.to_arrow_reader(_BATCH_ROWS)
        except duckdb.Error as error:
            raise _damage(curated, error) or _explained(connection, error) from error
        names = _unique(reader.schema.names)
        fields = zip(reader.schema, names, strict=True)
        schema = pa.schema([field.with_name(name) for field, name in fields])
        yield Answer(schema, _batches(curated, connection, reader, schema))
    finally:
        connection.close()


def relation(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.DuckDBPyRelation:
    """A reading statement, not yet run. Raises MisuseError, with DuckDB's message, for any other and faulty SQL."""
    statement = _only_statement(connection, sql)
    try:
        return connection.sql(statement)
    except duckdb.Error as error:
        raise _explained(connection, error) from error


def _files(curated: Path) -> dict[str, list[str]]:
    files: dict[str, list[str]] = {}
    for name in ("pairs", "archives"):
        files[name] = sorted(str(path) for path in (curated / "tables" / name).glob("*.parquet"))
    stems = {name: {Path(file).stem for file in found} for name, found in files.items()}
    concepts = curated / "tables" / "concepts.parquet"
    lone = sorted(stems["pairs"] ^ stems["archives"])
    if not files["pairs"] or lone or not concepts.is_file():
        missing = "tables/concepts.parquet"
        if lone:
            missing = f"the table of pairs or of archives of shard {lone[0]}"
        elif not files["pairs"]:
            missing = "tables/pairs/*.parquet"
        raise MisuseError(
            f"{curated}: {missing} is missing; run the same `cocu curate run` again, it goes on "
            "where it stopped, or curate into a new folder"
        )
    files["concepts"] = [str(concepts)]
    rejects = curated / "rejects.parquet"
    files["rejects"] = [str(rejects)] if rejects.is_file() else []
    return files


def _dataset(name: str, files: list[str]) -> Any:
    if not files:
        return TABLES[name].empty_table()
    try:
        source = ds.dataset(files, format="parquet")
    except (pa.ArrowException, OSError) as error:
        raise CocuError(f"{files[0]}: cannot be read as Parquet ({error}); curate into a new folder") from error
    schema = TABLES[name]
    lacking = [column for column in schema.names if column not in source.schema.names]
    if lacking and set(lacking) <= set(LATER):
        return source.replace_schema(pa.schema([*source.schema, *(schema.field(column) for column in lacking)]))
    if lacking:
        raise MisuseError(
            f"{files[0]}: has no column {', '.join(lacking)}, another version wrote it; curate into a new folder"
        )
    return source


def _only_statement(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise _explained(connection, error) from error
    if len(statements) != 1:
        how_many = "nothing to run" if not statements else f"{len(statements)} statements"
        raise MisuseError(f"{how_many} in the query: give one SELECT")
    try:
        kind = statements[0].type.name
    except ValueError:  # a kind that the Python package has no name for
        kind = "THIS"
    if kind == "MULTI":
        raise MisuseError("PIVOT must name its values here: PIVOT ... ON column IN ('a', 'b')")
    if kind != "SELECT":
        raise MisuseError(
            f"{kind} statements are not run, a query only reads: SELECT, FROM, WITH, DESCRIBE, "
            f"SHOW or SUMMARIZE over {', '.join(TABLES)}. --out FILE writes the result to a file"
        )
    return statements[0]


def _batches(
    curated: Path, connection: duckdb.DuckDBPyConnection, reader: Any, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise _damage(curated, error) or _explained(connection, error) from error
        yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)


def _damage(curated: Path, error: Exception) -> CocuError | None:
    """Of a query that failed at the reading of a view: which of its files is broken. None: it failed elsewhere."""
    view = _READ.search(str(error))
    if view is None or view[1] not in TABLES:
        return None
    for path in _files(curated)[view[1]]:
        try:
            for _ in parquet_batches(Path(path), _BATCH_ROWS):
                pass
        except CocuError as broken:
            return broken
    said = one_line(error)
    return CocuError(f"{curated}/tables: those of {view[1]} cannot be read ({said}); curate into a new folder")


def _explained(connection: duckdb.DuckDBPyConnection, error: Exception) -> CocuError:
    """DuckDB's message, and what helps: what the views hold, or why a file cannot be read."""
    message = one_line(_QUERY_SHOWN.sub("", _FOREIGN_SUGGESTION.sub("", str(error))))
    if isinstance(error, duckdb.PermissionException) or message.startswith("Permission Error"):
        return MisuseError(f"{message}. A query reads {', '.join(TABLES)} and no other file.")
    if isinstance(error, duckdb.OutOfMemoryException) or message.startswith("Out of Memory"):
        said = message.partition("Possible solutions")[0].rstrip(" .;")  # settings, which are locked
        return CocuError(f"{said}. {TOO_MUCH}")
    if ".parquet" in message:
        return CocuError(f"a table cannot be read: {message}; curate into a new folder.")
    unknown_table = "Table with name" in message
    unknown_column = isinstance(error, duckdb.BinderException) and "column" in message.lower()
    if unknown_table or unknown_column:
        return MisuseError(f"{message}. {_catalogue(connection)}")
    return MisuseError(message)


def _catalogue(connection: duckdb.DuckDBPyConnection) -> str:
    listed = []
    for name in TABLES:
        rows = connection.execute(f"DESCRIBE {name}").fetchall()
        listed.append(f"{name}({', '.join(f'{row[0]} {row[1]}' for row in rows)})")
    return f"There is: {', '.join(listed)}"


def _unique(names: list[str]) -> list[str]:
    taken: set[str] = set()
    unique = []
    for name in names:
        fresh, number = name, 0
        while fresh in taken or (number and fresh in names):
            number += 1
            fresh = f"{name}_{number}"
        taken.add(fresh)
        unique.append(fresh)
    return unique
