"""Tar shards as benchmarks: each picture with its mask, and all that can be wrong with a tar."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_cards.cards import read_card
from data_cards.layouts.benchmark import open_benchmark
from data_cards.layouts.decoding import BadItem
from data_cards.masks import Masks
from data_cards.miniature.pairs import draw_pair
from data_cards.miniature.shards import write_miniature
from files.errors import CocuError, MisuseError
from tests.data_cards.benchmark_trees import grey, picture


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
