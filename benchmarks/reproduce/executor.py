"""Runs the steps of a plan as processes, in lanes side by side, and leaves out what is done already.

One thread starts processes and looks at them in turn, so nothing that goes wrong can go unseen. A step that fails takes
along only those that need it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from benchmarks.reproduce.machine import facts
from benchmarks.reproduce.remaining import remaining
from benchmarks.reproduce.steps import Folder, Step

LOG_LINES = 15  # of a failed step that are printed
_POLL_SECONDS = 0.1
_GRACE_SECONDS = 60.0  # a trainer that is asked to end writes a checkpoint first
_PR_SET_PDEATHSIG = 1

Say = Callable[[str], None]


def execute(steps: Sequence[Step], folder: Folder, jobs: int, cores: int, say: Say = print) -> list[str]:
    """Run the steps that are not done; the earlier of two comes first where both could run.

    jobs: lanes; each has cores // jobs threads. Returns the names of steps that failed or could not be tried.
    An exception that arrives meanwhile, such as KeyboardInterrupt, ends the processes and is raised on.
    """
    done = {step.name for step in steps if folder.done(step)}
    if done:
        say(f"{len(done)} of {len(steps)} steps were done before")
    waiting = [step for step in steps if step.name not in done]
    lost: list[str] = []
    running: list[_Running] = []
    known = facts() if waiting else {}
    try:
        while waiting or running:
            for hopeless in [step for step in waiting if any(name in lost for name in step.needs)]:
                waiting.remove(hopeless)
                lost.append(hopeless.name)
            while (step := _next(waiting, running, done, jobs)) is not None:
                waiting.remove(step)
                running.append(_Running.start(step, folder, cores if step.alone else max(1, cores // jobs)))
            ended = [one for one in running if one.process.poll() is not None]
            for one in ended:
                running.remove(one)
                if (trouble := one.finish(folder, known)) is not None:
                    lost.append(one.step.name)
                    say(trouble)
                    continue
                done.add(one.step.name)
                left = remaining([*waiting, *(other.step for other in running)], folder, jobs)
                say(f"[{len(done):>{len(str(len(steps)))}} of {len(steps)}] {one.step.name}: {one.seconds:.0f} s{left}")
            if running and not ended:
                time.sleep(_POLL_SECONDS)
    except BaseException:
        _end(running, say)
        raise
    return [step.name for step in steps if step.name in lost]


def _next(waiting: Sequence[Step], running: Sequence[_Running], done: set[str], jobs: int) -> Step | None:
    """The first step that may start now."""
    if len(running) >= jobs or any(one.step.alone for one in running):
        return None
    for step in waiting:
        if done.issuperset(step.needs):
            if not (step.alone and running):
                return step
            return None  # lanes empty for it, or it would wait for ever
    return None


@dataclass
class _Running:
    """A step under way. began, date: of the clock, in seconds, and as people write it. again: it was begun before."""

    step: Step
    process: subprocess.Popen[bytes]
    began: float
    date: str
    again: bool
    seconds: float = 0.0

    @classmethod
    def start(cls, step: Step, folder: Folder, threads: int) -> _Running:
        log = folder.log(step)
        again = log.exists()
        log.parent.mkdir(parents=True, exist_ok=True)
        own = {"OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1", "PATH": _path()}
        with ExitStack() as stack:
            text: IO[bytes] = stack.enter_context(log.open("ab"))
            text.write(f"$ {step.typed}\n".encode())
            text.flush()
            output = text
            if step.stdout is not None:
                step.stdout.parent.mkdir(parents=True, exist_ok=True)
                output = stack.enter_context(_unfinished(step.stdout).open("wb"))
            process = subprocess.Popen(
                argv_of(step.command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=text,
                env={**os.environ, **own},
                start_new_session=True,  # Ctrl-C is this process's to hand on
                preexec_fn=_end_with_parent,
            )
        return cls(step, process, time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds"), again)

    def finish(self, folder: Folder, known: Mapping[str, Any]) -> str | None:
        """Mark the step as done; or what is to be said of its failure."""
        step, code = self.step, self.process.returncode
        self.seconds = time.monotonic() - self.began
        if code == 0 and step.stdout is not None:
            _unfinished(step.stdout).replace(step.stdout)
        lacking = folder.lacking(step)
        if code == 0 and not lacking:
            folder.mark(step, began=self.date, seconds=round(self.seconds, 1), again=self.again, **known)
            return None
        why = f"exit code {code}" if code else f"{lacking[0]} is not there"
        log = folder.log(step)
        last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
        return "\n".join(
            [f"{step.name}: FAILED ({why}) after {self.seconds:.0f} s; {log} ends", *(f"  {x}" for x in last)]
        )


def argv_of(command: Sequence[str]) -> list[str]:
    """The arguments of a process for a command as one types it."""
    first, *rest = command
    if first == "cocu":
        return [sys.executable, "-P", "-m", "cocu", *rest]  # -P: no folder that lies here takes its place
    return [sys.executable, *rest] if first == "python" else list(command)


def _path() -> str:
    """Where commands are looked for: this environment first, whether or not it is activated."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def _unfinished(path: Path) -> Path:
    return path.with_name(f".{path.name}.unfinished")


def _end(running: Sequence[_Running], say: Say) -> None:
    """Ask the processes to end, and make them where they do not."""
    if not running:
        return
    say(f"ending {', '.join(one.step.name for one in running)}")
    for one in running:
        _signal(one, signal.SIGTERM)
    until = time.monotonic() + _GRACE_SECONDS
    try:
        while time.monotonic() < until and any(one.process.poll() is None for one in running):
            time.sleep(_POLL_SECONDS)
    finally:
        for one in running:
            if one.process.poll() is None:
                _signal(one, signal.SIGKILL)
                one.process.wait()


def _signal(one: _Running, number: int) -> None:
    """To the command alone, which ends its workers itself; when it is to be killed, to these as well."""
    try:
        if number == signal.SIGKILL:
            os.killpg(one.process.pid, number)
        else:
            one.process.send_signal(number)
    except ProcessLookupError:
        pass


try:
    _LIBC: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
except OSError:
    _LIBC = None


def _end_with_parent() -> None:
    """In the new process: have the kernel ask it to end when this one is killed, so that none works on unseen."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does, so that the steps are ended, too."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
