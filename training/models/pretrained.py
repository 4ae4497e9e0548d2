"""CLIPs that others trained, loaded through open_clip: to be asked as they are, or to begin training with.

miniature               the tiny CLIP that comes with the package
open_clip:NAME@WEIGHTS  an architecture of open_clip with weights by a tag of its own, or from a file; so NAME@WEIGHTS
hf-hub:NAME             from the hub
local-dir:FOLDER        a folder in open_clip's form; plain FOLDER does, too
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from data_cards.miniature.clip import built_in
from files.errors import CocuError, MisuseError, one_line
from files.remote_code import remote_code
from files.text_towers import TextForm, open_text

CONFIG = "open_clip_config.json"
# Texts -> token ids [T, context length].
TextTokenizer = Callable[[Sequence[str]], Tensor]
# What rebuilds a model, of plain values, as CONFIG has it: {"model_cfg": sizes, "preprocess_cfg": mean, std, ...}.
Form = dict[str, Any]


@dataclass(frozen=True, eq=False)
class PretrainedClip:
    """A CLIP with its weights, in eval mode: `visual`, `encode_text` and `logit_scale` of the model are its parts."""

    model: nn.Module
    tokenizer: TextTokenizer
    form: Form

    @property
    def image_size(self) -> int:
        """Pixels of a side in its training."""
        size = self.form["preprocess_cfg"]["size"]
        return int(min(size) if isinstance(size, tuple | list) else size)

    @property
    def mean(self) -> tuple[float, ...]:
        """Of its pixels, levels 0 to 1."""
        return tuple(self.form["preprocess_cfg"]["mean"])

    @property
    def std(self) -> tuple[float, ...]:
        """Of its pixels, levels 0 to 1."""
        return tuple(self.form["preprocess_cfg"]["std"])


def open_clip_name(name: str) -> str | None:
    """How open_clip calls what a person names (see above), NAME@WEIGHTS as it is; None where it is none of its own."""
    if name == built_in.NAME:
        return f"local-dir:{built_in.FOLDER}"
    if name.startswith("open_clip:"):
        return name.removeprefix("open_clip:")
    if name.startswith(("local-dir:", "hf-hub:")):
        return name
    if (Path(name) / CONFIG).is_file():
        return f"local-dir:{name}"
    if "@" in name and not Path(name).exists():
        import open_clip

        return name if name.partition("@")[0] in open_clip.list_models() else None
    return None


def load_open_clip(
    name: str,
    device: str | torch.device = "cpu",
    trust_remote_code: bool | None = None,
    *,
    custom_text: bool = False,
) -> PretrainedClip:
    """A model by what open_clip calls it: NAME@WEIGHTS, hf-hub:NAME, local-dir:FOLDER.

    trust_remote_code: whether Python code that comes with it may run; None: as `files.remote_code.trusting` says.
    custom_text: the text tower is a module of its own, `text`, whatever the model. Raises MisuseError for a name that
    leads nowhere or code that is not trusted, CocuError for weights that cannot be had or read.
    """
    import open_clip

    model_name, pretrained = _named(name)
    # An activation that only the weights' own entry tells; open_clip warns and takes the other.
    quick = (
        bool((open_clip.get_pretrained_cfg(model_name, pretrained) or {}).get("quick_gelu")) if pretrained else False
    )
    try:
        with remote_code(trust_remote_code), _silent():
            # From pretrained: else a folder without weights gives a random model.
            given = {"return_transform": False, "force_custom_text": custom_text, "force_quick_gelu": quick}
            text, tokenizer = open_text(model_name)
            own = {"text_cfg": text} if "hf_model_pretrained" in text else {}  # its config is of another folder
            model = open_clip.create_model_from_pretrained(model_name, pretrained, device=device, **given, **own)
    except CocuError:
        raise
    except Exception as error:  # open_clip and the hub raise dozens of kinds
        local = name.removeprefix("local-dir:") if name.startswith("local-dir:") else pretrained
        advice = "without a network give a checkpoint file, open_clip:NAME@FILE, or a folder, local-dir:FOLDER"
        if local and Path(local).exists():
            advice = f"{local}: is damaged, incomplete or of another model; fetch or copy it again, or give another"
        said = "no weights that torch can read" if isinstance(error, UnpicklingError) else " ".join(str(error).split())
        raise CocuError(
            f"{name if model_name == name else f'open_clip:{name}'}: cannot be loaded "
            f"({type(error).__name__}: {said[:300]}); {advice}"
        ) from error
    sizes = (
        open_clip.get_model_config(model_name) | {"text_cfg": _rooted(text)} | ({"quick_gelu": True} if quick else {})
    )
    form = {"model_cfg": sizes, "preprocess_cfg": open_clip.get_model_preprocess_cfg(model)}
    return PretrainedClip(model.eval(), tokenizer, json.loads(json.dumps(form)))


def build_open_clip(form: Form) -> PretrainedClip:
    """A model of this form with fresh weights and its tokenizer; its text tower is a module of its own, `text`.

    Raises MisuseError for a form that open_clip cannot build, or whose text tower or tokenizer is no longer there.
    """
    import open_clip

    if not isinstance(form.get("model_cfg"), dict):
        raise MisuseError(
            f"model.towers: has no model_cfg, as {CONFIG} has; leave model.towers out, it is read from init"
        )
    try:
        with tempfile.TemporaryDirectory() as folder, remote_code(), _silent():
            (Path(folder) / CONFIG).write_text(json.dumps(form), encoding="utf-8")
            given = {"load_weights": False, "pretrained_text": False, "force_custom_text": True}
            model = open_clip.create_model(f"local-dir:{folder}", **given)
            whole = {**form, "preprocess_cfg": open_clip.get_model_preprocess_cfg(model)}
            return PretrainedClip(model.eval(), _tokenizer(form["model_cfg"]["text_cfg"]), whole)
    except CocuError:
        raise
    except Exception as error:
        raise MisuseError(
            f"the towers that model.towers describes cannot be built ({type(error).__name__}: {one_line(error)}); "
            "begin with a CLIP (init), which describes its own, and leave its folder where it is"
        ) from error


def with_text_form(form: Form, folder: Path) -> Form:
    """A form whose text tower and tokenizer are those in a folder (ClipTowers.save_text_form)."""
    sizes = form["model_cfg"]
    names = {key: str(folder) for key in ("hf_model_name", "hf_tokenizer_name") if sizes["text_cfg"].get(key)}
    return {**form, "model_cfg": {**sizes, "text_cfg": {**sizes["text_cfg"], **names}}}


def _tokenizer(text: dict[str, Any]) -> TextTokenizer:
    """The tokenizer of a text tower, as open_clip chooses it."""
    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

    length, more = text.get("context_length", 77), text.get("tokenizer_kwargs", {})
    if named := text.get("hf_tokenizer_name"):
        return HFTokenizer(named, context_length=length, tokenizer_mode=text.get("tokenizer_mode"), **more)
    return SimpleTokenizer(context_length=length, **more)


def _rooted(text: TextForm) -> TextForm:
    """A text tower's form whose parts are found from any working directory."""
    names = [key for key in ("hf_model_name", "hf_tokenizer_name") if text.get(key) and Path(text[key]).exists()]
    return text | {key: str(Path(text[key]).resolve()) for key in names}


@contextmanager
def _silent() -> Iterator[None]:
    """Without what open_clip logs: what matters is said by errors."""
    before = logging.getLogger().level
    logging.getLogger().setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logging.getLogger().setLevel(before)


def _named(name: str) -> tuple[str, str | None]:
    """(model, pretrained) as open_clip takes them. Raises MisuseError for names that it does not know."""
    import open_clip

    if name.startswith("hf-hub:"):
        return name, None
    if name.startswith("local-dir:"):
        folder = Path(name.removeprefix("local-dir:"))
        if not (folder / CONFIG).is_file():
            raise MisuseError(f"{name}: no folder with {CONFIG} in it")
        return name, None
    model, _, pretrained = name.partition("@")
    if model not in open_clip.list_models():
        raise MisuseError(f"open_clip:{name}: open_clip knows no model {model!r}; see open_clip.list_models()")
    known = open_clip.list_pretrained_tags_by_model(model)
    if pretrained not in known and not Path(pretrained).is_file():
        said = f"no weights {pretrained!r}" if pretrained else "no weights are named"
        there = f"give one of {', '.join(known)}, or a file" if known else "give a checkpoint file"
        raise MisuseError(f"open_clip:{name}: {said}; {there}, as open_clip:{model}@WEIGHTS")
    return model, pretrained
