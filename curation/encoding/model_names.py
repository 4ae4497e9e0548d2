"""What `--model` and `--pretrained` may name, and how that becomes a model of open_clip."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import logging
import os
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from data_cards.miniature.clip import built_in
from files.errors import CocuError, MisuseError
from files.quick_gelu import wants_quick_gelu
from files.remote_code import remote_code
from files.text_towers import OPTION as TOKENIZER_OPTION
from files.text_towers import hub_names, open_text, tokenizer_digest

# Longer than any working network needs to open a connection.
HUB_SECONDS = 4.0


@dataclass(frozen=True)
class EncoderSpec:
    """Which model: (model, pretrained) of open_clip, a config JSON + checkpoint, or a whole one by its name alone.

    A whole one is `local-dir:FOLDER`, `hf-hub:NAME` or `miniature`; its `pretrained` becomes None.
    trust_remote_code: whether Python code that comes with it may run. tokenizer: folder with its tokenizer (of Hugging
    Face's), in place of the hub's or its own.
    """

    model: str = "ViT-B-16"
    pretrained: str | None = "openai"
    precision: str = "auto"
    trust_remote_code: bool = False
    tokenizer: str | None = None

    def __post_init__(self) -> None:
        if self.folder or self.model.startswith("hf-hub:"):
            object.__setattr__(self, "pretrained", None)

    @property
    def folder(self) -> Path | None:
        """The folder in open_clip's form that the name stands for, None where it stands for something else."""
        if self.model == built_in.NAME:
            return built_in.FOLDER
        return Path(self.model.removeprefix("local-dir:")) if self.model.startswith("local-dir:") else None


def named_encoder(
    model: str | None, pretrained: str | None, trust_remote_code: bool, tokenizer: str | Path | None = None
) -> EncoderSpec | None:
    """The model of an index as a person names it again; None where it is left to the index.

    Raises MisuseError for a tokenizer without a model.
    """
    if tokenizer and not model:
        raise MisuseError(f"{TOKENIZER_OPTION} {tokenizer}: is of a model; name that, too, with --model")
    folder = str(tokenizer) if tokenizer else None
    return EncoderSpec(model, pretrained, "auto", trust_remote_code, folder) if model else None


def load_encoder(spec: EncoderSpec) -> tuple[Any, Any, Any]:
    """(model, preprocessing, tokenizer) of open_clip.

    Raises MisuseError for a name that leads nowhere or code that is not trusted, CocuError for weights that cannot be
    had or read.
    """
    import huggingface_hub.constants
    import open_clip

    name, pretrained = _named(spec)
    reachable = not _may_fetch(spec) or _hub_is_reachable()
    if not reachable:
        # Else five retries of every file, which take minutes. What is in the cache is found all the same.
        huggingface_hub.constants.HF_HUB_OFFLINE = True
    # The root logger, which open_clip writes to; what it says is said better by our errors.
    logging.getLogger().setLevel(logging.CRITICAL)
    try:
        with remote_code(spec.trust_remote_code):
            # From pretrained: else a folder without weights gives a random model. Custom text: one form of text tower.
            given: dict[str, Any] = {"force_custom_text": True, "force_quick_gelu": wants_quick_gelu(name, pretrained)}
            text, tokenizer = open_text(name, spec.tokenizer, "" if reachable else f"it is {_not_here()}")
            if "hf_model_pretrained" in text:  # its config is of another folder
                given["text_cfg"] = text
            model, preprocess = open_clip.create_model_from_pretrained(name, pretrained, **given)
            return model, preprocess, tokenizer
    except CocuError:
        raise
    except Exception as error:  # open_clip and the hub raise dozens of kinds
        which = f"{spec.model} ({spec.pretrained})" if spec.pretrained else spec.model
        reason = _first_line(error) if reachable else f"they are {_not_here()}"
        if _may_fetch(spec):
            advice = (
                "without a network: fetch them on a machine that has one, then give their file with --pretrained FILE, "
                "or a folder with open_clip_config.json and the weights in it with --model local-dir:FOLDER"
            )
        else:
            there = spec.folder or spec.pretrained
            advice = f"{there}: is damaged, incomplete or of another model; fetch or copy it again, or give another"
        raise CocuError(f"the weights of {which} cannot be loaded: {reason}\n{advice}") from error
    finally:
        logging.getLogger().setLevel(logging.WARNING)


def _named(spec: EncoderSpec) -> tuple[str, str | None]:
    """(model, pretrained) as open_clip takes them. Raises MisuseError for names that it does not know."""
    import open_clip

    name, pretrained = spec.model, spec.pretrained
    if name.startswith("hf-hub:"):
        return name, None
    if folder := spec.folder:
        if not folder.is_dir():
            raise MisuseError(f"--model {name}: no folder {folder}")
        if not (folder / "open_clip_config.json").is_file():
            raise MisuseError(f"--model {name}: no open_clip_config.json in {folder}")
        return f"local-dir:{folder}", None
    if name.endswith(".json"):
        if not Path(name).is_file():
            raise MisuseError(f"--model {name}: no such file")
        if not pretrained or not Path(pretrained).is_file():
            raise MisuseError(f"--model {name}: a config file needs its checkpoint; give it with --pretrained FILE")
        open_clip.add_model_config(name)
        return Path(name).stem, pretrained
    if name not in open_clip.list_models():
        near = _near(name, [*open_clip.list_models(), built_in.NAME])
        hint = f"; near to it: {', '.join(near)}" if near else ""
        raise MisuseError(f"--model {name}: open_clip knows no such model{hint}")
    if not pretrained:
        raise MisuseError(f"--model {name}: needs --pretrained, a tag of open_clip's or a checkpoint file")
    known = open_clip.list_pretrained_tags_by_model(name)
    if pretrained not in known and not Path(pretrained).is_file():
        raise MisuseError(
            f"--pretrained {pretrained}: no such file, and no such weights of {name}; "
            + (f"there are {', '.join(known)}" if known else "open_clip has none, so give a checkpoint file")
        )
    return name, pretrained


def _near(name: str, models: Sequence[str]) -> list[str]:
    """Models whose names are like `name`, nearest first."""
    plain = {model.lower().replace("/", "-").replace("_", "-"): model for model in models}
    asked = name.lower().replace("/", "-").replace("_", "-")
    inside = [plain[model] for model in sorted(plain, key=len) if asked in model]
    close = [plain[model] for model in difflib.get_close_matches(asked, plain, n=5, cutoff=0.6)]
    return list(dict.fromkeys([*close[:1], *inside, *close]))[:5]


def _may_fetch(spec: EncoderSpec) -> bool:
    """Whether loading may ask the network: for weights by name, or for the parts of a text tower by theirs."""
    local = spec.folder or spec.model.endswith(".json") or (spec.pretrained and Path(spec.pretrained).is_file())
    if not local:
        return True
    with contextlib.suppress(ValueError, AttributeError, OSError):  # a config that is none is told when it is read
        return bool(hub_names(_named(spec)[0], spec.tokenizer))
    return False


def _not_here() -> str:
    return f"not on this machine, and {_hub_host()} cannot be reached"


def _hub_host() -> str:
    return urlsplit(os.environ.get("HF_ENDPOINT", "") or "https://huggingface.co").hostname or "huggingface.co"


def _hub_is_reachable() -> bool:
    """Whether a connection to the hub can be opened within seconds; taken for granted behind a proxy."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return False
    if getproxies():
        return True
    answers: list[bool] = []

    def connect() -> None:
        with contextlib.suppress(OSError), socket.create_connection((_hub_host(), 443), timeout=HUB_SECONDS):
            answers.append(True)

    # In a thread, since the look-up of the name has no time limit of its own.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(HUB_SECONDS)
    return bool(answers)


def _first_line(error: Exception) -> str:
    text = (str(error).strip().splitlines() or [""])[0]
    # What torch adds to this one is how to read the file unsafely.
    text = "no weights that torch can read" if isinstance(error, UnpicklingError) else text
    return f"{type(error).__name__}: {text}"[:400]


def weights_digest(spec: EncoderSpec) -> str | None:
    """SHA-256 of a local checkpoint's bytes (first 16 hex digits), None for weights fetched by name."""
    paths: list[Path] = []
    if spec.folder:
        paths = sorted(p for p in spec.folder.glob("open_clip*") if p.is_file())
    elif spec.pretrained and Path(spec.pretrained).is_file():
        paths = [Path(spec.pretrained)]
    if not paths:
        return None
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as data:
            while chunk := data.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()[:16]


def tokenizer_parameters(spec: EncoderSpec) -> dict[str, str]:
    """What a manifest says of a tokenizer that a person named; nothing of the model's own."""
    if not spec.tokenizer:
        return {}
    return {"tokenizer": spec.tokenizer, "tokenizer_digest": tokenizer_digest(spec.tokenizer)}
