"""Batches of Parquet: those of the same pairs in tars, with the same rejects, wherever they are made and taken up."""

from __future__ import annotations

from pathlib import Path

import pytest

from files.errors import MisuseError
from tests.training.loader_world import GOOD, digest, loader, make_shards, take
from tests.training.parquet_world import as_parquet, break_group, write
from training.batches.check import check_data
from training.batches.loader import BatchOptions, validation_batches
from training.shards.found import find_data

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")
COUNTED = ("good", "bad", "reasons", "broken_shards", "lost_pairs")


@pytest.fixture(scope="module")
def tars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(tmp_path_factory.mktemp("tars"))


@pytest.fixture(scope="module")
def tables(tars: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return as_parquet(tars, tmp_path_factory.mktemp("parquet") / "shards")


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_and_rejects_are_those_of_the_tars(tars: Path, tables: Path, workers: int) -> None:
    with loader(tars) as expected, loader(tables, workers=workers) as found:
        assert [digest(batch) for batch in take(found, 40)] == [digest(batch) for batch in take(expected, 40)]
        assert found.samples == expected.samples == 52
        if not workers:  # else they are ahead
            assert [getattr(found.counts, name) for name in COUNTED] == [
                getattr(expected.counts, name) for name in COUNTED
            ]


def test_validation_sees_them_once(tables: Path) -> None:
    options = BatchOptions(batch_size=8, image_size=16, concepts="curated-top", context_length=24)
    assert [key for batch in validation_batches([str(tables)], options) for key in batch.keys] == sorted(GOOD)


@pytest.mark.parametrize("step", [1, 11, 23])
def test_it_goes_on_bit_for_bit(tables: Path, step: int) -> None:
    with loader(tables, streams=2) as whole:
        expected = [digest(batch) for batch in take(whole, step + 6)][step:]
    with loader(tables, streams=2, workers=2) as batches:
        take(batches, step)
        state = batches.state()
    with loader(tables, streams=2, resume=state) as batches:
        assert [digest(batch) for batch in take(batches, 6)] == expected


def test_every_pair_comes_once_an_epoch_over_streams_and_ranks(tables: Path) -> None:
    """Though none of these says how long it would be as a tar."""
    keys: list[str] = []
    for rank in range(2):
        with loader(tables, streams=2, rank=rank, world_size=2, batch_size=1) as batches:
            keys += [key for batch in take(batches, 100) for key in batch.keys]
    assert set(keys) == GOOD


def test_what_is_broken_is_left_out_and_told(tars: Path, tmp_path: Path) -> None:
    tables = as_parquet(tars, tmp_path / "shards")
    cut, broken, _, _ = sorted(tables.iterdir())
    cut.write_bytes(cut.read_bytes()[:-9])
    break_group(broken, 2)
    with loader(tables) as batches:
        seen = {key for batch in take(batches, 40) for key in batch.keys}
        said = batches.counts.left_out()
    assert seen == {key for key in GOOD if key[:5] not in ("00000", "00002")} - {
        f"00001/{i:03d}" for i in range(14, 21)
    }
    assert "shards that are empty or broken (3; what cannot be read has room for about 7 pairs)" in said
    assert "00000 (cannot be read as Parquet: " in said
    assert "00001 (row group 3 of 5 cannot be read: " in said


def test_the_look_before_the_run_says_what_is_wrong(tables: Path, tmp_path: Path) -> None:
    assert len(check_data([str(tables)], "curated-cluster")) == 4
    (tmp_path / "cut.parquet").write_bytes((tables / "00001.parquet").read_bytes()[:-1])
    write(tmp_path / "plain.parquet", [{"image": {"bytes": None}, "caption": b"a dog"}] * 3)
    for name, said in (
        ("cut", "holds no samples (cannot be read as Parquet: "),
        ("plain", "none of the first 3 pairs can be used: no image (3)"),
    ):
        with pytest.raises(MisuseError) as caught:
            check_data([str(tmp_path / f"{name}.parquet")], "curated-top")
        assert said in str(caught.value)


def test_a_folder_gives_what_a_run_left_or_one_table(tables: Path, tmp_path: Path) -> None:
    (tmp_path / "shards").symlink_to(tables)
    (tmp_path / "rejects.parquet").write_bytes(b"")
    assert find_data([str(tmp_path)])[0][0].name == "rejects"
    (tmp_path / "manifest.json").write_text("{}")
    for name in (tmp_path, tmp_path / "shards", tmp_path / "shards" / "*.parquet"):
        assert [shard.name for shard in find_data([str(name)])[0]] == [f"0000{i}" for i in range(4)]
