"""Reading benchmarks: each in its exact folders, and all that can be wrong with the files."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_cards.cards import Card, read_card
from data_cards.layouts.benchmark import Benchmark, open_benchmark
from data_cards.layouts.decoding import BadItem
from data_cards.masks import Masks
from files.errors import MisuseError
from tests.data_cards.benchmark_trees import TREES, Tree, grey, picture
from tests.data_cards.layouts.test_webdataset import RED, png, tar

VOC = TREES["voc2012"]


def opened(tree: Tree, folder: Path) -> Benchmark:
    return open_benchmark(read_card(tree.card), folder)


# The benchmarks.


@pytest.mark.parametrize("name", TREES)
def test_a_benchmark_is_read_in_its_own_folders(name: str, tmp_path: Path) -> None:
    tree = TREES[name]
    tree.make(tmp_path)
    benchmark = opened(tree, tmp_path)
    assert list(benchmark.keys) == sorted(tree.files)
    assert len(benchmark) == 2
    for index in range(2):
        image, truth = benchmark.item(index)
        assert image.shape == (2, 3, 3)
        assert image.dtype == np.uint8
        assert truth.dtype == (np.uint16 if "imagenet" in name else np.uint8)
        np.testing.assert_array_equal(truth, np.roll(tree.truth, index, axis=1))


@pytest.mark.parametrize("name", TREES)
def test_any_folder_from_the_data_sets_own_upwards_may_be_given(name: str, tmp_path: Path) -> None:
    inner = TREES[name].make(tmp_path)
    for folder in (inner, *inner.parents):
        np.testing.assert_array_equal(opened(TREES[name], folder).truth(0), TREES[name].truth)
        if folder == tmp_path:
            break


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("coco-object", "coco-object, COCO-Stuff's masks"),
        ("coco-stuff", "coco-stuff, as published"),
        ("cityscapes", "cityscapes, as published"),
        ("camvid", "camvid, in colours"),
    ],
)
def test_of_two_kinds_of_masks_the_first_is_read(first: str, second: str, tmp_path: Path) -> None:
    TREES[second].make(tmp_path)
    inner = TREES[first].make(tmp_path)
    benchmark = opened(TREES[first], tmp_path)
    assert benchmark.source.mask_file(0) == str(inner / next(iter(TREES[first].files.values()))[1])


def test_pictures_are_read_as_they_are(tmp_path: Path) -> None:
    inner = VOC.make(tmp_path)
    with Image.open(inner / "JPEGImages" / "2007_000033.jpg") as image:
        np.testing.assert_array_equal(opened(VOC, tmp_path).image(0), np.asarray(image))


def test_pictures_without_an_entry_in_the_list_are_left_out(tmp_path: Path) -> None:
    inner = VOC.make(tmp_path)
    (inner / "ImageSets/Segmentation/val.txt").write_text("2007_000042\n\n")
    assert list(opened(VOC, tmp_path).keys) == ["2007_000042"]


def test_another_split_is_read_when_asked_for(tmp_path: Path) -> None:
    inner = TREES["ade20k"].make(tmp_path)
    picture(inner / "images/training/ADE_train_00000001.jpg", 1, 2)
    grey(inner / "annotations/training/ADE_train_00000001.png", np.array([[5, 0]]))
    benchmark = open_benchmark(read_card("ade20k"), tmp_path, "training")
    assert (benchmark.split, list(benchmark.keys)) == ("training", ["ADE_train_00000001"])
    assert benchmark.truth(0).tolist() == [[4, 255]]


def test_a_split_that_would_choose_nothing_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "img/a.jpg", 1, 2)
    grey(tmp_path / "ann/a.png", np.array([[0, 1]]))
    content = {"images": "img/{key}.jpg", "masks": (Masks(path="ann/{key}.png"),), "keys": None, "top": None}
    card = read_card("ade20k").model_copy(update=content)
    assert open_benchmark(card, tmp_path, card.split).split == card.split
    with pytest.raises(MisuseError, match=r"--split tset: .* one split, validation: no path in it holds \{split\}"):
        open_benchmark(card, tmp_path, "tset")
    shard = {"x.jpg": png(RED, "JPEG"), "x.mask.png": png([[3, 255]])}
    with pytest.raises(MisuseError, match=r"--split test: .*any\.tar: a tar is read whole"):
        open_benchmark(read_card("miniature"), tar(tmp_path / "any.tar", shard), "test")
    assert open_benchmark(read_card("miniature"), tar(tmp_path / "test-0.tar", shard), "test").split == "test"


def test_a_benchmark_goes_to_another_process(tmp_path: Path) -> None:
    VOC.make(tmp_path)
    there = pickle.loads(pickle.dumps(opened(VOC, tmp_path)))
    np.testing.assert_array_equal(there.truth(0), VOC.truth)


# Bad files: each is an error with the path, which a caller can count and pass over.


def bad_item(tree: Tree, folder: Path) -> BadItem:
    """What is said about the first item; the second is well."""
    benchmark = opened(tree, folder)
    benchmark.item(1)
    with pytest.raises(BadItem) as raised:
        benchmark.item(0)
    error = raised.value
    assert error.exit_code == 1
    assert str(error) == f"{error.path}: {error.reason}"
    assert "\n" not in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # it comes back from a worker process
    return error


def test_missing_files_are_named(tmp_path: Path) -> None:
    inner = VOC.make(tmp_path)
    (inner / "SegmentationClass/2007_000033.png").unlink()
    error = bad_item(VOC, tmp_path)
    assert error.path == str(inner / "SegmentationClass/2007_000033.png")
    assert error.reason == "the mask of '2007_000033' is missing"
    (inner / "JPEGImages/2007_000033.jpg").unlink()
    assert bad_item(VOC, tmp_path).reason == "the picture of '2007_000033' is missing"


def test_sizes_that_differ_are_named_with_both_files(tmp_path: Path) -> None:
    inner = VOC.make(tmp_path)
    picture(inner / "JPEGImages/2007_000033.jpg", 4, 5)
    error = bad_item(VOC, tmp_path)
    assert error.path == str(inner / "SegmentationClass/2007_000033.png")
    assert error.reason == f"is 3 x 2, its picture {inner / 'JPEGImages/2007_000033.jpg'} is 5 x 4 pixels"


def test_values_that_no_class_has_are_named_the_most_frequent_first(tmp_path: Path) -> None:
    inner = VOC.make(tmp_path)
    grey(inner / "SegmentationClass/2007_000033.png", np.array([[21, 99, 99], [99, 21, 254]]))
    assert bad_item(VOC, tmp_path).reason == "holds 99, 21, 254, which no class of the card has (100.0% of its pixels)"
    grey(inner / "SegmentationClass/2007_000033.png", np.array([[30, 31, 32], [33, 34, 35]]))
    assert "holds 30, 31, 32, 33, 34 and 1 more, which" in bad_item(VOC, tmp_path).reason


def test_colours_that_no_class_has_are_named_as_the_card_writes_them(tmp_path: Path) -> None:
    tree = TREES["camvid, in colours"]
    inner = tree.make(tmp_path)
    blurred = tree.values.astype(np.uint8)
    blurred[0, 0] = [127, 128, 128]
    Image.fromarray(blurred).save(inner / "test_labels/0001TP_008550_L.png")
    assert bad_item(tree, tmp_path).reason == "holds #7f8080, which no class of the card has (16.7% of its pixels)"


@pytest.mark.parametrize("name", ["voc2012", "ade20k", "cityscapes, as published"])
def test_masks_saved_with_colours_are_refused(name: str, tmp_path: Path) -> None:
    tree = TREES[name]
    path = tree.make(tmp_path) / next(iter(tree.files.values()))[1]
    with Image.open(path) as image:
        image.convert("RGB").save(path)
    assert "mode RGB, where one channel or a palette is expected" in bad_item(tree, tmp_path).reason


def test_imagenet_s_masks_turned_to_grey_are_refused(tmp_path: Path) -> None:
    tree = TREES["imagenet-s-300"]
    path = tree.make(tmp_path) / next(iter(tree.files.values()))[1]
    with Image.open(path) as image:
        image.convert("L").save(path)
    assert bad_item(tree, tmp_path).reason == "is an image of mode L, where RGB is expected"


@pytest.mark.parametrize("which", ["JPEGImages/2007_000033.jpg", "SegmentationClass/2007_000033.png"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda whole: b"", "is empty"),
        (lambda whole: b"<html>404</html>", "unreadable picture: not in a known format"),
        (lambda whole: whole[: len(whole) * 2 // 3], "truncated picture: "),
    ],
)
def test_files_that_are_no_whole_image_are_named(tmp_path: Path, which: str, content: object, said: str) -> None:
    path = VOC.make(tmp_path) / which
    path.write_bytes(content(path.read_bytes()))  # type: ignore[operator]
    error = bad_item(VOC, tmp_path)
    assert error.path == str(path)
    assert error.reason.startswith(said)


def test_a_folder_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    path = VOC.make(tmp_path) / "JPEGImages/2007_000033.jpg"
    path.unlink()
    path.mkdir()
    assert bad_item(VOC, tmp_path).reason == "the picture cannot be read (Is a directory)"


# Paths of something else.


def test_where_the_search_went_wrong_is_told(tmp_path: Path) -> None:
    inner = TREES["ade20k"].make(tmp_path / "right")
    card = read_card("ade20k")

    def said(path: Path, split: str | None = None) -> str:
        with pytest.raises(MisuseError) as raised:
            open_benchmark(card, path, split)
        assert raised.value.exit_code == 2
        return str(raised.value)

    assert said(tmp_path / "none") == f"ade20k={tmp_path / 'none'}: there is no such file or folder"
    (tmp_path / "wrong" / "pictures").mkdir(parents=True)
    assert said(tmp_path / "wrong") == (
        f"ade20k={tmp_path / 'wrong'}: {tmp_path / 'wrong' / 'images'} is missing: is PATH the folder that contains "
        f"ade/ADEChallengeData2016, or ADEChallengeData2016 itself? {tmp_path / 'wrong'} holds pictures."
    )
    assert said(tmp_path / "right", "test") == (
        f"ade20k={tmp_path / 'right'}: {inner / 'images' / 'test'} is missing. {inner / 'images'} holds validation."
    )
    shutil.rmtree(inner / "annotations" / "validation")
    assert said(tmp_path / "right").endswith(f"has a mask: {inner / 'annotations' / 'validation'} is missing")
    shutil.rmtree(inner / "images" / "validation")
    (inner / "images" / "validation").mkdir()
    assert said(tmp_path / "right").endswith(f"no picture {inner / 'images' / 'validation' / '*.jpg'} is there")
    (tmp_path / "file").write_text("")
    assert "is no folder" in said(tmp_path / "file")


def test_a_list_that_names_a_picture_twice_or_is_no_text_is_refused(tmp_path: Path) -> None:
    path = VOC.make(tmp_path) / "ImageSets/Segmentation/val.txt"
    path.write_text("2007_000033\n2007_000033\n")
    with pytest.raises(MisuseError, match=r"val\.txt: lists '2007_000033' more than once"):
        opened(VOC, tmp_path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MisuseError, match=r"val\.txt: the list of the split cannot be read"):
        opened(VOC, tmp_path)


def test_a_card_that_its_reader_cannot_follow_is_refused(tmp_path: Path) -> None:
    VOC.make(tmp_path)

    def said(**changed: object) -> str:
        card = Card.model_validate(read_card("voc2012").model_dump() | changed, strict=False)
        with pytest.raises(MisuseError) as raised:
            open_benchmark(card, tmp_path)
        return str(raised.value)

    assert said(layout="lmdb") == "card voc2012: layout 'lmdb' has no reader; give one of folders, webdataset"
    assert "needs images, the pattern of their paths with {key}" in said(images=None)
    assert "masks 'SegmentationClass' needs {key} in the pattern" in said(masks=[{"path": "SegmentationClass"}])
