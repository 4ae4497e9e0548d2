"""Pictures that are too large to be held whole: the same labels and figures, in parts, in bounded memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from benchmarks.speed.tiny_pairs import write_tar
from data_cards.cards import Card
from data_cards.layouts.benchmark import open_benchmark
from data_cards.layouts.decoding import BadItem
from evaluation.figures import boundary, confusion
from evaluation.figures import tally as tally_module
from evaluation.figures.tally import PictureTally, tally
from evaluation.labels import inference, windows
from evaluation.labels.inference import Rules, segment_images, too_large
from evaluation.labels.windows import Box, bilinear_part, resize_picture, tiles
from tests.evaluation.tiny_checkpoints import make_miniature
from tests.evaluation.tiny_segmenters import tiny_card, tiny_picture, tiny_segmenter, tiny_texts
from tests.examples import examples
from tests.tiny_world import png_bomb

sides = st.integers(1, 40)


@given(old=st.tuples(sides, sides), new=st.tuples(sides, sides), data=st.data())
def test_a_part_is_what_the_whole_has_there(old: tuple[int, int], new: tuple[int, int], data: st.DataObject) -> None:
    top, left = (data.draw(st.integers(0, side - 1)) for side in new)
    box = Box(top, left, data.draw(st.integers(1, new[0] - top)), data.draw(st.integers(1, new[1] - left)))
    field = torch.randn(2, *old, dtype=torch.float64)
    whole = F.interpolate(field[None], new, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(bilinear_part(field, new, box, field.dtype), box.of(whole), rtol=0, atol=1e-12)


@given(sides, sides, st.integers(1, 2000))
def test_tiles_cover_every_pixel_once(height: int, width: int, pixels: int) -> None:
    seen = torch.zeros(height, width)
    for box in tiles(height, width, pixels):
        assert 0 < box.height * box.width <= pixels
        box.of(seen).add_(1)
    assert (seen == 1).all()


@pytest.mark.parametrize("old", [(480, 640), (31, 45), (3, 900), (700, 1), (1, 1)])
@pytest.mark.parametrize("new", [(448, 597), (24, 35), (64, 2), (1, 50)])
def test_a_large_picture_is_resized_to_the_same_levels(
    old: tuple[int, int], new: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = torch.from_numpy(tiny_picture(*old)).permute(2, 0, 1)
    whole = resize_picture(picture, new)
    monkeypatch.setattr(windows, "LARGE", 0)
    assert torch.equal(resize_picture(picture, new), whole)


def test_a_large_picture_has_the_same_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = (tiny_segmenter("groupvit"), tiny_card(), tiny_texts(8), [tiny_picture(31, 45)], Rules(groups=True))
    (whole,) = segment_images(*asked)
    monkeypatch.setattr(inference, "SCORES_AT_ONCE", 800)
    (part,) = segment_images(*asked)
    assert whole.groups is not None
    assert part.groups is not None
    assert len(whole.groups.unique()) > 1
    assert (whole.groups != part.groups).double().mean() < 0.002, "ties are rare"


@examples(40)
@given(height=sides, width=sides, distance=st.integers(1, 6), at_once=st.integers(1, 500), seed=st.integers(0, 9))
def test_outlines_are_those_of_a_sliding_square(
    height: int, width: int, distance: int, at_once: int, seed: int
) -> None:
    labels = torch.randint(0, 2, (height, width), generator=torch.Generator().manual_seed(seed)).cumsum(1) // 4
    padded = F.pad(labels.float()[None, None], (distance,) * 4, value=-1.0)
    size = 2 * distance + 1
    highest, lowest = F.max_pool2d(padded, size, stride=1), -F.max_pool2d(-padded, size, stride=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boundary, "AT_ONCE", at_once)
        assert torch.equal(boundary.near_boundary(labels, distance), (highest != lowest)[0, 0])


def tallied(path: Path, card: Card, skip_bad: bool = False) -> PictureTally:
    vectors, benchmark = tiny_texts(len(card.text_classes())), open_benchmark(card, path)
    indices = np.arange(len(benchmark))
    return tally(
        tiny_segmenter("groupvit"), benchmark, vectors, Rules(), indices=indices, batch=3, threads=3, skip_bad=skip_bad
    )


def miniature(**changes: object) -> Card:
    return tiny_card(60, None, layout="webdataset", masks=[{"path": "mask.png"}], **changes)


def test_few_at_a_time_give_the_same_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_miniature(tmp_path, 8)
    whole = tallied(path, miniature())
    monkeypatch.setattr(tally_module, "HELD", 0)
    for module in (confusion, boundary):
        monkeypatch.setattr(module, "AT_ONCE", 100)
    parts = tallied(path, miniature())
    for name in ("indices", "counts", "boundary", "matrix"):
        assert np.array_equal(getattr(parts, name), getattr(whole, name)), name
    # Readers that wait for room do not hold up an end by error.
    monkeypatch.setattr(tally_module, "segment_images", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        tallied(path, miniature())


def test_a_picture_that_would_be_seen_in_countless_windows_is_left_out(tmp_path: Path) -> None:
    card = miniature(resize=None)
    assert too_large(card, (600, 800)) is None
    assert too_large(miniature(), (1, 100_000_000)) is None
    for shape in ((1, 100_000_000), (20_000, 5_000)):
        assert "give the card tiny a smaller `resize`" in str(too_large(card, shape))
    assert too_large(miniature(resize=None, window=None), (7000, 7000))
    members = [("k.png", png_bomb(1000, 1500)), ("k.mask.png", png_bomb(1000, 1500))]
    write_tar(tmp_path / "val-000000.tar", members)
    with pytest.raises(BadItem, match=r"k.png: is 1000 x 1500 pixels, .* 23,188 windows"):
        tallied(tmp_path, card)
    assert [bad.key for bad in tallied(tmp_path, card, skip_bad=True).bad] == ["k"]


PIXELS = 36_000_000  # above windows.LARGE
CHILD = f"""
import sys
from pathlib import Path
from tests.evaluation import test_large_pictures as tests

def peak(name):
    return int(next(line for line in open("/proc/self/status") if line.startswith(name)).split()[1]) * 1024

path = Path(sys.argv[1])
tests.warm(path / "small")
before = peak("VmRSS")
tests.warm(path / "large")
print((peak("VmHWM") - before) / {PIXELS})
"""


def warm(path: Path) -> None:
    """Show a picture, and measure it."""
    from evaluation.demo import demo

    segmenter = tiny_segmenter("patch-alignment", dtype=torch.float32)
    object.__setattr__(segmenter, "encode_texts", lambda texts: tiny_texts(len(texts)).float())
    demo(segmenter, path / "picture.png", ["dog", "sky", "grass"], short_side=32)
    card = miniature()
    vectors = tiny_texts(len(card.text_classes())).float()
    tally(segmenter, open_benchmark(card, path), vectors, Rules(groups=True, sweep=(0.1,)), indices=np.arange(1))


SLOW = [pytest.param(shape, marks=pytest.mark.slow) for shape in ((6000, 6000), (1, PIXELS))]


@pytest.mark.parametrize("shape", [*SLOW, (PIXELS, 1)])
def test_memory_is_bounded_by_the_bytes_of_the_picture(shape: tuple[int, int], tmp_path: Path) -> None:
    for name, (width, height) in {"small": (60, 60), "large": shape}.items():
        picture = png_bomb(width, height)
        write_tar(tmp_path / name / "val-000000.tar", [("k.png", picture), ("k.mask.png", picture)])
        (tmp_path / name / "picture.png").write_bytes(picture)
    done = subprocess.run([sys.executable, "-c", CHILD, tmp_path], capture_output=True, text=True, check=True)
    # Decoding: 4 bytes, and for each row up to 24; the picture 3; its labels 2, the truth 1 and 4.
    assert float(done.stdout) < 26 + 24 * shape[1] / PIXELS
