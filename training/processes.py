"""The processes of a run: where each one works, how they start alike, and how a signal ends them together."""

from __future__ import annotations

import math
import os
import random
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from types import FrameType
from typing import Any, TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist

from files.errors import MisuseError
from files.machine import cores

MOST_WAIT = 4 * 3600.0  # seconds that a process waits for the others, such as for the leading one's mIoU

PATIENCE = 5.0  # seconds that a run asked to end still waits for the batch of the step at hand

T = TypeVar("T")


class Wish(IntEnum):
    """What a process wants to happen after a step; of all processes' wishes the highest comes true."""

    GO_ON = 0
    SAVE = 1
    TERMINATE = 2
    INTERRUPT = 3


@dataclass(frozen=True)
class Place:
    """This process among the `world` of the run, and the device it works on.

    control: the group in which processes talk about other things than tensors of the model; it waits longer.
    """

    rank: int
    world: int
    device: torch.device
    control: Any = None

    @property
    def leads(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0


@contextmanager
def joined(device: str, *, exact: bool = False) -> Iterator[Place]:
    """The place of this process; inside the block the processes that torchrun started know each other.

    device: auto, cpu or cuda. exact: single precision is single precision, without TF32, for figures. Tensors of the
    model go from process to process by NCCL on GPUs, by gloo on CPUs. Raises MisuseError where there is no such device.
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
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    if exact:
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
    try:
        if world == 1:
            yield Place(0, 1, where)
            return
        dist.init_process_group("nccl" if on_gpu else "gloo", device_id=where if on_gpu else None)
        try:
            yield Place(rank, world, where, dist.new_group(backend="gloo", timeout=timedelta(seconds=MOST_WAIT)))
        finally:
            dist.destroy_process_group()
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


_TORCHRUN = (("WORLD_SIZE", 1), ("RANK", 0), ("LOCAL_RANK", 0))


def fitting_workers(place: Place) -> int:
    """Loading processes for each rank: its part of the cores but one, on a GPU; one where the CPU trains, too."""
    share = cores() // int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return min(16, max(1, share - 1)) if place.device.type == "cuda" else min(1, share - 1)


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


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor on its way from the CPU to the device, which nobody waits for."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def memory_gb(device: torch.device) -> float:
    """The most memory used so far, in gigabytes: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def of_all(mine: T, place: Place) -> list[T]:
    """A small object of every process, in order; all call it."""
    if place.world == 1:
        return [mine]
    everyone: list[Any] = [None] * place.world
    dist.all_gather_object(everyone, mine, group=place.control)
    return everyone


def by_all(work: Callable[[], T], place: Place) -> list[T]:
    """What `work` gives on every process, in order; where it raises on some, the first one's error on all."""
    if place.world == 1:
        return [work()]
    mine: T | _Raised
    try:
        mine = work()
    except Exception as error:
        mine = _Raised(error)
    given: list[T] = []
    for one in of_all(mine, place):
        if isinstance(one, _Raised):
            raise one.error
        given.append(one)
    return given


@dataclass(frozen=True)
class _Raised:
    error: Exception


def by_leader(work: Callable[[], T], place: Place) -> T:
    """What `work` gives, or raises, on the leading process; all call it, the others wait."""
    answer: list[Any] = [None, None]
    if place.leads:
        try:
            answer[0] = work()
        except Exception as error:
            if place.world == 1:
                raise
            answer[1] = error
    if place.world > 1:
        dist.broadcast_object_list(answer, src=0, group=place.control)
    if answer[1] is not None:
        raise answer[1]
    return cast(T, answer[0])


class Asked(BaseException):
    """A signal asked the run to end while there was nothing that had to be saved first."""


class Signals:
    """SIGTERM and SIGINT ask the run to save and to end; all processes then do so after the same step.

    A context manager. Inside `interruptible` a signal raises `Asked` at once. A second signal of the kind has its usual
    effect; but torchrun passes on what it was sent to processes that were sent it, too, and what comes a second time
    within `PATIENCE` is no second wish there.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._asked = Wish.GO_ON
        self._raises = False
        self._asked_at = math.inf
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._asked = max(self._asked, Wish.TERMINATE if number == signal.SIGTERM else Wish.INTERRUPT)
        self._asked_at = min(self._asked_at, time.monotonic())
        if "TORCHELASTIC_RUN_ID" not in os.environ or time.monotonic() - self._asked_at > PATIENCE:
            signal.signal(number, self._before[number])
        if self._raises:
            raise Asked

    @property
    def asked(self) -> Wish:
        """TERMINATE or INTERRUPT if this process was asked to end, else GO_ON."""
        return self._asked

    def give_up(self) -> None:
        """For a wait that may have no end. Raises `Asked` if there was a signal `PATIENCE` seconds ago."""
        if time.monotonic() - self._asked_at > PATIENCE:
            raise Asked

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """For work that is lost without harm. Raises `Asked` at a signal, and if there was one before."""
        self._raises = True
        try:
            if self._asked:
                raise Asked
            yield
        finally:
            self._raises = False

    def agreed(self, wish: Wish = Wish.GO_ON) -> Wish:
        """What the processes do now: the most that any wishes or was asked for. All call it after every step."""
        mine = max(wish, self._asked)
        if self._place.world == 1:
            return mine
        most = torch.tensor(mine)
        dist.all_reduce(most, dist.ReduceOp.MAX, group=self._place.control)
        return Wish(int(most))
