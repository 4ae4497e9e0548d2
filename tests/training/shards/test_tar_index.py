"""Samples of tars, found by their headers, against the webdataset library and Python's tarfile."""

import io
import os
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
import webdataset
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks.speed.tiny_pairs import write_tar
from files.tar import Sample, find_members, read_member, read_samples
from tests.examples import examples
from tests.tiny_world import pair_members
from training.batches.check import check_data
from training.shards.tar_index import TarIndex, TarIndexFolder, index_tar, read_members

Members = list[tuple[str, bytes]]


def samples(path: Path) -> list[tuple[str, dict[str, bytes]]]:
    data = path.read_bytes()
    read = [read_members(data[start:stop]) for start, stop in index_tar(path).spans.tolist()]
    return [(key, {name: bytes(value) for name, value in members.items()}) for key, members in read]


def as_webdataset_reads(path: Path) -> list[tuple[str, dict[str, bytes]]]:
    found = webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False)
    return [
        (s["__key__"], {k: v for k, v in s.items() if not (k.startswith("__") and k.endswith("__"))}) for s in found
    ]


KEYS = st.text("ab0_-é/.", min_size=1, max_size=5)
FIELDS = st.sampled_from(["jpg", "txt", "JSON", "concepts.json", "seg.png", "x" * 120])


@examples(150)
@given(
    st.lists(st.tuples(KEYS, FIELDS, st.binary(max_size=1100)), max_size=12),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
@example(
    [("__/0", "jpg", b""), ("__a__/1", "jpg", b""), ("____", "jpg", b""), ("___/2", "jpg", b"")], tarfile.PAX_FORMAT
)
def test_samples_are_those_of_webdataset(
    tmp_path_factory: pytest.TempPathFactory, given_members: list, form: int
) -> None:
    path = tmp_path_factory.mktemp("tars") / "0.tar"
    seen: set[str] = set()
    with tarfile.open(path, "w", format=form) as tar:
        for key, field, data in given_members:
            name = f"{key}.{field}"
            # The library refuses repeated members, and hidden files are some folder's sample to it.
            if name.lower() in seen or name.startswith("/") or "//" in name or Path(name).name.startswith("."):
                continue
            seen.add(name.lower())
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    assert samples(path) == as_webdataset_reads(path)
    assert index_tar(path).fault == ""


NAMES = st.text("ab0_-é/. A", min_size=1, max_size=6)
FIELDS_OF_ANY_CASE = st.sampled_from(["jpg", "JPG", "txt", "concepts.json", "Ä", "ä", ""])
KINDS = st.sampled_from([tarfile.REGTYPE] * 6 + [tarfile.AREGTYPE, tarfile.CONTTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE])
FORMATS = st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
TIMES = st.sampled_from([0, 1_700_000_000, 1_700_000_000.5])  # the last has an extended header in POSIX's format


@examples(200)
@given(
    st.lists(
        st.tuples(st.one_of(NAMES, NAMES.map(lambda name: f"{'f' * 90}/{name}")), FIELDS_OF_ANY_CASE, KINDS, TIMES),
        max_size=12,
    ),
    FORMATS,
)
def test_training_and_curation_find_the_same_members(
    tmp_path_factory: pytest.TempPathFactory, given_members: list, form: int
) -> None:
    path = tmp_path_factory.mktemp("tars") / "0.tar"
    with tarfile.open(path, "w", format=form) as tar:
        for number, (name, field, kind, time) in enumerate(given_members):
            info = tarfile.TarInfo(f"{name}.{field}")
            info.type, info.mtime, info.linkname = kind, time, "elsewhere" if kind == tarfile.SYMTYPE else ""
            info.size = number * 200 if info.isreg() else 0
            tar.addfile(info, io.BytesIO(bytes([number]) * info.size))
    data, index = path.read_bytes(), index_tar(path)
    trained = []
    for start, stop in index.spans.tolist():
        key, members = read_members(data[start:stop])
        trained.append((start, key, {field: bytes(value) for field, value in members.items()}))
    with path.open("rb") as tar:
        found = list(find_members(tar))
        curated = [one for one in read_samples(tar) if isinstance(one, Sample)]
        repeated = [(start, key) for i, (start, key, _) in enumerate(trained) if key in [k for _, k, _ in trained[:i]]]
        assert [one for one in trained if one[:2] not in repeated] == [
            (one.start, one.key, {member.field: read_member(tar, member) for member in one.members}) for one in curated
        ]
        # Those that curation rejects as repeated are the same members, too.
        assert [(one.key, one.field, read_member(tar, one)) for one in found] == [
            (key, field, value) for _, key, members in trained for field, value in members.items()
        ]
    assert index.fault == ""


def test_times_that_gnu_keeps_beside_a_name_are_no_folder(tmp_path: Path) -> None:
    if "GNU tar" not in subprocess.run(["tar", "--version"], capture_output=True, text=True).stdout:
        pytest.skip("needs GNU tar")
    (tmp_path / "d").mkdir()
    for time, (name, data) in enumerate(pair_members("0001", 0)):
        (tmp_path / "d" / name).write_bytes(data)
        os.utime(tmp_path / "d" / name, (time * 10**8, time * 10**8))
    path = tmp_path / "0.tar"
    subprocess.run(["tar", "--format=gnu", "-G", "-cf", path, "-C", tmp_path, "d"], check=True)
    expected = dict(sorted((name.partition(".")[2], data) for name, data in pair_members("0001", 0)))
    assert samples(path) == [("d/0001", expected)]
    with path.open("rb") as tar:
        (found,) = read_samples(tar)
        assert isinstance(found, Sample)
        assert (found.key, {one.field: read_member(tar, one) for one in found.members}) == ("d/0001", expected)
    assert [shard.url for shard in check_data([str(path)])] == [str(path)]


def test_what_belongs_to_no_sample_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "0.tar"
    with tarfile.open(path, "w") as tar:
        for name in [
            "folder",
            "folder/a.jpg",
            "README",
            ".hidden.txt",
            "folder/a.txt",
            "__meta__/x.txt",
            "folder/b.jpg",
        ]:
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE if name == "folder" else tarfile.REGTYPE
            info.size = 0 if name == "folder" else 3
            tar.addfile(info, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("folder/c.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "a.jpg"
        tar.addfile(link)
    assert [(key, list(members)) for key, members in samples(path)] == [
        ("folder/a", ["jpg", "txt"]),
        ("folder/b", ["jpg"]),
    ]


def test_a_field_that_comes_again_begins_a_sample(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "0.tar", [("a.jpg", b"1"), ("a.txt", b"2"), ("a.jpg", b"3"), ("a.txt", b"4")])
    assert samples(path) == [("a", {"jpg": b"1", "txt": b"2"}), ("a", {"jpg": b"3", "txt": b"4"})]


def test_a_tar_cut_anywhere_gives_what_is_whole(tmp_path: Path) -> None:
    members = [member for i in range(4) for member in pair_members(f"{i:03d}", i)]
    path = write_tar(tmp_path / "0.tar", members)
    data, whole = path.read_bytes(), dict(members)
    with tarfile.open(path) as tar:
        ends = {info.name: info.offset_data + info.size for info in tar}
    for length in [*range(0, len(data), 97), *(end + d for end in ends.values() for d in (-1, 0, 1))]:
        path.write_bytes(data[:length])
        found = {f"{key}.{field}": value for key, fields in samples(path) for field, value in fields.items()}
        assert found == {name: whole[name] for name, end in ends.items() if end <= length}
        if 512 <= length < max(ends.values()):
            assert "cut short" in index_tar(path).fault


def test_behind_a_broken_header_the_index_goes_on(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "0.tar", [m for i in range(3) for m in pair_members(f"{i:03d}", i)])
    with tarfile.open(path) as tar:
        at = tar.getmember("001.txt").offset
    data = bytearray(path.read_bytes())
    data[at : at + 512] = b"\x01" * 512
    path.write_bytes(data)
    assert [(key, list(members)) for key, members in samples(path)] == [
        ("000", ["jpg", "txt"]),
        ("001", ["jpg"]),
        ("002", ["jpg", "txt"]),
    ]
    index = index_tar(path)
    assert f"tar broken: from byte {at:,} to {at + 1024:,}" in index.fault
    assert index.lost == 1
    path.write_bytes(b"?" * 5000)
    assert index_tar(path).fault.startswith("not a tar")
    assert len(index_tar(path)) == 0


def test_only_headers_are_read(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "0.tar", [(f"{i}.jpg", bytes(1 << 20)) for i in range(8)])
    before = read_by_process()
    assert len(index_tar(path)) == 8
    assert read_by_process() - before < 1 << 20


def read_by_process() -> int:
    """Bytes that this process has asked the system for."""
    status = Path("/proc/self/io")
    if not status.exists():
        pytest.skip("needs Linux's /proc/self/io")
    return int(status.read_text().split("rchar:")[1].split()[0])


def test_an_index_is_kept_until_the_tar_changes(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "0.tar", [m for i in range(3) for m in pair_members(f"{i:03d}", i)])
    kept = TarIndexFolder(tmp_path / "cache")
    assert_same(kept.get(path), index_tar(path))
    file = next((tmp_path / "cache").iterdir())
    np.save(file, np.array([0, 7, 9], np.uint32))  # so that it can be told from a new one
    assert kept.get(path).spans.tolist() == [[0, 7 * 512], [7 * 512, 9 * 512]]
    file.write_bytes(b"no index")
    assert_same(kept.get(path), index_tar(path))
    write_tar(path, [m for i in range(5) for m in pair_members(f"{i:03d}", i)])
    assert len(kept.get(path)) == 5
    path.unlink()
    with pytest.raises(FileNotFoundError):
        kept.get(path)


def test_a_folder_that_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "0.tar", pair_members("a", 0))
    (tmp_path / "file").write_bytes(b"")
    assert len(TarIndexFolder(tmp_path / "file" / "cache").get(path)) == 1


def assert_same(found: TarIndex, expected: TarIndex) -> None:
    assert found.fault == expected.fault == ""
    assert found.spans.tolist() == expected.spans.tolist()
