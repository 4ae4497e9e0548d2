"""The same batches for any number of workers, and bit for bit after going on from any place."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import training.batches.augment
from files.errors import MisuseError
from tests.training.loader_world import digest, loader, make_shards, take
from training.batches.batch import Batch, all_counts

# More workers than cores.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(tmp_path_factory.mktemp("curated"))


@pytest.fixture(scope="module")
def whole(folder: Path) -> list[Batch]:
    """The first 40 batches of the undisturbed run: three epochs and a half."""
    with loader(folder) as undisturbed:
        return take(undisturbed, 40)


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_batches_do_not_depend_on_the_workers(folder: Path, whole: list[Batch], workers: int) -> None:
    with loader(folder, workers=workers) as batches:
        assert [digest(batch) for batch in take(batches, 40)] == [digest(batch) for batch in whole]
        assert [batch.position for batch in whole][-1] == batches.state()


def test_parts_of_any_size_give_the_same_batches(
    folder: Path, whole: list[Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    for size in (1, 3, 4):
        monkeypatch.setattr(training.batches.loader, "PART_BYTES", size * 3 * 16 * 16)
        with loader(folder) as batches:
            assert [digest(batch) for batch in take(batches, 40)] == [digest(batch) for batch in whole]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("step", [0, 1, 2, 5, 10, 11, 12, 23, 33])
def test_it_goes_on_bit_for_bit(folder: Path, whole: list[Batch], tmp_path: Path, step: int, workers: int) -> None:
    with loader(folder, workers=2 - workers) as batches:
        read = take(batches, step)
        state = batches.state()
        assert not read or state == read[-1].position
    torch.save({"position": state}, tmp_path / "trainer.pt")
    state = torch.load(tmp_path / "trainer.pt", weights_only=True)["position"]
    with loader(folder, workers=workers, resume=state) as batches:
        assert batches.state() == state
        assert [digest(batch) for batch in take(batches, 6)] == [digest(batch) for batch in whole[step : step + 6]]


def test_another_batch_size_goes_on_with_the_next_pair(folder: Path, whole: list[Batch]) -> None:
    keys = [key for batch in whole for key in batch.keys]
    with loader(folder, batch_size=5, resume=whole[6].position) as batches:
        assert [key for batch in take(batches, 8) for key in batch.keys] == keys[28:68]


def test_what_is_passed_over_is_not_decoded(folder: Path, whole: list[Batch], monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    decode = training.batches.augment.decode

    def counting(*args: Any) -> torch.Tensor:
        decoded.append(1)
        return decode(*args)

    monkeypatch.setattr(training.batches.augment, "decode", counting)
    with loader(folder, resume=whole[30].position) as batches:
        assert not decoded
        assert digest(next(batches)) == digest(whole[31])
    assert len(decoded) <= 8


def of_ranks(folder: Path, ranks: int, streams: int, resume: Any = None, count: int = 12) -> list[list[Batch]]:
    """Batches of 12 pairs, each as the ranks have it."""
    loaders = [
        loader(folder, batch_size=12 // ranks, rank=rank, world_size=ranks, streams=streams, resume=resume, workers=1)
        for rank in range(ranks)
    ]
    made = [take(one, count) for one in loaders]
    for one in loaders:
        one.close()
    return [list(some) for some in zip(*made, strict=True)]


def pairs(batches: list[Batch]) -> list[tuple[str, bytes, list[int], int]]:
    """All that a step sees of a batch, pair by pair, in the order of ranks."""
    return [
        (key, pixels.numpy().tobytes(), [*caption.tolist(), *concepts.flatten().tolist()], int(seed))
        for batch in batches
        for key, pixels, caption, concepts, seed in zip(
            batch.keys, batch.pixels, batch.captions, batch.concepts, batch.seeds, strict=True
        )
    ]


@pytest.mark.parametrize("streams", [1, 2, 3, 4, 12])
def test_ranks_see_together_what_one_sees(folder: Path, streams: int) -> None:
    one = of_ranks(folder, 1, streams)
    for ranks in (2, 3, 4, 6):
        several = of_ranks(folder, ranks, streams)
        assert [pairs(batch) for batch in several] == [pairs(batch) for batch in one]


@pytest.mark.parametrize(("before", "after", "streams"), [(1, 2, 4), (4, 1, 4), (2, 3, 1), (3, 4, 6), (6, 2, 3)])
def test_another_number_of_ranks_goes_on_with_the_same_batches(
    folder: Path, before: int, after: int, streams: int
) -> None:
    undisturbed = of_ranks(folder, before, streams)
    positions = {number: at for batch in undisturbed[4] for number, at in batch.position.items()}
    assert sorted(positions) == list(range(streams))
    again = of_ranks(folder, after, streams, positions, count=7)
    assert [pairs(batch) for batch in again] == [pairs(batch) for batch in undisturbed[5:]]


def test_samples_that_two_ranks_make_are_counted_once(folder: Path) -> None:
    loaders = [loader(folder, batch_size=6, rank=rank, world_size=2) for rank in range(2)]
    for one in loaders:
        take(one, 4)
    assert [one.counts.good + one.counts.bad > 0 for one in loaders] == [True, False]
    assert all_counts(one.counts for one in loaders).good >= 48


def test_another_run_is_refused(folder: Path, whole: list[Batch]) -> None:
    with pytest.raises(MisuseError, match=r"number of streams \(data.streams\): 1 then, 2 now"):
        loader(folder, streams=2, resume=whole[0].position)
    with pytest.raises(MisuseError, match="seed: 5 then, 6 now"):
        loader(folder, seed=6, resume=whole[0].position)


def test_the_models_random_states_are_left_alone(folder: Path) -> None:
    for workers in (0, 1):
        torch.manual_seed(1)
        random.seed(1)
        np.random.seed(1)
        before = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
        with loader(folder, workers=workers) as batches:
            take(batches, 3)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert random.getstate() == before[1]
        assert str(np.random.get_state()) == before[2]
