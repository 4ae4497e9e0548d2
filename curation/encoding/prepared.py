"""What goes into the towers of an encoder, made without them; and their vectors, which the device may still be at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.encoding.device_decoding import is_plain_jpeg
from files.pictures import BadPicture, decode

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Preparation:
    """What is done to pictures and texts before the towers: no work for the device, and any process can do it."""

    transform: Callable[[Any], Any]
    image_size: int
    tokenizer: Callable[[list[str]], Any]
    device_decodes: bool = False

    def pixels(self, data: bytes) -> np.ndarray | BadPicture:
        """Encoded picture -> uint8 [H, W, 3], or why it is bad."""
        return decode(data, self.transform, self.image_size)

    def pixels_into(self, room: np.ndarray, data: bytes) -> int | BadPicture:
        """Encoded picture -> its pixels in `room`, uint8 [H, W, 3], and 0; or, for the device to decode, its bytes from
        the room's beginning on, and their number; or why it is bad.
        """
        try:
            if self.device_decodes and len(data) <= room.size and is_plain_jpeg(data, self.image_size):
                room.reshape(-1)[: len(data)] = np.frombuffer(data, np.uint8)
                return len(data)
        except BadPicture as error:
            return error
        found = self.pixels(data)
        if isinstance(found, BadPicture):
            return found
        room[:] = found
        return 0

    def tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Texts -> token ids [N, L]."""
        return np.asarray(self.tokenizer(list(texts)))


@dataclass(frozen=True)
class OnDevice:
    """Vectors that the device may still be at: batches of unit vectors float32 [B, D], and the place of each row.

    spans: the device's events before and after each piece of work.
    """

    batches: Sequence[torch.Tensor]
    order: np.ndarray | None = None
    spans: Sequence[tuple[Any, Any]] = ()

    def seconds(self) -> float:
        """What the device computed for them, once they are there; 0 for a CPU."""
        return sum(begin.elapsed_time(end) for begin, end in self.spans) / 1000

    def fetch(self) -> np.ndarray:
        """float16 [N, D], in order, once they are there."""
        found = np.concatenate([batch.cpu().numpy().astype(np.float16) for batch in self.batches])
        return found if self.order is None else found[np.argsort(self.order)]


def joined(parts: Sequence[OnDevice]) -> OnDevice:
    """Vectors of parts that are in order themselves."""
    return OnDevice(
        [batch for part in parts for batch in part.batches], None, [span for p in parts for span in p.spans]
    )
