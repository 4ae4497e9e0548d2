"""Reading benchmarks: each card's files in their exact layout, and all that can be wrong with them."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_cards.cards import read_card
from data_cards.errors import MisuseError
from data_cards.layouts import open_benchmark
from data_cards.miniature_shards import write_miniature
from data_cards.pictures import BadItem

RNG = np.random.default_rng(0)


def save(path: Path, array: np.ndarray, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if palette:
        image.putpalette(RNG.integers(0, 256, 768).astype(np.uint8).tobytes())
    image.save(path)


def test_the_miniature_reads_as_it_was_drawn(tmp_path: Path) -> None:
    write_miniature(tmp_path / "m", 5, split="val", workers=1)
    benchmark = open_benchmark(read_card("miniature"), tmp_path / "m")
    assert len(benchmark) == 5
    image, truth = benchmark.item(2)
    assert image.shape == (64, 64, 3)
    with tarfile.open(tmp_path / "m" / "val-000000.tar") as tar:
        content = tar.extractfile(f"{benchmark.keys[2]}.mask.png").read()
    np.testing.assert_array_equal(truth, np.asarray(Image.open(io.BytesIO(content))))
    assert truth.dtype == np.uint8


def test_palette_masks_are_read_as_indices(tmp_path: Path) -> None:
    top = tmp_path / "VOCdevkit" / "VOC2012"
    mask = np.array([[0, 255, 20], [1, 2, 3]], np.uint8)
    save(top / "JPEGImages" / "2007_000033.jpg", RNG.integers(0, 256, (2, 3, 3)).astype(np.uint8))
    save(top / "SegmentationClass" / "2007_000033.png", mask, palette=True)
    (top / "ImageSets" / "Segmentation").mkdir(parents=True)
    (top / "ImageSets" / "Segmentation" / "val.txt").write_text("2007_000033\n")
    for path in (tmp_path, tmp_path / "VOCdevkit", top):
        benchmark = open_benchmark(read_card("voc2012"), path)
        image, truth = benchmark.item(0)
        np.testing.assert_array_equal(truth, mask)
        assert (image.shape, image.dtype, benchmark.keys) == ((2, 3, 3), np.uint8, ("2007_000033",))


def test_a_missing_mask_is_named(tmp_path: Path) -> None:
    top = tmp_path / "VOC2012"
    for key in ("a", "b"):
        save(top / "JPEGImages" / f"{key}.jpg", np.zeros((2, 2, 3), np.uint8))
    save(top / "SegmentationClass" / "a.png", np.zeros((2, 2), np.uint8))
    (top / "ImageSets" / "Segmentation").mkdir(parents=True)
    (top / "ImageSets" / "Segmentation" / "val.txt").write_text("a\nb\n")
    with pytest.raises(BadItem, match=r"SegmentationClass/b\.png: the mask of 'b' is missing"):
        open_benchmark(read_card("voc2012"), tmp_path).item(1)


def test_a_path_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    with pytest.raises(MisuseError, match=r"contains VOCdevkit/VOC2012, or VOC2012 itself\? .* holds pictures"):
        open_benchmark(read_card("voc2012"), tmp_path)
