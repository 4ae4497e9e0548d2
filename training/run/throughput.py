"""How fast a run goes: pairs a second, time spent waiting for data, time left, and the share of the device's peak."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor

from training.models.learner import Learner
from training.processes import Place

# Peak of dense bfloat16 products, in units of 1e12 a second, by a part of the device's name.
PEAKS = {"H100": 989, "H200": 989, "A100": 312, "L40S": 362, "L4": 121, "4090": 165, "B200": 2250}


class LogWindow:
    """Speed since the last line of the log."""

    def __init__(self) -> None:
        self.pairs = 0
        self._waited = 0.0
        self._began = time.perf_counter()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """The block waits for data."""
        began = time.perf_counter()
        yield
        self._waited += time.perf_counter() - began

    def figures(self, pairs_left: int = 0) -> dict[str, float]:
        """Over all processes: pairs_per_s; data_wait, the share of time spent waiting for data; seconds_left."""
        seconds = max(time.perf_counter() - self._began, 1e-9)
        speed = self.pairs / seconds
        left = pairs_left / speed if self.pairs else float("nan")
        return {"pairs_per_s": speed, "data_wait": self._waited / seconds, "seconds_left": left}


@torch.no_grad()
def step_flops(learner: Learner, pixels: Tensor, texts: Tensor) -> int:
    """Floating-point operations of a training step of one pair: three times those of its way through the encoders.

    Once where a tower is frozen.

    pixels [1, 3, H, W], texts [T, L]: the pair's. Matrix products, convolutions and attention are counted, as is usual;
    what is computed a second time to save memory is not (PaLM, appendix B: of use to the model, not of the machine).
    """
    from torch.utils.flop_counter import FlopCounterMode

    training = learner.training
    learner.eval()  # so that no random number is drawn
    try:
        flops = 0
        for tower, encode, some in (
            ("image_tower", learner.encode_image, pixels),
            ("text_tower", learner.encode_text, texts),
        ):
            with FlopCounterMode(display=False) as counter:
                encode(some)
            flops += (1 if tower in learner.frozen else 3) * counter.get_total_flops()
    finally:
        learner.train(training)
    return flops


class Utilisation:
    """MFU: the share that a model's own operations have of the most that the devices could make; GPUs alone."""

    def __init__(self, place: Place) -> None:
        name = torch.cuda.get_device_name(place.device) if place.device.type == "cuda" else ""
        self._peak = (peak_of(name) or 0) * place.world
        self._flops = 0  # of a pair

    def see(
        self, learner: Learner, pixels: Tensor, texts: Tensor, autocast: Callable[[], AbstractContextManager[object]]
    ) -> None:
        """Count once, on the first pair of a batch: pixels [B, 3, H, W], texts [B, T, L].

        Not where features are at hand and no picture is looked at.
        """
        if self._peak and not self._flops and pixels.ndim == 4:
            with autocast():
                self._flops = step_flops(learner, pixels[:1], texts[0])

    def figures(self, pairs_per_s: float) -> dict[str, float]:
        """{"mfu": share}; empty where the peak is not known."""
        return {"mfu": self._flops * pairs_per_s / self._peak} if self._peak and self._flops else {}


def peak_of(device: str) -> float | None:
    """Products a second that a device of this name can make at the most, in bfloat16; None: not known here."""
    return next((peak * 1e12 for part, peak in PEAKS.items() if part in device), None)


def spoken(seconds: float) -> str:
    """A time as people say it: 40 s, 12 min, 3.5 h, 2.1 days."""
    for most, size, name, digits in ((90, 1, "s", 0), (5400, 60, "min", 0), (172_800, 3600, "h", 1)):
        if seconds < most:
            return f"{seconds / size:.{digits}f} {name}"
    return f"{seconds / 86_400:.1f} days"
