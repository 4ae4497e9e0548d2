"""A copy of a folder that lies elsewhere: what there is on the other side, and which of it has come."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from files.addresses import filesystem, told
from files.errors import CocuError

STORES = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az")


@dataclass(frozen=True)
class RemoteCopy:
    """The copy `here` of the folder at `address`. filled: what is written here goes there.

    sent: what is of single shards is not kept here when it has gone there.
    """

    address: str
    here: Path
    filled: bool = False
    sent: bool = False

    @property
    def is_store(self) -> bool:
        """Whether it lies where a file appears when it has come whole, and folders are but names."""
        return self.address.partition(":")[0] in STORES

    @property
    def there(self) -> Any:
        """The file system of the address, which has no lists of before."""
        if self.is_store:
            return filesystem(self.address, use_listings_cache=False)
        found = filesystem(self.address)  # not every driver knows the option
        found.invalidate_cache()
        return found

    def path_there(self, name: str) -> str:
        """What the other side calls a file or folder; name: below `here`, with slashes, "" for the whole."""
        root = str(self.there._strip_protocol(self.address)).rstrip("/")
        return f"{root}/{name}" if name else root

    def listed(self, name: str = "") -> dict[str, Mapping[str, Any]]:
        """What is known there of each file at or below a name. Raises CocuError for names that no folder here has."""
        with asked(self.address, "read"):
            try:
                there = self.there
                found = there.find(self.path_there(name), detail=True)
                found = {path: known or there.info(path) for path, known in found.items()}
            except FileNotFoundError:
                return {}
        root, files = self.path_there("") + "/", {}
        for path, known in found.items():
            below = str(path).removeprefix(root)
            if not below:  # the folder itself, which some tools leave an empty file for
                continue
            if any(part in ("", ".", "..") for part in below.rstrip("/").split("/")) or "\0" in below:
                raise CocuError(f"{self.address}: holds {below!r:.200}, which no file here can be called; remove it")
            if not below.endswith("/") and not any(part.startswith(".") for part in below.split("/")):
                files[below] = known
        return files

    def noted(self, name: str) -> Path:
        """Where it is noted of which content the copy of a file is."""
        return self.here.parent / "noted" / f"{name}.json"

    def came(self, name: str = "") -> set[str]:
        """Files at or below a name that are copies, and were not made here."""
        notes = self.here.parent / "noted"
        found = [path for path in (self.noted(name), *(notes / name).rglob("*.json")) if path.is_file()]
        return {path.relative_to(notes).as_posix().removesuffix(".json") for path in found}

    def has(self, name: str, known: Mapping[str, Any]) -> bool:
        """Whether the copy of a file is of this content."""
        with suppress(OSError):
            return (self.here / name).exists() and self.noted(name).read_text("utf-8") == content_of(known)
        return False

    def note(self, name: str, known: Mapping[str, Any]) -> None:
        """Note it."""
        self.noted(name).parent.mkdir(parents=True, exist_ok=True)
        self.noted(name).write_text(content_of(known), "utf-8")


def size_of(known: Mapping[str, Any]) -> int:
    """Bytes of a file."""
    return int(known.get("size") or 0)


def content_of(known: Mapping[str, Any]) -> str:
    """What tells the content of a file from another: its size, and its tag, or else its time."""
    tag = next((known[name] for name in ("ETag", "etag", "md5Hash") if known.get(name)), None)
    return json.dumps([size_of(known), str(tag) if tag else time_of(known)])


def time_of(known: Mapping[str, Any]) -> float:
    """When a file was written, in seconds since 1970; 0 where it is not said."""
    for name in ("LastModified", "mtime", "last_modified", "updated", "created"):
        value = known.get(name)
        with suppress(ValueError):
            value = datetime.fromisoformat(value) if isinstance(value, str) else value
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return 0.0


@contextmanager
def asked(address: str, verb: str) -> Iterator[None]:
    """Around asking the other side: what it refuses becomes a CocuError; of what is to be written an OSError, which
    ends all work, as that of a full disk does."""
    try:
        yield
    except CocuError:
        raise
    except Exception as error:  # every driver has kinds of its own
        said = told(error)
        advice = "check the address and your right to it, then run the same command again: it goes on"
        if verb == "read":
            raise CocuError(f"{address}: cannot be read: {said}; {advice}") from error
        raise OSError(errno.EIO, f"cannot be written: {said}; {advice}", address) from error
