"""An open_clip model as two functions: pictures -> unit vectors, texts -> unit vectors (v and t of the paper)."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import numpy as np

from curation.errors import CurationError, MisuseError
from curation.images import BadPicture, decode

if TYPE_CHECKING:
    import torch

PROMPT = "a photo of a {}"
PRECISIONS = ("fp32", "bf16", "fp16")
DEVICES = ("auto", "cpu", "cuda")
# Texts are sorted by length over this many batches, so that a batch is hardly padded.
SORT_WINDOW = 8
# Two float16 unit vectors of one input, from two machines or precisions, agree better than this.
SAME_MODEL = 0.995
# Longer than any working network needs to open a connection.
HUB_SECONDS = 4.0


@dataclass(frozen=True)
class EncoderSpec:
    """Which model: (model, pretrained) of open_clip, `local-dir:`, `hf-hub:`, or a config JSON + checkpoint."""

    model: str = "ViT-B-16"
    pretrained: str | None = "openai"
    precision: str = "auto"


class Encoder:
    """Encodes pictures and texts with one open_clip model on one device.

    `seconds` sums what the forward passes took, for the stage report.
    """

    def __init__(self, spec: EncoderSpec, device: str = "auto", batch_size: int = 64, workers: int = 4) -> None:
        import torch

        self.device = torch.device(resolve_device(device))
        self.precision = resolve_precision(spec.precision, self.device.type)
        self.spec = EncoderSpec(spec.model, spec.pretrained, self.precision)
        self.batch_size = batch_size
        self.workers = max(1, workers)
        self.seconds = 0.0
        self.model, preprocess, self._tokenizer = _load(spec)
        # channels_last: convolutions on CPU run about twice as fast; transformers do not care
        self.model = self.model.to(self.device, memory_format=torch.channels_last).eval()
        self._transform, self._mean, self._std = _split_preprocess(preprocess, self.device)
        self._size = _image_size(self.model)
        self._trims = False
        self._trims = self._trimming_is_exact()
        self.dim = int(self.encode_texts(["a"]).shape[1])

    def encode_pictures(self, pictures: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, np.ndarray | BadPicture]]:
        """(key, encoded picture bytes) -> (key, unit vector float16 [D], or why the picture is bad), in order.

        Decoding runs in threads ahead of the model, at most two batches, so memory is bounded by the batch.
        """
        with ThreadPoolExecutor(self.workers) as pool:
            window: list[tuple[str, Any]] = []
            following: list[tuple[str, Any]] = []
            for key, data in pictures:
                following.append((key, pool.submit(decode, data, self._transform, self._size)))
                if len(following) == self.batch_size:
                    if window:
                        yield from self._finish(window)
                    window, following = following, []
            yield from self._finish(window)
            yield from self._finish(following)

    def _finish(self, window: Sequence[tuple[str, Any]]) -> Iterator[tuple[str, np.ndarray | BadPicture]]:
        decoded = [(key, future.result()) for key, future in window]
        good = [pixels for _, pixels in decoded if not isinstance(pixels, BadPicture)]
        vectors = iter(self.encode_pixels(np.stack(good)) if good else ())
        for key, pixels in decoded:
            yield key, pixels if isinstance(pixels, BadPicture) else next(vectors)

    def encode_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [B, H, W, 3] -> unit vectors float16 [B, D]."""
        import torch

        start = time.perf_counter()
        with torch.inference_mode():
            batch = torch.from_numpy(pixels).to(self.device, non_blocking=True).permute(0, 3, 1, 2)
            batch = batch.float().div_(255).sub_(self._mean).div_(self._std)
            batch = batch.contiguous(memory_format=torch.channels_last)
            with self._autocast():
                vectors = self.model.encode_image(batch)
            found = _unit(vectors)
        self.seconds += time.perf_counter() - start
        return found

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Texts -> unit vectors float16 [N, D], in order."""
        import torch

        found = np.zeros((len(texts), self.dim if hasattr(self, "dim") else 0), np.float16)
        span = self.batch_size * SORT_WINDOW
        for first in range(0, len(texts), span):
            tokens = self._tokenizer(list(texts[first : first + span]))
            lengths = (tokens != self._padding()).long().cumsum(1).argmax(1) + 1
            order = torch.argsort(lengths, stable=True)
            for i in range(0, len(order), self.batch_size):
                rows = order[i : i + self.batch_size]
                batch = tokens[rows, : int(lengths[rows].max())] if self._trims else tokens[rows]
                vectors = self._encode_tokens(batch)
                if found.shape[1] == 0:
                    found = np.zeros((len(texts), vectors.shape[1]), np.float16)
                found[first + rows.numpy()] = vectors
        return found

    def encode_concepts(self, concepts: Sequence[str]) -> np.ndarray:
        """t(c) of the paper: unit vectors float16 [C, D] of "a photo of a {c}"."""
        return self.encode_texts([PROMPT.format(concept) for concept in concepts])

    def fingerprint(self) -> list[float]:
        """Vector of a fixed sentence; tells whether an index was built with this model."""
        return [round(float(x), 4) for x in self.encode_texts(["a photo of two dogs on a beach"])[0]]

    def check_fingerprint(self, stored: Sequence[float], index: str) -> None:
        """Raises MisuseError when `stored`, an index's fingerprint, is not of this model."""
        mine, other = np.asarray(self.fingerprint()), np.asarray(stored)
        if len(mine) != len(other):
            reason = f"has {len(mine)} dimensions, the index {len(other)}"
        elif (agreement := float(mine @ other / np.linalg.norm(mine) / np.linalg.norm(other))) < SAME_MODEL:
            reason = f"gives a fixed sentence another vector (cosine {agreement:.3f})"
        else:
            return
        raise MisuseError(
            f"{index} was built with another model: {self.spec.model} ({self.spec.pretrained}) {reason}; "
            "name the model that built the index, or build it again"
        )

    def _encode_tokens(self, tokens: torch.Tensor) -> np.ndarray:
        import torch

        start = time.perf_counter()
        with torch.inference_mode(), self._autocast(), self._causal_mask(tokens.shape[1]):
            found = _unit(self.model.encode_text(tokens.to(self.device)))
        self.seconds += time.perf_counter() - start
        return found

    @contextlib.contextmanager
    def _causal_mask(self, length: int) -> Iterator[None]:
        """open_clip's own text tower holds a mask of its full length; texts cut shorter need a part of it."""
        tower = getattr(self.model, "text", None)
        full = getattr(tower, "attn_mask", None)
        if full is None or full.ndim != 2 or length >= len(full):
            yield
            return
        assert tower is not None
        tower.attn_mask = full[:length, :length]
        try:
            yield
        finally:
            tower.attn_mask = full

    def _autocast(self) -> Any:
        import torch

        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.precision)
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None)

    def _padding(self) -> int:
        tokenizer = getattr(self._tokenizer, "tokenizer", None)
        return int(getattr(tokenizer, "pad_token_id", None) or 0)

    def _trimming_is_exact(self) -> bool:
        """Whether padding may be cut off: true of causal and of masked text towers, measured on two sentences."""
        texts = ["a dog", "two people walk over a bridge in the rain"]
        full = self.encode_texts(texts).astype(np.float32)
        self._trims = True
        try:
            trimmed = self.encode_texts(texts).astype(np.float32)
        except (RuntimeError, ValueError, IndexError):
            return False
        return bool((full * trimmed).sum(1).min() > 0.9995)


def _unit(vectors: torch.Tensor) -> np.ndarray:
    import torch

    unit = torch.nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy()
    return unit.astype(np.float16)


def resolve_device(device: str) -> str:
    """ "auto" -> "cuda" where there is one, else "cpu". Raises MisuseError for cuda without one."""
    import torch

    if device not in DEVICES:
        raise MisuseError(f"--device {device}: expected one of {', '.join(DEVICES)}")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise MisuseError("--device cuda: no CUDA device is visible; use --device cpu, or auto")
    return device


def resolve_precision(precision: str, device: str) -> str:
    """ "auto" -> fp16 on CUDA, bf16 on processors with bf16 instructions, else fp32."""
    import torch

    if precision != "auto" and precision not in PRECISIONS:
        raise MisuseError(f"--precision {precision}: expected auto, {', '.join(PRECISIONS)}")
    if precision != "auto":
        return precision
    if device == "cuda":
        return "fp16"
    native = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return "bf16" if any(getattr(torch.cpu, name, bool)() for name in native) else "fp32"


def _load(spec: EncoderSpec) -> tuple[Any, Any, Any]:
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
        # From pretrained: else a folder without weights gives a random model. Custom text: one form of text tower.
        model, preprocess = open_clip.create_model_from_pretrained(name, pretrained, force_custom_text=True)
        return model, preprocess, open_clip.get_tokenizer(name)
    except Exception as error:  # open_clip and the hub raise dozens of kinds
        which = f"{spec.model} ({spec.pretrained})" if spec.pretrained else spec.model
        if not reachable:
            reason = f"they are not on this machine, and {_hub_host()} cannot be reached"
        else:
            reason = _first_line(error)
        raise CurationError(
            f"the weights of {which} cannot be loaded: {reason}\n"
            "without a network: fetch them on a machine that has one, then give their file with --pretrained FILE, or "
            "a folder with open_clip_config.json and the weights in it with --model local-dir:FOLDER"
        ) from error
    finally:
        logging.getLogger().setLevel(logging.WARNING)


def _named(spec: EncoderSpec) -> tuple[str, str | None]:
    """(model, pretrained) as open_clip takes them. Raises MisuseError for names that it does not know."""
    import open_clip

    name, pretrained = spec.model, spec.pretrained
    if name.startswith("hf-hub:"):
        return name, None
    if name.startswith("local-dir:"):
        folder = Path(name.removeprefix("local-dir:"))
        if not folder.is_dir():
            raise MisuseError(f"--model {name}: no folder {folder}")
        if not (folder / "open_clip_config.json").is_file():
            raise MisuseError(f"--model {name}: no open_clip_config.json in {folder}")
        return name, None
    if name.endswith(".json"):
        if not Path(name).is_file():
            raise MisuseError(f"--model {name}: no such file")
        if not pretrained or not Path(pretrained).is_file():
            raise MisuseError(f"--model {name}: a config file needs its checkpoint; give it with --pretrained FILE")
        open_clip.add_model_config(name)
        return Path(name).stem, pretrained
    if name not in open_clip.list_models():
        near = _near(name, open_clip.list_models())
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
    """Whether loading may ask the network: for weights by name, or for a text tower by name inside a local model."""
    if spec.model.startswith("local-dir:"):
        config = Path(spec.model.removeprefix("local-dir:")) / "open_clip_config.json"
    elif spec.model.endswith(".json"):
        config = Path(spec.model)
    else:
        return not (spec.pretrained and Path(spec.pretrained).is_file())
    named = re.findall(r'"hf_(?:model|tokenizer)_name"\s*:\s*"([^"]*)"', config.read_text("utf-8", errors="replace"))
    return any(not Path(name).exists() for name in named)


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
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}"[:400]


def _split_preprocess(preprocess: Any, device: torch.device) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """The model's own preprocessing in two: geometry on the picture in threads, arithmetic on the device in batches."""
    import torch
    from torchvision.transforms import Compose, Normalize

    steps = list(preprocess.transforms)
    normalise = steps[-1]
    assert isinstance(normalise, Normalize), f"open_clip's preprocessing ends in {normalise!r}"
    mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (normalise.mean, normalise.std))
    return Compose(steps[:-2]), mean, std


def _image_size(model: Any) -> int:
    size = model.visual.preprocess_cfg["size"] if hasattr(model.visual, "preprocess_cfg") else model.visual.image_size
    return int(size if isinstance(size, int) else max(size))


def weights_digest(spec: EncoderSpec) -> str | None:
    """SHA-256 of a local checkpoint's bytes (first 16 hex digits), None for weights fetched by name."""
    paths: list[Path] = []
    if spec.model.startswith("local-dir:"):
        folder = Path(spec.model.removeprefix("local-dir:"))
        paths = sorted(p for p in folder.glob("open_clip*") if p.is_file())
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
