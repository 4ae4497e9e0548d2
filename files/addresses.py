"""Bytes of shards and tables, local or remote, packed or not: opening them, and saying clearly when that fails."""

from __future__ import annotations

import bz2
import errno
import logging
import lzma
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO
from urllib.parse import urlsplit

from files.errors import CocuError, MisuseError, one_line

REMOTE_SCHEMES = ("s3", "gs", "gcs", "hf", "http", "https", "memory")
# Small, because a packed block may unpack to thousands of times its size, in memory.
PACKED_BLOCK = 16 << 10
BLOCK = 1 << 20
EXTRAS = {"s3fs": "s3", "gcsfs": "gcs", "aiohttp": "http"}  # of this package, that bring a driver
SILENCE = 60.0  # seconds without a byte, after which a server is asked again
_ASKED = re.compile(r"([?&][\w.-]+=)[^\s&'\")]+")
_PACKERS: tuple[tuple[bytes, Callable[[], Any]], ...] = (
    (b"\x1f\x8b", lambda: zlib.decompressobj(16 + zlib.MAX_WBITS)),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\0", lzma.LZMADecompressor),
)


@dataclass(frozen=True, slots=True)
class OpenTar:
    """An uncompressed tar that can be read at any offset. fault: why it is not the whole of its source, or ""."""

    file: BinaryIO
    fault: str = ""


def is_remote(url: str) -> bool:
    """Whether it lies elsewhere and is read through fsspec."""
    return "://" in url and not url.startswith("file://")


def filesystem(url: str, **options: Any) -> Any:
    """fsspec filesystem of a remote URL. Raises MisuseError when its driver is not installed, or there is none, and
    CocuError when it cannot be begun."""
    import fsspec

    try:
        found = fsspec.core.url_to_fs(url, **_patience(url), **options)[0]
    except ValueError as error:
        raise MisuseError(f"{url}: {one_line(error)}; check the address") from error
    except ImportError as error:
        raise MisuseError(f"{url}: {error}; run `pip install {_driver(urlsplit(url).scheme, error)}`") from error
    except Exception as error:  # of keys, for instance; every driver has kinds of its own
        raise unreachable(url, error) from error
    log = logging.getLogger(type(found).__module__.partition(".")[0])
    if log.level == logging.NOTSET:
        log.setLevel(logging.CRITICAL)  # what it tells there, tracebacks and all, is raised, too
    return found


def _patience(url: str) -> dict[str, Any]:
    """Options of the one driver that would wait without end for a server that says nothing."""
    scheme = url.partition(":")[0]
    if scheme not in ("gs", "gcs"):
        return {}
    import aiohttp
    import fsspec

    if "requests_timeout" in fsspec.config.conf.get(scheme, {}):
        return {}
    return {"requests_timeout": aiohttp.ClientTimeout(sock_connect=SILENCE, sock_read=SILENCE)}


def _driver(scheme: str, error: ImportError) -> str:
    """What brings a scheme's driver: an extra, or a package as fsspec knows it; for fsspec's own, what they miss."""
    from fsspec.registry import known_implementations

    package = str(known_implementations.get(scheme, {}).get("class", "fsspec")).partition(".")[0]
    if package == "fsspec":
        package = str(getattr(error.__cause__ or error, "name", None) or "aiohttp").partition(".")[0]
    return f"-c constraints.txt '.[{EXTRAS[package]}]'" if package in EXTRAS else package


def remote_size(url: str) -> int:
    """Bytes of a remote file, 0 where its server does not say. Raises MisuseError when there is no such file."""
    try:
        return int(filesystem(url).info(url).get("size") or 0)
    except CocuError:
        raise
    except FileNotFoundError as error:
        cause = error.__cause__  # fsspec says so of every failure over HTTP
        if isinstance(cause, Exception) and (isinstance(cause, OSError) or getattr(cause, "status", 404) != 404):
            raise unreachable(url, cause) from error
        raise MisuseError(f"{url}: no such file; check the address") from error
    except Exception as error:  # every driver has kinds of its own
        raise unreachable(url, error) from error


def remote_glob(pattern: str) -> list[str]:
    """Remote addresses that match a pattern, sorted."""
    try:
        found = sorted(filesystem(pattern).glob(pattern))
        return [f"{urlsplit(pattern).scheme}://{path.lstrip('/')}" for path in found]
    except CocuError:
        raise
    except Exception as error:
        raise unreachable(pattern, error) from error


def unreachable(url: str, error: Exception) -> CocuError:
    """The message for a file that is not there or cannot be read."""
    if isinstance(error, FileNotFoundError):
        return CocuError(f"{url}: is no longer there; put it back and run the same command again")
    advice = "check the address and the right to read it, then run the same command again"
    return CocuError(f"{url}: cannot be read: {told(error)}; {advice}")


def told(error: Exception) -> str:
    """What a driver says of an error, as a part of a message: without what addresses ask for, which may be a secret.

    One word alone, often an address, wants the kind before.
    """
    kind = type(error).__name__
    text = _ASKED.sub(r"\1...", one_line(getattr(error, "strerror", None) or error).rstrip("."))
    if text == kind and isinstance(error, TimeoutError):
        return "no answer in time"
    return text if " " in text or text == kind else f"{kind}: {text}"


@contextmanager
def open_bytes(url: str, seek: bool = False) -> Iterator[BinaryIO]:
    """A file opened for reading; with `seek`, at any offset. Raises CocuError when it cannot be opened."""
    stream = not seek or not _has_ranges(url)
    with _opened(url, stream) as source:
        if not (seek and stream):
            yield source
            return
        with tempfile.TemporaryFile(prefix="cocu-") as copy:
            with _copying(url):
                shutil.copyfileobj(source, copy, BLOCK)
                copy.seek(0)
            yield copy


@contextmanager
def open_tar(url: str, size: int = 0) -> Iterator[OpenTar]:
    """A tar opened for reading at any offset; whether it is packed is told from its first bytes, not from its name.

    What is remote or packed is copied first, to a temporary file without a name: nothing is left behind, however this
    process ends. A packed tar that is cut or broken gives what can be unpacked.

    size: bytes that the file had when the work began; 0: unknown. Raises CocuError when it cannot be read or has
    another size now.
    """
    with _opened(url, stream=True) as source:
        if not is_remote(url):
            with _copying(url):
                length = source.seek(0, 2)
                source.seek(0)
                packed = _packer(source.read(PACKED_BLOCK)) is not None
                source.seek(0)
            _check_size(url, length, size)
            if not packed:
                yield OpenTar(source)
                return
        with tempfile.TemporaryFile(prefix="cocu-") as copy:
            with _copying(url):
                length, fault = unpack(source, copy)
                copy.seek(0)
            _check_size(url, length, 0 if fault else size)
            yield OpenTar(copy, fault)


def open_stream(url: str) -> BinaryIO:
    """A file opened for reading from its beginning, as it lies there. Errors are those of the driver."""
    if not is_remote(url):
        return Path(url).open("rb")
    options = {"block_size": 0} if url.startswith("http") else {}  # one request, not one a block
    opened: BinaryIO = filesystem(url).open(url, "rb", **options)
    return opened


def unpack(source: IO[bytes], target: IO[bytes]) -> tuple[int, str]:
    """Copy a stream, unpacking what is packed, strung together or padded with zeros as it may be.

    Returns the bytes that were read, and why the copy is not the whole of it, or "". Errors are those of the two.
    """
    chunk = source.read(PACKED_BLOCK)
    if (packer := _packer(chunk)) is None:
        target.write(chunk)
        shutil.copyfileobj(source, target, BLOCK)
        return target.tell(), ""
    unpacker, begun, position = packer(), False, 0
    while chunk:
        position += len(chunk)
        while chunk := chunk if begun else chunk.lstrip(b"\0"):
            try:
                unpacked = unpacker.decompress(chunk)
            except (zlib.error, lzma.LZMAError, OSError) as error:
                return position, f"packed data broken: before byte {position:,}: {error}"
            target.write(unpacked)
            begun, chunk = True, b""
            if unpacker.eof:
                unpacker, begun, chunk = packer(), False, unpacker.unused_data
        chunk = source.read(PACKED_BLOCK)
    return position, f"packed data cut short: at byte {position:,}" if begun else ""


def is_full(error: BaseException) -> bool:
    """Whether it says that a disk has no room left."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def no_room(url: str, folder: Path | str, advice: str = "or set TMPDIR to a folder with room") -> CocuError:
    """The message where a disk is too full for the copy of a file."""
    return CocuError(
        f"{url}: no room in {folder} for the copy that it is read from; free some space there, {advice}, "
        "and run the same command again"
    )


@contextmanager
def _opened(url: str, stream: bool) -> Iterator[BinaryIO]:
    try:
        source = open_stream(url) if stream or not is_remote(url) else filesystem(url).open(url, "rb")
    except CocuError:
        raise
    except Exception as error:
        raise unreachable(url, error) from error
    with source:
        yield source


@contextmanager
def _copying(url: str) -> Iterator[None]:
    """Failures of reading a file, or of writing its temporary copy, as CocuErrors."""
    try:
        yield
    except Exception as error:  # every driver has kinds of its own
        if is_full(error):
            raise no_room(url, tempfile.gettempdir()) from error
        raise unreachable(url, error) from error


def is_packed(file: BinaryIO) -> bool:
    """Whether an open file, read from where it stands, begins as something packed does."""
    return _packer(file.read(8)) is not None


def _packer(first: bytes) -> Callable[[], Any] | None:
    return next((make for magic, make in _PACKERS if first.startswith(magic)), None)


def _has_ranges(url: str) -> bool:
    """Whether a part of it can be read without all before it; some HTTP servers cannot do this."""
    if not url.startswith(("http://", "https://")):
        return True
    try:
        described = filesystem(url).info(url)
    except CocuError:
        raise
    except Exception as error:
        raise unreachable(url, error) from error
    return bool(described.get("partial") and described.get("size"))


def _check_size(url: str, found: int, expected: int) -> None:
    if expected and found != expected:
        raise CocuError(
            f"{url}: has {found:,} bytes, but had {expected:,} when the work began: it has changed; put the old one "
            "back, or let the new one be written to its end, and run the same command again"
        )
