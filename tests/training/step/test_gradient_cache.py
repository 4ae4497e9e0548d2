"""Micro-batches beside the large batch, in float64."""

import copy
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tests.training.tiny_learners import Kind, gradients, tiny_batch, tiny_learner
from training.models.groupvit import GroupViT
from training.step.gradient_cache import Encoders, Features, MicroBatch, accumulate
from training.step.losses import LossParts, total_loss

KINDS: tuple[Kind, Kind] = ("patch-alignment", "groupvit")
TOLERANCE = {"rtol": 1e-9, "atol": 1e-11}


def pieces(*sizes: int, per_image: int = 2) -> list[MicroBatch]:
    """The same batch, cut into these sizes."""
    parts = (x.split(sizes) for x in tiny_batch(sum(sizes), per_image))
    return [MicroBatch(*part) for part in zip(*parts, strict=True)]


def whole_batch_loss(learner: Any):
    return lambda features: total_loss(learner, *features, concept_weight=0.5)


def kept_in_memory(learner: Any, batch: list[MicroBatch]) -> LossParts:
    """The oracle where there is noise: the same forward passes in the same order, all graphs kept, one backward."""
    each = [Encoders(learner)(*piece[:3]) for piece in batch]
    parts = total_loss(learner, *(torch.cat(xs) for xs in zip(*each, strict=True)), concept_weight=0.5)
    parts.total.backward()
    return parts


def without_noise(learner: nn.Module) -> nn.Module:
    if isinstance(learner, GroupViT):
        for stage in learner.image_encoder.stages:
            if stage.grouping is not None:
                stage.grouping.config = replace(stage.grouping.config, gumbel_noise=0.0)
    return learner


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, **TOLERANCE, msg=name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [(4, 4), (3, 4, 1), (1,) * 8])
def test_micro_batches_give_the_large_batchs_gradient_and_batch_norm(kind: Kind, sizes: tuple[int, ...]) -> None:
    large = without_noise(tiny_learner(kind))
    small = copy.deepcopy(large)
    expected = accumulate(Encoders(large), pieces(8), whole_batch_loss(large))
    found = accumulate(Encoders(small), pieces(*sizes), whole_batch_loss(small))
    torch.testing.assert_close(found.total, expected.total, **TOLERANCE)
    assert_same(gradients(small), gradients(large))
    # running means and counts of the heads' batch norm: updated once, by the whole batch
    assert_same(dict(small.named_buffers()), dict(large.named_buffers()))


@pytest.mark.parametrize("kind", KINDS)
def test_each_piece_meets_the_same_noise_twice(kind: Kind) -> None:
    kept = tiny_learner(kind, drop_path=0.5)
    cached, other = copy.deepcopy(kept), copy.deepcopy(kept)
    batch = pieces(3, 3, 2)
    torch.manual_seed(5)
    kept_in_memory(kept, batch)
    after = torch.get_rng_state()
    torch.manual_seed(5)
    accumulate(Encoders(cached), batch, whole_batch_loss(cached))
    assert_same(gradients(cached), gradients(kept))
    # what is drawn next does not depend on how the batch was cut
    torch.testing.assert_close(torch.get_rng_state(), after)
    torch.manual_seed(6)
    accumulate(Encoders(other), batch, whole_batch_loss(other))
    assert any(not torch.equal(g, gradients(kept)[name]) for name, g in gradients(other).items())


def test_gradients_are_added_to_what_is_there() -> None:
    learner = tiny_learner("patch-alignment")
    batch = pieces(4, 4)
    accumulate(Encoders(learner), batch, whole_batch_loss(learner))
    once = gradients(learner)
    accumulate(Encoders(learner), batch, whole_batch_loss(learner))
    assert_same(gradients(learner), {name: 2 * gradient for name, gradient in once.items()})


def test_captions_alone() -> None:
    large = tiny_learner("patch-alignment")
    small = copy.deepcopy(large)
    for learner, cut in ((large, pieces(6)), (small, pieces(2, 4))):
        accumulate(Encoders(learner), [piece._replace(concepts=None) for piece in cut], whole_batch_loss(learner))
    assert_same(gradients(small), gradients(large))
    assert "concept_logit_scale" not in gradients(small)


def test_a_loss_that_looks_at_pictures_alone_leaves_the_text_encoder_a_gradient_of_zero() -> None:
    learner = tiny_learner("patch-alignment")

    def loss_of(features: Features) -> LossParts:
        total = learner.project_image(features.image).square().sum() + features.image.sum()
        return LossParts(total, total.detach(), total.detach())

    accumulate(Encoders(learner), pieces(2, 2), loss_of)
    assert learner.text_encoder.norm.weight.grad is not None
    assert not learner.text_encoder.norm.weight.grad.any()


class Held:
    """Counts the bytes that autograd holds for backward passes, and the most it ever held."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def pack(self, x: Tensor) -> Any:
        class Box:
            pass

        box: Any = Box()
        box.tensor = x
        self._add(x.nbytes)
        weakref.finalize(box, self._add, -x.nbytes)
        return box

    def _add(self, count: int) -> None:
        self.now += count
        self.most = max(self.most, self.now)


@pytest.mark.parametrize("kind", KINDS)
def test_eight_pieces_take_a_fraction_of_the_memory(kind: Kind) -> None:
    learner = tiny_learner(kind)
    most = []
    for sizes in ((32,), (4,) * 8):
        held = Held()
        with torch.autograd.graph.saved_tensors_hooks(held.pack, lambda box: box.tensor):
            accumulate(Encoders(learner), pieces(*sizes), whole_batch_loss(learner))
        most.append(held.most)
    assert most[1] < 0.4 * most[0]


def test_autocast_is_on_in_every_forward_pass_and_off_in_backward() -> None:
    learner = tiny_learner("patch-alignment").float()
    seen = []
    for module in (learner.text_encoder, learner.image_head):
        module.register_forward_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    batch = [piece._replace(pixels=piece.pixels.float()) for piece in pieces(3, 3)]
    accumulate(
        Encoders(learner), batch, whole_batch_loss(learner), autocast=lambda: torch.autocast("cpu", torch.bfloat16)
    )
    assert seen == [True] * 5
    assert all(g.dtype == torch.float32 and g.isfinite().all() for g in gradients(learner).values())


def test_compiled_encoders_give_the_same() -> None:
    learner = tiny_learner("patch-alignment")
    accumulate(Encoders(learner), pieces(3, 3), whole_batch_loss(learner))
    expected = gradients(learner)
    learner.zero_grad()
    compiled: Any = torch.compile(Encoders(learner), backend="aot_eager", fullgraph=True)
    accumulate(compiled, pieces(3, 3), whole_batch_loss(learner))
    assert_same(gradients(learner), expected)


@pytest.fixture
def one_rank(tmp_path: Path):
    """A process group of this process alone."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("one_rank")
def test_ddp_averages_once_a_step_however_many_pieces_there_are() -> None:
    learner = tiny_learner("groupvit")
    ddp = DistributedDataParallel(Encoders(learner))
    averaged: list[int] = []

    def count(state: None, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
        averaged.append(bucket.buffer().numel())
        future: torch.futures.Future[Tensor] = torch.futures.Future()
        future.set_result(bucket.buffer())
        return future

    ddp.register_comm_hook(None, count)
    everything = sum(p.numel() for p in learner.parameters())
    for step, cut in enumerate((pieces(6), pieces(2, 2, 2), pieces(3, 3), pieces(6)), start=1):
        accumulate(ddp, cut, whole_batch_loss(learner), no_sync=ddp.no_sync)
        assert sum(averaged) == step * everything
