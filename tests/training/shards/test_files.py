"""Copies of remote and packed shards: whole, in time, removed again; faults and failures said clearly."""

import bz2
import gzip
import lzma
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest

import training.shards.files
from files.errors import CocuError, MisuseError
from tests.tiny_world import make_shards
from training.shards.files import ShardFiles
from training.shards.found import TarShard, find_data
from training.shards.tar_index import index_tar


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.shards.files, "FIRST_WAIT", 0.01)


class Server(SimpleHTTPRequestHandler):
    """Serves a folder; refuses the first `refusals` downloads."""

    refusals = 0

    def do_GET(self) -> None:
        if type(self).refusals:
            type(self).refusals -= 1
            self.send_error(503)
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "served"
    make_shards(folder, shards=3, pairs=4)
    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *args: Server(*args, directory=str(folder)))  # type: ignore[arg-type]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_shards_over_http_are_copied_and_removed(served: str, tmp_path: Path) -> None:
    Server.refusals = 2
    files = ShardFiles(find_data([f"{served}/{{00000..00002}}.tar"])[0])
    for number in range(3):
        files.hold(number)
        spans = files.spans(number)
        original = tmp_path / "served" / f"{number:05d}.tar"
        assert Path(files.path(number)).read_bytes() == original.read_bytes()
        assert spans.tolist() == index_tar(original).spans.tolist()
    files.hold(0)
    files.release(0)
    assert Path(files.path(0)).exists()  # somebody else holds it
    files.release(0)
    assert not Path(files.path(0)).exists()
    files.hold(0)
    assert len(files.spans(0)) == 4
    assert Path(files.path(0)).exists()  # fetched again
    folder = Path(files.path(0)).parent
    files.close()
    assert not folder.exists()


def test_copies_in_a_cache_stay_and_are_not_fetched_again(served: str, tmp_path: Path) -> None:
    shards, _ = find_data([f"{served}/00000.tar"])
    for _ in range(2):
        files = ShardFiles(shards, tmp_path / "cache", tmp_path / "indexes")
        files.hold(0)
        assert len(files.spans(0)) == 4
        files.release(0)
        files.close()
        assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".tar"]
        Server.refusals = 10**6
    Server.refusals = 0


def test_a_server_that_goes_on_refusing_is_named(served: str) -> None:
    files = ShardFiles(find_data([f"{served}/00001.tar"])[0])
    Server.refusals = 10**6
    with pytest.raises(CocuError, match=f"{served}/00001.tar: cannot be read"):
        files.spans(0)
    Server.refusals = 0
    files.close()


@pytest.mark.parametrize(("suffix", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
@pytest.mark.parametrize("remote", [False, True])
def test_packed_tars_are_unpacked(tmp_path: Path, suffix: str, pack: object, remote: bool) -> None:
    plain = make_shards(tmp_path / "plain", shards=1, pairs=5)[0]
    packed = pack(plain.read_bytes())  # type: ignore[operator]
    url = str(tmp_path / f"0.tar.{suffix}")
    if remote:
        url = f"memory://packed-{suffix}/0.tar"  # told from its bytes, not from its name
        fsspec.filesystem("memory").pipe(url.removeprefix("memory:/"), packed)
    else:
        Path(url).write_bytes(packed)
    files = ShardFiles(find_data([url])[0])
    assert files.spans(0).tolist() == index_tar(plain).spans.tolist()
    assert Path(files.path(0)).read_bytes() == plain.read_bytes()
    files.close()


@pytest.mark.parametrize(("suffix", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
def test_a_packed_tar_cut_short_gives_what_can_be_unpacked(tmp_path: Path, suffix: str, pack: object) -> None:
    plain = make_shards(tmp_path / "plain", shards=1, pairs=400)[0]
    packed = pack(plain.read_bytes())  # type: ignore[operator]
    path = tmp_path / f"0.tar.{suffix}"
    path.write_bytes(packed[: len(packed) // 2])
    files = ShardFiles(find_data([str(path)])[0])
    spans = files.spans(0).tolist()
    # xz packs this tar as one block, whose beginning is given out, too
    assert len(spans) < 400
    assert spans[:-1] == index_tar(plain).spans.tolist()[: max(0, len(spans) - 1)]
    assert "cut short" in files.faults[0][0] or not spans
    files.close()


def test_no_room_for_a_copy_is_said_with_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.filesystem("memory").pipe("/full/0.tar", make_shards(tmp_path, shards=1, pairs=1)[0].read_bytes())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(training.shards.files, "unpack", full)
    files = ShardFiles([TarShard("0", "memory://full/0.tar", 0)], tmp_path / "copies")
    with pytest.raises(CocuError, match=f"no room in {tmp_path / 'copies'}"):
        files.spans(0)
    assert not list((tmp_path / "copies").iterdir())
    files.close()


@pytest.mark.parametrize("processes", [0, 2])
def test_samples_are_counted(tmp_path: Path, processes: int) -> None:
    shards, _ = find_data(list(map(str, make_shards(tmp_path / "data", shards=20, pairs=3))))
    files = ShardFiles(shards, None, tmp_path / "indexes")
    assert files.count(processes) == 60
    assert len(list((tmp_path / "indexes").iterdir())) == 20


def test_remote_samples_are_not_counted(tmp_path: Path) -> None:
    fsspec.filesystem("memory").pipe("/counted/0.tar", make_shards(tmp_path, shards=1, pairs=1)[0].read_bytes())
    files = ShardFiles(find_data(["memory://counted/0.tar"])[0])
    with pytest.raises(MisuseError, match=r"data\.samples=N"):
        files.count()
    files.close()


def test_a_shard_that_has_vanished_is_named(tmp_path: Path) -> None:
    path = make_shards(tmp_path, shards=1, pairs=1)[0]
    files = ShardFiles(find_data([str(path)])[0])
    path.unlink()
    with pytest.raises(CocuError, match=f"{path}: is no longer there; put it back"):
        files.spans(0)
    with pytest.raises(CocuError, match=f"{path}: is no longer there; put it back"):
        files.count()
