"""What processes make ready is what this one makes, to the last bit; what fails there is told, and nothing goes on."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.speed.tiny_pairs import write_tar
from curation.concepts.extractor import ConceptExtractor
from curation.concepts.noun_phrases import NounOptions
from curation.encoding.encoder import Encoder
from curation.encoding.model_names import EncoderSpec
from curation.index import embedding, feed
from curation.index.blocks import Naming, ShardResult
from curation.index.build import IndexOptions, build_index
from curation.index.embedding import embed_all, embed_shard
from curation.index.feed import Feed
from curation.index.index_manifest import RECORD
from curation.reading.pairs import CaptionOptions
from curation.reading.shards import Shard, find_caption_tables, find_shards
from curation.runs.local_workers import local_workers
from curation.runs.progress import Progress
from curation.runs.run_folder import RunFolder
from curation.runs.spread import Seat, Work, Workers
from curation.runs.team import ALONE, WorkingTeam
from files.errors import CocuError
from tests.tiny_world import make_tiny_clip, pair_members, picture

LISTED = frozenset(["dog", "cat", "beach", "tree", "boat", "car"])


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    model = make_tiny_clip(tmp_path_factory.mktemp("feed") / "clip")
    return Encoder(EncoderSpec(model, None, "fp32"), "cpu", batch_size=5, workers=2)


@pytest.fixture(scope="module")
def extractor() -> Iterator[ConceptExtractor]:
    with ConceptExtractor(NounOptions()) as extractor:
        yield extractor


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Shard]:
    """Of 23 pairs and 7, some of them bad, of which the first is a batch's last; one of none, and one of captions."""
    folder = tmp_path_factory.mktemp("shards")
    bad = {"k4.jpg": picture(4)[:200], "k7.txt": b"  ", "k21.txt": b"", "k105.jpg": b"none"}
    for name, numbers in (("a", range(23)), ("b", range(100, 107)), ("c", ())):
        members = [m for i in numbers for m in pair_members(f"k{i}", i)]
        write_tar(folder / f"{name}.tar", [(member, bad.get(member, data)) for member, data in members])
    captions = [["a dog", "two cats on a beach", "", "a red car"][i % 4] for i in range(19)]
    pq.write_table(pa.table({"key": [str(i) for i in range(19)], "caption": captions}), folder / "extra.parquet")
    return [
        *find_shards([str(folder / f"{name}.tar") for name in "abc"]),
        *find_caption_tables([str(folder / "extra.parquet")]),
    ]


def options_of(shard: Shard) -> CaptionOptions | None:
    return None if shard.name.startswith("extra") else CaptionOptions()


def fed(shards: list[Shard], encoder: Encoder, extractor: ConceptExtractor, workers: int = 2) -> Feed:
    return Feed([(shard, options_of(shard)) for shard in shards], encoder, Naming(extractor, LISTED), workers)


def embedded(shard: Shard, out: Path, encoder: Encoder, extractor: ConceptExtractor, by: Feed | None) -> ShardResult:
    return embed_shard(shard, out, encoder, extractor, options_of(shard), LISTED, feed=by)


def test_the_same_bytes_as_of_one_process(
    shards: list[Shard], encoder: Encoder, extractor: ConceptExtractor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PORTION_PAIRS", 2)  # batches of three portions
    with fed(shards, encoder, extractor) as by:
        for shard in shards:
            ours, theirs, bar = tmp_path / "ours", tmp_path / "theirs", Progress("", shard.size)
            found = embed_shard(shard, ours, encoder, extractor, options_of(shard), LISTED, bar.advance, by)
            expected = embedded(shard, theirs, encoder, extractor, None)
            assert ours.read_bytes() == theirs.read_bytes()
            assert (found.pairs, found.checksum, found.rejects) == (expected.pairs, expected.checksum, expected.rejects)
            assert bar.pairs == found.pairs + sum("picture" in reject.reason for reject in found.rejects)
    assert pq.read_metadata(ours).num_rows == 14


def test_blocks_of_fewer_pairs_than_a_shard(encoder: Encoder) -> None:
    cut = list(feed._cut(list("abcdefg"), 3, 2))  # type: ignore[arg-type]
    assert ["".join(part) for part, *_ in cut] == ["ab", "c", "de", "f", "g"]  # type: ignore[arg-type]
    assert [batch for _, batch, _ in cut] == [False, True, False, True, True]
    assert [block for *_, block in cut] == [False] * 4 + [True]


def test_a_shard_that_cannot_be_had_and_one_left_half_read(
    shards: list[Shard], encoder: Encoder, extractor: ConceptExtractor, tmp_path: Path
) -> None:
    gone = Shard("gone", str(tmp_path / "gone.tar"), 10)
    with fed([gone, *shards[:2]], encoder, extractor) as by:
        with pytest.raises(CocuError, match=r"gone\.tar"):
            embedded(gone, tmp_path / "out", encoder, extractor, by)
        portions = by.portions(shards[0].name)
        next(portions)
        portions.close()  # type: ignore[attr-defined]
        assert embedded(shards[1], tmp_path / "out", encoder, extractor, by).pairs == 6


def test_a_process_that_is_killed_is_told_and_nothing_goes_on(
    shards: list[Shard], encoder: Encoder, extractor: ConceptExtractor, tmp_path: Path
) -> None:
    for victim in (0, 1):  # the reader, a worker
        with fed(shards, encoder, extractor, workers=1) as by:
            processes = by._processes
            processes[victim].kill()
            with pytest.raises(CocuError, match=r"one of 2 worker processes died.*--workers"):
                embedded(shards[0], tmp_path / "out", encoder, extractor, by)
        assert not any(process.is_alive() for process in processes)
        assert not (tmp_path / "out").exists()


@contextmanager
def fed_on_a_cpu(makings: bytes, seat: Seat) -> Iterator[Work]:
    embedding.FED = ("cpu",)
    with pickle.loads(makings)(seat) as work:
        yield work


@pytest.mark.timeout(600)  # its many processes load torch: over two minutes on one busy core
def test_workers_have_feeds_of_their_own(
    shards: list[Shard], encoder: Encoder, extractor: ConceptExtractor, tmp_path: Path
) -> None:
    def gather(makings: bytes, count: int) -> AbstractContextManager[Workers]:
        return local_workers([0, 1], pickle.dumps(partial(fed_on_a_cpu, makings)), count)

    gone = Shard("gone", str(tmp_path / "gone.tar"), 10)
    records = []
    for name, team in (("fed", WorkingTeam("cpu", gather, 2)), ("here", ALONE)):
        with RunFolder(tmp_path / name, "index", {}, [gone, *shards], record=RECORD) as folder:
            given = (folder, [gone, *shards[:3]], shards[3:], encoder, extractor, CaptionOptions(), LISTED, team)
            with pytest.raises(CocuError, match=r"1 of 5 shards could not be read(.|\n)*gone\.tar"):
                embed_all(*given)
            records.append({name: {**one, "seconds": 0} for name, one in folder.records.items()})
    assert records[0] == records[1]
    assert len(records[0]) == 4
    for table in (tmp_path / "here" / "embeddings").iterdir():
        assert (tmp_path / "fed" / "embeddings" / table.name).read_bytes() == table.read_bytes()


@pytest.mark.slow
def test_an_index_of_a_fed_encoder_is_the_same(
    shards: list[Shard], encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = IndexOptions(encoder.spec, CaptionOptions(), NounOptions(), min_count=1, max_rejects=1)
    late = Shard("late", str(tmp_path / "late.tar"), Path(shards[1].url).stat().st_size)
    for name, devices in (("fed", ("cpu",)), ("here", ())):
        monkeypatch.setattr(embedding, "FED", devices)
        Path(late.url).unlink(missing_ok=True)
        given = ([shards[0], late, *shards[1:3]], shards[3:], tmp_path / name, options, "cpu", 5, 2)
        with pytest.raises(CocuError, match="1 of 5 shards could not be read"):
            build_index(*given)
        Path(late.url).write_bytes(Path(shards[1].url).read_bytes())
        build_index(*given)
    tables = [path.relative_to(tmp_path / "here") for path in (tmp_path / "here").rglob("*.parquet")]
    assert len(tables) >= 7
    for table in tables:
        assert (tmp_path / "fed" / table).read_bytes() == (tmp_path / "here" / table).read_bytes()
