"""Loss and gradients of several gloo processes beside one process on the joined batch, in float64."""

import multiprocessing
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from tests.training.tiny_learners import Kind, gradients, tiny_batch, tiny_learner, tiny_self_training
from training.step import ranks
from training.step.gradient_cache import Encoders, Features, MicroBatch, accumulate
from training.step.losses import LossParts, list_loss, total_loss

BATCH, PER_IMAGE = 8, 3
# learner, whether ids are given and masked, whether there are concepts
KINDS: tuple[Kind, Kind] = ("patch-alignment", "groupvit")
CASES = list(product(KINDS, (False, True), (False, True)))
# In one piece, and the fullest case of each learner also in micro-batches.
RUNS = [(*case, 1) for case in CASES] + [(kind, True, True, 2) for kind in KINDS]
# Two seconds of work, but each of its many exchanges waits for all ranks: a minute or more on a busy machine.
pytestmark = pytest.mark.timeout(600)
TOLERANCE = {"rtol": 1e-9, "atol": 1e-11}


def found_by_this_rank(
    kind: Kind, mask: bool, with_concepts: bool, pieces: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Loss and gradients after this rank's share of the batch, in micro-batches; under DDP where there are ranks."""
    learner = tiny_learner(kind)
    # Without noise, and batch norm by its running figures: synchronised batch norm exists on GPUs only.
    learner.eval()
    pixels, captions, concepts = tiny_batch(BATCH, PER_IMAGE)
    generator = torch.Generator().manual_seed(4)
    # names that repeat within an image, within a rank and across ranks
    concept_ids = torch.randint(0, 9, (BATCH, PER_IMAGE), generator=generator)
    caption_ids = torch.randint(0, 5, (BATCH,), generator=generator)

    share = BATCH // ranks.world_size()
    own = slice(ranks.rank() * share, (ranks.rank() + 1) * share)
    encoders: Any = Encoders(learner)
    no_sync = None
    if ranks.world_size() > 1:
        encoders = DistributedDataParallel(encoders)
        no_sync = encoders.no_sync
    batch = pixels[own], captions[own], concepts[own] if with_concepts else None
    cut = [
        MicroBatch(*(None if x is None else x[i * share // pieces : (i + 1) * share // pieces] for x in batch))
        for i in range(pieces)
    ]

    def loss_of(features: Features) -> LossParts:
        ids = concept_ids[own] if with_concepts else None
        return total_loss(learner, *features, ids, caption_ids[own], mask_duplicates=mask, concept_weight=0.7)

    parts = accumulate(encoders, cut, loss_of, no_sync=no_sync)
    return asdict(parts), gradients(learner)


def found_with_lists(pieces: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same of a learner that takes lists, some of them short, one empty; this rank's share of the batch."""
    learner = tiny_self_training()
    pixels, _, concepts = tiny_batch(BATCH, PER_IMAGE)
    names = torch.randint(0, 9, (BATCH, PER_IMAGE), generator=torch.Generator().manual_seed(5))
    concepts = concepts.flatten(0, 1)[names]  # equal names have equal texts
    weights = 0.1 + 0.9 * torch.rand(BATCH, PER_IMAGE, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    weights[::3, 2] = weights[1] = 0
    share = BATCH // ranks.world_size()
    own = slice(ranks.rank() * share, (ranks.rank() + 1) * share)
    encoders: Any = Encoders(learner)
    no_sync = None
    if ranks.world_size() > 1:
        encoders = DistributedDataParallel(encoders)
        no_sync = encoders.no_sync
    cut = [
        MicroBatch(some_pixels, some_concepts[:0, 0], some_concepts)
        for some_pixels, some_concepts in zip(
            pixels[own].split(share // pieces), concepts[own].split(share // pieces), strict=True
        )
    ]

    def loss_of(features: Features) -> LossParts:
        return list_loss(learner, features, names[own], weights[own])

    parts = accumulate(encoders, cut, loss_of, no_sync=no_sync)
    return {"total": parts.total, **parts.figures}, gradients(learner)


def work(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    found = {run: found_by_this_rank(*run) for run in RUNS}
    found |= {pieces: found_with_lists(pieces) for pieces in (1, 2)}
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module", params=[2, 4])
def of_ranks(request, tmp_path_factory) -> list[dict[Any, Any]]:
    """What every rank found, for every case; the processes are started once for all cases."""
    folder: Path = tmp_path_factory.mktemp("ranks")
    # One server imports torch, all processes are its forks: in seconds what takes spawned ones a minute.
    multiprocessing.set_forkserver_preload(["torch.distributed", "torch.nn.parallel"])
    workers = partial(work, world=request.param, folder=str(folder))
    mp.start_processes(workers, nprocs=request.param, start_method="forkserver")
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(request.param)]


@pytest.mark.parametrize(("kind", "mask", "with_concepts", "pieces"), RUNS)
def test_ranks_find_the_loss_and_gradients_of_the_joined_batch(
    of_ranks, kind: Kind, mask: bool, with_concepts: bool, pieces: int
) -> None:
    parts, expected = found_by_this_rank(kind, mask, with_concepts, 1)
    for found_parts, found in (rank[kind, mask, with_concepts, pieces] for rank in of_ranks):
        for name, figure in parts.items():
            torch.testing.assert_close(found_parts[name], figure, **TOLERANCE, msg=name)
        assert found.keys() >= expected.keys()
        for name, gradient in found.items():
            reference = expected.get(name, torch.zeros_like(gradient))
            torch.testing.assert_close(gradient, reference, **TOLERANCE, msg=name)


@pytest.mark.parametrize("pieces", [1, 2])
def test_ranks_find_the_loss_of_whole_lists(of_ranks, pieces: int) -> None:
    parts, expected = found_with_lists(1)
    for found_parts, found in (rank[pieces] for rank in of_ranks):
        for name, figure in parts.items():
            torch.testing.assert_close(found_parts[name], figure, **TOLERANCE, msg=name)
        for name, gradient in found.items():
            torch.testing.assert_close(gradient, expected.get(name, torch.zeros_like(gradient)), **TOLERANCE, msg=name)


def test_masking_changes_the_loss_of_this_batch() -> None:
    """Otherwise the cases above would not test it."""
    for kind, with_concepts in product(KINDS, (False, True)):
        losses = [float(found_by_this_rank(kind, mask, with_concepts, 1)[0]["total"]) for mask in (False, True)]
        assert abs(losses[0] - losses[1]) > 1e-3


def test_without_a_process_group_there_is_one_rank_and_nothing_to_gather() -> None:
    assert (ranks.world_size(), ranks.rank()) == (1, 0)
    x = torch.ones(2)
    assert ranks.gather(x) is x
    assert ranks.gather_for_rows(x) is x
    assert torch.equal(ranks.stacked(x), x[None])
