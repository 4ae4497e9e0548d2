"""Opening what is packed, remote, cut or gone."""

import bz2
import gzip
import logging
import lzma
import re
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import fsspec
import pytest

from curation.reading.pairs import CaptionOptions, Pair
from curation.reading.shards import Shard, find_shards, read_pairs
from files.addresses import filesystem, open_bytes, open_tar, told
from files.errors import CocuError, MisuseError
from tests.tiny_world import make_shards

PACKERS = {".tar.gz": gzip.compress, ".tgz": gzip.compress, ".tar.bz2": bz2.compress, ".tar.xz": lzma.compress}


def keys(shard: Shard, options: CaptionOptions | None = None) -> list[str]:
    return [pair.key for pair in read_pairs(shard, options or CaptionOptions()) if isinstance(pair, Pair)]


def faults(shard: Shard) -> list[str]:
    return [item.reason for item in read_pairs(shard, CaptionOptions()) if not isinstance(item, Pair)]


@pytest.fixture
def tar(tmp_path: Path) -> Path:
    return make_shards(tmp_path / "plain", 1, 12)[0]


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; names that begin with "cut" end after half of the bytes that were announced."""

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        if not Path(self.path).name.startswith("cut"):
            super().do_GET()
            return
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2])
        self.close_connection = True


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path))) as http:
        thread = Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.mark.parametrize("suffix", PACKERS)
def test_packed_tars(suffix: str, tar: Path, tmp_path: Path) -> None:
    packed = tmp_path / f"0{suffix}"
    packed.write_bytes(PACKERS[suffix](tar.read_bytes()))
    (shard,) = find_shards([str(packed)])
    assert keys(shard) == keys(find_shards([str(tar)])[0])
    assert faults(shard) == []


def test_what_is_packed_is_told_from_its_bytes(tar: Path, tmp_path: Path) -> None:
    misnamed, plain = tmp_path / "misnamed.tar", tmp_path / "plain.tar.gz"
    misnamed.write_bytes(gzip.compress(tar.read_bytes()))
    plain.write_bytes(tar.read_bytes())
    for path in (misnamed, plain):
        assert len(keys(Shard("0", str(path), 0))) == 12


def test_packed_pieces_strung_together_and_padded(tar: Path, tmp_path: Path) -> None:
    data, packed = tar.read_bytes(), tmp_path / "0.tar.gz"
    for padding in (b"", bytes(700), bytes(40_000)):
        packed.write_bytes(gzip.compress(data[:5_000]) + gzip.compress(data[5_000:]) + padding)
        assert (len(keys(Shard("0", str(packed), 0))), faults(Shard("0", str(packed), 0))) == (12, [])


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.bz2", ".tar.xz"])
@pytest.mark.parametrize("damage", ["cut", "broken"])
def test_a_damaged_packed_tar_gives_what_can_be_unpacked(suffix: str, damage: str, tmp_path: Path) -> None:
    tar = make_shards(tmp_path / "plain", 1, 400)[0]
    # bzip2 packs 900 kB at once, and gives nothing of a block that is not whole: two files strung together
    half = len(tar.read_bytes()) // 2
    whole = [PACKERS[suffix](part) for part in (tar.read_bytes()[:half], tar.read_bytes()[half:])]
    at = len(whole[0]) + len(whole[1]) // 2
    joined = b"".join(whole)
    data = joined[:at] if damage == "cut" else joined[:at] + b"\x55" * 400 + joined[at + 400 :]
    packed = tmp_path / f"0{suffix}"
    packed.write_bytes(data)
    shard = Shard("0", str(packed), 0)
    assert len(keys(shard)) >= 199
    # A broken stream may unpack to nonsense before it is noticed.
    assert any(f"packed data {damage}" in fault for fault in faults(shard))


def test_nothing_is_left_in_the_temporary_folder(tar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    packed = tmp_path / "0.tar.gz"
    packed.write_bytes(gzip.compress(tar.read_bytes()))
    with open_tar(str(packed)) as opened:
        assert opened.file.read() == tar.read_bytes()
        assert list(folder.iterdir()) == [], "a process killed here would leave it"


def test_memory_file_system(tar: Path) -> None:
    with fsspec.open("memory://bucket/a/00000.tar", "wb") as target:
        target.write(tar.read_bytes())
    with fsspec.open("memory://bucket/a/00001.tar.gz", "wb") as target:
        target.write(gzip.compress(tar.read_bytes()))
    with fsspec.open("memory://bucket/a/00000_stats.json", "wb") as target:
        target.write(b"{}")
    found = find_shards(["memory://bucket/a/*"])
    assert [shard.name for shard in found] == ["00000", "00001"]
    assert found == find_shards(["memory://bucket/a/0000{0.tar,1.tar.gz}"])
    assert found[0].size == tar.stat().st_size
    assert [len(keys(shard)) for shard in found] == [12, 12]


def test_http(tar: Path, tmp_path: Path, server: str) -> None:
    (tmp_path / "x.tgz").write_bytes(gzip.compress(tar.read_bytes()))
    found = find_shards([f"{server}/plain/{{00000..00000}}.tar", f"{server}/x.tgz?signature=a%2Fb"])
    assert [shard.name for shard in found] == ["00000", "x"]
    assert found[0].size == tar.stat().st_size
    assert [len(keys(shard)) for shard in found] == [12, 12]
    with open_bytes(f"{server}/plain/00000.tar", seek=True) as source:  # this server knows no ranges
        source.seek(512)
        assert source.read(4) == tar.read_bytes()[512:516]


def test_http_failures_name_the_address(tar: Path, tmp_path: Path, server: str) -> None:
    (tmp_path / "cut.tar").write_bytes(tar.read_bytes())
    with pytest.raises(MisuseError, match=r"/missing.tar: no such file"):
        find_shards([f"{server}/missing.tar"])
    (shard,) = find_shards([f"{server}/cut.tar"])
    with pytest.raises(CocuError, match=r"/cut.tar: .*run the same command again"):
        keys(shard)
    (tmp_path / "cut.tar").unlink()
    with pytest.raises(CocuError, match=r"/cut.tar: is no longer there; put it back"):
        keys(shard)
    with pytest.raises(CocuError, match=r"127.0.0.1:9/0.tar: cannot be read"):
        find_shards(["http://127.0.0.1:9/0.tar"])


def test_a_shard_that_is_gone_or_changed(tar: Path, tmp_path: Path) -> None:
    (shard,) = find_shards([str(tar)])
    data = tar.read_bytes()
    tar.write_bytes(data + bytes(10_240))
    with pytest.raises(CocuError, match=rf"{tar}: has {len(data) + 10_240:,} bytes, but had {len(data):,}"):
        keys(shard)
    tar.unlink()
    with pytest.raises(CocuError, match=f"{tar}: is no longer there; put it back"):
        keys(shard)
    tar.mkdir()
    with pytest.raises(CocuError, match=f"{tar}: cannot be read: Is a directory"):
        keys(shard)


@pytest.mark.parametrize(
    ("scheme", "module", "named"),
    [
        ("s3", "s3fs", "-c constraints.txt '.[s3]'"),
        ("gs", "gcsfs", "-c constraints.txt '.[gcs]'"),
        ("gcs", "gcsfs", "-c constraints.txt '.[gcs]'"),
        ("http", "aiohttp", "-c constraints.txt '.[http]'"),
        ("https", "aiohttp", "-c constraints.txt '.[http]'"),
        ("abfs", "adlfs", "adlfs"),
        ("sftp", "paramiko", "paramiko"),
    ],
)
def test_a_missing_driver_is_named(scheme: str, module: str, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an extra of this package, or else by a package that pip finds, which is what fsspec would import."""
    from fsspec.registry import _registry

    readers = ("fsspec.implementations.http", "fsspec.implementations.sftp")
    for known in [name for name in sys.modules if name.startswith(readers)]:
        monkeypatch.delitem(sys.modules, known)
    for known in [name for name in _registry if name == scheme]:
        monkeypatch.delitem(_registry, known)
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    with pytest.raises(MisuseError, match=rf"{scheme}://bucket/0.tar: .*run `pip install {re.escape(named)}`"):
        filesystem(f"{scheme}://bucket/0.tar")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(13, "Permission denied."), "Permission denied"),
        (OSError("Forbidden: b/o\n  refused"), "Forbidden: b/o refused"),
        (FileNotFoundError("https://host/b/o"), "FileNotFoundError: https://host/b/o"),
        (TimeoutError(), "no answer in time"),
        (KeyError(), "KeyError"),
        (
            OSError("no answer of /t?access_token=ya29.x_y-z&a=b (retries)"),
            "no answer of /t?access_token=...&a=... (retries)",
        ),
    ],
)
def test_what_a_driver_says(error: Exception, said: str) -> None:
    assert told(error) == said


def test_a_driver_that_cannot_begin_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object, **options: object) -> None:
        raise RuntimeError("no credentials found")

    monkeypatch.setattr(fsspec.core, "url_to_fs", refuse)
    with pytest.raises(CocuError, match="s3://b/x: cannot be read: no credentials found; check"):
        filesystem("s3://b/x")


def test_drivers_do_not_log_what_they_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    log = logging.getLogger("fsspec")
    for level, then in ((logging.NOTSET, logging.CRITICAL), (logging.DEBUG, logging.DEBUG)):
        monkeypatch.setattr(log, "level", level)
        filesystem("memory://x")
        assert log.level == then


def test_servers_that_say_nothing_are_left() -> None:
    pytest.importorskip("gcsfs")
    assert filesystem("gs://b/x", token="anon").requests_timeout.sock_read > 0
