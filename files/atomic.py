"""Files that appear whole or not at all: written beside their place, fsynced, renamed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from files.errors import MisuseError
from files.locks import check_held, locked_file
from files.remote_folders import send
from files.synced import check_local, make_folder, sync

REMOVING = 40  # looks, over two seconds, at a folder of which something has gone
# Temporary files and folders have the name of their machine, their process's number, and what no other process has:
# two containers may be of one name and number.
_OWNER = r"([0-9A-Za-z]+-)?\d+(-[0-9a-f]+)?"
UNFINISHED = re.compile(rf"\..+\.{_OWNER}\.tmp")
HOST = re.sub(r"[^0-9A-Za-z]", "", socket.gethostname())[:16] or "host"
MINE = secrets.token_hex(4)


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path that becomes `path` when the block ends well: written out, fsynced, renamed.

    Raises CocuError where `path` lies in a locked folder that was removed meanwhile: it is not made anew.
    """
    temporary = unfinished(path)
    try:
        with naming(path):
            make_folder(path.parent, inside=check_held(path))
            yield temporary
            check_held(path)
            sync(temporary)
            if not send(temporary, path):
                temporary.replace(path)
                sync(path.parent)
    except OSError as error:
        # A folder that was removed is the reason, whichever step met it first, and while it is being removed.
        for _ in range(REMOVING if isinstance(error, FileNotFoundError) else 1):
            check_held(path)
            time.sleep(0.05)
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Around writing to `path`: "No space left on device" does not say where, and then does."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def alone(path: Path) -> Iterator[Path]:
    """As `atomic`, for a file among the user's own: one process at a time writes it, and what a kill left goes.

    Raises MisuseError where `path` is no file, CocuError where another run is writing it.
    """
    if path.exists() and not path.is_file():
        raise MisuseError(f"{path}: is no file; give the name of one")
    check_local(path)
    make_folder(path.parent)
    with locked_file(path):
        mine = re.compile(rf"\.{re.escape(path.name)}\.{_OWNER}\.tmp")
        with contextlib.suppress(OSError):
            _remove(other for other in path.parent.iterdir() if mine.fullmatch(other.name))
        with atomic(path) as temporary:
            yield temporary


def unfinished(path: Path) -> Path:
    """Where `path` lies until it is whole."""
    return path.with_name(f".{path.name}.{HOST}-{os.getpid()}-{MINE}.tmp")


def sweep(folder: Path, *, deep: bool = True) -> None:
    """Remove what runs that were killed left unfinished in the folder, which must be locked; deep: below it, too."""
    names = folder.rglob(".*.tmp") if deep else folder.glob(".*.tmp")
    _remove(path for path in names if UNFINISHED.fullmatch(path.name))


def _remove(leftovers: Iterable[Path]) -> None:
    for leftover in list(leftovers):
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """UTF-8 text, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """JSON, atomically. Raises ValueError for what JSON has no word for, such as NaN."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
