"""Curated shards: every byte of the source but what is added, and nothing of a source that has changed."""

import io
import json
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.speed.tiny_pairs import write_tar
from curation.curated.enriched import enriched_captions, with_caption
from curation.curated.shards import CuratedShard, read_concepts
from curation.curated.sidecar import Sidecar
from curation.reading.pairs import CaptionOptions, Pair, checksum_of
from curation.reading.shards import Shard, find_shards, read_pairs
from files.concepts_json import concepts_json
from files.errors import CocuError
from files.tar_headers import BLOCK, tar_member
from tests.curation.curated_fixture import kept
from tests.integration.commands import members_of
from tests.tiny_world import pair_members, picture

CONCEPTS = [("grass", 1.5, 0, False, 0.625), ("dog", 1.25, 1, True, None), ("sky", 0.5, 0, False, None)]


def curate(shard: Shard, out: Path, *keys: str, field: str | None = None) -> dict[str, dict[str, bytes]]:
    with CuratedShard(shard, out, CaptionOptions(), field) as target:
        target.write(keys, ["a dog"] * len(keys), kept([CONCEPTS] * len(keys)))
    return samples_of(out)


def samples_of(tar: Path) -> dict[str, dict[str, bytes]]:
    stream = webdataset.WebDataset(str(tar), shardshuffle=False, empty_check=False)
    return {
        sample["__key__"]: {name: data for name, data in sample.items() if not name.startswith("__")}
        for sample in stream
    }


def shard_of(path: Path) -> Shard:
    return Shard("0", str(path), path.stat().st_size)


def test_members_pass_through_and_concepts_are_added(tmp_path: Path) -> None:
    extra = {"objects.png": b"\0" * 700, "JSON": b'{"a": 1}', "seg.npy": b""}
    members = [*pair_members("x/a", 0, extra), *pair_members("rejected", 1), *pair_members("b" * 150, 2)]
    found = curate(shard_of(write_tar(tmp_path / "0.tar", members)), tmp_path / "out.tar", "x/a", "b" * 150)
    added = found["x/a"].pop("concepts.json")
    assert json.loads(added) == {
        "version": 1,
        "concepts": [
            {"concept": "grass", "score": 1.5, "cluster": 0, "in_caption": False, "confidence": 0.625},
            {"concept": "dog", "score": 1.25, "cluster": 1, "in_caption": True},
            {"concept": "sky", "score": 0.5, "cluster": 0, "in_caption": False},
        ],
    }
    assert read_concepts(added) == json.loads(added)["concepts"]
    with pytest.raises(CocuError, match="version 2; this reads 1"):
        read_concepts(b'{"version": 2}')
    assert found["x/a"] == {name.partition(".")[2].lower(): data for name, data in members[:5]}
    assert found["b" * 150]["jpg"] == picture(2)
    assert list(found) == ["x/a", "b" * 150]


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    shard = shard_of(write_tar(tmp_path / "0.tar", pair_members("a", 0)))
    for field in (None, "caption"):
        curate(shard, tmp_path / "1.tar", "a", field=field)
        curate(shard, tmp_path / "2.tar", "a", field=field)
        assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()
        assert len((tmp_path / "1.tar").read_bytes()) % tarfile.RECORDSIZE == 0


def test_concepts_of_an_earlier_curation_are_replaced(tmp_path: Path) -> None:
    old = {"concepts.json": b'{"version": 1, "concepts": []}', "json": b"{}"}
    shard = shard_of(write_tar(tmp_path / "0.tar", pair_members("a", 0, old)))
    found = curate(shard, tmp_path / "out.tar", "a")
    assert [row["concept"] for row in read_concepts(found["a"]["concepts.json"])] == ["grass", "dog", "sky"]
    assert found["a"]["json"] == b"{}"


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        (b'{"a": "\\ud83d", "meta": {"b": 1}}', {"a": "\ud83d", "meta": {"b": 1}}),
        (b"[1, 2]", {"value": [1, 2]}),
        (b"{broken", {}),
        (b"[" * 100_000, {}),
        (b'{"meta": null}', {}),
        (b'{"meta": {"caption": [1, {}]}}', {"meta": {}}),
    ],
)
def test_an_enriched_caption_joins_the_json_member(raw: bytes, kept: dict[str, Any], tmp_path: Path) -> None:
    shard = shard_of(write_tar(tmp_path / "0.tar", pair_members("a", 0, {"json": raw})))
    described = json.loads(curate(shard, tmp_path / "out.tar", "a", field="meta.caption")["a"]["json"])
    assert described["meta"].pop("caption") == "a dog, with grass and sky"
    assert described == {"meta": {}, **kept} if isinstance(kept.get("meta"), dict) else {**kept, "meta": {}}


@pytest.mark.parametrize("value", [3, "text", "", [], [{}], False])
@pytest.mark.parametrize("field", ["a.b", "a.b.c", "o.a.b"])
def test_a_value_on_the_way_is_kept_and_counted(value: Any, field: str, tmp_path: Path) -> None:
    raw = json.dumps({"a": value, "o": {"a": value}}, indent=1).encode()
    members = [*pair_members("a", 0, {"json": raw}), *pair_members("b", 1, {"json": b"{}"})]
    shard = shard_of(write_tar(tmp_path / "0.tar", members))
    with CuratedShard(shard, tmp_path / "out.tar", CaptionOptions(), field) as tar:
        tar.write("ab", ["a dog"] * 2, kept([[("sky", 1.0, 0, False, None)]] * 2))
    found = samples_of(tmp_path / "out.tar")
    assert (found["a"]["json"], tar.unenriched) == (raw, 1)
    assert b"a dog, with sky" in found["b"]["json"]


def test_a_pair_without_json_gets_one(tmp_path: Path) -> None:
    shard = shard_of(write_tar(tmp_path / "0.tar", pair_members("a", 0)))
    assert curate(shard, tmp_path / "out.tar", "a", field="caption")["a"]["json"] == (
        b'{"caption": "a dog, with grass and sky"}'
    )


@given(
    st.text().filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text)),
    st.lists(st.text("abc"), max_size=5),
)
def test_enriched_captions(caption: str, words: list[str]) -> None:
    (enriched,) = enriched_captions([caption], kept([[(word, 1.0, 0, False, None) for word in words]]))
    member = with_caption({}, "c", enriched)
    assert member is not None
    text = json.loads(member)["c"]
    if not words:
        assert text == caption
    else:
        assert text.startswith(caption.rstrip(" .!?,;"))
        assert text.endswith(words[: min(3, len(words))][-1])


def test_a_table_becomes_a_tar(tmp_path: Path) -> None:
    for name, seed in (("a.JPG", 1), ("b.c.png", 2)):
        (tmp_path / name).write_bytes(picture(seed, form="PNG"))
    rows = "image,caption\na.png,its picture is missing\na.JPG,first\na.JPG,again\nb.c.png,second\n"
    (tmp_path / "t.csv").write_text(rows)
    (shard,) = find_shards([str(tmp_path / "t.csv")])
    found = curate(shard, tmp_path / "out.tar", "a", "b_c")
    assert found["a"]["jpg"] == picture(1, form="PNG")
    assert found["a"]["txt"] == b"first"
    assert list(found["b_c"]) == ["png", "txt", "concepts.json"]


@pytest.mark.parametrize("beside", [False, True])
def test_a_caption_from_elsewhere_becomes_the_text(tmp_path: Path, beside: bool) -> None:
    """From the .json member, or from img2dataset's Parquet beside the shard; a text that is there stays as it was."""
    said = json.dumps({"alt": "a caption of the index"}).encode()
    members = [("a.jpg", picture(0)), ("a.json", said), ("b.jpg", picture(1)), ("b.txt", b" own "), ("b.json", said)]
    path = write_tar(tmp_path / "0.tar", members)
    options = CaptionOptions() if beside else CaptionOptions(field="alt")
    if beside:
        pq.write_table(pa.table({"key": ["a"], "caption": ["a caption of the index"]}), tmp_path / "0.parquet")
    pairs = [pair for pair in read_pairs(shard_of(path), options) if isinstance(pair, Pair)]
    with CuratedShard(shard_of(path), tmp_path / "out.tar", options) as shard:
        shard.write([pair.key for pair in pairs], [pair.captions[0] for pair in pairs], kept([[]] * len(pairs)))
    found = dict(members_of(tmp_path / "out.tar"))
    assert found["a.txt"] == b"a caption of the index"
    assert found["b.txt"] == b" own "


def test_a_cut_last_padding_is_made_up(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "0.tar", [("a.jpg", picture(0)), ("a.txt", b"x")])
    with tarfile.open(path) as tar:
        info = tar.getmembers()[-1]
    path.write_bytes(path.read_bytes()[: info.offset_data + 1])
    assert curate(shard_of(path), tmp_path / "out.tar", "a")["a"]["txt"] == b"x"


@given(
    st.integers(512, 6000),
    st.lists(st.tuples(st.integers(0, 5000), st.booleans()), min_size=1, max_size=8),
    st.sampled_from([None, "caption"]),
)
def test_bytes_do_not_depend_on_the_pieces_that_are_read(
    piece: int, pairs: list[tuple[int, bool]], field: str | None
) -> None:
    made = [
        [
            tar_member(f"{i}.jpg", bytes([i]) * size),
            tar_member(f"{i}.json", b'{"a": 1}'),
            tar_member(f"{i}.txt", b"a dog"),
        ]
        for i, (size, _) in enumerate(pairs)
    ]
    chosen = [i for i, (_, kept) in enumerate(pairs) if kept]
    given = kept([CONCEPTS[: i % 4] for i in chosen])
    expected = b""
    for i, concepts in zip(chosen, concepts_json(given).to_pylist(), strict=True):
        image, described, text = made[i]
        (caption,) = enriched_captions(["a dog"], kept([CONCEPTS[: i % 4]]))
        new = tar_member(f"{i}.json", json.dumps({"a": 1, "caption": caption}).encode())
        expected += image + (text if field else described + text)
        expected += (new if field else b"") + tar_member(f"{i}.concepts.json", concepts)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("files.stretches.PIECE", piece)
        path, out = Path(folder, "0.tar"), Path(folder, "out.tar")
        path.write_bytes(b"".join(part for members in made for part in members) + bytes(1024))
        with CuratedShard(shard_of(path), out, CaptionOptions(), field) as target:
            target.write([str(i) for i in chosen], ["a dog"] * len(chosen), given)
        written = out.read_bytes()
    assert written[: len(expected)] == expected
    assert not written[len(expected) :].strip(b"\0")
    assert len(written) % tarfile.RECORDSIZE == 0


@pytest.mark.parametrize("kind", [CuratedShard, Sidecar])
def test_nothing_is_left_where_writing_fails(kind: type[CuratedShard | Sidecar], tmp_path: Path) -> None:
    shard = shard_of(write_tar(tmp_path / "0.tar", pair_members("a", 0)))

    def run(field: str | None) -> None:
        with kind(shard, tmp_path / "out.tar", CaptionOptions(), field) as target:
            target.write(["a"], ["a dog"], kept([CONCEPTS]))
            raise KeyboardInterrupt

    for field in (None, "caption"):
        with pytest.raises(KeyboardInterrupt):
            run(field)
        assert [path.name for path in tmp_path.iterdir()] == ["0.tar"]


def checksum(shard: Shard) -> int:
    found = 0
    for pair in read_pairs(shard, CaptionOptions()):
        assert isinstance(pair, Pair)
        found = checksum_of(pair.checksum, found)
    return found


def test_a_changed_shard_gives_no_file(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "0.tar", [*pair_members("a", 0), *pair_members("b", 1)])
    shard, expected = shard_of(path), checksum(shard_of(path))
    old = path.read_bytes()

    def run() -> None:
        with CuratedShard(shard, tmp_path / "out.tar", CaptionOptions()) as target:
            target.write("ab", ["a dog"] * 2, kept([CONCEPTS] * 2))
            target.check(expected)

    run()
    (tmp_path / "out.tar").unlink()
    at = old.index(picture(1)) + 100
    for new, said in (
        (old[:at] + bytes([old[at] ^ 1]) + old[at + 1 :], "other pictures or captions than the index was built from"),
        (old.replace(b"b.jpg", b"c.jpg").replace(b"b.txt", b"c.txt"), "tar broken|pair 'b' is in the index but no"),
        (old + bytes(512), r"has 10,752 bytes, but had 10,240"),
    ):
        path.write_bytes(new)
        with pytest.raises(CocuError, match=said) as changed:
            run()
        assert str(path) in str(changed.value)
        assert "put the old one back" in str(changed.value)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["0.tar"]
    path.write_bytes(old)
    run()


def test_members_written_are_what_tarfile_reads() -> None:
    for name, size in (("a.json", 0), ("é" * 80 + ".json", 5), ("x/" * 120 + "a.json", 512)):
        data = tar_member(name, b"z" * size)
        assert len(data) % BLOCK == 0
        with tarfile.open(fileobj=io.BytesIO(data + bytes(2 * BLOCK))) as tar:
            (info,) = tar.getmembers()
            assert (info.name, info.size, info.mtime, info.uid) == (name, size, 0, 0)
