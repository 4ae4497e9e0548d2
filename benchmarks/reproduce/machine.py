"""On what machine, at what commit and with what versions a step ran."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from files.machine import cores, memory

PACKAGES = ("cocu", "torch", "numpy", "open_clip_torch", "faiss-gpu", "faiss-cpu", "spacy", "pillow")
ROOT = Path(__file__).resolve().parents[2]
_MEMORY_OF_A_LANE = 2 << 30  # bytes that a small training run takes, amply


def fitting_jobs(device: str) -> int:
    """Commands to run side by side: one on a GPU; on a CPU one for each core, as far as memory allows.

    Two runs of one thread each do more than one run of two, as long as the model is small.
    """
    if device == "cuda":
        return 1
    return max(1, min(cores(), memory() // _MEMORY_OF_A_LANE))


def facts() -> dict[str, Any]:
    """Machine, commit and versions, for a step's record."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {"machine": {"cores": cores(), "cpu": _cpu(), "gpu": gpus()}, "commit": _commit(), "versions": versions}


def gpus() -> list[str]:
    """Names of the GPUs that the driver knows."""
    listed = _said("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return [line.strip() for line in (listed or "").splitlines() if line.strip()]


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str | None:
    """The commit of the checkout, with "+" where files of it were changed; None outside one."""
    commit = _said("git", "-C", str(ROOT), "rev-parse", "HEAD")
    if not commit:
        return None
    changed = _said("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no")
    return commit.strip()[:12] + ("+" if changed and changed.strip() else "")


def _said(*command: str) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return None
