"""Bytes of shards and tables, local or remote, packed or not: opening them, and saying clearly when that fails."""

from __future__ import annotations

import bz2
import errno
import lzma
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from files.errors import CocuError, MisuseError

REMOTE_SCHEMES = ("s3", "gs", "gcs", "http", "https", "memory")
# Small, because a packed block may unpack to thousands of times its size, in memory.
PACKED_BLOCK = 16 << 10
BLOCK = 1 << 20
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


def filesystem(url: str) -> Any:
    """fsspec filesystem of a remote URL. Raises MisuseError when its driver is not installed."""
    import fsspec

    try:
        return fsspec.core.url_to_fs(url)[0]
    except ImportError as error:
        extra = {"s3": "s3", "gs": "gcs", "gcs": "gcs"}.get(urlsplit(url).scheme, "http")
        raise MisuseError(f"{url}: {error}; install it with `pip install 'cocu[{extra}]'`") from error


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
    text = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    return CocuError(f"{url}: cannot be read: {text[:300]}; run the same command again when it can be")


@contextmanager
def open_bytes(url: str, seek: bool = False) -> Iterator[BinaryIO]:
    """A file opened for reading; with `seek`, at any offset. Errors of the opening are CurationErrors."""
    stream = not seek or not _has_ranges(url)
    with _opened(url, stream) as source:
        if not (seek and stream):
            yield source
            return
        with tempfile.TemporaryFile(prefix="cocu-") as copy:
            _copy(url, _chunks(url, source, BLOCK), copy)
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
        remote = is_remote(url)
        first = _read(url, source, PACKED_BLOCK)
        packer = next((make for magic, make in _PACKERS if first.startswith(magic)), None)
        if not remote:
            _check_size(url, source.seek(0, 2), size)
            source.seek(0)
            if packer is None:
                yield OpenTar(source)
                return
        with tempfile.TemporaryFile(prefix="cocu-") as copy:
            rest = _chunks(url, source, BLOCK if packer is None else PACKED_BLOCK)
            chunks = _Counted(chain([first] if remote else [], rest))
            unpacked = None if packer is None else _Unpacked(packer, chunks)
            _copy(url, unpacked or chunks, copy)
            _check_size(url, chunks.bytes, 0 if unpacked and unpacked.fault else size)
            yield OpenTar(copy, unpacked.fault if unpacked else "")


class _Counted:
    """Chunks, and the bytes of those that were taken."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.chunks, self.bytes = chunks, 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self.chunks:
            self.bytes += len(chunk)
            yield chunk


class _Unpacked:
    """Packed chunks -> unpacked ones, until they end or break; then `fault` says why."""

    def __init__(self, packer: Callable[[], Any], chunks: Iterable[bytes]) -> None:
        self.packer, self.chunks, self.fault = packer, chunks, ""

    def __iter__(self) -> Iterator[bytes]:
        unpacker, begun, position = self.packer(), False, 0
        for chunk in self.chunks:
            position += len(chunk)
            while chunk := chunk if begun else chunk.lstrip(b"\0"):  # zeros pad some packed files
                try:
                    unpacked = unpacker.decompress(chunk)
                except (zlib.error, lzma.LZMAError, OSError) as error:
                    self.fault = f"packed data broken: before byte {position:,}: {error}"
                    return
                yield unpacked
                begun, chunk = True, b""
                if unpacker.eof:  # packed files may be strung together
                    unpacker, begun, chunk = self.packer(), False, unpacker.unused_data
        if begun:
            self.fault = f"packed data cut short: at byte {position:,}"


@contextmanager
def _opened(url: str, stream: bool) -> Iterator[BinaryIO]:
    try:
        if not is_remote(url):
            source: Any = Path(url).open("rb")  # noqa: SIM115 (closed below)
        elif stream and url.startswith("http"):
            source = filesystem(url).open(url, "rb", block_size=0)  # one request, not one a block
        else:
            source = filesystem(url).open(url, "rb")
    except CocuError:
        raise
    except Exception as error:
        raise unreachable(url, error) from error
    try:
        yield source
    finally:
        source.close()


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


def _read(url: str, source: Any, count: int) -> bytes:
    try:
        return bytes(source.read(count))
    except Exception as error:
        raise unreachable(url, error) from error


def _chunks(url: str, source: Any, count: int) -> Iterator[bytes]:
    while chunk := _read(url, source, count):
        yield chunk


def _copy(url: str, chunks: Iterable[bytes], target: Any) -> None:
    for chunk in chain(chunks, [b""]):
        try:
            target.write(chunk)
            if not chunk:
                target.flush()
                target.seek(0)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise CocuError(
                f"{url}: no room in {tempfile.gettempdir()} for the copy that it is read from; free some space there, "
                "or set TMPDIR to a folder with room, and run the same command again"
            ) from error


def _check_size(url: str, found: int, expected: int) -> None:
    if expected and found != expected:
        raise CocuError(
            f"{url}: has {found:,} bytes, but had {expected:,} when the work began: it has changed; put the old one "
            "back and run the same command again, or begin anew in another --out"
        )
