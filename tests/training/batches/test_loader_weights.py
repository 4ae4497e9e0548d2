"""A loader with weights: what an epoch sees, the same for any workers and ranks, and after going on from any place."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import training.batches.batch
import training.batches.loader
from files.errors import CocuError, MisuseError
from tests.training.loader_world import GOOD, digest, loader, make_shards, take
from training.batches.batch import Batch
from training.shards.found import Source
from training.shards.weights import is_drawn

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")
SEED = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(tmp_path_factory.mktemp("curated"))


def weight_of(name: str) -> float:
    return {0: 0.0, 1: 1.0}.get(int(name[-1]), int(name[-1]) / 10)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for each good pair but those whose key ends in 9."""
    names = sorted(name for name in GOOD if not name.endswith("9"))
    path = tmp_path_factory.mktemp("weights") / "weights.parquet"
    shards, keys = zip(*(name.split("/") for name in names), strict=True)
    pq.write_table(pa.table({"shard": shards, "key": keys, "weight": [weight_of(name) for name in names]}), path)
    return path


def drawn(epoch: int) -> list[str]:
    return sorted(n for n in GOOD if not n.endswith("9") and is_drawn(weight_of(n), SEED, epoch, n))


def epoch_of(batch: Batch) -> int:
    return int(next(iter(batch.position.values()))["stream"]["collections"][0]["epoch"])


def test_an_epoch_sees_what_is_drawn(folder: Path, weights: Path) -> None:
    with loader(folder, batch_size=1, weights=weights) as batches:
        assert batches.samples == round(sum(weight_of(name) for name in GOOD if not name.endswith("9")))
        seen: list[list[str]] = [[], []]
        for batch in takewhile(lambda batch: epoch_of(batch) < 2, batches):
            seen[epoch_of(batch)] += batch.keys
    assert [sorted(names) for names in seen] == [drawn(0), drawn(1)]
    assert seen[0] != seen[1]


def test_ranks_draw_the_pairs_that_one_draws(folder: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.batches.loader, "LEAST_PART", 1)  # so that a position says which epoch it is
    alone: list[str] = []
    with loader(folder, batch_size=1, weights=weights) as batches:
        alone = [batch.keys[0] for batch in take(batches, len(drawn(0)))]
    shared: list[str] = []
    for rank in range(2):
        with loader(folder, batch_size=1, weights=weights, rank=rank, world_size=2, streams=2) as batches:
            shared += [batch.keys[0] for batch in takewhile(lambda batch: epoch_of(batch) == 0, batches)]
    assert sorted(alone) == drawn(0)
    assert sorted(shared) == drawn(0)


@pytest.mark.parametrize("step", [0, 1, 5, 12, 23])
def test_it_goes_on_bit_for_bit_with_any_workers(folder: Path, weights: Path, tmp_path: Path, step: int) -> None:
    with loader(folder, weights=weights) as undisturbed:
        whole = [digest(batch) for batch in take(undisturbed, step + 6)]
    with loader(folder, weights=weights, workers=2) as batches:
        assert [digest(batch) for batch in take(batches, step)] == whole[:step]
        torch.save(batches.state(), tmp_path / "position.pt")
    state = torch.load(tmp_path / "position.pt", weights_only=True)
    with loader(folder, weights=weights, workers=1, resume=state) as batches:
        assert [digest(batch) for batch in take(batches, 6)] == whole[step:]


def test_other_weights_are_another_run(folder: Path, weights: Path, tmp_path: Path) -> None:
    with loader(folder, weights=weights) as batches:
        take(batches, 2)
        state = batches.state()
    table = pq.read_table(weights)
    pq.write_table(table.slice(1), tmp_path / "other.parquet")
    for other in (tmp_path / "other.parquet", None):
        with pytest.raises(MisuseError, match=r"another table of weights \(--weights\)"):
            loader(folder, weights=other, resume=state)
    with loader(folder) as batches:
        take(batches, 2)
        state = batches.state()
    assert "pair_weights" not in state[0]["stream"]
    with pytest.raises(MisuseError, match="table of weights"):
        loader(folder, weights=weights, resume=state)


def test_what_is_passed_over_is_counted(folder: Path, weights: Path) -> None:
    with loader(folder, batch_size=1, weights=weights) as batches:
        take(batches, len(drawn(0)))
        counts = batches.counts
    without = sum(name.endswith("9") for name in GOOD)
    assert without > 0
    read = counts.good + counts.bad + counts.not_drawn
    line = (
        f"by --weights {counts.not_drawn / read:.1%} of the pairs read ({counts.not_drawn:,}, {counts.unweighted:,} of"
    )
    assert line in counts.left_out()
    assert counts.unweighted >= without


def test_weights_of_other_pairs_are_told(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.batches.batch, "MOST_UNWEIGHTED", 200)
    pq.write_table(pa.table({"key": ["of", "others"]}), tmp_path / "w.parquet")
    with loader(folder, weights=tmp_path / "w.parquet") as batches, pytest.raises(CocuError, match="has a weight; is"):
        next(batches)


def test_shares_say_something_else(folder: Path, weights: Path) -> None:
    shares = [Source((str(folder / "00000.tar"),), 0.5), Source((str(folder / "00001.tar"),), 0.5)]
    with pytest.raises(MisuseError, match="cannot go with --shares"):
        loader(shares, weights=weights)
