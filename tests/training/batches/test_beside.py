"""Training on sources with their concepts beside them: batch for batch as on whole curated shards."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.speed.tiny_pairs import THINGS, caption, write_tar
from curation.curated.outputs import shard_writer
from curation.curated.tables import ARCHIVES, PAIRS
from curation.reading.pairs import CaptionOptions, Pair
from curation.reading.shards import find_shards, read_pairs
from files.errors import CocuError, MisuseError
from tests.curation.curated_fixture import kept
from tests.tiny_world import picture
from tests.training.loader_world import digest, loader, take
from training.batches.check import check_data
from training.batches.loader import BatchOptions, validation_batches
from training.shards.found import Source, find_data

OUTPUTS = ("shards", "sidecar", "tables")
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


def source_shards(folder: Path) -> Path:
    """Shards of pairs among which are rejects, long names, concepts of an earlier curation, and captions in .json."""
    for shard, count in enumerate([5, 1100, 24, 11]):
        members: list[list[tuple[str, bytes]]] = []
        for i in range(count):
            key = f"{'n' * 120 if i % 5 == 4 else ''}{i:05d}"
            seed = 100 * shard + i % 40
            one = [(f"{key}.jpg", picture(seed)), (f"{key}.txt", caption(seed).encode())]
            if i % 7 == 3:
                one.append((f"{key}.concepts.json", b'{"version": 1, "concepts": []}'))
            if i % 6 == 2:
                one = one[1:]  # no picture: a reject
            elif shard == 2 and i % 3 == 1:
                one[1] = (f"{key}.json", json.dumps({"caption": caption(seed)}).encode())
            members.append(one)
        write_tar(folder / f"{shard:05d}.tar", list(chain.from_iterable(members)))
        beside = {"key": [f"{i:05d}" for i in range(count)], "caption": [caption(200 + i % 40) for i in range(count)]}
        pq.write_table(pa.table(beside), folder / f"{shard:05d}.parquet")
    return folder


def curate(sources: Path, out: Path, output: str) -> Path:
    """What `curate run` leaves, with concepts drawn by hand."""
    shards, rng = find_shards([str(sources / "*.tar")]), np.random.default_rng(0)
    for part in ("pairs", "archives"):
        (out / "tables" / part).mkdir(parents=True)
    for shard in shards:
        pairs = [pair for pair in read_pairs(shard, CaptionOptions()) if isinstance(pair, Pair)]
        rows = [concepts_of(rng) for _ in pairs]
        columns = kept(rows)
        owner = np.repeat([pair.key for pair in pairs], np.diff(columns.offsets)).tolist()
        table: dict[str, Any] = {"key": owner, "shard": [shard.name] * len(owner), "concept": columns.concept}
        table |= {name: getattr(columns, name) for name in ("score", "cluster", "in_caption")}
        table |= {"confidence": pa.array(columns.confidence, from_pandas=True)}
        whole = {name: table.get(name, pa.nulls(len(owner))) for name in ARCHIVES.names}
        group = 700  # rows of the groups of the two tables do not end at the same pairs
        archives = pa.table(whole).cast(ARCHIVES)
        pq.write_table(archives, out / "tables" / "archives" / f"{shard.name}.parquet", row_group_size=group)
        said = [{"key": p.key, "shard": shard.name, "caption": p.captions[0], "caption_concepts": []} for p in pairs]
        pq.write_table(pa.Table.from_pylist(said, PAIRS), out / "tables" / "pairs" / f"{shard.name}.parquet")
        with shard_writer(output, shard, out, CaptionOptions(), None, False) as writer:
            writer.write([pair.key for pair in pairs], [pair.captions[0] for pair in pairs], columns)
    inputs = [{"name": s.name, "url": s.url, "size": s.size, "rows": None, "offset": 0} for s in shards]
    manifest = {"kind": "curated", "format": 1, "finished": True, "parameters": {"output": output}, "inputs": inputs}
    (out / "manifest.json").write_text(json.dumps(manifest))
    return out


def concepts_of(rng: np.random.Generator) -> list[tuple[str, float, int, bool, float | None]]:
    names = rng.permutation(THINGS)[: int(rng.integers(0, 7))].tolist()
    return [
        (name, float(rng.normal()), i // 2, i < 1, None if i < 1 else float(rng.random()))
        for i, name in enumerate(names)
    ]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return source_shards(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def curated(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("curated")
    return {output: curate(sources, folder / output, output) for output in OUTPUTS}


def beside(sources: Path, *curated: Path) -> list[Source]:
    return [Source((str(sources),), None, curated)]


@pytest.mark.parametrize("options", [{}, {"streams": 4}, {"streams": 2, "workers": 2, "rank": 1, "world_size": 2}])
@pytest.mark.parametrize("output", OUTPUTS)
def test_batches_are_those_of_whole_shards(
    output: str, options: dict[str, Any], sources: Path, curated: dict[str, Path]
) -> None:
    with (
        loader(curated["shards"] / "shards", **options) as plain,
        loader(beside(sources, curated[output]), **options) as paired,
    ):
        assert paired.steps_per_epoch == plain.steps_per_epoch
        for one, other in zip(take(plain, 30), take(paired, 30), strict=True):
            assert one.keys == other.keys
            assert digest(one) == digest(other)
        if "streams" in options:  # then not even a checkpoint tells them apart
            assert plain.state() == paired.state()


def test_a_run_goes_on(sources: Path, curated: dict[str, Path]) -> None:
    with loader(beside(sources, curated["tables"]), streams=2) as first:
        whole = take(first, 12)
    with loader(beside(sources, curated["tables"]), streams=2, resume=whole[4].position) as second:
        assert [digest(batch) for batch in take(second, 7)] == [digest(batch) for batch in whole[5:]]


def test_validation_and_weights(sources: Path, curated: dict[str, Path], tmp_path: Path) -> None:
    options = BatchOptions(batch_size=64, image_size=16, concepts="curated-top", context_length=24)
    found = [
        [digest(batch) for batch in validation_batches(names, options)]
        for names in ([str(curated["shards"] / "shards")], beside(sources, curated["sidecar"]))
    ]
    assert found[0] == found[1]
    keys = [f"{i:05d}" for i in range(0, 1100, 2)]
    weights = {"shard": ["00001"] * len(keys), "key": keys, "weight": [0.5] * len(keys)}
    pq.write_table(pa.table(weights), tmp_path / "weights.parquet")
    with (
        loader(curated["shards"] / "shards", weights=tmp_path / "weights.parquet") as plain,
        loader(beside(sources, curated["sidecar"]), weights=tmp_path / "weights.parquet") as paired,
    ):
        assert [digest(batch) for batch in take(plain, 9)] == [digest(batch) for batch in take(paired, 9)]


def test_moved_sources_are_known_by_name_and_size(sources: Path, curated: dict[str, Path], tmp_path: Path) -> None:
    for path in sources.glob("*.tar"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    shards, _ = find_data(beside(tmp_path, curated["sidecar"]))
    assert [shard.beside.name for shard in shards if shard.beside] == [f"{i:05d}" for i in range(4)]
    (tmp_path / "00001.tar").write_bytes((tmp_path / "00001.tar").read_bytes() + bytes(512))
    with pytest.raises(MisuseError, match=r"00001\.tar has [\d,]+ bytes, but had [\d,]+ when it was curated"):
        find_data(beside(tmp_path, curated["sidecar"]))
    shards, _ = find_data([Source((str(tmp_path),), None, (curated["sidecar"],), strict=False)])
    assert [shard.beside is None for shard in shards] == [False, False, False, True]
    write_tar(tmp_path / "other.tar", [])
    with pytest.raises(MisuseError, match=r"is of 4 shards such as .*, and not of .*other\.tar"):
        find_data([Source((str(tmp_path / "other.tar"),), None, (curated["sidecar"],))])


@pytest.mark.parametrize("output", ["sidecar", "tables"])
def test_a_key_that_does_not_fit_is_named(output: str, sources: Path, curated: dict[str, Path], tmp_path: Path) -> None:
    for path in sources.glob("*.tar"):
        (tmp_path / path.name).write_bytes(path.read_bytes().replace(b"00003.", b"x0003."))
    for streams in (1, 2):
        with (
            pytest.raises((CocuError, MisuseError), match=r"pair '00003' is not in .*0000\d\.tar"),
            loader(beside(tmp_path, curated[output]), streams=streams) as batches,
        ):
            take(batches, 40)
    first = tmp_path / "00000.tar"
    first.write_bytes(first.read_bytes().replace(b"00000.", b"x0000."))
    with pytest.raises(CocuError, match=r"pair '00000' is not in"):
        check_data([Source((str(first),), None, (curated[output],))], "curated-top")


def test_what_is_no_curation_is_told(sources: Path, curated: dict[str, Path], tmp_path: Path) -> None:
    check_data(beside(sources, curated["tables"]), "curated-cluster")
    with pytest.raises(MisuseError, match=r"no manifest\.json there"):
        find_data(beside(sources, tmp_path))
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(CocuError, match="broken"):
        find_data(beside(sources, tmp_path))
