"""The gradient of a large batch's loss in the memory of a small one (GradCache; Gao et al., RepL4NLP 2021).

A contrastive loss cannot be summed over micro-batches: every image has all texts of the batch for
its negatives. So the encoders first see each piece of the batch without keeping anything but the
features; heads, similarity and loss see all features at once and leave a gradient at each; then each
piece goes through the encoders again, with the same random numbers, and takes its gradient on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from training.models.learner import Learner
from training.models.noise import of_samples
from training.processes import Place
from training.step.losses import LossParts

PIXELS = 4  # axes of a batch of pictures


class Features(NamedTuple):
    """A batch before the heads: image [B, ...], captions [B, width], concepts [B, K, width] or None."""

    image: Tensor
    captions: Tensor
    concepts: Tensor | None


class MicroBatch(NamedTuple):
    """A micro-batch: normalised pixels [b, 3, H, W], token ids of captions, [b, T] or none, and of concepts [b, K, T].

    Pixels: or features of a frozen tower [b, ...]. Concepts: or None. seeds: int64 [b], of what is drawn for each
    (training/models/noise.py); None: drawn by torch.
    """

    pixels: Tensor
    captions: Tensor
    concepts: Tensor | None
    seeds: Tensor | None = None


class Encoders(nn.Module):
    """Both encoders of a learner as one module: what torch.compile and DDP wrap.

    The heads lie in the learner too, so DDP averages their gradients, though they are called
    outside of its forward pass. Leave find_unused_parameters off: it would take them for unused.
    """

    def __init__(self, learner: Learner) -> None:
        super().__init__()
        self.learner = learner

    def forward(self, pixels: Tensor, captions: Tensor, concepts: Tensor | None) -> Features:
        """Captions and concepts go through the text encoder together. pixels: or features that are there already."""
        image = self.learner.encode_image(pixels) if pixels.ndim == PIXELS else pixels
        if concepts is None:
            return Features(image, self.learner.encode_text(captions), None)
        batch = len(captions)
        texts = self.learner.encode_text(torch.cat([captions, concepts.flatten(0, 1)]))
        return Features(image, texts[:batch], texts[batch:].unflatten(0, concepts.shape[:2]))


def accumulate(
    encoders: nn.Module,
    pieces: Sequence[MicroBatch],
    loss_of: Callable[[Features], LossParts],
    *,
    autocast: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
    no_sync: Callable[[], AbstractContextManager[object]] | None = None,
    scale: Tensor | None = None,
) -> LossParts:
    """Add the gradient of the loss of all pieces together to the parameters; return the loss without gradient.

    encoders: `Encoders`, or that under torch.compile or DDP. loss_of: from the features of the
    whole batch, pieces in order, to its loss; heads with batch norm belong in here. autocast:
    entered around every forward pass. no_sync: DDP's, where encoders is DDP; ranks then average
    their gradients once, in the last piece's backward pass. scale: what the gradient is multiplied by, 0-dimensional;
    None: 1.

    One piece takes the plain way: forward and backward, nothing twice. Nor does a piece go through encoders that are
    frozen again.
    """
    if len(pieces) == 1:
        with of_samples(pieces[0].seeds):
            with autocast():
                parts = loss_of(encoders(*pieces[0][:3]))
            _backward([parts.total], [_seed(parts, scale)], encoders if no_sync else None)
        return replace(parts, total=parts.total.detach())

    without_sync = no_sync or contextlib.nullcontext
    states, cached = [], []
    with without_sync(), torch.no_grad():
        for piece in pieces:
            states.append(_random_state(piece.pixels.device))
            with of_samples(piece.seeds), autocast():
                cached.append(encoders(*piece[:3]))
    sizes = [[len(x) for x in kind] for kind in zip(*cached, strict=True) if kind[0] is not None]
    features = _joined(cached)
    del cached
    with without_sync():
        with autocast():
            parts = loss_of(features)
        parts.total.backward(_seed(parts, scale))
    whole = [x for x in features if x is not None]
    gradients = [_gradient(x).split(several) for x, several in zip(whole, sizes, strict=True)]
    for i, (piece, state) in enumerate(zip(pieces, states, strict=True)):
        last = i == len(pieces) - 1
        with contextlib.nullcontext() if last else without_sync(), of_samples(piece.seeds):
            with _replayed(state), autocast():
                again = [x for x in encoders(*piece[:3]) if x is not None]
            learnt = [(x, gradient[i]) for x, gradient in zip(again, gradients, strict=True) if x.requires_grad]
            if not learnt and no_sync is None:
                break
            _backward([x for x, _ in learnt], [g for _, g in learnt], encoders if no_sync and last else None)
    return replace(parts, total=parts.total.detach())


def _backward(outputs: list[Tensor], gradients: list[Tensor], averaged: nn.Module | None) -> None:
    """Backward from `outputs`; under DDP to every parameter of `averaged`, if only with a gradient of zero.

    DDP averages a parameter's gradient once a backward pass has reached it, and waits until all
    are reached. A pass from the last piece does not reach the heads, which had theirs before.
    """
    if averaged is not None:
        reached = torch.stack([p.sum() for p in averaged.parameters() if p.requires_grad]).sum()
        outputs, gradients = [*outputs, reached], [*gradients, torch.zeros_like(reached)]
    torch.autograd.backward(outputs, gradients)


def _seed(parts: LossParts, scale: Tensor | None) -> Tensor:
    """The gradient of the loss itself."""
    return torch.ones_like(parts.total) if scale is None else scale.to(parts.total.dtype)


def _joined(parts: Sequence[Features]) -> Features:
    """The features of all pieces as one batch, leaves that take a gradient."""
    concepts = [part.concepts for part in parts if part.concepts is not None]
    return Features(
        torch.cat([part.image for part in parts]).requires_grad_(),
        torch.cat([part.captions for part in parts]).requires_grad_(),
        torch.cat(concepts).requires_grad_() if concepts else None,
    )


def _gradient(x: Tensor) -> Tensor:
    """The gradient that the loss left at a feature; zero where it does not look at it."""
    return torch.zeros_like(x) if x.grad is None else x.grad


def _random_state(device: torch.device) -> tuple[torch.device, Tensor, Tensor | None]:
    """Torch's random state on the CPU and on the device."""
    return device, torch.get_rng_state(), None if device.type == "cpu" else torch.cuda.get_rng_state(device)


@contextlib.contextmanager
def _replayed(state: tuple[torch.device, Tensor, Tensor | None]) -> Iterator[None]:
    """Draw what was drawn from `state` on; afterwards go on as if nothing had been."""
    device, of_cpu, of_device = state
    with torch.random.fork_rng(devices=[] if of_device is None else [device]):
        torch.set_rng_state(of_cpu)
        if of_device is not None:
            torch.cuda.set_rng_state(of_device, device)
        yield


def wrapped(
    learner: Learner, place: Place, *, compiled: bool
) -> tuple[nn.Module, Callable[[], AbstractContextManager[object]] | None]:
    """The encoders as the loop calls them, and DDP's no_sync where there are several processes."""
    encoders: nn.Module = Encoders(learner)
    no_sync = None
    if place.world > 1:
        devices = [place.device] if place.device.type == "cuda" else None
        encoders = DistributedDataParallel(encoders, devices, broadcast_buffers=False, gradient_as_bucket_view=True)
        no_sync = encoders.no_sync
    if compiled:
        encoders.compile()
    return encoders, no_sync
