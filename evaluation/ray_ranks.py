"""The ranks of an evaluation on a Ray cluster: one a GPU of its machines, or one a machine, at the same work."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from files.errors import CocuError, MisuseError
from files.ray_cluster import joined, machines, only_on, sought_device, why_dead
from files.remote_folders import RemoteCopy, all_copies, copies_here
from files.saying import quietly
from files.text_towers import tokenizer_from

PATIENCE = 30.0  # seconds in which the death of a machine is known
T = TypeVar("T")


class _Rank:
    """In the process of a rank."""

    def port(self) -> int:
        """One that is free on its machine."""
        with socket.socket() as free:
            free.bind(("", 0))
            return int(free.getsockname()[1])

    def work(
        self, folder: str, where: dict[str, str], work: Callable[[], Any], how: tuple[Any, bool, tuple[RemoteCopy, ...]]
    ) -> tuple[Any, Exception | None]:
        """What it makes, or its error."""
        tokenizer, quiet, copies = how
        os.environ.update(where)
        try:
            if not Path(folder).is_dir():
                raise CocuError(f"{folder}: is not there; machines of an engine must share it, by this name")
            os.chdir(folder)
            with copies_here(copies), quietly(quiet), tokenizer_from(tokenizer):
                given = work()
            return (given if where["RANK"] == "0" else None), None
        except CocuError as error:
            return None, error


def by_ray(
    work: Callable[[], T],
    device: str,
    gpus: int | None,
    address: str | None,
    tokenizer: Any = None,
    quiet: bool = False,
) -> T:
    """As `by_ranks`, by all machines of a cluster that share their folders with this one; gpus: of each.

    Raises CocuError where a rank dies: figures are of all pictures, and nothing is kept of some.
    """
    if "LOCAL_RANK" in os.environ:
        raise MisuseError("--engine ray: torchrun began this process; start cocu without it")
    on_gpus = sought_device(device, address) == "cuda"
    if gpus is not None and not on_gpus:
        raise MisuseError(f"--gpus {gpus}: no machine of the cluster has a GPU, or --device says cpu")
    with joined(address) as ray:
        actors, host = [], ""
        for machine in machines(ray, "GPU" if on_gpus else "CPU"):
            here = machine["Resources"]
            count = min(int(here["GPU"]), gpus or 1 << 30) if on_gpus else 1
            host = host or machine["NodeManagerAddress"]
            for _ in range(count):
                actors.append(
                    ray.remote(max_restarts=0, max_task_retries=0)(_Rank)
                    .options(num_cpus=0, num_gpus=int(on_gpus), scheduling_strategy=only_on(machine))
                    .remote()
                )
        if not actors:
            raise CocuError("--engine ray: no machine of the cluster has a CPU for ranks; join one to it")
        try:
            meet = {"MASTER_ADDR": host, "MASTER_PORT": str(ray.get(actors[0].port.remote()))}
            how = (tokenizer, quiet, all_copies())
            asked = [
                actor.work.remote(os.getcwd(), meet | _said(rank, len(actors)), work, how)
                for rank, actor in enumerate(actors)
            ]
            return _first_one(ray, asked)
        except ray.exceptions.RayActorError as error:
            raise CocuError(
                f"a process of the cluster is gone: {why_dead(error)}; run the same command again"
            ) from None
        finally:
            for actor in actors:
                ray.kill(actor)


def _first_one(ray: Any, asked: list[Any]) -> Any:
    """What the first rank gives, once all are through; of errors the death of a rank, which makes errors of others."""
    given: Any = None
    broken: Exception | None = None
    left = asked
    while left:
        ready, left = ray.wait(left, timeout=PATIENCE if broken else None)
        if not ready:
            break
        try:
            told, error = ray.get(ready[0])
        except ray.exceptions.RayTaskError as problem:
            broken = broken or problem
            continue
        if error:
            raise error
        given = told if ready[0] == asked[0] else given
    if broken:
        raise broken
    return given


def _said(rank: int, count: int) -> dict[str, str]:
    """What torchrun would say; each sees one GPU, which Ray chose."""
    said = {"RANK": rank, "WORLD_SIZE": count, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1}
    return {name: str(value) for name, value in said.items()}
