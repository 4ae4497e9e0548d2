"""An open_clip model as two functions: pictures -> unit vectors, texts -> unit vectors (v and t of the paper)."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.encoding.device_decoding import DECODERS, DeviceDecoder
from curation.encoding.model_names import EncoderSpec, load_encoder
from curation.encoding.prepared import OnDevice, Preparation
from data_cards.prompt import PROMPT
from files.errors import MisuseError
from files.pictures import BadPicture, decode

if TYPE_CHECKING:
    import torch

    from files.dense_towers import Tower

PRECISIONS = ("fp32", "bf16", "fp16")
HALF = {"bf16": "bfloat16", "fp16": "float16"}
DEVICES = ("auto", "cpu", "cuda")
# Devices on which weights themselves are in half precision: without casting at every layer the towers are half as fast
# again. A model that this changes keeps them whole.
HALVED = ("cuda",)
# Texts are sorted by length over this many batches, so that a batch is hardly padded.
SORT_WINDOW = 8
# Two float16 unit vectors of one input, from two machines or precisions, agree better than this.
SAME_MODEL = 0.995
# Two float16 unit vectors of one input, both computed in fp32, are nearer than this.
UNTOUCHED = 2e-3


class Encoder:
    """Encodes pictures and texts with one open_clip model on one device.

    `seconds` sums what the forward passes took, for the stage report; not those that were begun without waiting on a
    GPU, whose vectors know it. texts_only: it is asked for no picture, so that a plain model needs less to be loaded.
    decoder: cpu, or gpu for JPEGs that are begun as bytes.
    """

    def __init__(
        self,
        spec: EncoderSpec,
        device: str = "auto",
        batch_size: int = 64,
        workers: int = 4,
        texts_only: bool = False,
        decoder: str = "cpu",
    ) -> None:
        import torch

        from curation.encoding.text_alone import text_alone

        self.device = torch.device(resolve_device(device))
        self.precision = resolve_precision(spec.precision, self.device.type)
        self.spec = replace(spec, precision=self.precision)
        self.batch_size = batch_size
        self.workers = max(1, workers)
        self.seconds = 0.0
        self.model: Any
        self._transform: Any = None
        if alone := text_alone(spec) if texts_only else None:
            self.model, self._tokenizer = alone
            self.model = self.model.to(self.device).eval()
            self.image_size = 0
        else:
            self.model, preprocess, self._tokenizer = load_encoder(spec)
            # channels_last: convolutions on CPU run about twice as fast; transformers do not care
            self.model = self.model.to(self.device, memory_format=torch.channels_last).eval()
            self._transform, self._mean, self._std = _split_preprocess(preprocess, self.device)
            self.image_size = _image_size(self.model)
        self._trims = False
        self._dtype = torch.float32
        self._decoder = self._device_decoder(decoder)
        self._trims = self._trimming_is_exact()
        self._halve()
        self.dim = int(self.encode_texts(["a"]).shape[1])

    def encode_pictures(self, pictures: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, np.ndarray | BadPicture]]:
        """(key, encoded picture bytes) -> (key, unit vector float16 [D], or why the picture is bad), in order.

        Decoding runs in threads ahead of the model, at most two batches, so memory is bounded by the batch.
        """
        with ThreadPoolExecutor(self.workers) as pool:
            window: list[tuple[str, Any]] = []
            following: list[tuple[str, Any]] = []
            for key, data in pictures:
                following.append((key, pool.submit(decode, data, self._transform, self.image_size)))
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

    @property
    def preparation(self) -> Preparation:
        """What comes before its towers."""
        return Preparation(self._transform, self.image_size, self._tokenizer, self._decoder is not None)

    def encode_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [B, H, W, 3] -> unit vectors float16 [B, D]."""
        return self._fetched(self.begin_pixels(pixels))

    def begin_pixels(self, pixels: np.ndarray) -> OnDevice:
        """uint8 [B, H, W, 3] -> unit vectors [B, D], without waiting for them; `pixels` may then be changed."""
        return self._begin_levels(self._on_device(pixels))

    def begin_pictures(self, pixels: np.ndarray, lengths: np.ndarray) -> tuple[OnDevice, dict[int, BadPicture]]:
        """The same of pictures, some of them bytes for the device to decode, as `pixels_into` leaves both.

        lengths [B]: of these bytes; 0: pixels. Besides, why some are bad: these have no vector.
        """
        if self._decoder is None or not lengths.any():
            return self.begin_pixels(pixels), {}
        levels, bad = self._decoder.levels(pixels, lengths, self._on_device, self.preparation.pixels)
        return self._begin_levels(levels), bad

    def _begin_levels(self, levels: torch.Tensor) -> OnDevice:
        """uint8 [B, 3, H, W] on the device -> unit vectors [B, D]."""
        import torch

        with torch.inference_mode(), self._timed() as spans, self._autocast():
            batch = self._normalised(levels)
            return OnDevice([_unit(self.model.encode_image(batch.to(self._dtype)))], spans=spans)

    def _fetched(self, begun: OnDevice) -> np.ndarray:
        found = begun.fetch()
        self.seconds += begun.seconds()
        return found

    def dense(self, tower: Tower, pixels: np.ndarray) -> tuple[torch.Tensor, tuple[int, int]]:
        """A dense tower of its model, uint8 [B, H, W, 3] -> unit vectors of cells float32 [B, h * w, D], grid."""
        import torch

        with torch.inference_mode(), self._autocast(mixed=True):
            cells, grid, _ = tower(self._normalised(self._on_device(pixels)).to(self._dtype))
            return torch.nn.functional.normalize(cells.float(), dim=-1), grid

    def _on_device(self, pixels: np.ndarray) -> torch.Tensor:
        """uint8 [B, H, W, 3] -> [B, 3, H, W] on the device."""
        import torch

        batch = torch.from_numpy(pixels)
        if self.device.type == "cuda":
            batch = batch.pin_memory()  # else what copies it to the device waits for the batch before
        return batch.to(self.device, non_blocking=True).permute(0, 3, 1, 2)

    def _normalised(self, levels: torch.Tensor) -> torch.Tensor:
        import torch

        batch = levels.float().div_(255).sub_(self._mean).div_(self._std)
        return batch.contiguous(memory_format=torch.channels_last)

    @contextlib.contextmanager
    def _timed(self) -> Iterator[list[tuple[Any, Any]]]:
        """Count the block's seconds; on a GPU, which is not waited for, events are put into what it gives."""
        import torch

        spans: list[tuple[Any, Any]] = []
        if self.device.type != "cuda":
            start = time.perf_counter()
            yield spans
            self.seconds += time.perf_counter() - start
            return
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        yield spans
        end.record()
        spans.append((begin, end))

    def _halve(self) -> None:
        """On a GPU the weights in half precision, if that leaves vectors what they are under autocast."""
        import torch

        half = HALF.get(self.precision)
        if self.device.type not in HALVED or half is None:
            return
        texts = ["a dog", "two people walk over a bridge in the rain"]
        side = self.image_size
        noise = np.random.default_rng(0).integers(0, 256, (2 if side else 0, side, side, 3), np.uint8)

        def seen() -> np.ndarray:
            found = [self.encode_texts(texts), *([self.encode_pixels(noise)] if len(noise) else [])]
            return np.concatenate(found).astype(np.float32)

        expected = seen()
        whole, dtype = self.model, getattr(torch, half)
        self.model, self._dtype = copy.deepcopy(whole).to(dtype), dtype
        try:
            found = seen()
        except RuntimeError:  # parts of it want single precision
            found = np.zeros_like(expected)
        if not (expected * found).sum(1).min() > SAME_MODEL:
            self.model, self._dtype = whole, torch.float32

    def _device_decoder(self, decoder: str) -> DeviceDecoder | None:
        if decoder not in DECODERS:
            raise MisuseError(f"--decode {decoder}: expected one of {', '.join(DECODERS)}")
        if decoder == "cpu":
            return None
        if self.device.type != "cuda":
            raise MisuseError("--decode gpu: wants --device cuda, and a GPU; leave it out")
        return DeviceDecoder(self._transform, self.device)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Texts -> unit vectors float16 [N, D], in order."""
        span = self.batch_size * SORT_WINDOW
        spans = [texts[first : first + span] for first in range(0, len(texts), span)]
        found = [self._fetched(self.begin_tokens(self.preparation.tokens(span))) for span in spans]
        return np.concatenate(found) if found else np.zeros((0, self.dim), np.float16)

    def begin_tokens(self, tokens: np.ndarray) -> OnDevice:
        """Token ids [N, L] -> unit vectors [N, D], without waiting for them."""
        import torch

        batches: list[torch.Tensor] = []
        spans: list[tuple[Any, Any]] = []
        order = [np.zeros(0, np.int64)]
        span = self.batch_size * SORT_WINDOW
        for first in range(0, len(tokens), span):
            window = tokens[first : first + span]
            lengths = (window != self._padding()).cumsum(1).argmax(1) + 1
            order.append(np.argsort(lengths, kind="stable") + first)
            for i in range(0, len(window), self.batch_size):
                rows = order[-1][i : i + self.batch_size]
                cut = lengths[rows - first].max() if self._trims else None
                begun = self._encode_tokens(torch.from_numpy(tokens[rows, :cut]))
                batches += begun.batches
                spans += begun.spans
        return OnDevice(batches, np.concatenate(order), spans)

    def encode_concepts(self, concepts: Sequence[str], prompt: str = PROMPT) -> np.ndarray:
        """t(c) of the paper: unit vectors float16 [C, D] of each concept in the prompt, where {} stands."""
        return self.encode_texts([prompt.format(concept) for concept in concepts])

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

    def _encode_tokens(self, tokens: torch.Tensor) -> OnDevice:
        import torch

        mask = self._causal_mask(tokens.shape[1])
        with torch.inference_mode(), self._timed() as spans, self._autocast(), mask:
            return OnDevice([_unit(self.model.encode_text(tokens.to(self.device)))], spans=spans)

    @contextlib.contextmanager
    def _causal_mask(self, length: int) -> Iterator[None]:
        """open_clip's own text tower holds a mask of its full length; texts cut shorter need a part of it."""
        tower = getattr(self.model, "text", None)
        full = getattr(tower, "attn_mask", None)
        cuts_itself = getattr(tower, "cls_emb", None) is not None  # CoCa's, to which a token is added
        if full is None or full.ndim != 2 or length >= len(full) or cuts_itself:
            yield
            return
        assert tower is not None
        tower.attn_mask = full[:length, :length]
        try:
            yield
        finally:
            tower.attn_mask = full

    def _autocast(self, mixed: bool = False) -> Any:
        """mixed: also where the weights are in half precision, for what computes with other tensors beside them."""
        import torch

        half = HALF.get(self.precision) if mixed or self._dtype == torch.float32 else None
        return torch.autocast(self.device.type, dtype=getattr(torch, half) if half else None, enabled=half is not None)

    def _padding(self) -> int:
        tokenizer = getattr(self._tokenizer, "tokenizer", None)
        return int(getattr(tokenizer, "pad_token_id", None) or 0)

    def _trimming_is_exact(self) -> bool:
        """Whether padding may be cut off: true of causal and of masked text towers, measured on two sentences."""
        texts = ["a dog", "two people walk over a bridge in the rain"]
        precision, self.precision = self.precision, "fp32"  # what half precision blurs is told apart
        try:
            full = self.encode_texts(texts).astype(np.float32)
            self._trims = True
            trimmed = self.encode_texts(texts).astype(np.float32)
        except (RuntimeError, ValueError, IndexError):
            if not self._trims:
                raise
            return False
        finally:
            self.precision = precision
        return bool(np.linalg.norm(full - trimmed, axis=1).max() < UNTOUCHED)


def _unit(vectors: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Unit vectors float32; of a tower with several outputs the first, which is the whole's."""
    import torch

    vectors = vectors[0] if isinstance(vectors, tuple) else vectors
    return torch.nn.functional.normalize(vectors.float(), dim=-1)


def resolve_device(device: str) -> str:
    """ "auto" -> "cuda" where there is one, else "cpu". Raises MisuseError for cuda without one."""
    if device not in DEVICES:
        raise MisuseError(f"--device {device}: expected one of {', '.join(DEVICES)}")
    if device == "cpu":
        return device
    import torch  # it takes a second to load

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
