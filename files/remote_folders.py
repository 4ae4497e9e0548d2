"""Folders that lie elsewhere, such as s3://BUCKET/INDEX: commands work on a copy of them on this machine.

What fills one: each file that is written whole (files/atomic.py) is sent before it takes its place in the copy, one
after the other. So what holds for a folder here holds there, too: a record stands only after the files it speaks of.
Neither names that change nor locks are asked of the other side, and what stands there is the truth: a copy to be
filled begins empty, and goes with its process. What reads one copies what it lacks, and what is another by now.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from files.addresses import is_full, no_room
from files.errors import CocuError, MisuseError
from files.locks import LOCK, taken
from files.printable import CALLED
from files.remote_copy import RemoteCopy, asked, content_of, size_of, time_of
from files.saying import say
from files.scratch import scratch_folder
from files.synced import remote_address

CACHE = "COCU_CACHE"  # environment variable: a folder where copies of what is read are kept
MARK = "manifest.json"
# Folders of many large files, which are copied one by one as they are read.
LARGE = ("embeddings", "shards")
OF_SHARDS = ("shards", "pairs", "archives")  # folders with a file for each shard, of a curation
SMALL = ".concepts.tar"  # of these all the same
PASSING = ("memory",)  # what lies there goes with the process that wrote it
OTHERS = ".others"  # marks a copy that processes of an engine share on a machine where nobody else has it
AT_ONCE = 256  # files, of many to be copied
AGAIN = 5  # times that a folder is looked at, which others write
TOLD_BYTES = 100 << 20

_COPIES: dict[str, RemoteCopy] = {}
_SCRATCH = ExitStack()


def local_folder(given: str | Path, filled: bool = False, sent: bool = False, only: str = "") -> Path:
    """The folder itself, or the copy of a remote one. What is copied is read, or with `filled` written through.

    sent: as of `RemoteCopy`. only: the file of it that is copied; "": all but what is copied as it is read.

    Raises MisuseError for an address that cannot be listed or, filled, holds other files; CocuError where the other
    side cannot be reached or refuses.
    """
    address = remote_address(address_of(Path(given)) if filled else given)  # a copy to be read is not to be filled
    if address is None:
        here = Path(re.sub("(?i)^file:/+", "/", str(given)))
        if not filled:
            bring(here / only, LARGE)
        return here
    found = [copy for copy in _COPIES.values() if copy.address == address and copy.filled >= filled]
    copy = found[-1] if found else _new_copy(address, filled, sent)
    if not filled:
        bring(copy.here / only, LARGE)
    elif not copy.listed(MARK) and (strangers := sorted(copy.listed())):
        raise MisuseError(
            f"{address}: holds other files ({', '.join(strangers[:3])}) and no {MARK}; give a new or empty folder"
        )
    return copy.here


def bring(path: Path, but: Collection[str] = ()) -> None:
    """Make a file, or what is below a folder, what it is there; nothing where it is in no copy.

    but: folders whose files are left out, save small ones. What was made here, and never was there, stays.
    """
    copy = copy_of(path)
    if copy is None:
        return

    def wanted(name: str) -> bool:
        return name.endswith(SMALL) or not set(name.split("/")[:-1]) & set(but)

    top = _name(copy, path)
    for left in reversed(range(AGAIN)):  # what changed meanwhile is copied again: all of it stood there at one time
        there = {name: known for name, known in copy.listed(top).items() if wanted(name)}
        for name in copy.came(top) - set(there):
            if wanted(name):
                (copy.here / name).unlink(missing_ok=True)
                copy.noted(name).unlink(missing_ok=True)
        lacking = {name: known for name, known in there.items() if not copy.has(name, known)}
        size = sum(map(size_of, lacking.values()))
        if size > TOLD_BYTES:
            say(f"{copy.address}: copying {len(lacking):,} files, {size / 1e9:.1f} GB, to {copy.here.parent.parent}")
        try:
            for start in range(0, len(lacking), AT_ONCE):
                _fetch(copy, dict(islice(lacking.items(), start, start + AT_ONCE)))
        except CocuError:
            now = copy.listed(top)
            if not left or all(content_of(now.get(name, {})) == content_of(known) for name, known in lacking.items()):
                raise
            continue
        if len(lacking) < 2:
            return


def at_hand(path: Path) -> Path:
    """A file that is to be read: brought, if it is of a copy and not here."""
    if copy_of(path) is not None and not path.exists():
        bring(path)
    return path


def is_there(path: Path) -> bool:
    """Whether what is to be written in a copy is there already, by whomever."""
    return bool(names_there(path))


def names_there(path: Path) -> set[str]:
    """The files at or below a path in a copy that are there, by their names below it; none where it is in no copy."""
    if (copy := copy_of(path)) is None:
        return set()
    top = _name(copy, path)
    return {name[len(top) :].lstrip("/") for name in copy.listed(top)}


def remove(path: Path, ignore_errors: bool = False) -> None:
    """Remove a file or folder that a command fills, here and there; nothing where there is none."""
    if (copy := copy_of(path)) and copy.filled and (there := copy.listed(_name(copy, path))):
        paths = [copy.path_there(name) for name in there]
        with asked(copy.address, "written"):
            if set(copy.address) & set("*?["):  # drivers take many paths for patterns
                for known in paths:
                    with suppress(FileNotFoundError):
                        copy.there.rm_file(known)
            else:
                with suppress(FileNotFoundError):
                    copy.there.rm(paths)
    if path.is_dir():
        shutil.rmtree(path, ignore_errors)
    else:
        path.unlink(missing_ok=True)


def send(whole: Path, path: Path) -> bool:
    """Send a whole file that is to be `path`; whether it goes there alone, and is not to be kept here."""
    copy = copy_of(path)
    if copy is None or not copy.filled:
        return False
    name = _name(copy, path)
    target = copy.path_there(name)
    with asked(f"{copy.address}/{name}", "written"):
        if copy.is_store:
            copy.there.put_file(str(whole), target)
        else:
            beside = f"{target.rpartition('/')[0]}/{whole.name}"
            copy.there.makedirs(target.rpartition("/")[0], exist_ok=True)
            copy.there.put_file(str(whole), beside)
            copy.there.mv(beside, target)
        copy.note(name, copy.there.info(target))
    return copy.sent and path.parent.name in OF_SHARDS


def move(path: Path, target: Path) -> None:
    """Put a file in the place of another, which need not be there: here and there; what is but read stays, too."""
    target.parent.mkdir(exist_ok=True)
    if (copy := copy_of(path)) and not copy.filled:
        arriving = copy.here.parent / "arriving"
        shutil.copyfile(path, arriving)
        path = arriving
    elif copy:
        before, name = copy.path_there(_name(copy, path)), _name(copy, target)
        with asked(f"{copy.address}/{name}", "written"):
            if copy.is_store:
                copy.there.cp_file(before, copy.path_there(name))
                copy.there.rm_file(before)
            else:
                copy.there.makedirs(copy.path_there(name).rpartition("/")[0], exist_ok=True)
                copy.there.mv(before, copy.path_there(name))
            copy.note(name, copy.there.info(copy.path_there(name)))
    os.replace(path, target)


def copy_of(path: Path) -> RemoteCopy | None:
    """The copy in which a path lies."""
    for copy in _COPIES.values():
        if f"{path.absolute()}/".startswith(f"{copy.here}/"):
            return copy
    return None


def address_of(path: Path) -> str:
    """What a person calls a path: of one in a copy its address."""
    copy = copy_of(path)
    return str(path) if copy is None else f"{copy.address}/{_name(copy, path)}".rstrip("/")


def beside(folder: Path) -> Iterator[Path]:
    """The folders where it lies that hold a manifest.json, by name: of a copy, copies of which no more is here yet."""
    copy = copy_of(folder)
    if copy is None:
        yield from sorted(path.parent for path in folder.resolve().parent.glob(f"*/{MARK}"))
        return
    parent, _, own = copy.address.rpartition("/")
    if not copy.path_there("").rpartition("/")[0]:  # a whole bucket
        return
    with asked(parent, "read"):
        found = copy.there.ls(copy.path_there("").rpartition("/")[0], detail=True)
    folders = {str(one["name"]).rstrip("/").rpartition("/")[2] for one in found if one["type"] == "directory"}
    for name in sorted(folders - {own}):
        if not name.startswith(".") and (place := local_folder(f"{parent}/{name}", only=MARK) / MARK).is_file():
            yield place.parent


def all_copies() -> tuple[RemoteCopy, ...]:
    """What this process has copies of, to be told to those that it starts."""
    return tuple(_COPIES.values())


def know(copies: Iterable[RemoteCopy]) -> None:
    """In a process that was started by one that has these copies: read and fill them here, too."""
    for copy in copies:
        _COPIES[str(copy.here)] = copy
        CALLED[str(copy.here)] = copy.address


@contextmanager
def copies_here(copies: Iterable[RemoteCopy]) -> Iterator[None]:
    """As `know`, in a process of maybe another machine, which begins copies of its own, in the same places.

    They go when the next copy is made there after the last such process has ended.
    """
    with ExitStack() as stack:
        for copy in copies:
            root = copy.here.parents[1]
            if not (root / LOCK).exists() or (root / OTHERS).exists():  # not the one of the process that shares them
                (root / OTHERS).parent.mkdir(parents=True, exist_ok=True)
                (root / OTHERS).touch()
                stack.enter_context(taken(root, root / LOCK, begin=lambda alone: None))
        know(copies)
        yield


# How it is done.


def _new_copy(address: str, filled: bool, sent: bool) -> RemoteCopy:
    if address.startswith(("http://", "https://")):
        raise MisuseError(f"{address}: a folder on a web server can be neither listed nor filled; give s3:// or gs://")
    if filled and address.partition(":")[0] in PASSING:
        raise MisuseError(f"{address}: would be gone when this command ends; give a local folder, s3:// or gs://")
    if kept := None if filled else os.environ.get(CACHE):
        root = Path(kept).absolute() / "cocu-copies" / hashlib.sha256(address.encode()).hexdigest()[:16]
    else:
        root = _SCRATCH.enter_context(scratch_folder("cocu-copy-"))
    here = root / "copy" / (re.sub(r"[^\w.-]", "_", address.rpartition("/")[2]).lstrip(".") or "folder")
    here = here.absolute()
    here.mkdir(parents=True, exist_ok=True)
    know([RemoteCopy(address, here, filled, sent)])
    return _COPIES[str(here)]


atexit.register(_SCRATCH.close)


def _name(copy: RemoteCopy, path: Path) -> str:
    name = path.absolute().relative_to(copy.here).as_posix()
    return "" if name == "." else name


def _fetch(copy: RemoteCopy, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Copy files, each of which takes its place when it is whole."""
    root = copy.here.parents[1]
    with scratch_folder("cocu-arriving-", root) as folder:
        arrived = [folder / str(number) for number in range(len(files))]
        with asked(copy.address, "read"):
            try:
                copy.there.get([copy.path_there(name) for name in files], list(map(str, arrived)))
            except OSError as error:
                if is_full(error):
                    raise no_room(copy.address, root, f"or set TMPDIR or {CACHE} to a folder with room") from error
                raise
        for path, (name, known) in zip(arrived, files.items(), strict=True):
            if path.stat().st_size != size_of(known):
                raise CocuError(f"{copy.address}/{name}: came with other bytes than it has; run the same command again")
            if changed := time_of(known):
                os.utime(path, (changed, changed))
            place = copy.here / name
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, place)
            copy.note(name, known)
