"""JPEGs decoded and resized on the device: what a processor of few cores is spared, to nearly the same pixels.

Where colour has fewer samples than light (4:2:0), nvJPEG repeats them and libjpeg interpolates: a few levels a pixel,
next to nothing once the picture is resized. All that is no plain JPEG goes the processor's way.
"""

from __future__ import annotations

import io
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from files.errors import MisuseError
from files.pictures import BadPicture, check_ratio, with_header

if TYPE_CHECKING:
    import torch

DECODERS = ("cpu", "gpu")
# Pictures of more pixels are decoded near their size by the processor; and the device holds a batch of them whole.
MOST_PIXELS = 2_000_000
# Samples of light for one of each colour, across and down: those that every version of nvJPEG knows.
_SAMPLES = {(1, 1), (2, 1), (2, 2), (1, 2)}


def is_plain_jpeg(data: bytes, size: int) -> bool:
    """Whether the device may decode it: whole, of 8 bits, grey or of the usual colours. Raises BadPicture.

    size: pixels that its shorter side is to have.
    """
    picture: Any = with_header(data)
    check_ratio(picture.width, picture.height, size)
    if picture.format != "JPEG" or picture.width * picture.height > MOST_PIXELS:
        return False
    if not data.rstrip(b"\0").endswith(b"\xff\xd9"):  # cut off, which nvJPEG does not tell
        return False
    identities, *samples = zip(*((part[0], part[1], part[2]) for part in picture.layer), strict=True)
    across_and_down = list(zip(*samples, strict=True))
    if picture.mode == "L":
        return True
    usual = picture.mode == "RGB" and identities != (82, 71, 66) and picture.info.get("adobe_transform", 1) == 1
    return usual and across_and_down[0] in _SAMPLES and set(across_and_down[1:]) == {(1, 1)}


class DeviceDecoder:
    """torchvision's decoder on a device, and the geometry of a model's preprocessing there.

    Raises MisuseError for preprocessing that knows pictures alone, and where torchvision has no decoder for the device.
    """

    def __init__(self, transform: Any, device: torch.device) -> None:
        from torchvision.transforms import CenterCrop, Resize

        steps = [step for step in transform.transforms if _name(step) not in ("MaybeConvertMode", "_convert_to_rgb")]
        if not all(isinstance(step, (Resize, CenterCrop)) for step in steps):
            names = ", ".join(map(_name, steps))
            raise MisuseError(f"--decode gpu: this model's preprocessing ({names}) is the CPU's; leave it out")
        self._steps, self._device = steps, device
        try:
            self._decoded([_grey()])
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise MisuseError(
                f"--decode gpu: torchvision cannot decode JPEGs on {device} ({reason}); leave it out"
            ) from None

    def levels(
        self,
        pixels: np.ndarray,
        lengths: np.ndarray,
        on_device: Callable[[np.ndarray], torch.Tensor],
        decoded_here: Callable[[bytes], np.ndarray | BadPicture],
    ) -> tuple[torch.Tensor, dict[int, BadPicture]]:
        """Of `pixels`, uint8 [B, H, W, 3], with bytes of pictures where `lengths` [B] are not 0: all good ones, uint8
        [G, 3, H, W] on the device; and why the others are bad.

        on_device: what brings pixels there. decoded_here: the processor's way, for a batch with a broken picture.
        """
        import torch

        files = [row[:length] for row, length in zip(pixels.reshape(len(pixels), -1), lengths, strict=True) if length]
        encoded, ready = np.flatnonzero(lengths), np.flatnonzero(lengths == 0)
        bad: dict[int, BadPicture] = {}
        try:
            decoded = self.pixels(files)
        except RuntimeError:  # nvJPEG does not say which; Pillow does, or bears it
            found = [decoded_here(file.tobytes()) for file in files]
            bad = {int(i): one for i, one in zip(encoded, found, strict=True) if isinstance(one, BadPicture)}
            good = [one for one in found if isinstance(one, np.ndarray)]
            encoded = np.array([i for i in encoded if i not in bad], np.int64)
            decoded = on_device(np.stack(good) if good else pixels[:0])
        order = np.argsort(np.concatenate([ready, encoded]))
        return torch.cat([on_device(pixels[ready]), decoded])[torch.from_numpy(order).to(decoded.device)], bad

    def pixels(self, files: Sequence[np.ndarray]) -> torch.Tensor:
        """Encoded pictures -> uint8 [N, 3, H, W] on the device. Raises RuntimeError where one of them is broken."""
        import torch

        decoded = self._decoded(files)
        alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for place, picture in enumerate(decoded):
            alike[tuple(picture.shape)].append(place)
        found: list[torch.Tensor] = [decoded[0]] * len(decoded)
        for places in alike.values():
            batch = torch.stack([decoded[place] for place in places])
            for step in self._steps:
                batch = step(batch)
            for place, picture in zip(places, batch, strict=True):
                found[place] = picture
        return torch.stack(found)

    def _decoded(self, files: Sequence[np.ndarray]) -> list[torch.Tensor]:
        import torch
        from torchvision.io import ImageReadMode, decode_jpeg

        with warnings.catch_warnings():  # that its decoders are to move to another package
            warnings.simplefilter("ignore", UserWarning)
            found = decode_jpeg([torch.from_numpy(file) for file in files], ImageReadMode.RGB, self._device)
        assert isinstance(found, list)
        return found


def _name(step: Any) -> str:
    return str(getattr(step, "__name__", type(step).__name__))


def _grey() -> np.ndarray:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (128, 128, 128)).save(file, "JPEG")
    return np.frombuffer(file.getvalue(), np.uint8).copy()
