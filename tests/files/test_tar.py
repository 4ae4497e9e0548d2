"""Tars of every kind, whole and broken: against webdataset's own reader and Python's tarfile."""

import io
import tarfile
from collections.abc import Sequence
from contextlib import suppress
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from webdataset.tariterators import group_by_keys, tar_file_iterator

from files.rejects import Reject
from files.tar import Sample, find_members, read_member, read_samples
from files.tar_headers import BLOCK
from tests.examples import examples

Members = Sequence[tuple[str, bytes]]
LETTERS = st.characters(codec="utf-8", exclude_characters="/.\0", exclude_categories=["Cs", "Cc"])
NAMES = st.text(LETTERS, min_size=1, max_size=130).filter(lambda name: not name.startswith("__"))
FOLDERS = st.lists(st.text(LETTERS, min_size=1, max_size=60), max_size=3).map(
    lambda parts: "".join(f"a{part}/" for part in parts)
)
FIELDS = st.lists(
    st.sampled_from(["jpg", "JPG", "png", "txt", "json", "objects.png", "seg.npy", "Txt", "cls"]),
    min_size=1,
    max_size=4,
    unique_by=str.lower,
)
DATA = st.one_of(st.binary(max_size=40), st.integers(0, 1600).map(lambda size: b"x" * size))


REPEATED = "repeated key: an earlier sample has it; members of one key must be adjacent (tar --sort=name)"


def pack(members: Members, form: int = tarfile.GNU_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def unpack(data: bytes) -> tuple[dict[str, dict[str, bytes]], list[Reject]]:
    """What `read_samples` makes of a tar: samples as key -> field -> data, and rejects."""
    tar = io.BytesIO(data)
    found: dict[str, dict[str, bytes]] = {}
    rejects = []
    for item in read_samples(tar):
        if isinstance(item, Sample):
            assert item.key not in found
            found[item.key] = {member.field: read_member(tar, member) for member in item.members}
        else:
            rejects.append(item)
    return found, rejects


@st.composite
def sample_members(draw: st.DrawFn) -> list[tuple[str, bytes]]:
    keys = draw(st.lists(st.tuples(FOLDERS, NAMES).map("".join), min_size=1, max_size=5, unique=True))
    return [(f"{key}.{field}", draw(DATA)) for key in keys for field in draw(FIELDS)]


@given(sample_members(), st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
@examples(200)
def test_reads_what_webdataset_reads(members: Members, form: int) -> None:
    data = pack(members, form)
    files = ({**file, "__url__": ""} for file in tar_file_iterator(io.BytesIO(data)))
    theirs = {sample.pop("__key__"): sample for sample in group_by_keys(files) if sample.pop("__url__") == ""}
    ours, rejects = unpack(data)
    assert ours == theirs
    assert list(ours) == list(theirs)
    assert rejects == []


KINDS = st.sampled_from([tarfile.REGTYPE] * 4 + [tarfile.AREGTYPE, tarfile.CONTTYPE, tarfile.DIRTYPE, tarfile.LNKTYPE])
RECORDS = st.sampled_from([{}, {}, {"comment": "a"}, {"mtime": "1.5"}, {"SCHILY.xattr.a": "\n" * 600}])


@given(
    st.lists(st.tuples(st.tuples(FOLDERS, NAMES).map("".join), KINDS, RECORDS, DATA), max_size=8),
    st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
@examples(200)
def test_finds_the_files_that_tarfile_finds(entries: list[tuple[str, bytes, dict[str, str], bytes]], form: int) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, kind, records, data in entries:
            info = tarfile.TarInfo(f"{name}.jpg")
            info.type, info.pax_headers, info.linkname = kind, records, "n" * 150 if form else ""
            info.size = len(data) if info.isreg() else 0
            with suppress(ValueError):  # too long for the form
                tar.addfile(info, io.BytesIO(data))
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        theirs = [(info.name, info.offset, info.offset_data, info.size) for info in tar if info.isreg()]
    ours = list(find_members(out))
    assert [(f"{one.key}.{one.field}", one.start, one.offset, one.size) for one in ours] == theirs


def test_what_belongs_to_no_sample() -> None:
    members = [
        ("__index__/a.jpg", b"0"),
        ("a.jpg", b"1"),
        ("LICENSE", b"2"),
        ("._a.txt", b"3"),
        ("a.txt", b"4"),
        ("b/.hidden", b"5"),
    ]
    assert unpack(pack(members)) == ({"a": {"jpg": b"1", "txt": b"4"}}, [])


def test_folders_links_and_members_with_more_dots() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind in (("d", tarfile.DIRTYPE), ("d/a.jpg", tarfile.SYMTYPE), ("d/a.png", tarfile.REGTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd" if kind == tarfile.SYMTYPE else ""
            tar.addfile(info)
        for name in ("d/a.objects.png", "d.x/a.b.txt"):
            info = tarfile.TarInfo(name)
            info.size = 2
            tar.addfile(info, io.BytesIO(b"ab"))
    assert unpack(out.getvalue()) == ({"d/a": {"png": b"", "objects.png": b"ab"}, "d.x/a": {"b.txt": b"ab"}}, [])


@pytest.mark.parametrize("apart", [False, True])
def test_of_two_samples_with_one_key_the_first_is_kept(apart: bool) -> None:
    between = [("b.jpg", b"b"), ("b.txt", b"b")] if apart else []
    found, rejects = unpack(pack([("a.jpg", b"1"), ("a.txt", b"1"), *between, ("a.jpg", b"2"), ("a.txt", b"2")]))
    assert found["a"] == {"jpg": b"1", "txt": b"1"}
    assert rejects == [Reject("a", REPEATED)]
    assert len(found) == 1 + apart


def samples_before(data: bytes, end: int) -> dict[str, dict[str, bytes]]:
    """Members of an unbroken tar whose data lie before `end`, as tarfile sees them."""
    found: dict[str, dict[str, bytes]] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for info in tar:
            if info.offset_data + info.size <= end:
                key, _, field = info.name.partition(".")
                found.setdefault(key, {})[field] = data[info.offset_data : info.offset_data + info.size]
    return found


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_cut_at_every_kind_of_place(form: int) -> None:
    long = "n" * 150
    members = [
        ("a.jpg", b"j" * 700),
        ("a.txt", b""),
        (f"{long}.jpg", b"k" * 512),
        (f"{long}.txt", b"t"),
        ("c.jpg", b"z"),
    ]
    data = pack(members, form)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        end = max(info.offset_data + -(-info.size // BLOCK) * BLOCK for info in tar)
    assert end < len(data)
    places = {*range(0, len(data), 97), *(at + d for at in range(0, end + BLOCK, BLOCK) for d in (-1, 0, 1))}
    for place in sorted(place for place in places if 0 <= place <= len(data)):
        found, rejects = unpack(data[:place])
        assert found == samples_before(data, place), place
        if place > end:  # in the zeros that end it: nothing is missing
            assert rejects == []
            continue
        (reject,) = rejects
        assert reject.key == ""
        assert reject.reason.startswith(("tar cut short", "tar is empty", "tar broken", "not a tar")), (place, reject)


def numbered(count: int, form: int = tarfile.GNU_FORMAT) -> tuple[bytes, list[tuple[str, int, int]]]:
    """A tar of `count` samples, and the bytes [start, end) of each."""
    random = Random(0)
    name = "{:03d}" + "-long" * 25
    members = [
        (f"{name.format(i)}.{field}", random.randbytes(random.randrange(1, 1500)))
        for i in range(count)
        for field in ("jpg", "txt")
    ]
    data = pack(members, form)
    spans: dict[str, tuple[int, int]] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for info in tar:
            key, end = info.name.partition(".")[0], info.offset_data + -(-info.size // BLOCK) * BLOCK
            spans[key] = (spans.get(key, (info.offset, 0))[0], end)
    return data, [(key, *span) for key, span in spans.items()]


@given(
    st.integers(0, 10_000),
    st.integers(1, 6_000),
    st.sampled_from(["noise", "zeros", "headers"]),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
@examples(150)
def test_pairs_before_and_after_a_broken_stretch_survive(place: int, length: int, kind: str, form: int) -> None:
    data, spans = numbered(14, form)
    whole, _ = unpack(data)
    start = place * (spans[-1][2] - length) // 10_000
    stretch = {"noise": Random(place).randbytes(length), "zeros": bytes(length), "headers": b"ustar" * length}[kind]
    found, rejects = unpack(data[:start] + stretch[:length] + data[start + length :])
    untouched = {key for key, first, end in spans if end <= start or first >= start + length}
    assert untouched <= set(found)
    assert all(found[key] == whole[key] for key in untouched)
    assert len([reject for reject in rejects if reject.key == ""]) <= 1


@given(st.integers(0, 10_000), st.integers(1, 700), st.booleans())
@examples(150)
def test_bytes_lost_or_added_in_the_middle(place: int, length: int, lost: bool) -> None:
    data, spans = numbered(14)
    whole, _ = unpack(data)
    start = place * (spans[-1][2] - length) // 10_000
    added = b"" if lost else Random(place).randbytes(length)
    found, _ = unpack(data[:start] + added + data[start + length if lost else start :])
    # Where lost bytes have moved the next headers nearer, one sample more can go with them.
    hit = [i for i, (_, first, end) in enumerate(spans) if end > start and first < start + length]
    untouched = [key for i, (key, _, _) in enumerate(spans) if i < hit[0] or i > hit[-1] + 1]
    assert all(found[key] == whole[key] for key in untouched)


REST = {"b": {"jpg": b"b", "txt": b"b"}, "c": {"jpg": b"c"}}


def test_a_header_in_broken_bytes_is_not_believed_where_members_lie_in_its_data() -> None:
    data = pack([("0a.jpg", b"a" * 600), ("b.jpg", b"b"), ("b.txt", b"b"), ("c.jpg", b"c")])
    assert data[124:135] == b"00000001130"
    # Read from its second byte on, the header has lost a "0" of its name and got one in its size: the sum is the same.
    found, (reject,) = unpack(data[:132] + b"0" + data[132:])
    assert found == REST
    assert reject.reason == "tar broken: from byte 0 to 1,537 (bad checksum)"


def test_a_tar_within_a_tar_is_data_after_broken_bytes_too() -> None:
    inner = pack([("x.jpg", b"x"), ("x.txt", b"x")])
    data = pack([("a.tar", inner), ("b.jpg", b"b"), ("b.txt", b"b"), ("c.jpg", b"c")])
    found, (reject,) = unpack(b"!" * 100 + data)
    assert found == {"a": {"tar": inner}, **REST}
    assert reject.reason.startswith("tar broken: from byte 0 to 100")


@pytest.mark.parametrize(("size", "lost"), [(500, 100), (500, 511), (500, 512), (1000, 100), (1000, 512), (1000, 700)])
def test_a_header_among_the_data_that_lost_bytes_have_moved_it_to_is_found(size: int, lost: int) -> None:
    data = pack(
        [("a.jpg", b"a" * 600), ("a.txt", b"t" * size), ("b.jpg", b"x" * 3000), ("b.txt", b"b"), ("c.jpg", b"c")]
    )
    at = 2048  # of the text
    found, (reject,) = unpack(data[:at] + data[at + lost :])
    assert found == {"a": {"jpg": b"a" * 600}, "b": {"jpg": b"x" * 3000, "txt": b"b"}, "c": {"jpg": b"c"}}
    end = at + -(-size // BLOCK) * BLOCK - lost
    assert reject.reason.startswith(f"tar broken: from byte 1,536 to {end:,} (")


def test_bytes_lost_between_data_and_the_next_header_cost_nothing() -> None:
    members = [("a.jpg", b"a" * 600), ("a.txt", b"text"), ("b.jpg", b"b" * 3000), ("b.txt", b"b")]
    data = pack(members)
    found, (reject,) = unpack(data[:2100] + data[2400:])
    assert found == {"a": {"jpg": b"a" * 600, "txt": b"text"}, "b": {"jpg": b"b" * 3000, "txt": b"b"}}
    assert reject.reason.startswith("tar broken: from byte 2,052 to 2,260")


def test_what_is_left_of_a_pair_behind_a_fault_is_no_other_pair() -> None:
    data = bytearray(pack([("a.jpg", b"a"), ("a.txt", b"a"), ("a.json", b"a"), ("b.jpg", b"b")]))
    data[1024:1030] = b"??????"
    found, (reject,) = unpack(bytes(data))
    assert found == {"a": {"jpg": b"a"}, "b": {"jpg": b"b"}}
    assert reject == Reject("", "tar broken: from byte 1,024 to 2,048 (bad checksum)")


def test_a_member_that_is_longer_than_the_tar_costs_no_other() -> None:
    whole = pack([("b.jpg", b"b"), ("b.txt", b"b")])
    long = bytearray(pack([("a.tar", b"")])[:BLOCK])
    long[124:136] = b"77777777777\0"
    found, (reject,) = unpack(checked_header(long) + whole)
    assert found == {"b": {"jpg": b"b", "txt": b"b"}}
    assert reject.reason == "tar broken: from byte 0 to 512 (a.tar of 8,589,934,591 bytes, more than are there)"


@given(st.data())
@examples(150)
def test_no_bytes_make_it_fail(data: st.DataObject) -> None:
    raw = bytearray(numbered(3, data.draw(st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])))[0])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 20))] = data.draw(st.binary(max_size=20))
    unpack(bytes(raw))
    unpack(data.draw(st.binary(max_size=2000)))


def checked_header(block: bytearray) -> bytes:
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def test_hostile_headers() -> None:
    good = pack([("a.jpg", b"1"), ("a.txt", b"1")])
    negative = bytearray(good[:BLOCK])
    negative[124:136] = b"\xff" * 12  # base 256: -1
    found, (reject,) = unpack(checked_header(negative) + good)
    assert found["a"]["txt"] == b"1"
    assert "negative size" in reject.reason
    giant = bytearray(good[:BLOCK])
    giant[124:136], giant[156:157] = b"77777777777\0", b"L"
    found, (reject,) = unpack(checked_header(giant) + good)
    assert found["a"]["txt"] == b"1"
    assert "a header of 8,589,934,591 bytes" in reject.reason


def test_tars_strung_together_are_read_to_their_end() -> None:
    found, (reject,) = unpack(pack([("a.jpg", b"1")]) + pack([("b.jpg", b"2")]))
    assert found == {"a": {"jpg": b"1"}, "b": {"jpg": b"2"}}
    assert reject.reason.startswith("tar ends early")


@pytest.mark.parametrize("data", [b"", b"<html>404</html>", b"x" * 5000, bytes(100)])
def test_what_is_no_tar_gives_one_reject_at_most(data: bytes) -> None:
    found, rejects = unpack(data)
    assert found == {}
    assert len(rejects) == (1 if data.strip(b"\0") or not data else 0)


def test_names_that_are_not_utf8() -> None:
    raw = bytearray(pack([("aaa.jpg", b"1")]))
    raw[0:3] = b"\xff\xfea"
    found, rejects = unpack(checked_header(raw[:BLOCK]) + bytes(raw[BLOCK:]))
    assert [key.encode("utf-8", "surrogateescape") for key in found] == [b"\xff\xfea"]
    assert rejects == []
    assert Reject("\udcff\udcfea", "\ud800").key.encode() == "��a".encode()


@pytest.mark.parametrize("size", [1, 4, 5, 6, 261, 263, 1000])
def test_the_next_header_is_found_across_pieces(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("files.tar._MOST_READ", size)
    found, _ = unpack(b"!" * 777 + pack([("a.jpg", b"1")]))
    assert found == {"a": {"jpg": b"1"}}
