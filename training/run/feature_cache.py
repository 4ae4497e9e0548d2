"""What a frozen image tower makes of pictures, kept in files: a picture that comes again is not looked at again.

    FOLDER/TOWER/pictures   20 bytes for each row: a digest of the picture's pixels, a checksum of the row
    FOLDER/TOWER/rows       features in float16, one row after the other

TOWER is a digest of the tower's weights and of how it is run, and pictures are known by their pixels. So nothing that
changes in either is missed, and runs on the same pictures, with whatever captions and concepts, may share a folder.
What is taken from the files and what has just been made are the same to the last bit. Rows are added as pictures are
met, up to so many bytes; a run that was killed leaves what it had.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from files.errors import MisuseError
from files.locks import Busy, taken
from files.synced import make_folder
from training.batches.augment import finish
from training.models.learner import Learner
from training.processes import Place, sent
from training.recipes.recipe import Recipe
from training.run.options import TrainOptions

MOST_BYTES = 32 << 30
SHARE = 0.5  # of what is free on the disk at the beginning, at the most
NAME, LINE = 16, 20
AT_ONCE = 16
# Pictures uint8 [M, ...] on the CPU -> their features [M, *shape] on any device.
Compute = Callable[[Tensor], Tensor]
Autocast = Callable[[], AbstractContextManager[object]]


def frozen_features(
    learner: Learner, recipe: Recipe, options: TrainOptions, place: Place, autocast: Autocast
) -> AbstractContextManager[FrozenFeatures | None]:
    """What keeps features in a run; None where its image tower learns, or a picture comes in another form each time."""
    if "image_tower" not in recipe.freeze or recipe.data.augment != "none":
        return nullcontext()
    own = options.run / "features"
    return FrozenFeatures(learner, options.features or own, own, place, autocast)


class FrozenFeatures:
    """Pictures -> what a learner's frozen image tower makes of them, kept; a context manager.

    folder: of any number of towers; where another run holds this one's part of it, `spare` takes its place.
    """

    def __init__(self, learner: Learner, folder: Path, spare: Path, place: Place, autocast: Autocast) -> None:
        self._learner, self._place, self._autocast = learner, place, autocast
        side = learner.image_size
        with torch.random.fork_rng([]):
            shape = tuple(self._compute(torch.zeros(1, 3, side, side, dtype=torch.uint8)).shape[1:])
        with autocast():
            how = torch.is_autocast_enabled(place.device.type)
        name = tower_digest(learner.tower("image_tower"), side, learner.mean, learner.std, how, learner.dense_mode)
        name += f"-{place.rank}-of-{place.world}" if place.world > 1 else ""
        try:
            try:
                self.cache = FeatureCache(folder / name, shape)
            except Busy:
                self.cache = FeatureCache(spare / name, shape)
        except OSError as error:
            said = error.strerror or error
            raise MisuseError(f"--features {folder}: cannot be used ({said}); give a folder to write to") from error

    def __enter__(self) -> FrozenFeatures:
        return self

    def __exit__(self, *_: object) -> None:
        self.cache.close()

    def __call__(self, pictures: Tensor) -> Tensor:
        """uint8 [B, 3, S, S] on the CPU -> features before the head, float32 on the learner's device."""
        return sent(self.cache.features(pictures, self._compute), self._place.device)

    @torch.no_grad()
    def _compute(self, pictures: Tensor) -> Tensor:
        """So many at once every time, so that a picture's features do not depend on which others are missing, too."""
        learner, found = self._learner, []
        for some in pictures.split(AT_ONCE):
            filled = F.pad(some, (0, 0, 0, 0, 0, 0, 0, AT_ONCE - len(some)))
            with self._autocast():
                pixels = finish(sent(filled, self._place.device), mean=learner.mean, std=learner.std)
                found.append(learner.encode_image(pixels)[: len(some)])
        return torch.cat(found)


class FeatureCache:
    """The rows of one tower, open for one process.

    shape: of a picture's features. most: bytes. computed: rows that were not there. full: whether a row found no room.
    """

    def __init__(self, folder: Path, shape: tuple[int, ...], most: int = MOST_BYTES) -> None:
        make_folder(folder)
        self._folder, self._shape, self._bytes = folder, shape, 2 * int(np.prod(shape))
        self.computed, self.full = 0, False
        with contextlib.ExitStack() as stack:
            stack.enter_context(taken(folder, folder / ".lock"))
            self._lines, self._rows = (
                os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o644) for name in ("pictures", "rows")
            )
            stack.callback(os.close, self._lines)
            stack.callback(os.close, self._rows)
            there = os.fstat(self._rows).st_size
            self._most = min(most, there + int(shutil.disk_usage(folder).free * SHARE)) // self._bytes
            lines = os.pread(self._lines, os.fstat(self._lines).st_size, 0)
            self._kept = min(len(lines) // LINE, there // self._bytes)
            self._place = {lines[at * LINE : at * LINE + NAME]: at for at in range(self._kept)}
            self._check = {at: lines[at * LINE + NAME : (at + 1) * LINE] for at in range(self._kept)}
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Close the files, and let others have them."""
        self._stack.close()

    @property
    def said(self) -> str:
        """How many rows there are, in words."""
        full = "; there is no room for more" if self.full else ""
        size = self._kept * self._bytes / 1e9
        return f"features of {self._kept:,} pictures are kept in {self._folder.parent}, {size:.1f} GB{full}"

    def features(self, pictures: Tensor, compute: Compute) -> Tensor:
        """Of pictures uint8 [B, ...] on the CPU: float32 [B, *shape], rounded to half precision, on the CPU."""
        names = [hashlib.blake2b(picture, digest_size=NAME).digest() for picture in pictures.numpy()]
        rows = np.empty((len(names), *self._shape), np.float16)
        missing = [i for i, name in enumerate(names) if name not in self._place or not self._read(name, rows[i])]
        if missing:
            rows[missing] = compute(pictures[missing]).half().cpu().numpy()
            self.computed += len(missing)
            for i in missing:
                self._keep(names[i], rows[i])
        return torch.from_numpy(rows).float()

    def _read(self, name: bytes, row: np.ndarray) -> bool:
        """Fill the row; False where what the disk holds is damaged."""
        place = self._place[name]
        read = os.preadv(self._rows, [row.reshape(-1).view(np.uint8).data], place * self._bytes)
        return read == self._bytes and _checksum(row) == self._check[place]

    def _keep(self, name: bytes, row: np.ndarray) -> None:
        place = self._place.get(name, self._kept)
        if self.full or place >= self._most:
            self.full = True
            return
        line = name + _checksum(row)
        try:  # the row first: a line without its row would be taken for damaged, but a row without its line is free
            written = os.pwrite(self._rows, row.tobytes(), place * self._bytes) == self._bytes
            written = written and os.pwrite(self._lines, line, place * LINE) == LINE
        except OSError:
            written = False
        if not written:
            self.full = True
            return
        self._place[name], self._check[place] = place, line[NAME:]
        self._kept = max(self._kept, place + 1)


def tower_digest(tower: nn.Module, *how: object) -> str:
    """Identity of a tower's weights and of how it is run, 32 hexadecimal digits."""
    found = hashlib.blake2b(repr(how).encode(), digest_size=NAME)
    for name, value in sorted(tower.state_dict().items()):
        found.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def _checksum(row: np.ndarray) -> bytes:
    return zlib.crc32(row.tobytes()).to_bytes(4, "little")
