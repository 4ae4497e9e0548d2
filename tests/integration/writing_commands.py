"""Commands that write a folder, small enough to be run over and over with faults, and what they write without one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.evaluation.tiny_checkpoints import make_checkpoint, make_miniature
from tests.integration.faults import Undisturbed, WarmCommand, build, curate
from tests.integration.training_processes import arguments
from tests.training.curated_world import make_curated

COMMANDS = ("data", "index", "curate", "anchors", "train", "eval")
OUT = Path("OUT")


@dataclass(frozen=True)
class Command:
    """A command; its --out is still to be said."""

    words: tuple[str, ...]

    def into(self, out: Path) -> tuple[str, ...]:
        """The command with this --out."""
        return tuple(str(out) if word == str(OUT) else word for word in self.words)


@dataclass(frozen=True)
class Tried:
    """A command, the folder that it gave without a fault, and in how many seconds."""

    command: Command
    whole: Path
    seconds: float


def command_of(name: str, folder: Path, undisturbed: Undisturbed) -> Command:
    """One of COMMANDS; its inputs are made in `folder`."""
    return Command(tuple(map(str, _words(name, folder, undisturbed))))


def tried_once(name: str, folder: Path, undisturbed: Undisturbed, warm: WarmCommand) -> Tried:
    """One of COMMANDS, its inputs and its output in `folder`."""
    command = command_of(name, folder, undisturbed)
    began = time.monotonic()
    warm.start(command.into(folder / "whole"), folder / "log")
    assert warm.wait() == 0, (folder / "log").read_text()
    return Tried(command, folder / "whole", time.monotonic() - began)


def _words(name: str, folder: Path, undisturbed: Undisturbed) -> tuple[Any, ...]:
    if name == "data":
        return "data", "miniature", "--out", OUT, "--pairs", 1050, "--size", 32, "--workers", 2
    if name == "index":
        return build(undisturbed.shards, OUT, undisturbed.model, "--workers", 2)
    if name == "curate":
        return curate(undisturbed.index, OUT)
    if name == "anchors":
        by = ("--anchors", undisturbed.shards, "--model", undisturbed.model)
        return curate(undisturbed.index, OUT, *by, "--workers", 2, "--device", "cpu")
    if name == "train":
        data = make_curated(folder / "data", shards=2, pairs=24, side=20)
        settings = ("steps=60", "checkpoints.every_steps=7", "model.drop_path=0.2")
        return tuple(arguments(OUT, data, *settings))
    val, checkpoint = make_miniature(folder / "val", 40), make_checkpoint(folder / "run")
    return "eval", checkpoint, "--benchmark", f"miniature={val}", "--out", OUT, "--device", "cpu"
