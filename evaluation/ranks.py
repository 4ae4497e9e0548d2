"""One process a GPU, without torchrun: what it would say to each, and what the first one gives.

Every rank counts its share of the pictures (training/processes.py); an error of one ends them all.
"""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

import torch

from files.errors import CocuError, MisuseError
from files.saying import quietly
from files.text_towers import tokenizer_from
from files.workers import begin

PATIENCE = 5.0  # seconds in which the death of a process is known
T = TypeVar("T")


def wanted_ranks(device: str, gpus: int | None) -> int:
    """How many processes there are to be; 1: this one, as under torchrun, which says it itself.

    Raises MisuseError for GPUs that there are not.
    """
    if "LOCAL_RANK" in os.environ:
        if gpus is not None:
            raise MisuseError(f"--gpus {gpus}: torchrun begins the processes; give it --nproc-per-node")
        return 1
    there = torch.cuda.device_count() if device != "cpu" else 0
    if gpus is not None and gpus > there:
        raise MisuseError(f"--gpus {gpus}: PyTorch sees {there} on this machine, with --device {device}")
    return gpus or max(1, there)


def by_ranks(count: int, work: Callable[[], T], tokenizer: Any = None, quiet: bool = False) -> T:
    """What the first of so many processes makes of `work`, which can be pickled; one alone is this one.

    Raises what `work` raises in one of them, and CocuError where one dies.
    """
    if count == 1:
        with tokenizer_from(tokenizer):
            return work()
    team: dict[Any, int] = {}
    processes = []
    given: Any = None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    try:
        for rank in range(count):
            mine, other = get_context("spawn").Pipe()
            said = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
            where = {name: str(value) for name, value in said.items()} | {
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
            }
            processes.append(begin(_rank, other, where, pickle.dumps(work), tokenizer, quiet))
            other.close()
            team[mine] = rank
        broken: Exception | None = None
        while team:
            for end in wait(list(team), PATIENCE if broken else None):
                assert isinstance(end, Connection)
                rank = team.pop(end)
                try:
                    told, error = end.recv()
                except (EOFError, OSError):
                    raise CocuError(
                        f"process {rank + 1} of {count} died, maybe for want of memory; run the same command again, "
                        "with fewer --gpus or a smaller --batch-size"
                    ) from None
                if isinstance(error, CocuError):
                    raise error
                if broken is None or isinstance(broken, RuntimeError):  # such as that another has hung up
                    broken = error
                given = told if rank == 0 else given
                break
            else:  # and no other died, which may be heard after what it did to this one
                break
        if broken:
            raise broken
        return given
    finally:
        for process in processes:
            process.kill()
            process.join()
        for left in team:
            left.close()


def _rank(told: Connection, where: dict[str, str], work: bytes, tokenizer: Any, quiet: bool) -> None:
    os.environ.update(where)
    try:
        with quietly(quiet), tokenizer_from(tokenizer):
            given = pickle.loads(work)()
        told.send((given if where["RANK"] == "0" else None, None))
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            error = RuntimeError(f"{type(error).__name__}: {error}")
        told.send((None, error))
