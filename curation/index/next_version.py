"""The next version of an index, in `INDEX/next/` until it is whole; then its files take their places in the index.

Until its manifest says that it is finished, the index is the old one, whatever becomes of the command. From then on it
is the new one: what a kill left in the folder is put in place by whoever opens the index next. Of an index that lies
elsewhere readers do so in their copies, and who makes it grow does so there.
"""

from __future__ import annotations

import time
from pathlib import Path

from curation.runs.manifest import parsed_manifest
from files.errors import CocuError
from files.locks import Busy, locked
from files.remote_folders import LARGE, bring, copy_of, move, remove
from files.synced import sync

NEXT = "next"
MANIFEST = "manifest.json"
WAIT_SECONDS = 10.0  # for another process that is moving files, which takes it milliseconds


def state_of(index: Path) -> list[tuple[int, int] | None]:
    """What is another after each step by which an index changes: of its manifest and the next one, number and time."""
    found: list[tuple[int, int] | None] = []
    for path in (index / MANIFEST, index / NEXT / MANIFEST):
        try:
            status = path.stat()
            found.append((status.st_ino, status.st_mtime_ns))
        except OSError:
            found.append(None)
    return found


def settle(index: Path) -> None:
    """Put in place a next version that is whole, before the index is read. Raises CocuError if it cannot."""
    bring(index / NEXT / MANIFEST)
    end = time.monotonic() + WAIT_SECONDS
    while _is_whole(index):
        try:
            with locked(index, MANIFEST):
                put_in_place(index)
        except Busy:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        except CocuError as error:
            raise CocuError(
                f"{index}: a new version of it is whole, but its files are not all in their places ({error}); open it "
                f"once where it can be written: `cocu index info {index}`"
            ) from error


def put_in_place(index: Path) -> None:
    """The same in an index that this process has locked. The manifest comes last: without it nothing has changed."""
    if not _is_whole(index):
        return
    folder, copy = index / NEXT, copy_of(index)
    bring(index, LARGE)
    bring(folder)
    for name in ("embeddings", "rows", "."):
        files = [path for path in (folder / name).iterdir() if path.is_file()] if (folder / name).is_dir() else []
        for path in files:
            if path.name != MANIFEST and not path.name.startswith("."):
                move(path, index / name / path.name)
        if (index / name).is_dir():  # of one that lies elsewhere embeddings are here when they are read
            sync(index / name)
    move(folder / MANIFEST, index / MANIFEST)
    sync(index)
    if copy is None or copy.filled:  # where it is but read, it stands there still
        remove(folder, ignore_errors=True)


def is_begun(index: Path) -> bool:
    """Whether there is a next version that is not whole."""
    manifest = index / NEXT / MANIFEST
    return manifest.is_file() and parsed_manifest(manifest).get("finished") is not True


def _is_whole(index: Path) -> bool:
    manifest = index / NEXT / MANIFEST
    try:
        if not manifest.is_file() or parsed_manifest(manifest).get("finished") is not True:
            return False
        return manifest.read_bytes() != (index / MANIFEST).read_bytes()  # else it is in place already
    except FileNotFoundError:
        return manifest.is_file()
    except CocuError:
        if manifest.is_file():
            raise
        return False  # another process has put it in place
