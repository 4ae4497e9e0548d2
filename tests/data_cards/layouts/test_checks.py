"""Checking a data set on disk: well or wrong, and in which words."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from data_cards.cards import Card, read_card
from data_cards.layouts.checks import Check, check_benchmark
from tests.data_cards.benchmark_trees import TREES, grey


def checked(name: str, folder: Path) -> Check:
    return check_benchmark(read_card(TREES[name].card), folder)


def remade(name: str, folder: Path, values: list[list[int]]) -> Check:
    """The check of a tree whose masks hold these values, in one channel."""
    inner = TREES[name].make(folder)
    for _, mask in TREES[name].files.values():
        grey(inner / mask, np.array(values))
    return checked(name, folder)


@pytest.mark.parametrize("name", TREES)
def test_a_data_set_as_its_card_says_is_well(name: str, tmp_path: Path) -> None:
    tree = TREES[name]
    tree.make(tmp_path)
    check = checked(name, tmp_path)
    assert (check.well, check.wrong, check.pictures, check.sampled) == (True, (), 2, 2)
    card = read_card(tree.card)
    indices, counts = np.unique(tree.truth[tree.truth != card.ignore_index], return_counts=True)
    expected = {card.classes[index].name: count / counts.sum() for index, count in zip(indices, counts, strict=True)}
    assert check.pixels == pytest.approx(expected)
    assert check.shown == dict.fromkeys(expected, 2)
    assert check.ignored == pytest.approx(np.mean(tree.truth == card.ignore_index))
    assert check.notes == (f"2 pictures are there, where the split {card.split} has {card.pictures:,}",)


def test_a_path_of_something_else_is_told_not_raised(tmp_path: Path) -> None:
    check = checked("voc2012", tmp_path)
    assert not check.well
    assert "is PATH the folder that contains VOCdevkit/VOC2012" in check.wrong[0]


def test_missing_and_broken_files_are_counted_and_named(tmp_path: Path) -> None:
    inner = TREES["voc2012"].make(tmp_path)
    keys = [f"{number:06d}" for number in range(9)]
    for key in keys:
        for folder, ending in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png")):
            shutil.copy(inner / folder / f"2007_000033{ending}", inner / folder / f"{key}{ending}")
    (inner / "ImageSets/Segmentation/val.txt").write_text("\n".join(keys))
    for key in keys[:5]:
        (inner / "SegmentationClass" / f"{key}.png").unlink()
    (inner / "JPEGImages" / f"{keys[5]}.jpg").unlink()
    (inner / "SegmentationClass" / f"{keys[6]}.png").write_bytes(b"")
    grey(inner / "SegmentationClass" / f"{keys[7]}.png", np.zeros((9, 9)))
    check = checked("voc2012", tmp_path)
    jpeg, mask = inner / "JPEGImages", inner / "SegmentationClass"
    assert check.wrong == (
        f"6 files missing: {jpeg / keys[5]}.jpg, {mask / keys[0]}.png, {mask / keys[1]}.png and 3 more",
        f"1 file is empty: {mask / keys[6]}.png",
        f"1 file of another size than its picture: {mask / keys[7]}.png",
    )
    assert (check.pictures, check.sampled) == (9, 1)


def test_the_sample_is_spread_over_the_set(tmp_path: Path) -> None:
    inner = TREES["voc2012"].make(tmp_path)
    keys = [f"{number:06d}" for number in range(20)]
    for number, key in enumerate(keys):
        shutil.copy(inner / "JPEGImages/2007_000033.jpg", inner / "JPEGImages" / f"{key}.jpg")
        grey(inner / "SegmentationClass" / f"{key}.png", np.full((2, 3), number))
    (inner / "ImageSets/Segmentation/val.txt").write_text("\n".join(keys))
    check = check_benchmark(read_card("voc2012"), tmp_path, sample=3)
    names = [one.name for one in read_card("voc2012").classes]
    assert (check.pictures, check.sampled) == (20, 3)
    assert set(check.shown) == {names[0], names[10], names[19]}


# What wrong values look like.


def test_masks_shifted_before_are_recognised(tmp_path: Path) -> None:
    (said,) = remade("ade20k", tmp_path, [[0, 12, 255], [149, 3, 3]]).wrong
    assert said.startswith(
        "masks hold 255 (16.7% of the pixels), which no class of the card has: with 0 to 149 and 255"
    )
    assert "looks like ADE20K, 150 classes after the shift by one" in said


def test_masks_not_yet_shifted_are_recognised(tmp_path: Path) -> None:
    tree = TREES["ade20k"]
    tree.make(tmp_path)
    content = read_card("ade20k").model_dump() | {"masks": [{"path": "annotations/{split}/{key}.png"}]}
    (said,) = check_benchmark(Card.model_validate(content, strict=False), tmp_path).wrong
    assert "with 0 to 150 for 150 classes this looks like ADE20K, 150 classes before the shift by one" in said
    assert 'write values: ["1-150"] and ignored: [0]' in said


def test_masks_of_the_cards_other_kind_are_recognised(tmp_path: Path) -> None:
    (said,) = remade("cityscapes", tmp_path, [[7, 26, 23], [33, 0, 11]]).wrong
    assert said.endswith(
        "their values are those of the card's masks gtFine/{split}/{key}_gtFine_labelIds.png; name the files so"
    )


def test_black_and_white_masks_are_recognised(tmp_path: Path) -> None:
    (said,) = remade("ade20k", tmp_path, [[0, 255, 255], [0, 0, 0]]).wrong
    assert said.startswith("masks hold 255 (33.3% of the pixels)")
    assert said.endswith("black-and-white masks tell one object from the rest, not classes")


def test_masks_of_another_data_set_are_recognised(tmp_path: Path) -> None:
    (said,) = remade("voc2012", tmp_path, [[0, 31, 59], [40, 2, 255]]).wrong
    assert said.endswith("they would fit context59, context60, coco-object")


def test_masks_of_one_value_are_suspicious(tmp_path: Path) -> None:
    (said,) = remade("cityscapes", tmp_path / "a", [[255, 255, 255], [255, 255, 255]]).wrong
    assert said.startswith("masks hold nothing but the ignored value: are these the masks of this split?")
    (said,) = remade("voc2012", tmp_path / "b", [[0, 0, 0], [0, 0, 0]]).wrong
    assert said.startswith("masks hold nothing but 'background'")


def test_values_that_remind_of_nothing_are_told(tmp_path: Path) -> None:
    (said,) = remade("voc2012", tmp_path, [[0, 250, 251], [252, 253, 254]]).wrong
    assert said.startswith("masks hold 250, 251, 252, 253, 254 (83.3% of the pixels)")
    assert said.endswith("is this the data set of the card, and are the masks as published?")
