"""Small data sets in the exact folders and forms of the benchmarks, with what they must be read as.

Written from the descriptions of the data sets alone, without the cards: paths, forms and label numbers are
repeated here by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.integer]


def picture(path: Path, height: int, width: int, seed: int = 0) -> None:
    """A picture of noise, in the form that the name asks for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path, "JPEG" if path.suffix.lower() in (".jpg", ".jpeg") else "PNG")


def grey(path: Path, values: Array) -> None:
    """A mask of one channel: 8 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)


def palette(path: Path, values: Array) -> None:
    """A mask of indices into a palette, whose colours mean nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values.astype(np.uint8))
    image.putpalette(np.random.default_rng(1).integers(0, 256, 768, np.uint8).tobytes())
    image.save(path)


def red_green(path: Path, values: Array) -> None:
    """A mask of three channels: red + 256 · green."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.stack([values % 256, values // 256, 0 * values], -1).astype(np.uint8)).save(path)


def colours(path: Path, values: Array) -> None:
    """A mask of colours [H, W, 3]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)


@dataclass(frozen=True)
class Tree:
    """A data set of two pictures.

    top: the folders above it. files: for each key its picture and mask. write: how masks are written. values: what is
    written; truth: what must be read. lists: further files, with their text.
    """

    card: str
    top: str
    files: dict[str, tuple[str, str]]
    write: Callable[[Path, Array], None]
    values: Array
    truth: Array
    lists: dict[str, str]

    def make(self, folder: Path) -> Path:
        """Write it under `folder`; gives the folder in which the data set itself begins."""
        inner = folder / self.top
        height, width = self.truth.shape
        for number, (image, mask) in enumerate(self.files.values()):
            picture(inner / image, height, width, number)
            self.write(inner / mask, np.roll(self.values, number, axis=1))
        for name, text in self.lists.items():
            (inner / name).parent.mkdir(parents=True, exist_ok=True)
            (inner / name).write_text(text)
        return inner


def _tree(
    card: str,
    top: str,
    image: str,
    mask: str,
    keys: tuple[str, str],
    write: Callable[[Path, Array], None],
    values: list[list[int]] | Array,
    truth: list[list[int]],
    key_list: str | None = None,
) -> Tree:
    files = {key: (image.replace("KEY", key), mask.replace("KEY", key)) for key in keys}
    lists = {key_list: "".join(f"{key}\n" for key in keys)} if key_list else {}
    return Tree(card, top, files, write, np.array(values), np.array(truth), lists)


_VOC = ("2007_000033", "2007_000042")
_COCO = ("000000000139", "000000000285")
_CITY = ("frankfurt/frankfurt_000000_000294", "munster/munster_000173_000019")
_IMAGENET = ("n01443537/ILSVRC2012_val_00004677", "n01491361/ILSVRC2012_val_00000001")
_CAMVID = ("0001TP_008550", "Seq05VD_f05100")

# COCO-Stuff's own labels: person 0, a stop sign 12, a toothbrush 89, a banner 91, wood 181, unlabelled.
_STUFF_RAW = [[0, 12, 89], [91, 181, 255]]

TREES = {
    "voc2012": _tree(
        "voc2012",
        "VOCdevkit/VOC2012",
        "JPEGImages/KEY.jpg",
        "SegmentationClass/KEY.png",
        _VOC,
        palette,
        [[0, 1, 20], [255, 15, 0]],
        [[0, 1, 20], [255, 15, 0]],
        "ImageSets/Segmentation/val.txt",
    ),
    "context60": _tree(
        "context60",
        "VOCdevkit/VOC2010",
        "JPEGImages/KEY.jpg",
        "SegmentationClassContext/KEY.png",
        ("2008_000002", "2008_000003"),
        grey,
        [[0, 1, 59], [30, 37, 0]],
        [[0, 1, 59], [30, 37, 0]],
        "ImageSets/SegmentationContext/val.txt",
    ),
    "context59": _tree(
        "context59",
        "VOCdevkit/VOC2010",
        "JPEGImages/KEY.jpg",
        "SegmentationClassContext/KEY.png",
        ("2008_000002", "2008_000003"),
        grey,
        [[0, 1, 59], [30, 37, 0]],
        [[255, 0, 58], [29, 36, 255]],
        "ImageSets/SegmentationContext/val.txt",
    ),
    "coco-object": _tree(
        "coco-object",
        "coco",
        "images/val2017/KEY.jpg",
        "annotations/val2017/KEY_instanceTrainIds.png",
        _COCO,
        grey,
        [[1, 12, 80], [0, 0, 0]],
        [[1, 12, 80], [0, 0, 0]],
    ),
    "coco-object, COCO-Stuff's masks": _tree(
        "coco-object",
        "coco",
        "images/val2017/KEY.jpg",
        "annotations/val2017/KEY.png",
        _COCO,
        grey,
        _STUFF_RAW,
        [[1, 12, 80], [0, 0, 0]],
    ),
    "coco-stuff": _tree(
        "coco-stuff",
        "coco_stuff164k",
        "images/val2017/KEY.jpg",
        "annotations/val2017/KEY_labelTrainIds.png",
        _COCO,
        grey,
        [[0, 11, 79], [80, 170, 255]],
        [[0, 11, 79], [80, 170, 255]],
    ),
    "coco-stuff, as published": _tree(
        "coco-stuff",
        "coco_stuff164k",
        "images/val2017/KEY.jpg",
        "annotations/val2017/KEY.png",
        _COCO,
        grey,
        _STUFF_RAW,
        [[0, 11, 79], [80, 170, 255]],
    ),
    "ade20k": _tree(
        "ade20k",
        "ade/ADEChallengeData2016",
        "images/validation/KEY.jpg",
        "annotations/validation/KEY.png",
        ("ADE_val_00000001", "ADE_val_00000002"),
        grey,
        [[0, 1, 150], [13, 21, 0]],
        [[255, 0, 149], [12, 20, 255]],
    ),
    "cityscapes": _tree(
        "cityscapes",
        "cityscapes",
        "leftImg8bit/val/KEY_leftImg8bit.png",
        "gtFine/val/KEY_gtFine_labelTrainIds.png",
        _CITY,
        grey,
        [[0, 18, 255], [11, 10, 2]],
        [[0, 18, 255], [11, 10, 2]],
    ),
    "cityscapes, as published": _tree(
        "cityscapes",
        "cityscapes",
        "leftImg8bit/val/KEY_leftImg8bit.png",
        "gtFine/val/KEY_gtFine_labelIds.png",
        _CITY,
        grey,
        [[7, 33, 1], [24, 23, 11]],
        [[0, 18, 255], [11, 10, 2]],
    ),
    "imagenet-s-50": _tree(
        "imagenet-s-50",
        "ImageNetS50",
        "validation/KEY.JPEG",
        "validation-segmentation/KEY.png",
        _IMAGENET,
        red_green,
        [[0, 1, 50], [1000, 17, 0]],
        [[0, 1, 50], [1000, 17, 0]],
    ),
    "imagenet-s-300": _tree(
        "imagenet-s-300",
        "ImageNetS300",
        "validation/KEY.JPEG",
        "validation-segmentation/KEY.png",
        _IMAGENET,
        red_green,
        [[0, 255, 256], [1000, 300, 44]],
        [[0, 255, 256], [1000, 300, 44]],
    ),
    "camvid": _tree(
        "camvid",
        "CamVid",
        "test/KEY.png",
        "testannot/KEY.png",
        _CAMVID,
        grey,
        [[0, 10, 11], [3, 8, 4]],
        [[0, 10, 255], [3, 8, 4]],
    ),
    # Sky, a motorcyclist, void; a lane marking, a lorry, a kerb.
    "camvid, in colours": _tree(
        "camvid",
        "CamVid",
        "test/KEY.png",
        "test_labels/KEY_L.png",
        _CAMVID,
        colours,
        np.array(
            [
                [[128, 128, 128], [192, 0, 192], [0, 0, 0]],
                [[128, 0, 192], [192, 128, 192], [64, 192, 128]],
            ]
        ),
        [[0, 10, 255], [3, 8, 4]],
    ),
}
