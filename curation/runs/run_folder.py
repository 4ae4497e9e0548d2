"""The folder a command fills: atomic files, a manifest, and what is already done, so that nothing is lost or redone.

Truth about a finished shard is one small file, `state/SHARD.json`, renamed into place after the shard's outputs.
`finish` folds all of them into `manifest.json` and `rejects.parquet`.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.reading.shards import Shard
from curation.runs.attempts import FAILED, attempts_at, failed_shards, forget_attempts, keep_attempt
from curation.runs.manifest import FORMAT, checked_manifest, parsed_manifest, versions
from curation.runs.parquet_parts import parquet_batches
from files.atomic import atomic, sweep, write_json
from files.errors import CocuError, MisuseError
from files.locks import locked, locked_file
from files.printable import called
from files.rejects import Reject
from files.remote_folders import bring, copy_of, is_there, names_there, remove
from files.saying import say
from files.shapes import ShapeFault, check_shape
from files.strict_json import JsonFault, read_json

SHOWN_CHANGES = 3
SHOWN_LETTERS = 120
REJECTS_AT_ONCE = 10_000
REJECTS = pa.schema([("shard", pa.string()), ("key", pa.string()), ("reason", pa.string())])


class RunFolder:
    """An output folder in work. A context manager: holds a lock so that two runs cannot mix.

    part: the name of one that does but some of the shards, beside others with names of their own; it does not finish.

    parameters: what shapes the result; a folder made with others is refused.
    late: names of parameters that only the last steps use; they may change until the folder is finished.
    record: the shape (files/shapes.py) of what is kept of a shard; one of another is done again.
    renewed: why a folder that was begun with other parameters, given here, is filled anew all the same, where the old
    inputs are among the new ones; "" where it is refused. advice: what a person who is refused can do.
    free: parameters that nobody asked for: of a folder that was begun with one of these values they are taken over.
    """

    def __init__(
        self,
        path: Path,
        kind: str,
        parameters: Mapping[str, Any],
        shards: Sequence[Shard],
        late: Sequence[str] = (),
        record: Mapping[str, Any] = MappingProxyType({}),
        renewed: Callable[[Mapping[str, Any]], str] = lambda before: "",
        advice: str = "give the same ones to go on, or another --out",
        part: str = "",
        free: Mapping[str, Collection[Any]] = MappingProxyType({}),
    ) -> None:
        self.path, self.part, self.free = path, part, free
        self.record = {**record, "rejects": [_key_and_reason]}
        self.late = tuple(late)
        self.renewed, self.advice = renewed, advice
        self.kind = kind
        self.parameters = json.loads(json.dumps(dict(parameters)))
        self.inputs = [{**asdict(shard), "url": called(shard.url)} for shard in shards]
        self.records: dict[str, dict[str, Any]] = {}
        self.was_finished = False
        self._manifest: dict[str, Any] = {}
        self._company = self._begun = False
        self._held = ExitStack()

    def __enter__(self) -> RunFolder:
        for name in ("manifest.json", "state", FAILED):
            bring(self.path / name)
        with ExitStack() as stack:
            stack.enter_context(locked(self.path, "manifest.json", self._load if self.part else None))
            if self.part:
                mine = self.path / f"part {self.part.replace('/', ' of ')}"
                stack.enter_context(locked_file(mine, self.part))
            else:
                self._load()
                sweep(self.path)
                for left in self.path.glob(".part * of *.lock"):  # of parts that were killed
                    left.unlink()
            self._held = stack.pop_all()
        return self

    def __exit__(self, kind: Any = None, error: Any = None, trace: Any = None) -> None:
        # As `locked` does here; but where parts have no locks, others may be at work.
        if self._begun and not self.part and isinstance(error, CocuError):
            with contextlib.suppress(CocuError, OSError):
                if names_there(self.path) == {"manifest.json"}:
                    remove(self.path / "manifest.json")
        self._held.__exit__(kind, error, trace)

    def _load(self, alone: bool = True) -> None:
        """Begin the folder, or see what is done; alone: nobody else is at work there."""
        path, states = self.path / "manifest.json", self.path / "state"
        manifest = parsed_manifest(path) if path.is_file() and not (alone and self._is_blank()) else None
        reason = self._check(manifest) if manifest is not None else ""
        mended = self._mended(manifest) if manifest is not None and not reason else ()
        if (reason or mended) and not alone:
            raise CocuError(f"{self.path}: others are at work there on what it was begun with; wait for them to end")
        if reason:
            say(reason)
            remove(states)  # before the manifest is of other parameters: these are of the old ones
            forget_attempts(self.path)
            manifest = None
        if manifest is not None:
            self._manifest = manifest
            self.was_finished = bool(manifest.get("finished"))
            self.records = dict(manifest["shards"]) if self.was_finished else {}
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
            self._begun = True
        if self.was_finished:
            remove(states, ignore_errors=True)  # its run may have been killed before it did so
            return
        self._read_states()
        now = versions()
        if not alone:
            if self._manifest.get("versions") != now:
                say(
                    f"{self.path}: was begun with other versions of libraries than this machine has; results may differ"
                )
            return
        for old, new in mended:
            old["size"] = new["size"]
        if mended or self._manifest["parameters"] != self.parameters or self._manifest.get("versions") != now:
            self._manifest["parameters"] = self.parameters  # late ones, of a run that did not reach them
            if self._manifest.get("versions") != now:
                self._manifest["resumed_with_versions"] = now
            write_json(path, self._manifest)

    def _read_states(self) -> None:
        for state in (self.path / "state").glob("*.json"):
            name = state.name.removesuffix(".json")
            with contextlib.suppress(JsonFault, ShapeFault):  # broken by the disk: the shard is done again
                kept = read_json(state)
                check_shape(kept, dict if name.startswith("@") else self.record)
                self.records[name] = kept

    def _is_blank(self) -> bool:
        """Whether an earlier run left nothing but an unfinished manifest of this kind: it may begin anew, otherwise."""
        path = self.path / "manifest.json"
        if copy_of(path):  # without a lock nobody knows whether that run has ended
            return False
        for other in self.path.rglob("*"):
            tells = other.is_file() and not other.name.startswith(".") and other.parent != self.path / FAILED
            if other != path and tells:
                return False
        manifest = parsed_manifest(path)
        return (manifest.get("kind"), manifest.get("format"), manifest.get("finished")) == (self.kind, FORMAT, False)

    def _check(self, manifest: dict[str, Any]) -> str:
        """Why the folder is to be filled anew; "" to go on. Raises MisuseError where it was begun otherwise."""
        if manifest.get("kind") != self.kind or manifest.get("format") != FORMAT:
            raise MisuseError(
                f"{self.path}: holds {manifest.get('kind')!r} of format {manifest.get('format')}, "
                f"this run writes {self.kind!r} of format {FORMAT}; give another folder"
            )
        before = checked_manifest(self.path / "manifest.json", manifest)["parameters"]
        self.parameters |= {name: before[name] for name, known in self.free.items() if before.get(name) in known}
        free = () if manifest.get("finished") else self.late
        changes = [
            f"{name}: {' there, '.join(_both(before.get(name), self.parameters.get(name)))} now"
            for name in sorted({*before, *self.parameters})
            if before.get(name) != self.parameters.get(name) and name not in free
        ]
        mended = {old["name"] for old, _ in self._mended(manifest)}
        gone, added, other = self._changed_inputs(manifest["inputs"], mended)
        changes += [line for lines in (gone, added, other) for line in _first(lines)]
        reason = self.renewed(before) if changes and not (gone or other) else ""
        if changes and not reason:
            raise MisuseError(
                f"{self.path}: was begun with other parameters or inputs:\n  "
                + "\n  ".join(changes)
                + f"\n{self.advice}"
            )
        return reason

    def _changed_inputs(
        self, before: Sequence[Mapping[str, Any]], mended: Collection[str]
    ) -> tuple[list[str], list[str], list[str]]:
        """What is told of inputs that are gone, of those that are new, and of other ones by the same name."""
        old, new = ({item["name"]: item for item in items} for items in (before, self.inputs))
        return (
            [f"input {name}: there, not now" for name in old if name not in new],
            [f"input {name}: now, not there" for name in new if name not in old],
            [
                f"input {name}: {key} {old[name].get(key)} there, {new[name][key]} now"
                for name in old
                if name in new and name not in mended
                for key in ("url", "size", "rows")
                if json.dumps(old[name].get(key)) != json.dumps(new[name][key])
            ],
        )

    def _mended(self, manifest: Mapping[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Inputs, as they were and are, of another size now, of which nothing is done: they may have been mended."""
        new = {item["name"]: item for item in self.inputs if item["rows"] is None}
        return [
            (old, new[old["name"]])
            for old in (() if manifest.get("finished") else manifest["inputs"])
            if old["name"] in new
            and old == {**new[old["name"]], "size": old["size"]}  # as JSON keeps it: of tars, which have no rows
            and old["size"] != new[old["name"]]["size"]
            and not (self.path / "state" / f"{old['name']}.json").exists()
        ]

    def done(self, name: str) -> bool:
        """Whether a shard, or a step with a name of its own, is finished."""
        return name in self.records

    def missing(self, shards: Sequence[Shard]) -> list[str]:
        """The names of those that are not done by now, by whomever."""
        if not self.was_finished:
            bring(self.path / "state")
            self._read_states()
        return [shard.name for shard in shards if not self.done(shard.name)]

    def commit(self, name: str, record: Mapping[str, Any], rejects: Sequence[Reject] = ()) -> None:
        """Mark a shard done. Its output files must be in place already."""
        entry = {**record, "rejects": [[reject.key, reject.reason] for reject in rejects]}
        state = self.path / "state" / f"{name}.json"
        if not self._company and is_there(state):
            self._company = True
            say(f"{self.path}: another run is at work there, too; both do the same, and one would do")
        write_json(state, entry)
        self.records[name] = entry
        forget_attempts(self.path, name)

    def failed(self, shard: Shard, worker: str, error: str) -> None:
        """Keep an attempt at a shard that failed, until the shard is done."""
        keep_attempt(self.path, shard.name, worker, error)

    def to_retry(self, shards: Sequence[Shard]) -> list[Shard]:
        """Those that failed, and what is said of them."""
        again = [shard for shard in failed_shards(self.path, shards) if not self.done(shard.name)]
        tried = sum(len(attempts_at(self.path, shard.name)) for shard in again)
        say(
            f"{self.path}: {len(again):,} of {len(shards):,} shards failed, at {tried:,} attempts, and are tried again"
            if again
            else f"{self.path}: none of {len(shards):,} shards failed before; there is nothing to try again"
        )
        return again

    def undo(self, name: str) -> None:
        """Mark a step as not done, before its output is written over."""
        remove(self.path / "state" / f"{name}.json")
        self.records.pop(name, None)

    def reject_counts(self, shards: Sequence[Shard] | None = None) -> dict[str, int]:
        """Number of rejects by reason, of all shards or of these; the part of a reason after ":" is left out, it names
        particulars."""
        counts: dict[str, int] = {}
        names = self.records if shards is None else [shard.name for shard in shards if self.done(shard.name)]
        for record in map(self.records.__getitem__, names):
            for _, reason in record.get("rejects", ()):
                short = reason.partition(":")[0]
                counts[short] = counts.get(short, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: -item[1]))

    def first_reject(self) -> str:
        """The first reject of the most frequent reason in its own words, as the end of a message; "" for none."""
        frequent = next(iter(self.reject_counts()), None)
        for shard, record in sorted(self.records.items()):
            for key, reason in record.get("rejects", ()):
                if reason.partition(":")[0] == frequent:
                    return f"; the first of {frequent!r}: {key or shard}: {reason}"
        return ""

    def overtaken(self) -> bool:
        """Whether another run, which no lock keeps away from a remote folder, has finished it by now.

        Raises CocuError where it does so with other parameters.
        """
        if copy_of(self.path) is None:
            return False
        bring(self.path / "manifest.json")
        manifest = checked_manifest(self.path / "manifest.json", parsed_manifest(self.path / "manifest.json"))
        if manifest["parameters"] != self.parameters:
            raise CocuError(
                f"{self.path}: another run began there with other parameters, and both wrote over each other; "
                "end them, remove what is there, and run one of them again"
            )
        if manifest["finished"]:
            say(f"{self.path}: another run has finished it meanwhile")
            self._manifest, self.was_finished = manifest, True
        return self.was_finished

    def write_rejects(self, before: Path | None = None, shards: Collection[str] | None = None) -> None:
        """Write rejects.parquet: those of `before`, a rejects.parquet of the stage before, and those of the records.

        shards: of `before`, only what is of these; None: all.
        """
        with atomic(self.path / "rejects.parquet") as temporary, pq.ParquetWriter(temporary, REJECTS) as writer:
            for batch in parquet_batches(before, REJECTS_AT_ONCE) if before else ():
                writer.write_batch(batch.filter(pc.is_in(batch["shard"], pa.array(shards))) if shards else batch)
            for shard, record in sorted(self.records.items()):
                rows = [{"shard": shard, "key": key, "reason": reason} for key, reason in record.get("rejects", ())]
                if rows:
                    writer.write_table(pa.Table.from_pylist(rows, REJECTS))

    def finish(
        self,
        summary: Mapping[str, Any],
        rejects: Path | None = None,
        shards_before: Collection[str] | None = None,
        **extra: Any,
    ) -> None:
        """Write rejects.parquet and the final manifest, then drop the per-shard state files.

        rejects: a rejects.parquet of the stage before, which is taken over, or what in it is of `shards_before`.
        """
        if self.overtaken():
            return
        self.write_rejects(rejects, shards_before)
        shards = {
            name: {**record, "rejects": len(record.get("rejects", ()))} for name, record in sorted(self.records.items())
        }
        self._manifest |= {"finished": True, "summary": dict(summary), "shards": shards, **extra}
        write_json(self.path / "manifest.json", self._manifest)
        remove(self.path / "state", ignore_errors=True)
        forget_attempts(self.path)
        self.was_finished = True

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest as it stands."""
        return self._manifest


def _key_and_reason(reject: Any) -> None:
    check_shape(reject, [str])
    if len(reject) != 2:
        raise ValueError(f"{len(reject)} texts, not a key and a reason")


def _first(lines: list[str]) -> list[str]:
    more = len(lines) - SHOWN_CHANGES
    return lines[:SHOWN_CHANGES] + ([f"... and {more:,} more such inputs"] if more > 0 else [])


def _both(there: Any, now: Any) -> tuple[str, str]:
    """Two different values as short texts that still differ."""
    texts = [json.dumps(value, ensure_ascii=False) for value in (there, now)]
    same = next((i for i, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), min(map(len, texts)))
    start = max(0, same - SHOWN_LETTERS // 2) if max(map(len, texts)) > SHOWN_LETTERS else 0
    first, second = (
        ("..." if start else "")
        + text[start : start + SHOWN_LETTERS]
        + ("..." if text[start + SHOWN_LETTERS :] else "")
        for text in texts
    )
    return first, second


def check_rejects(summary: dict[str, Any], limit: float, out: Path) -> None:
    """Raises CocuError when the share of rejects is over `limit`."""
    rejects = sum(summary["rejects"].values())
    seen = rejects + summary["pairs"] + summary.get("extra_captions", 0)
    if seen and rejects / seen > limit:
        raise CocuError(
            f"{rejects:,} of {seen:,} ({rejects / seen:.1%}) were rejected, over --max-rejects {limit:.0%}: "
            f"{counts_text(summary['rejects'])}. Everything good is written; see {out / 'rejects.parquet'}"
        )


def counts_text(rejects: dict[str, int]) -> str:
    """Rejects by reason as words: "3 no image, 1 empty caption"."""
    return ", ".join(f"{count:,} {reason}" for reason, count in rejects.items())
