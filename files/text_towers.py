"""What of a model of open_clip the hub holds by other names: its tokenizer, and the config of a text tower from there.

Both can come from a folder that a person names instead (--tokenizer), on a machine that cannot fetch them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from files.errors import CocuError, MisuseError, one_line

OPTION = "--tokenizer"
# Of a repository, what is no weights: enough for a tokenizer, and for the form of a text tower.
PATTERNS = ("*.json", "*.model", "*.txt")
_NAMED: ContextVar[str | None] = ContextVar("named tokenizer", default=None)

# As open_clip has it in a model's config, under text_cfg.
TextForm = dict[str, Any]


@contextmanager
def tokenizer_from(folder: str | Path | None) -> Iterator[None]:
    """Inside the block models of open_clip that name no other folder have the tokenizer of this one."""
    before = _NAMED.set(None if folder is None else str(folder))
    try:
        yield
    finally:
        _NAMED.reset(before)


def open_text(model: str, folder: str | None = None, unreachable: str = "") -> tuple[TextForm, Any]:
    """(form of the text tower, tokenizer) of a model by what open_clip calls it; folder: `--tokenizer`.

    unreachable: why nothing can be fetched. Raises MisuseError for a folder without a tokenizer, or with another
    model's, CocuError for what would have to be fetched and cannot.
    """
    import open_clip
    from transformers import AutoConfig

    text = dict(open_clip.get_model_config(model)["text_cfg"])
    folder = folder or _NAMED.get()
    if folder is not None and not Path(folder).is_dir():
        raise MisuseError(f"{OPTION} {folder}: no such folder")
    asked = text.get("hf_tokenizer_name") or text.get("hf_model_name") or model.removeprefix("hf-hub:")
    if text.get("hf_tokenizer_name") and model.startswith("local-dir:"):  # open_clip looks nowhere else
        text["hf_tokenizer_name"] = model.removeprefix("local-dir:")
    if folder is not None:
        folder = str(Path(folder).resolve())
        text["hf_tokenizer_name"] = folder
        if text.get("hf_model_name") and (Path(folder) / "config.json").is_file():
            text |= {"hf_model_name": folder, "hf_model_pretrained": False}
    try:
        size = text.get("vocab_size", 49408)
        if text.get("hf_model_name"):
            size = AutoConfig.from_pretrained(text["hf_model_name"]).vocab_size
        if folder is None:
            return text, open_clip.get_tokenizer(model)
    except CocuError:
        raise
    except Exception as error:  # transformers and the hub raise dozens of kinds
        raise _lacking(model, asked, unreachable or one_line(error, 300)) from error
    return text, _of_folder(folder, text, size, model)


def hub_names(model: str, folder: str | None = None) -> list[str]:
    """What loading the text tower of such a model asks the hub for; hf-hub: models are asked for as a whole."""
    import open_clip

    text = (open_clip.get_model_config(model) or {}).get("text_cfg", {})
    names = [text.get("hf_model_name")] if model.startswith("local-dir:") or folder else []
    names = names or [text.get("hf_model_name"), text.get("hf_tokenizer_name")]
    if folder and (Path(folder) / "config.json").is_file():
        return []
    return [name for name in names if name and not Path(name).exists()]


def tokenizer_digest(folder: str | Path) -> str:
    """SHA-256 of what a tokenizer's folder holds (first 16 hex digits). Raises MisuseError where there is none."""
    digest = hashlib.sha256()
    if not Path(folder).is_dir():
        raise MisuseError(f"{OPTION} {folder}: no such folder")
    for path in sorted({path for pattern in PATTERNS for path in Path(folder).glob(pattern) if path.is_file()}):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _of_folder(folder: str, text: TextForm, size: int, model: str) -> Any:
    from open_clip.tokenizer import HFTokenizer

    length, more = text.get("context_length", 77), {**text.get("tokenizer_kwargs", {}), "local_files_only": True}
    try:
        tokenizer = HFTokenizer(folder, context_length=length, tokenizer_mode=text.get("tokenizer_mode"), **more)
        tokenizer(["a"])
        last = max(tokenizer.tokenizer.get_vocab().values())
    except CocuError:
        raise
    except Exception as error:  # transformers raises dozens of kinds
        raise MisuseError(
            f"{OPTION} {folder}: holds no tokenizer of Hugging Face's that can be used ({one_line(error, 300)}); "
            "give a folder with its files: tokenizer_config.json, and tokenizer.json or what it is made from"
        ) from error
    if last >= size:
        raise MisuseError(f"{OPTION} {folder}: has a token {last:,}, and {model} knows {size:,}; give the model's own")
    return tokenizer


def _lacking(model: str, name: str, reason: str) -> CocuError:
    patterns = ", ".join(f"'{pattern}'" for pattern in PATTERNS)
    place = (
        "or put it into the model's folder"
        if model.startswith("local-dir:")
        else "its weights come by --pretrained FILE"
    )
    return CocuError(
        f"the tokenizer of {model}, {name}, cannot be loaded: {reason}\n"
        "without a network: on a machine that has one fetch it into a folder DIR by\n"
        '  python -c "from huggingface_hub import snapshot_download as get; '
        f"get('{name}', local_dir='DIR', allow_patterns=[{patterns}])\"\n"
        f"and give a copy of it with {OPTION} DIR ({place})"
    )
