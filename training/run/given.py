"""A learner by what a person calls it: a checkpoint of ours, or a GroupViT that others trained.

RUN/best                      a checkpoint of cocu train, any learner
FOLDER or owner/name          GroupViT in Hugging Face's form, on the disk or on the hub; cocu train export writes it
group_vit_....pth             GroupViT's original release
"""

from __future__ import annotations

from pathlib import Path

from files.errors import MisuseError
from training.models.groupvit_weights import load_huggingface, load_original
from training.models.learner import Learner
from training.run.checkpoint import CONFIG, WEIGHTS, load_learner, near, no_checkpoint, what_to_give

# The release's files, as torch saves them.
TORCH_SUFFIXES = (".pth", ".pt")


def load_given(name: str) -> tuple[Learner, str]:
    """A learner on the CPU in eval mode, and what it is. Raises MisuseError for a path that holds something else."""
    path = Path(name)
    if path.is_dir():
        if (path / CONFIG).is_file() and (path / WEIGHTS).is_file():
            learner, recipe = load_learner(path)
            return learner, f"{recipe.learner}, concepts: {recipe.concepts}"
        if (path / "config.json").is_file():
            return load_huggingface(path), "GroupViT, Hugging Face's form"
        raise MisuseError(f"{path}: {_what_is_in(path)}")
    if path.is_file():
        if path.suffix in TORCH_SUFFIXES:
            return load_original(path), "GroupViT, the original release's form"
        raise MisuseError(
            f"{path}: is a file, not a checkpoint; give the folder of a checkpoint (RUN/best), or a file .pth of the "
            "GroupViT release"
        )
    if near(path):
        raise no_checkpoint(path, WEIGHTS)
    if name.count("/") == 1 and not path.suffix and not name.startswith((".", "/", "~")):
        return load_huggingface(name), "GroupViT, Hugging Face's form"
    raise MisuseError(
        f"{name}: there is no such folder or file, and it is no model's name; give a checkpoint (RUN/best), a folder "
        "or a name (owner/name) of a GroupViT on Hugging Face, a file .pth of the GroupViT release, "
        "open_clip:NAME[@PRETRAINED], local-dir:FOLDER, or miniature"
    )


def _what_is_in(folder: Path) -> str:
    """What a folder that is no checkpoint is instead, and what to give."""
    if (folder / "best").is_dir() or (folder / "checkpoints").is_dir():
        return f"is the folder of a run; {what_to_give(folder)}"
    if (folder / CONFIG).is_file():
        return f"is no checkpoint, it has {CONFIG} but no {WEIGHTS}; {what_to_give(folder)}"
    found = sorted(one.name for one in folder.iterdir())
    named = (
        f"it has {', '.join(found[:4])}{f' and {len(found) - 4} more' if len(found) > 4 else ''}"
        if found
        else "it is empty"
    )
    return (
        f"is no checkpoint, {named}; expected {WEIGHTS} with {CONFIG} (cocu train), with config.json (GroupViT on "
        "Hugging Face), or open_clip_config.json"
    )
