"""Where a process works, and with which arithmetic."""

import pytest
import torch

from files.errors import MisuseError
from training.processes import joined


def test_single_precision_is_single_precision_and_only_for_the_evaluation() -> None:
    torch.set_float32_matmul_precision("high")
    try:
        with joined("cpu", exact=True) as place:
            assert (place.world, place.device.type, place.leads) == (1, "cpu", True)
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "high"
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.set_float32_matmul_precision("highest")


def test_there_is_no_such_device() -> None:
    with pytest.raises(MisuseError, match="--device tpu"), joined("tpu"):
        pass
