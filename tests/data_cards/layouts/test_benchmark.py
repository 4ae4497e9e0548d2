"""Reading benchmarks: each in its exact folders, and all that can be wrong with the files."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_cards.cards import Card, read_card
from data_cards.layouts.benchmark import Benchmark, open_benchmark
from data_cards.layouts.decoding import BadItem
from data_cards.masks import Masks
from data_cards.miniature.pairs import draw_pair
from data_cards.miniature.shards import write_miniature
from files.errors import CocuError, MisuseError
from tests.data_cards.benchmark_trees import TREES, Tree, grey, picture

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


# Tar shards.


def tar(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def png(values: object, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.array(values, np.uint8)).save(buffer, kind)
    return buffer.getvalue()


RED = [[[255, 0, 0], [250, 0, 0]]]


def test_the_miniature_reads_as_it_was_drawn(tmp_path: Path) -> None:
    write_miniature(tmp_path, 5, seed=3, split="val", workers=1, per_shard=2)
    benchmark = open_benchmark(read_card("miniature"), tmp_path)
    assert len(benchmark) == 5
    for index in range(5):
        pair = draw_pair("val", 3, index, 64)
        image, truth = benchmark.item(index)
        assert benchmark.keys[index] == pair.key
        np.testing.assert_array_equal(truth, pair.mask)
        assert np.abs(image.astype(int) - pair.image).mean() < 12  # JPEG


def test_a_tar_may_be_given_by_itself(tmp_path: Path) -> None:
    path = tar(tmp_path / "any.tar", {"a/x.y.jpg": b"", "x.jpg": png(RED, "JPEG"), "x.mask.png": png([[3, 255]])})
    benchmark = open_benchmark(read_card("miniature"), path)
    assert list(benchmark.keys) == ["x"]
    assert benchmark.truth(0).tolist() == [[3, 255]]


@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".TAR"])
def test_packed_tars_read_as_plain_ones_and_go_to_another_process(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "packed").mkdir()
    write_miniature(tmp_path / "plain", 5, 3, 64, "val", 2, lambda done: None)
    pack = {".tar.gz": gzip.compress, ".tgz": gzip.compress, ".tar.bz2": bz2.compress, ".tar.xz": lzma.compress}
    for one in (tmp_path / "plain").glob("*.tar"):
        (tmp_path / "packed" / f"{one.stem}{suffix}").write_bytes(pack.get(suffix, bytes)(one.read_bytes()))
    card = read_card("miniature")
    plain, packed = (open_benchmark(card, tmp_path / name) for name in ("plain", "packed"))
    assert len(plain) == 5
    assert plain.keys == packed.keys
    for benchmark in (packed, pickle.loads(pickle.dumps(packed))):
        for index in range(5):
            for mine, other in zip(benchmark.item(index), plain.item(index), strict=True):
                assert np.array_equal(mine, other)


def test_a_packed_tar_that_is_cut_off_is_named(tmp_path: Path) -> None:
    plain = tar(tmp_path / "x.tar", {"x.jpg": png(RED, "JPEG"), "x.mask.png": png([[3, 255]])}).read_bytes()
    (tmp_path / "val-0.tar.gz").write_bytes(gzip.compress(plain)[:-20])
    with pytest.raises(CocuError, match=r"val-0\.tar\.gz: cannot be read to its end as a tar \(packed data cut short"):
        open_benchmark(read_card("miniature"), tmp_path)


@pytest.mark.parametrize("listed", [True, False])
def test_endings_in_large_letters_are_those_of_the_card(tmp_path: Path, listed: bool) -> None:
    masks = (Masks(path="ann/{key}_gt.png"),)  # 0 is the first class
    content = {"images": "img/{key}_x.jpg", "masks": masks, "keys": "keys.txt" if listed else None, "top": None}
    card = read_card("ade20k").model_copy(update=content)
    (tmp_path / "keys.txt").write_text("a\nb\nc\n")
    for key, image, mask in (("a", "jpg", "png"), ("b", "JPG", "PNG"), ("c", "Jpg", "PNG")):
        picture(tmp_path / f"img/{key}_x.{image}", 1, 2)
        grey(tmp_path / f"ann/{key}_gt.{mask}", np.array([[0, 1]]))
    picture(tmp_path / "img/d_X.jpg", 1, 2)  # another name, not another ending
    benchmark = open_benchmark(card, tmp_path)
    assert list(benchmark.keys) == ["a", "b", "c"]
    assert benchmark.source.missing() == []
    assert [benchmark.truth(index).tolist() for index in range(3)] == [[[0, 1]]] * 3
    assert benchmark.item(1)[0].shape == (1, 2, 3)
    assert benchmark.source.picture_file(1).endswith("b_x.JPG")
    if not listed:
        picture(tmp_path / "img/b_x.jpg", 1, 2)
        with pytest.raises(MisuseError, match=r"b_x\.jpg is there twice"):
            open_benchmark(card, tmp_path)


def test_coco_mini_is_read_whole(shared: Path) -> None:
    folder = shared / "data" / "coco_mini"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}; it is not there")
    objects = open_benchmark(read_card("coco-mini"), folder)
    panoptic = open_benchmark(read_card("coco-mini-panoptic"), folder)
    assert (len(objects), len(panoptic)) == (156, 62)
    names = [[one.name for one in read_card(card).classes] for card in ("coco-mini", "coco-mini-panoptic")]
    agreed = []
    for index in range(0, 62, 6):
        image, truth = panoptic.item(index)
        assert min(image.shape[:2]) == 256
        other = objects.truth(objects.keys.index(panoptic.keys[index]))
        # Where both masks show a thing, they name the same one nearly everywhere.
        both = (other > 0) & (truth < 80)
        agreed += [names[0][a] == names[1][b] for a, b in zip(other[both], truth[both], strict=True)]
    assert np.mean(agreed) > 0.9


def test_pictures_without_a_mask_are_bad_or_left_out_as_the_card_says(tmp_path: Path) -> None:
    tar(tmp_path / "val-0.tar", {"x.jpg": png(RED, "JPEG"), "x.mask.png": png([[1, 2]]), "y.jpg": png(RED, "JPEG")})
    card = read_card("miniature")
    with pytest.raises(BadItem, match=r"val-0\.tar/y\.mask\.png: the mask of 'y' is missing"):
        open_benchmark(card, tmp_path).item(1)
    assert list(open_benchmark(card.model_copy(update={"partly_masked": True}), tmp_path).keys) == ["x"]


def test_tars_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    card = read_card("miniature")
    picture_and_mask = {"x.jpg": png(RED, "JPEG"), "x.mask.png": png([[1, 2]])}
    tar(tmp_path / "a" / "train-0.tar", picture_and_mask)
    with pytest.raises(MisuseError, match=r"no val-\*\.tar is there; the folder holds train-0\.tar"):
        open_benchmark(card, tmp_path / "a")
    with pytest.raises(MisuseError, match="no picture"):
        open_benchmark(card, tar(tmp_path / "b.tar", {"x.txt": b""}))
    with pytest.raises(MisuseError, match=r"no picture has a mask; looked for members that end in \.mask\.png"):
        open_benchmark(card, tar(tmp_path / "c.tar", {"x.jpg": b"", "x.objects.png": b""}))
    tar(tmp_path / "d" / "val-0.tar", picture_and_mask)
    tar(tmp_path / "d" / "val-1.tar", picture_and_mask)
    with pytest.raises(MisuseError, match=r"val-1\.tar/x\.jpg: occurs twice, before in .*val-0\.tar"):
        open_benchmark(card, tmp_path / "d")


def test_a_tar_that_is_cut_off_is_named(tmp_path: Path) -> None:
    path = tar(tmp_path / "val-0.tar", {"x.jpg": png(RED, "JPEG"), "x.mask.png": png([[1, 2]]), "y.jpg": b"y" * 5000})
    benchmark = open_benchmark(read_card("miniature"), path)
    whole = path.read_bytes()
    headers = [block for block in range(0, len(whole), 512) if whole[block + 257 : block + 262] == b"ustar"]
    assert len(headers) == 3
    for length in (100, *headers[1:], headers[2] + 100, headers[2] + 512, headers[2] + 3000, len(whole.rstrip(b"\0"))):
        path.write_bytes(whole[:length])
        with pytest.raises(CocuError, match=r"val-0\.tar: cannot be read to its end as a tar") as raised:
            open_benchmark(read_card("miniature"), path)
        assert raised.value.exit_code == 1
    path.write_bytes(whole[:700])  # under a benchmark that is open
    with pytest.raises(BadItem, match="the tar is cut off: "):
        benchmark.image(0)
    path.unlink()
    with pytest.raises(BadItem, match="cannot be read"):
        benchmark.mask_values(0)
    (tmp_path / "text.tar").write_text("no tar")
    with pytest.raises(CocuError, match=r"text\.tar: cannot be read to its end as a tar"):
        open_benchmark(read_card("miniature"), tmp_path / "text.tar")


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
