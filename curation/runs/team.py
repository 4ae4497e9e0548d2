"""Who does the shards of a command: this process, several of this machine, or those of the machines of a Ray cluster.

On a CPU one process a machine, or --processes; where the towers run on GPUs a process for each of them, or of --gpus.
What has no towers, a process for every two cores, where pairs are many.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from curation.encoding.encoder import resolve_device
from curation.runs.local_workers import local_workers
from curation.runs.spread import Gather
from files.engines import LOCAL, RAY, check_engine
from files.errors import MisuseError, check_numbers
from files.machine import cores, memory
from files.saying import say

# Of work on arrays a process keeps so many cores at work, and needs so much memory at most; for fewer pairs it is not
# worth beginning.
CORES_EACH, MEMORY_EACH, PAIRS_EACH = 2, 4 << 30, 50_000


@dataclass(frozen=True)
class WorkingTeam:
    """A team as it works on some device. gather: begins its workers; None: this process does the shards.

    device: of each worker, "cpu" or "cuda". workers: what feeds all those of a machine; None: one for each core.
    """

    device: str
    gather: Gather | None = None
    workers: int | None = None


ALONE = WorkingTeam("cpu")


@dataclass(frozen=True)
class Team:
    """What is asked for, for each machine: see above. address: of a Ray cluster, HOST:PORT. workers: as above."""

    engine: str = LOCAL
    address: str | None = None
    processes: int | None = None
    gpus: int | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        check_numbers(1, processes=self.processes, gpus=self.gpus, workers=self.workers)
        check_engine(self.engine, self.address)

    @property
    def said(self) -> str:
        """The option that asks for more than one process; "" where none does."""
        if self.engine != LOCAL:
            return f"--engine {self.engine}"
        asked = {"processes": self.processes, "gpus": self.gpus}
        return next((f"--{name} {number}" for name, number in asked.items() if number and number > 1), "")

    def on(self, device: str) -> WorkingTeam:
        """The crew whose towers run there: auto, cpu or cuda. Raises MisuseError where that cannot be had as asked."""
        if self.engine == RAY:
            from curation.runs.ray_workers import ray_workers
            from files.ray_cluster import sought_device

            found = sought_device(device, self.address)
            self._check(found)
            how = (self.address, found, self.processes, self.gpus)
            return WorkingTeam(found, partial(ray_workers, *how), self.workers)
        found = resolve_device(device)
        self._check(found)
        gpus = self.shared_gpus(_gpus_here()) if found == "cuda" else [None] * (self.processes or 1)
        return WorkingTeam(found, partial(local_workers, gpus) if len(gpus) > 1 else None, self.workers)

    def on_arrays(self, pairs: int, shards: int) -> WorkingTeam:
        """The crew for work without towers on so many pairs in so many shards."""
        usual = partial(processes_for, pairs)
        if self.engine == RAY:
            from curation.runs.ray_workers import ray_workers

            gather: Gather | None = partial(ray_workers, self.address, "cpu", self.processes, None, usual=usual)
        else:
            processes = min(self.processes or usual(cores(), memory()), max(1, shards))
            gather = partial(local_workers, [None] * processes) if processes > 1 else None
            if gather and not self.processes:
                say(f"{processes} processes share the shards, for {cores()} cores; --processes N takes others")
        return WorkingTeam("cpu", gather, self.workers)

    def here(self, device: str) -> str:
        """Where the driver's own towers run: there, too; of an engine on whatever its machine has."""
        return "auto" if self.engine == RAY and device == "cuda" else device

    def _check(self, device: str) -> None:
        if self.gpus and device != "cuda":
            raise MisuseError(f"--gpus {self.gpus}: there is no GPU for it; give --processes for those of a CPU")

    def shared_gpus(self, there: int) -> list[int | None]:
        """The GPU of each process, of so many on a machine. Raises MisuseError where that cannot be had as asked."""
        if self.gpus and self.gpus > there:
            raise MisuseError(
                f"--gpus {self.gpus}: PyTorch sees {there} on this machine; give as many, or leave it out"
            )
        if self.gpus and self.processes and self.processes < self.gpus:
            raise MisuseError(f"--processes {self.processes} --gpus {self.gpus}: each GPU needs a process of its own")
        processes = self.processes or self.gpus or there
        return [number % min(processes, self.gpus or there) for number in range(processes)]


USUAL = Team()


def processes_for(pairs: int, cores: int, memory: float) -> int:
    """For work without towers on so many pairs, on a machine of so many cores and bytes of memory."""
    return max(1, min(cores // CORES_EACH, int(memory // MEMORY_EACH), pairs // PAIRS_EACH))


def _gpus_here() -> int:
    import torch

    return torch.cuda.device_count()
