"""Slurm on two machines that are one: a controller and two nodes in namespaces of their own, which end with it.

Its jobs are the scripts of docs/scale-out.md.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.integration.faults import ROOT, build, curate, run, same
from tests.integration.namespaces import command_line, jobs, loopback_up, until

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol")
NODES = {
    number: f"10.99.0.{number}" for number in (1, 2)
}  # names are looked up only where there is more than 127.0.0.1
PARTS = 4
CONFIGURATION = """
ClusterName=cocu
SlurmctldHost=node1(10.99.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
SlurmdTimeout=10
KillWait=5
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1,bf_interval=1
NodeName=node1 NodeAddr=10.99.0.1 Port=6818 CPUs=1
NodeName=node2 NodeAddr=10.99.0.2 Port=6819 CPUs=1
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Cluster:
    """A controller, and nodes by their numbers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "state").mkdir(parents=True)
        secret = folder / "munge"
        secret.mkdir(mode=0o700)
        (secret / "key").write_bytes(os.urandom(1024))
        (secret / "key").chmod(0o400)
        (folder / "slurm.conf").write_text(CONFIGURATION.format(folder=folder))
        os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
        socket.sethostname("node1")
        names = ("key-file key", "socket socket", "pid-file pid", "log-file log", "seed-file seed")
        subprocess.run(
            ["munged", "--force", *(f"--{one.split()[0]}={secret}/{one.split()[1]}" for one in names)], check=True
        )
        self._begin("slurmctld", "-D")
        for number in NODES:
            self.begin_node(number)
        until(lambda: all("State=IDLE" in self.said("scontrol", "show", "node", f"node{one}") for one in NODES))

    def begin_node(self, number: int) -> None:
        (self.folder / f"spool-node{number}").mkdir(exist_ok=True)
        self._begin("unshare", "--uts", "sh", "-c", f"hostname node{number}; exec slurmd -D")

    def kill_node(self, number: int) -> None:
        """As if the machine were gone, with all that runs on it."""
        daemon = int((self.folder / f"slurmd-node{number}.pid").read_text())
        for process in (daemon, *_at_node(number)):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def said(self, *command: str) -> str:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        return found.stdout + found.stderr

    def states(self) -> list[str]:
        """Of all jobs, each task of an array by itself."""
        told = self.said("scontrol", "--oneliner", "show", "job").splitlines()
        return [line.split(" JobState=")[1].split()[0] for line in told if " JobState=" in line]

    def running(self) -> str:
        """What Slurm says of the jobs that run."""
        told = self.said("scontrol", "--oneliner", "show", "job").splitlines()
        return "\n".join(line for line in told if " JobState=RUNNING " in line)

    def ended(self) -> None:
        until(lambda: not {"PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED"}.intersection(self.states()))

    def submit(self, script: str, **environment: str) -> None:
        """What a person types."""
        told = subprocess.run(
            ["sh", "-e", "-c", script],
            cwd=self.folder,
            env={**os.environ, **environment},
            check=False,
            capture_output=True,
            text=True,
        )
        assert told.returncode == 0, told.stderr

    def output(self) -> str:
        """All that jobs printed."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("slurm-*.out")))

    def _begin(self, *command: str) -> None:
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def _running(command: str) -> list[int]:
    """Processes of this command line."""
    found = Path("/proc").glob("[0-9]*/cmdline")
    return [int(path.parent.name) for path in found if command in command_line(path)]


def _at_node(number: int) -> list[int]:
    """What runs in jobs of a node, by what Slurm tells them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if f"SLURMD_NODENAME=node{number}".encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found + [one for one in _running("slurmstepd") if _child_of(one, found)]


def _child_of(parent: int, processes: Sequence[int]) -> bool:
    """Whether one of the processes is the parent's."""
    for one in processes:
        with suppress(OSError):
            if int(Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[1]) == parent:
                return True
    return False


def documented() -> list[str]:
    """The scripts of docs/scale-out.md, in their order, for so many parts, and machines without GPUs."""
    section = (ROOT / "docs/scale-out.md").read_text().split("\n## Slurm\n")[1].split("\n## ")[0]
    blocks: list[list[str]] = [[]]
    for line in section.splitlines():
        if line.startswith("    "):
            blocks[-1].append(line[4:])
        elif line.strip() and blocks[-1]:
            blocks.append([])
    scripts = ["\n".join(block) + "\n" for block in blocks if block]
    for asked, has in (
        ("1-64", f"1-{PARTS}"),
        ('/64"', f'/{PARTS}"'),
        (" --gpus=1", ""),
        (" --cpus-per-task=", " -c1 #"),
    ):
        scripts = [script.replace(asked, has) for script in scripts]
    return scripts


def command_for(folder: Path, model: str) -> None:
    """A `cocu` for the scripts, which adds what the tiny world asks for."""
    (folder / "bin").mkdir()
    added = {"index build": build("", "", model)[5:], "curate run": curate("", "")[5:]}
    cases = [f'"{name}") set -- "$@" {shlex.join(map(str, more))} $MORE ;;' for name, more in added.items()]
    program = folder / "bin/cocu"
    program.write_text(
        "\n".join(["#!/bin/sh", 'case "$1 $2" in', *cases, "esac", f'exec {sys.executable} -m cocu "$@"'])
    )
    program.chmod(0o755)
    os.environ["PATH"] = f"{program.parent}:{os.environ['PATH']}"


# The jobs.


def arrays(shards: str, model: str, index: str, curated: str, folder: str) -> None:
    """An index and a curation by arrays, while a machine is lost, and a task: as `index` and `curated` are."""
    out = Path(folder)
    command_for(out, model)
    building, curating, all_of_it, of_lists = documented()
    (out / "build.sbatch").write_text(building)
    (out / "curate.sbatch").write_text(curating)
    cluster = Cluster(out)
    pairs = {"PAIRS": shards}

    # A machine is lost while parts are built; its tasks run again on the other.
    made = out / "lost"
    cluster.submit(all_of_it, **pairs, SHARED=str(made))
    until(lambda: "NodeList=node2" in cluster.running() and list((made / "index/state").glob("[!@]*.json")))
    cluster.kill_node(2)
    cluster.ended()
    assert set(cluster.states()) == {"COMPLETED"}, cluster.output()
    same(Path(index), made / "index")
    same(Path(curated), made / "curated")
    assert "Restarts=1" in cluster.said("scontrol", "--oneliner", "show", "job")

    # A task is killed, and is not begun again: the end says what is missing, and the same scripts do it.
    cluster.begin_node(2)
    shutil.rmtree(made / "curated")
    *_, array, end = all_of_it.splitlines()
    again = f"index=1\n{array.replace('--dependency=afterok:$index', '')}\n{end}"
    cluster.submit(again, **pairs, SHARED=str(made))
    until(lambda: _running("-m cocu curate run"))
    os.kill(_running("-m cocu curate run")[0], signal.SIGKILL)  # as for want of memory
    cluster.ended()
    assert cluster.states().count("FAILED") == 2, cluster.output()
    assert "shards are missing" in cluster.output()
    cluster.submit(again, **pairs, SHARED=str(made))
    cluster.ended()
    assert cluster.states().count("FAILED") == 2, cluster.output()
    same(Path(curated), made / "curated")

    # Lists by parts, too.
    factory = ("--factory", "IVF4,SQfp16", "--min-recall", 0)
    run(*build(shards, out / "one", model, *factory))
    cluster.submit(of_lists, **pairs, SHARED=str(out / "lists"), MORE=" ".join(map(str, factory)))
    cluster.ended()
    assert cluster.output().count("has the lists of its") == 2 * PARTS
    same(out / "one", out / "lists/index")


if __name__ == "__main__":
    loopback_up(NODES)
    jobs(arrays)
