"""The processes of a run: where each one works, how they start alike, and how a signal ends them together."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from training.errors import MisuseError

GOING_ON, SAVE, TERMINATE, INTERRUPT = range(4)


@dataclass(frozen=True)
class Place:
    """This process among the `world` of the run, and the device it works on."""

    rank: int
    world: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0


@contextmanager
def joined(device: str) -> Iterator[Place]:
    """The place of this process; inside the block the processes that torchrun started know each other.

    device: auto, cpu or cuda. Tensors on a GPU go from process to process by NCCL, those on the CPU by gloo. Raises
    MisuseError where there is no such device.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise MisuseError(f"--device {device}: give auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise MisuseError("--device cuda: this machine has no GPU that PyTorch can use; give --device cpu or auto")
    world, rank, local = (int(os.environ.get(name, default)) for name, default in _TORCHRUN)
    on_gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    if on_gpu and local >= torch.cuda.device_count():
        raise MisuseError(
            f"{local + 1} processes on a machine with {torch.cuda.device_count()} GPUs; give torchrun --nproc-per-node "
            "as many as there are GPUs"
        )
    where = torch.device("cuda", local) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(where)
        torch.set_float32_matmul_precision("high")  # TF32 where single precision is left
    if world == 1:
        yield Place(0, 1, where)
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", device_id=where if on_gpu else None)
    try:
        yield Place(rank, world, where)
    finally:
        dist.destroy_process_group()


_TORCHRUN = (("WORLD_SIZE", 1), ("RANK", 0), ("LOCAL_RANK", 0))


def seed_everything(seed: int) -> None:
    """Seed every global random state."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_states(device: torch.device) -> dict[str, Any]:
    """Torch's random states, from which noise and stochastic depth are drawn; all else in a run is drawn from seeds."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_states(states: dict[str, Any], device: torch.device) -> None:
    """Put back what `random_states` gave."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def of_all(mine: Any, place: Place) -> list[Any]:
    """A small object of every process, in order, on the leading one; empty elsewhere."""
    if place.world == 1:
        return [mine]
    everyone: list[Any] = [None] * place.world if place.leads else []
    dist.gather_object(mine, everyone if place.leads else None)
    return everyone


class Signals:
    """SIGTERM and SIGINT ask the run to save and to end; all processes then do so after the same step.

    A context manager. A second signal of the kind has its usual effect.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._asked = GOING_ON
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._asked = max(self._asked, TERMINATE if number == signal.SIGTERM else INTERRUPT)
        signal.signal(number, self._before[number])

    @property
    def pending(self) -> bool:
        """Whether this process has been asked to end."""
        return self._asked >= TERMINATE

    def agreed(self, wish: int = GOING_ON) -> int:
        """What the processes do now: the most that any wishes or was asked for. All call it after every step."""
        mine = max(wish, self._asked)
        if self._place.world == 1:
            return mine
        most = torch.tensor(mine)
        dist.all_reduce(most, dist.ReduceOp.MAX)
        return int(most)
