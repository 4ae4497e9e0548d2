"""The paper's recipe on CC3M: what it needs, checked and told line by line; the commands; and, if asked for, the run.

Data and GPUs for it are seldom at hand, so the checks come first, and without --run nothing is begun.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from benchmarks.reproduce.steps import Step

MODEL = "ViT-B-16@openai"  # the encoder of the paper's curation
RECIPES = ("groupvit_cc3m", "groupvit_cc3m_cocu")
SEED = 0
_FIRST_PAIRS = 100
# What the work takes beside a copy of the shards: vectors, indexes and tables, a small part of the pictures' bytes,
# and the checkpoints of both runs.
_DISK_SHARE = 1.3
_RUNS_BYTES = 8e9


@dataclass(frozen=True)
class Request:
    """What is asked for.

    data: shards, as `cocu index build` takes them. benchmarks: NAME=PATH of each. model: NAME@PRETRAINED of open_clip,
    or what else `cocu index build --model` takes. gpus: processes that train.
    """

    data: str
    out: Path
    benchmarks: tuple[str, ...] = ()
    model: str = MODEL
    gpus: int = 1

    @property
    def encoder(self) -> tuple[str, ...]:
        """The options of `cocu index build` that name the encoder."""
        name, at, pretrained = self.model.partition("@")
        return ("--model", name, *(("--pretrained", pretrained) if at else ()))


def plan(request: Request) -> list[Step]:
    """The paper's recipe: index, curate, train both arms, measure both."""
    index, curated = request.out / "index", request.out / "curated"
    build = ("cocu", "index", "build", request.data, *request.encoder, "--device", "cuda", "--out", str(index))
    curate = ("cocu", "curate", "run", str(index), "--preset", "paper", "--out", str(curated))
    steps = [
        Step("index", build, writes=(index / "manifest.json",), alone=True),
        Step("curate-cocu", curate, needs=("index",), writes=(curated / "shards",), alone=True),
    ]
    for recipe in RECIPES:
        run = request.out / "runs" / recipe
        options = ("--data", str(curated / "shards"), "--device", "cuda", "--compile", "--no-tensorboard")
        train = (*_launched(request.gpus), "train", recipe, *options, "--out", str(run), f"seed={SEED}")
        written = (run / "checkpoints",)
        steps.append(Step(f"train-{recipe}", train, needs=("curate-cocu",), writes=written, alone=True))
        if request.benchmarks:
            steps.append(_evaluation(recipe, run, request))
    return steps


def _launched(gpus: int) -> tuple[str, ...]:
    if gpus == 1:
        return ("cocu",)
    return ("torchrun", "--no-python", "--standalone", "--nproc-per-node", str(gpus), "cocu")


def _evaluation(recipe: str, run: Path, request: Request) -> Step:
    """Of the last checkpoint, whose number is known when the pairs are counted."""
    out = request.out / "eval" / recipe
    measured = " ".join(f"--benchmark {shlex.quote(named)}" for named in request.benchmarks)
    checkpoint = f'"$(ls -d {shlex.quote(str(run))}/checkpoints/step-* | tail -n 1)"'
    command = f"cocu eval {checkpoint} {measured} --device cuda --out {shlex.quote(str(out))} --overwrite"
    needs, written = (f"train-{recipe}",), (out / "results.json",)
    return Step(f"eval-{recipe}", ("bash", "-c", command), needs=needs, writes=written, alone=True)


# What it needs.


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, whether it is well, and what was found."""

    what: str
    well: bool
    said: str

    def line(self) -> str:
        """As it is printed."""
        return f"{'ok' if self.well else 'missing':<8} {self.what}: {self.said}"


def checks(request: Request) -> Iterator[Finding]:
    """All checks, one after the other; nothing is raised for what is wrong, so that one sees all of it at once."""
    shards, size = _shards(request.data)
    yield shards
    yield _encoder(request)
    yield _cuda(request.gpus)
    yield _disk(request.out, size)
    if not request.benchmarks:
        yield Finding("benchmarks", True, "none given: both arms would be trained and not measured")
    for named in request.benchmarks:
        yield _benchmark(named)


def _shards(data: str) -> tuple[Finding, int]:
    """Whether there are shards and the first pairs of the first one can be read; and the bytes of all."""
    from curation.reading.pairs import CaptionOptions
    from curation.reading.shards import find_shards, read_pairs
    from files.rejects import Reject

    try:
        shards = find_shards([data])
        if not shards:
            return Finding("shards", False, f"{data}: holds none"), 0
        first = list(islice(read_pairs(shards[0], CaptionOptions()), _FIRST_PAIRS))
    except Exception as error:
        return Finding("shards", False, _told(error)), 0
    rejects = [one for one in first if isinstance(one, Reject)]
    size = sum(shard.size for shard in shards)
    said = (
        f"{len(shards):,} of {size / 1e9:,.1f} GB; {len(first) - len(rejects)} of the first {len(first)} pairs are good"
    )
    if rejects:
        said += f" (not so: {rejects[0].reason})"
    return Finding("shards", len(rejects) < len(first), said), size


def _encoder(request: Request) -> Finding:
    from curation.encoding.model_names import EncoderSpec, load_encoder

    name, _, pretrained = request.model.partition("@")
    try:
        load_encoder(EncoderSpec(name, pretrained or None))
    except Exception as error:
        return Finding("encoder", False, _told(error))
    return Finding("encoder", True, f"{request.model} loads")


def _cuda(wanted: int) -> Finding:
    import torch

    if not torch.cuda.is_available():
        return Finding("GPU", False, "PyTorch sees none; the recipe needs at least one with CUDA")
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return Finding("GPU", len(names) >= wanted, f"{', '.join(names)}; {wanted} wanted")


def _disk(out: Path, size: int) -> Finding:
    there = next(folder for folder in (out, *out.resolve().parents) if folder.is_dir())
    free, needed = shutil.disk_usage(there).free, size * _DISK_SHARE + _RUNS_BYTES
    return Finding("disk", free >= needed, f"{free / 1e9:,.0f} GB free in {there}, about {needed / 1e9:,.0f} GB needed")


def _benchmark(named: str) -> Finding:
    from data_cards.cards import read_card
    from data_cards.layouts.checks import check_benchmark

    name, separator, path = named.partition("=")
    if not (name and separator and path):
        return Finding(f"benchmark {named}", False, "give NAME=PATH, such as voc2012=VOCdevkit")
    try:
        found = check_benchmark(read_card(name), path)
    except Exception as error:
        return Finding(f"benchmark {name}", False, _told(error))
    notes = "; ".join([f"{found.pictures:,} pictures", *found.notes])
    return Finding(f"benchmark {name}", found.well, "; ".join(found.wrong) or notes)


def _told(error: Exception) -> str:
    """What is ours to say speaks for itself; the kind of every other error is named, too."""
    text = " ".join(str(error).split())
    return text if isinstance(getattr(error, "exit_code", None), int) else f"{type(error).__name__}: {text}"
