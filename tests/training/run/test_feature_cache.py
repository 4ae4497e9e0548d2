"""Features that are kept: computed once, the same each time, whatever befalls the files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from files.locks import Busy
from training.run.feature_cache import FeatureCache, tower_digest

SHAPE = (3, 4)


def pictures(*seeds: int) -> Tensor:
    each = [torch.randint(256, (3, 5, 5), generator=torch.Generator().manual_seed(s), dtype=torch.uint8) for s in seeds]
    return torch.stack(each)


def compute(some: Tensor) -> Tensor:
    """Something of the pixels, which half precision rounds."""
    return some.flatten(1)[:, :12].float().unflatten(1, SHAPE) / 7


def expected(*seeds: int) -> Tensor:
    return compute(pictures(*seeds)).half().float()


def test_each_picture_is_computed_once(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path / "tower", SHAPE)
    assert torch.equal(cache.features(pictures(1, 2, 1), compute), expected(1, 2, 1))
    seen: list[int] = []

    def counted(some: Tensor) -> Tensor:
        seen.append(len(some))
        return compute(some)

    assert torch.equal(cache.features(pictures(2, 3, 1), counted), expected(2, 3, 1))
    assert seen == [1]
    with pytest.raises(Busy):
        FeatureCache(tmp_path / "tower", SHAPE)
    cache.close()
    again = FeatureCache(tmp_path / "tower", SHAPE)
    assert torch.equal(again.features(pictures(3, 2, 1), counted), expected(3, 2, 1))
    assert seen == [1]
    assert again.said.startswith("features of 3 pictures are kept")
    again.close()


@pytest.mark.parametrize("name", ["rows", "pictures"])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_what_is_damaged_is_computed_again(tmp_path: Path, name: str, damage: str) -> None:
    cache = FeatureCache(tmp_path, SHAPE)
    cache.features(pictures(1, 2, 3), compute)
    cache.close()
    file = tmp_path / name
    data = bytearray(file.read_bytes())
    if damage == "gone":
        file.unlink()
    else:
        data[len(data) // 2 + 1] ^= 255
        file.write_bytes(data[: len(data) // 2] if damage == "cut" else data)
    for _ in range(2):
        cache = FeatureCache(tmp_path, SHAPE)
        assert torch.equal(cache.features(pictures(1, 2, 3, 4), compute), expected(1, 2, 3, 4))
        cache.close()
    assert cache.computed == 0


def test_it_takes_so_many_bytes_and_no_more(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, SHAPE, most=2 * 24 + 5)
    for _ in range(2):
        assert torch.equal(cache.features(pictures(1, 2, 3), compute), expected(1, 2, 3))
    assert cache.computed == 4
    assert "no room for more" in cache.said
    assert (tmp_path / "rows").stat().st_size == 48
    cache.close()


def test_a_tower_is_known_by_its_weights_and_how_it_is_run() -> None:
    one, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    same = torch.nn.Linear(2, 2)
    same.load_state_dict(one.state_dict())
    assert tower_digest(one, 64) == tower_digest(same, 64)
    assert len({tower_digest(one, 64), tower_digest(one, 32), tower_digest(other, 64)}) == 3
