"""The folder a command fills: atomic files, a manifest, and what is already done, so that nothing is lost or redone.

Truth about a finished shard is one small file, `state/SHARD.json`, renamed into place after the shard's outputs.
`finish` folds all of them into `manifest.json` and `rejects.parquet`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from curation.errors import CurationError, MisuseError
from curation.rejects import Reject
from curation.shards import Shard

FORMAT = 1
LIBRARIES = ("torch", "open_clip_torch", "faiss-gpu", "faiss-cpu", "spacy", "pyarrow", "numpy", "duckdb", "pillow")


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path that becomes `path` when the block ends well: written out, fsynced, renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.filename is None:  # "No space left on device" alone does not say where
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_json(path: Path, value: object) -> None:
    """JSON, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_manifest(folder: Path, kind: str) -> dict[str, Any]:
    """Manifest of a finished INDEX or CURATED folder.

    Raises MisuseError when the folder is no such thing or its command has not finished.
    """
    command = {"index": "cocu index build", "curated": "cocu curate run"}[kind]
    path = folder / "manifest.json"
    if not path.is_file():
        raise MisuseError(f"{folder}: no manifest.json there; expected a folder made by `{command}`")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CurationError(f"{path}: broken ({error}); run `{command}` into a new folder") from error
    if not isinstance(manifest, dict) or manifest.get("kind") != kind:
        found = manifest.get("kind") if isinstance(manifest, dict) else type(manifest).__name__
        raise MisuseError(f"{folder}: is of kind {found!r}, not {kind!r}; expected a folder made by `{command}`")
    if manifest.get("format") != FORMAT:
        raise MisuseError(
            f"{folder}: written in format {manifest.get('format')}, this version reads {FORMAT}; build it again"
        )
    if not manifest.get("finished"):
        raise MisuseError(f"{folder}: `{command}` has not finished; run the same command again, it goes on there")
    return manifest


class RunFolder:
    """An output folder in work. A context manager: holds a lock so that two runs cannot mix.

    parameters: what shapes the result; a folder made with others is refused.
    late: names of parameters that only the last steps use; they may change until the folder is finished.
    """

    def __init__(
        self,
        path: Path,
        kind: str,
        parameters: Mapping[str, Any],
        shards: Sequence[Shard],
        late: Sequence[str] = (),
    ) -> None:
        self.path = path
        self.late = tuple(late)
        self.kind = kind
        self.parameters = json.loads(json.dumps(dict(parameters)))
        self.inputs = [asdict(shard) for shard in shards]
        self.records: dict[str, dict[str, Any]] = {}
        self.was_finished = False
        self._manifest: dict[str, Any] = {}
        self._lock: int | None = None

    def __enter__(self) -> RunFolder:
        if self.path.exists() and not self.path.is_dir():
            raise MisuseError(f"{self.path}: is a file; give a folder")
        if self.path.is_dir() and not (self.path / "manifest.json").exists():
            strangers = [p.name for p in self.path.iterdir() if not p.name.startswith(".")]
            if strangers:
                raise MisuseError(
                    f"{self.path}: holds other files ({', '.join(sorted(strangers)[:3])}); give a new or empty folder"
                )
        self.path.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        try:
            self._load()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_lock(self) -> None:
        lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise MisuseError(f"{self.path}: another run is at work on this folder; wait for it to end") from None
        except OSError:
            pass  # some network file systems have no locks; the run is then the user's to keep single
        self._lock = lock

    def _load(self) -> None:
        path = self.path / "manifest.json"
        for leftover in self.path.rglob(".*.tmp"):  # of a run that was killed; the lock says nobody writes it now
            leftover.unlink(missing_ok=True)
        if path.is_file():
            manifest = json.loads(path.read_text(encoding="utf-8"))
            self._check(manifest)
            self._manifest = manifest
            if manifest["parameters"] != self.parameters:  # late ones, of a run that did not reach them
                manifest["parameters"] = self.parameters
                write_json(path, manifest)
            self.was_finished = bool(manifest.get("finished"))
            self.records = dict(manifest.get("shards", {}))
        else:
            self._manifest = {
                "kind": self.kind,
                "format": FORMAT,
                "finished": False,
                "parameters": self.parameters,
                "inputs": self.inputs,
                "versions": versions(),
                "shards": {},
            }
            write_json(path, self._manifest)
        for state in (self.path / "state").glob("*.json"):
            self.records[state.stem] = json.loads(state.read_text(encoding="utf-8"))

    def _check(self, manifest: dict[str, Any]) -> None:
        if manifest.get("kind") != self.kind or manifest.get("format") != FORMAT:
            raise MisuseError(
                f"{self.path}: holds {manifest.get('kind')!r} of format {manifest.get('format')}, "
                f"this run writes {self.kind!r} of format {FORMAT}; give another folder"
            )
        before = manifest["parameters"]
        free = () if manifest.get("finished") else self.late
        changes = [
            f"{name}: {_short(before.get(name))} there, {_short(self.parameters.get(name))} now"
            for name in sorted({*before, *self.parameters})
            if before.get(name) != self.parameters.get(name) and name not in free
        ]
        old, new = ({item["name"]: item for item in items} for items in (manifest["inputs"], self.inputs))
        changes += [f"input {name}: there, not now" for name in old if name not in new][:3]
        changes += [f"input {name}: now, not there" for name in new if name not in old][:3]
        changes += [
            f"input {name}: {key} {old[name][key]} there, {new[name][key]} now"
            for name in old
            if name in new
            for key in ("url", "size", "rows")
            if json.dumps(old[name][key]) != json.dumps(new[name][key])
        ][:3]
        if changes:
            raise MisuseError(
                f"{self.path}: was begun with other parameters or inputs:\n  "
                + "\n  ".join(changes)
                + "\ngive the same ones to go on, or another --out"
            )

    def done(self, name: str) -> bool:
        """Whether a shard, or a step with a name of its own, is finished."""
        return name in self.records

    def commit(self, name: str, record: Mapping[str, Any], rejects: Sequence[Reject] = ()) -> None:
        """Mark a shard done. Its output files must be in place already."""
        entry = {**record, "rejects": [[reject.key, reject.reason] for reject in rejects]}
        write_json(self.path / "state" / f"{name}.json", entry)
        self.records[name] = entry

    def reject_counts(self) -> dict[str, int]:
        """Number of rejects by reason; the part of a reason after ":" is left out, it names particulars."""
        counts: dict[str, int] = {}
        for record in self.records.values():
            for _, reason in record.get("rejects", ()):
                short = reason.partition(":")[0]
                counts[short] = counts.get(short, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: -item[1]))

    def finish(self, summary: Mapping[str, Any], rejects: Path | None = None, **extra: Any) -> None:
        """Write rejects.parquet and the final manifest, then drop the per-shard state files.

        rejects: a rejects.parquet of the stage before, taken over instead of the own records' rejects.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.schema([("shard", pa.string()), ("key", pa.string()), ("reason", pa.string())])
        with atomic(self.path / "rejects.parquet") as temporary, pq.ParquetWriter(temporary, schema) as writer:
            for batch in pq.ParquetFile(rejects).iter_batches() if rejects else ():
                writer.write_batch(batch)
            for shard, record in sorted(self.records.items()):
                rows = [{"shard": shard, "key": key, "reason": reason} for key, reason in record.get("rejects", ())]
                if rows:
                    writer.write_table(pa.Table.from_pylist(rows, schema))
        shards = {
            name: {**record, "rejects": len(record.get("rejects", ()))} for name, record in sorted(self.records.items())
        }
        self._manifest |= {"finished": True, "summary": dict(summary), "shards": shards, **extra}
        write_json(self.path / "manifest.json", self._manifest)
        shutil.rmtree(self.path / "state", ignore_errors=True)
        self.was_finished = True

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest as it stands."""
        return self._manifest


def versions() -> dict[str, str]:
    """Versions of what shapes a result."""
    found = {"python": platform.python_version()}
    for name in ("cocu", *LIBRARIES):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:117] + "..."
