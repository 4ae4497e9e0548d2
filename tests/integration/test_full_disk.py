"""A small disk that fills up again and again, and one that cannot be written: nothing is lost, nothing half written."""

import contextlib
import errno
import gzip
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curation.curated.tables import PAIRS, TableWriter
from curation.index import inverted_lists
from curation.index.array_files import ArrayWriter
from curation.reading.pairs import CaptionOptions
from curation.reading.shards import find_shards, read_pairs
from files.errors import CocuError
from tests.integration.commands import cocu
from tests.integration.faults import Undisturbed, WarmCommand, build, contents, curate, same
from tests.integration.test_kills import contents as everything
from tests.integration.writing_commands import tried_once
from tests.tiny_world import make_shards


class Disk:
    """A file system in memory of a settable size."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def resize(self, kilobytes: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", self.path], check=True)

    def protect(self) -> None:
        subprocess.run(["mount", "-o", "remount,ro", self.path], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    path = tmp_path / "disk"
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", path], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs a small file system, and mounting one is not permitted here: {done.stderr.strip()}")
    yield Disk(path)
    subprocess.run(["umount", "-l", path], check=True)


def kilobytes(folder: Path) -> int:
    """What the files take in pages."""
    return sum(4 * (path.stat().st_size // 4096 + 2) for path in folder.rglob("*"))


def fill_up(warm: WarmCommand, disk: Disk, arguments: tuple[object, ...], out: Path, size: int, steps: int) -> int:
    """Run the command on a disk with too little room, then with more, and so on to its end; how often it failed."""
    for failed, room in enumerate(range(8, 2 * size, max(4, size // steps))):
        disk.resize(room)
        warm.start(arguments, disk.path.parent / "log")
        code, log = warm.wait(), (disk.path.parent / "log").read_text()
        assert "Traceback" not in log, log
        assert not any(out.rglob(".*.tmp")), log
        if code == 0:
            return failed
        assert code == 1, log
        last = log.strip().splitlines()[-1]
        assert last.startswith(f"error: writing {out}"), log
        assert "the disk is full" in last
        assert "run the same command again" in last
        with contextlib.suppress(FileNotFoundError):
            contents(out)  # whatever is there is whole
    raise AssertionError("never finished")


@pytest.mark.timeout(300)
def test_index_builds_on_a_full_disk(undisturbed: Undisturbed, warm: WarmCommand, disk: Disk) -> None:
    out = disk.path / "index"
    arguments = build(undisturbed.shards, out, undisturbed.model)
    assert fill_up(warm, disk, arguments, out, kilobytes(undisturbed.index), steps=7) >= 5
    same(out, undisturbed.index)


@pytest.mark.timeout(300)
def test_curate_runs_on_a_full_disk(undisturbed: Undisturbed, warm: WarmCommand, disk: Disk) -> None:
    out = disk.path / "curated"
    assert fill_up(warm, disk, curate(undisturbed.index, out), out, kilobytes(undisturbed.curated), steps=8) >= 5
    same(out, undisturbed.curated)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [pytest.param("train", marks=pytest.mark.slow), "eval"])
def test_evaluations_on_a_full_disk(
    name: str, undisturbed: Undisturbed, warm: WarmCommand, disk: Disk, tmp_path: Path
) -> None:
    tried = tried_once(name, tmp_path, undisturbed, warm)
    out = disk.path / "out"
    assert fill_up(warm, disk, tried.command.into(out), out, kilobytes(tried.whole), steps=6) >= 3
    assert everything(out) == everything(tried.whole)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_pairs_drawn_by_workers_on_a_full_disk(warm: WarmCommand, disk: Disk, tmp_path: Path) -> None:
    def draw(out: Path) -> int:
        words = ("data", "miniature", "--out", out, "--pairs", 2100, "--size", 32, "--workers", 2)
        warm.start(words, tmp_path / "log")
        return warm.wait()

    assert draw(tmp_path / "whole") == 0
    out = disk.path / "pairs"
    for room in (1000, 4000):  # in the middle of two shards, and of the last
        disk.resize(room)
        assert draw(out) == 1
        assert (tmp_path / "log").read_text().startswith(f"error: writing {out / 'train-00000'}")
        assert not list(out.rglob(".*.tmp"))  # of the worker that met the end of the disk, and of those ended then
    disk.resize(20_000)
    assert draw(out) == 0
    same(out, tmp_path / "whole")


def write_array(path: Path, size: int) -> None:
    with ArrayWriter(path, np.uint8) as writer:
        writer.write(np.ones(size - 128, np.uint8))  # and a header of 128 bytes


def write_faiss(path: Path, size: int) -> None:
    inverted_lists.build(path, np.ones((size // 32, 8), np.float16), "Flat")


def write_table(path: Path, size: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size // 100, 100), np.uint8)
    columns = {name: [row.tobytes().hex() for row in noise] for name in ("key", "shard", "caption")}
    with TableWriter(path, PAIRS) as writer:
        for start in range(0, len(noise), 10):
            rows = {name: values[start : start + 10] for name, values in columns.items()}
            writer.write(pa.table({**rows, "caption_concepts": [[]] * len(rows["key"])}, schema=PAIRS))


@pytest.mark.parametrize("write", [write_array, write_faiss, write_table])
def test_files_that_fill_the_disk_in_their_middle_or_at_their_end(
    write: Callable[[Path, int], None], disk: Disk, tmp_path: Path
) -> None:
    write(tmp_path / "whole", 40_000)
    size = (tmp_path / "whole").stat().st_size
    assert size > 32_768
    pages = -(-size // 4096)
    for room in (1, pages // 2, pages - 1):
        disk.resize(4 * (pages + 2))
        (disk.path / "ballast").write_bytes(bytes((pages + 2 - room) * 4096))
        with pytest.raises(OSError, match="No space left") as full:
            write(disk.path / "file", 40_000)
        assert (full.value.errno, full.value.filename) == (errno.ENOSPC, str(disk.path / "file"))
        assert [path.name for path in disk.path.iterdir()] == ["ballast"]
    disk.resize(1024)
    write(disk.path / "file", 40_000)
    assert (disk.path / "file").read_bytes() == (tmp_path / "whole").read_bytes()


def test_no_room_for_the_copy_of_a_packed_shard(disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tar = make_shards(tmp_path / "shards", 1, 60)[0]
    packed = tmp_path / "0.tar.gz"
    packed.write_bytes(gzip.compress(tar.read_bytes()))
    monkeypatch.setattr(tempfile, "tempdir", str(disk.path))
    (shard,) = find_shards([str(packed)])
    with pytest.raises(CocuError, match=rf"{packed}: no room in {disk.path} .* set TMPDIR to a folder with room"):
        list(read_pairs(shard, CaptionOptions()))
    disk.resize(4096)
    assert len(list(read_pairs(shard, CaptionOptions()))) == 60


def test_folders_that_cannot_be_written(undisturbed: Undisturbed, disk: Disk, tmp_path: Path) -> None:
    disk.resize(16_384)
    index = disk.path / "index"
    assert cocu(*build(undisturbed.shards, index, undisturbed.model)).code == 0
    disk.protect()
    for out in (disk.path / "new", index):
        answer = cocu(*build(undisturbed.shards, out, undisturbed.model))
        assert answer.code == 1
        assert answer.err == (
            f"error: {out}: cannot be written (Read-only file system); make it writable, or give another --out\n"
        )
    # An index is only read by what comes after it.
    assert cocu("index", "info", index).code == 0
    assert cocu("index", "search", index, "a dog", "--model", undisturbed.model).code == 0
    answer = cocu(*curate(index, tmp_path / "curated"))
    assert answer.code == 0, answer.err
