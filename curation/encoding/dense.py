"""Where in a picture a text applies: its cosine with each cell's own vector, by the dense features of the encoder."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from curation.encoding.encoder import Encoder
from files.errors import MisuseError
from files.pictures import BadPicture, decode

# Sides, by those of the encoder's training: more cells, whose vectors the tower still knows.
ENLARGED = 1.5


class DenseEncoder:
    """Heat maps of texts over whole pictures, which are squashed into a square: what a crop leaves out is seen, too.

    Raises MisuseError for an encoder whose tower has no dense features.
    """

    def __init__(self, encoder: Encoder) -> None:
        from files.dense_towers import dense_tower  # PyTorch, which curations that localise nothing do without

        self.encoder = encoder
        try:
            self._tower, self.how, multiple = dense_tower(encoder.model.visual, encoder.spec.model)
        except MisuseError as error:
            raise MisuseError(f"--localise: {error}; the index would have to be built with such a model") from error
        self.side = max(1, round(encoder.image_size * ENLARGED / multiple)) * multiple

    def decode(self, pictures: Sequence[bytes]) -> list[np.ndarray | BadPicture]:
        """Encoded pictures -> uint8 [side, side, 3], or why they are bad; in threads."""
        with ThreadPoolExecutor(self.encoder.workers) as pool:
            return list(pool.map(lambda data: decode(data, self.squashed, self.side), pictures))

    def heat(self, pixels: np.ndarray, texts: Sequence[np.ndarray]) -> list[np.ndarray]:
        """uint8 [B, side, side, 3], unit vectors float32 [K, D] for each -> cosines with cells, float32 [K, h, w]."""
        import torch

        cells, grid = self.encoder.dense(self._tower, pixels)
        found = [of @ torch.from_numpy(wanted).to(of.device).T for of, wanted in zip(cells, texts, strict=True)]
        return [one.T.reshape(-1, *grid).cpu().numpy() for one in found]

    def squashed(self, picture: Image.Image) -> Image.Image:
        """A picture as the tower sees it, the whole of it in a square."""
        return picture.resize((self.side, self.side), Image.Resampling.BICUBIC)
