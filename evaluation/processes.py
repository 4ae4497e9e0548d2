"""The processes of an evaluation, and the arithmetic they share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from training.processes import Place, joined


@contextmanager
def working(device: str) -> Iterator[Place]:
    """The place of this process among those that torchrun started, or alone.

    Single precision is single precision: figures are not to hang on TF32, which training makes use of. Raises
    MisuseError where there is no such device.
    """
    with joined(device) as place:
        before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        try:
            yield place
        finally:
            torch.set_float32_matmul_precision(before[0])
            torch.backends.cudnn.allow_tf32 = before[1]
