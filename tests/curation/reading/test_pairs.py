"""Pairs of tars and tables: where captions come from, and what is rejected for which reason."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.speed.tiny_pairs import caption, write_tar
from curation.reading import pairs, tars
from curation.reading.pairs import CaptionOptions, Pair, checked_captions
from curation.reading.shards import Shard, find_shards, read_pairs
from curation.reading.tars import json_field
from files.errors import CocuError, MisuseError
from files.rejects import Reject
from tests.tiny_world import make_shards, pair_members, picture

JPEG = picture(1)


def read(path: Path, **options: Any) -> list[Pair | Reject]:
    return list(read_pairs(Shard("0", str(path), 0), CaptionOptions(**options)))


def one(tmp_path: Path, *members: tuple[str, bytes], **options: Any) -> Pair | Reject:
    (found,) = read(write_tar(tmp_path / "0.tar", members), **options)
    return found


def good(found: Pair | Reject) -> Pair:
    assert isinstance(found, Pair), found
    return found


def test_good_pairs_come_in_order(tmp_path: Path) -> None:
    (path,) = make_shards(tmp_path, 1, 5)
    found = [good(pair) for pair in read(path)]
    assert [(pair.key, pair.image, pair.captions) for pair in found] == [
        (f"00000{i:04d}", picture(i), (caption(i),)) for i in range(5)
    ]


@pytest.mark.parametrize("image", ["jpg", "jpeg", "png", "webp", "JPG", "Jpeg"])
@pytest.mark.parametrize("text", ["txt", "text", "caption", "TXT"])
def test_members_of_a_pair(image: str, text: str, tmp_path: Path) -> None:
    pair = good(one(tmp_path, (f"a/b.{text}", b" A dog. \n"), (f"a/b.{image}", JPEG), ("a/b.objects.png", b"x")))
    assert (pair.key, pair.image, pair.captions) == ("a/b", JPEG, ("A dog.",))


def test_a_mask_is_no_picture_and_a_second_text_no_caption(tmp_path: Path) -> None:
    assert one(tmp_path, ("a.objects.png", JPEG), ("a.txt", b"x")) == Reject(
        "a", "no image: it has .objects.png, .txt; a key ends at the first dot of a name, what follows is the field"
    )
    assert one(tmp_path, ("a.jpg", JPEG), ("a.ocr.txt", b"x")) == Reject(
        "a", "no caption: it has .jpg, .ocr.txt; a key ends at the first dot of a name, what follows is the field"
    )


@pytest.mark.parametrize(
    ("described", "hint"),
    [
        (
            {"width": 3, "alt": "a dog", "captions": ["a dog", "a cat"]},
            "; the .json has alt, captions: --caption-field alt",
        ),
        ({"url": "x", "captions": ["a dog"]}, "; the .json has captions, url: --caption-field captions"),
        ({"caption": "", "width": 3}, ""),
        (["a dog"], ""),
    ],
)
def test_captions_that_lie_elsewhere_are_pointed_to(described: object, hint: str, tmp_path: Path) -> None:
    found = one(tmp_path, ("a.jpg", JPEG), ("a.json", json.dumps(described).encode()))
    assert found == Reject("a", f"no caption: it has .jpg, .json{hint}")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (None, "no caption: it has .jpg"),
        (b"", "empty caption"),
        (b" \n\t\xc2\xa0", "empty caption"),
        (b"caf\xe9", "caption is not UTF-8"),
        (b"x" * (pairs.MAX_TEXT_BYTES + 1), "oversized text member: 4,194,305 bytes, the limit is 4,194,304"),
    ],
)
def test_captions_that_are_none(raw: bytes | None, reason: str, tmp_path: Path) -> None:
    members = [("a.jpg", JPEG), *([("a.txt", raw)] if raw is not None else [])]
    assert one(tmp_path, *members) == Reject("a", reason)


def test_captions_that_are_odd_but_good(tmp_path: Path) -> None:
    long = "A dog. " * 15_000
    assert good(one(tmp_path, ("a.jpg", JPEG), ("a.txt", long.encode()))).captions == (long.strip(),)
    assert good(one(tmp_path, ("a.jpg", JPEG), ("a.txt", "\ufeffÉté 狗 🐕\0".encode()))).captions == ("Été 狗 🐕\0",)


def test_caption_field(tmp_path: Path) -> None:
    described = {"caption": "one", "meta": {"alt": ["", None, "two", "three"], "n": 4}, "empty": [], "deep": {"a": "b"}}
    members = [("a.jpg", JPEG), ("a.txt", b"text"), ("a.json", json.dumps(described).encode())]
    assert good(one(tmp_path, *members, field="caption")).captions == ("one",)
    assert good(one(tmp_path, *members, field="meta.alt")).captions == ("two",)
    assert good(one(tmp_path, *members, field="meta.alt", all_captions=True)).captions == ("two", "three")
    assert one(tmp_path, *members, field="meta.n") == Reject("a", "caption is no text: it is of type int")
    assert one(tmp_path, *members, field="empty") == Reject("a", "empty caption")
    assert one(tmp_path, *members, field="missing.alt") == Reject("a", "no caption: its .json has no missing.alt")
    assert one(tmp_path, *members, field="caption.alt") == Reject("a", "no caption: its .json has no caption.alt")
    assert one(tmp_path, *members[:2], field="caption") == Reject("a", "no caption: it has .jpg, .txt")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{", "broken .json member: "),
        (b'{"caption": "caf\xe9"}', "caption is not UTF-8"),
        (b'{"caption": "\\ud83d half a letter"}', "caption is not UTF-8"),
        (b"[" * 100_000, "broken .json member: "),
        (b'{"caption": ' + b"1" * 10_000 + b"}", "broken .json member: "),
        (b'["caption"]', "no caption"),
        (b"", "broken .json member: "),
    ],
)
def test_broken_json_members(raw: bytes, reason: str, tmp_path: Path) -> None:
    found = one(tmp_path, ("a.jpg", JPEG), ("a.json", raw), field="caption")
    assert isinstance(found, Reject)
    assert found.reason.startswith(reason)


def test_a_broken_json_member_does_not_matter_to_a_text_caption(tmp_path: Path) -> None:
    assert good(one(tmp_path, ("a.jpg", JPEG), ("a.txt", b"x"), ("a.json", b"{"))).captions == ("x",)


def test_all_captions_needs_a_field() -> None:
    with pytest.raises(MisuseError, match="--all-captions needs --caption-field"):
        CaptionOptions(all_captions=True)


@given(st.recursive(st.none() | st.booleans() | st.text() | st.binary() | st.floats(), st.lists), st.booleans())
def test_any_value_gives_captions_or_a_reject(raw: Any, all_captions: bool) -> None:
    found = checked_captions("k", raw, all_captions)
    if isinstance(found, Reject):
        found.reason.encode()
    else:
        assert found
        assert all_captions or len(found) == 1
        assert all(text and text == text.strip() and text.encode() for text in found)


@given(st.dictionaries(st.text("ab", min_size=1, max_size=2), st.text(), max_size=3), st.text("ab.", min_size=1))
def test_dotted_paths(described: dict[str, str], path: str) -> None:
    nested = {"a": described, **{f"b{k}": v for k, v in described.items()}}
    expected: Any = nested
    for name in path.split("."):
        expected = expected.get(name) if isinstance(expected, dict) else None
    assert json_field(json.dumps(nested).encode(), path) == expected


def test_repeated_keys_missing_parts_and_bad_keys_do_not_stop_the_others(tmp_path: Path) -> None:
    members = [
        *pair_members("a", 0),
        *pair_members("a", 1),  # adjacent
        ("b.txt", b"no picture"),
        *pair_members("c", 2),
        *pair_members("a", 3),  # far apart
        *pair_members("\udcff", 4),
        *pair_members("d", 5),
    ]
    found = read(write_tar(tmp_path / "0.tar", members))
    assert [item.key for item in found if isinstance(item, Pair)] == ["a", "c", "d"]
    assert [(item.key, item.reason.partition(":")[0]) for item in found if isinstance(item, Reject)] == [
        ("a", "repeated key"),
        ("b", "no image"),
        ("a", "repeated key"),
        ("�", "key is not UTF-8"),
    ]


def test_oversized_picture_files_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tars, "MAX_IMAGE_BYTES", 1_000)
    found = one(tmp_path, ("a.jpg", bytes(1_001)), ("a.txt", b"x"))
    assert found == Reject("a", "oversized picture file: 1,001 bytes, the limit is 1,000")


def test_img2dataset_captions_beside_the_shard(tmp_path: Path) -> None:
    members = [("000.jpg", JPEG), ("001.jpg", JPEG), ("001.txt", b"own"), ("002.jpg", JPEG), ("003.jpg", JPEG)]
    (tmp_path / "00000_stats.json").write_text("{}")
    columns = {"key": ["000", "001", "002"], "caption": ["zero", "one", None], "status": ["success"] * 3}
    pq.write_table(pa.table(columns), tmp_path / "00000.parquet")
    path = write_tar(tmp_path / "00000.tar", members)
    (shard,) = find_shards([str(tmp_path)])
    found = list(read_pairs(shard, CaptionOptions()))
    assert [(p.key, p.captions[0]) for p in found if isinstance(p, Pair)] == [("000", "zero"), ("001", "own")]
    assert found[2:] == [Reject(key, "no caption: it has .jpg") for key in ("002", "003")]
    (tmp_path / "00000.parquet").write_bytes(b"PAR1 broken")
    found = read(path)
    assert [item.key for item in found] == ["", "000", "001", "002", "003"]
    assert isinstance(found[0], Reject)
    assert "00000.parquet" in found[0].reason


def test_checksums_tell_changed_pairs(tmp_path: Path) -> None:
    def checksum(*members: tuple[str, bytes]) -> int:
        return good(one(tmp_path, *members)).checksum

    first = checksum(("a.jpg", JPEG), ("a.txt", b"x"))
    assert first == checksum(("a.txt", b"x"), ("a.jpg", JPEG)), "only what the pair is made of counts"
    others = [
        checksum(("a.jpg", picture(2)), ("a.txt", b"x")),
        checksum(("a.jpg", JPEG), ("a.txt", b"y")),
        checksum(("a.jpg", JPEG), ("a.txt", b"x"), ("a.json", b"{}")),
    ]
    assert len({first, *others}) == 4


def test_reading_errors_name_the_shard(tmp_path: Path) -> None:
    with pytest.raises(CocuError, match=rf"{tmp_path}/0.tar: is no longer there; put it back"):
        read(tmp_path / "0.tar")
