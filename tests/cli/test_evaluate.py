"""`cocu eval`: arguments, messages and exit codes, in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from data_cards.miniature.pairs import draw_pair
from tests.evaluation.tiny_checkpoints import make_checkpoint, make_miniature
from tests.integration.commands import Answer, cocu, succeed

PICTURES = 6


@pytest.fixture(scope="module")
def val(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_miniature(tmp_path_factory.mktemp("val"), PICTURES)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path, val: Path) -> Path:
    out = tmp_path_factory.mktemp("results") / "one"
    succeed("eval", checkpoint, "--benchmark", f"miniature={val}", "--out", out, "--device", "cpu", "--gallery", 1)
    return out


def refused(answer: Answer, code: int, *said: str) -> None:
    assert answer.code == code, answer.err
    text = " ".join(answer.err.replace("│", " ").split())
    for each in said:
        assert each in text, text
    assert "bug" not in text


def test_a_run_ends_with_a_table(tmp_path: Path, checkpoint: Path, val: Path) -> None:
    out = tmp_path / "out"
    answer = succeed("eval", "run", checkpoint, "--benchmark", f"miniature={val}", "--out", out, "--limit", 4)
    (one,) = json.loads((out / "results.json").read_text())["benchmarks"]
    row = next(line for line in answer.out.splitlines() if line.startswith("miniature"))
    assert row.split()[:6] == ["miniature", "val", "4", "of", "6", f"{100 * one['mean_iou']['value']:.2f}"]
    assert f"wrote {out / 'results.md'} and {out / 'gallery.html'}" in answer.out
    assert (out / "gallery.html").exists()


def test_doubts_are_the_last_lines(tmp_path: Path, checkpoint: Path, val: Path) -> None:
    out = tmp_path / "out"
    answer = succeed("eval", checkpoint, "--benchmark", f"miniature={val}", "--out", out, "--gallery", 0)
    (one,) = json.loads((out / "results.json").read_text())["benchmarks"]
    absent = [row["class"] for row in one["classes"] if row["pixels"] == 0]
    last = answer.out.splitlines()[-1]
    assert last == f"warning: miniature: {one['warnings'][-1]}"
    assert f"{len(absent)} of {len(one['classes'])} classes never occur in the truth" in last
    assert all(name in last for name in absent[:10])


def test_without_a_gallery(tmp_path: Path, checkpoint: Path, val: Path) -> None:
    answer = succeed("eval", checkpoint, "--benchmark", f"miniature={val}", "--out", tmp_path / "out", "--gallery", 0)
    assert "gallery.html" not in answer.out
    assert not (tmp_path / "out" / "gallery.html").exists()


def test_what_was_left_out_is_printed(tmp_path: Path, checkpoint: Path) -> None:
    folder = tmp_path / "voc"
    for kind in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / kind).mkdir(parents=True)
    for key in ("a", "b"):
        Image.fromarray(draw_pair("val", 0, 1).image).save(folder / "JPEGImages" / f"{key}.jpg")
    Image.fromarray(draw_pair("val", 0, 1).mask % 20).save(folder / "SegmentationClass" / "a.png")
    (folder / "ImageSets" / "Segmentation" / "val.txt").write_text("a\nb\n")
    options = ["--benchmark", f"voc2012={folder}", "--device", "cpu"]
    refused(cocu("eval", checkpoint, *options, "--out", tmp_path / "out"), 1, "b.png is missing", "--skip-bad")
    answer = succeed("eval", checkpoint, *options, "--out", tmp_path / "out", "--skip-bad", "--sweep-background")
    assert "voc2012: 1 bad picture left out, 50.0% of those read" in answer.out
    assert f"  {folder / 'SegmentationClass' / 'b.png'}: " in answer.out
    assert "tuned on the evaluated data" in answer.out


def test_a_protocol_is_named(tmp_path: Path, checkpoint: Path, val: Path, results: Path) -> None:
    named = ["--benchmark", f"miniature={val}", "--device", "cpu", "--gallery", 0]
    out = tmp_path / "clip"
    answer = succeed("eval", checkpoint, *named, "--out", out, "--protocol", "clip", "--templates", "simple")
    assert "miniature: protocol clip" in answer.out
    (one,) = json.loads((out / "results.json").read_text())["benchmarks"]
    assert (one["rules"]["protocol"], one["rules"]["templates"], one["rules"]["words"]) == ("clip", "simple", 52)
    (other,) = json.loads((results / "results.json").read_text())["benchmarks"]
    assert other["rules"]["protocol"] == "groupvit"
    refused(cocu("eval", "compare", results, out), 2, "under the protocol clip", "measure both with one --protocol")


def test_wrong_arguments(tmp_path: Path, checkpoint: Path, val: Path, results: Path) -> None:
    out = ["--out", tmp_path / "out", "--device", "cpu"]
    named = ["--benchmark", f"miniature={val}"]
    refused(cocu("eval", checkpoint, *out), 2, "--benchmark")
    refused(cocu("eval", checkpoint, "--benchmark", val, *out), 2, "give NAME=PATH")
    refused(cocu("eval", checkpoint, "--benchmark", f"pascal={val}", *out), 2, "card 'pascal': there is none of this")
    refused(cocu("eval", checkpoint, "--benchmark", f"miniature={tmp_path / 'no'}", *out), 2, "no such file or folder")
    (tmp_path / "empty").mkdir()
    refused(
        cocu("eval", checkpoint, "--benchmark", f"miniature={tmp_path / 'empty'}", *out), 2, "the folder holds nothing"
    )
    refused(cocu("eval", tmp_path / "empty", *named, *out), 2, "is no checkpoint, it is empty")
    refused(cocu("eval", checkpoint, *named, *out, "--split", "test"), 2, "no test-*.tar is there")
    refused(cocu("eval", checkpoint, *named, *out, "--precision", "fp8"), 2, "fp8")
    refused(cocu("eval", checkpoint, *named, *out, "--limit", 0), 2, "--limit")
    refused(cocu("eval", checkpoint, *named, *out, "--sweep-background"), 2, "has a background")
    refused(cocu("eval", checkpoint, *named, *out, "--protocol", "sclip"), 2, "--protocol")
    refused(cocu("eval", checkpoint, *named, *out, "--distractors", -1), 2, "--distractors")
    refused(cocu("eval", checkpoint, *named, *out, "--distractors", 5), 2, "--distractors: give --vocabulary INDEX")
    words = ["--protocol", "clip", "--background-words", "sky, sea"]
    refused(cocu("eval", checkpoint, *named, *out, *words), 2, "none of the benchmarks has a background")
    refused(cocu("eval", checkpoint, *named, *out, *words[2:]), 2, "give --protocol clip")
    distracted = ["--distractors", 5, "--vocabulary", tmp_path / "empty"]
    refused(cocu("eval", checkpoint, *named, *out, *distracted), 2, "holds no concepts.parquet")
    refused(cocu("eval", checkpoint, *named, "--out", results), 2, "holds results", "--overwrite")
    assert not (tmp_path / "out" / "results.json").exists()


def test_a_checkpoint_of_something_else(tmp_path: Path, checkpoint: Path, val: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for file in checkpoint.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    (other / "model.safetensors").write_bytes(b"what is this")
    answer = cocu("eval", other, "--benchmark", f"miniature={val}", "--out", tmp_path / "out")
    refused(answer, 1, str(other / "model.safetensors"), "cannot be read")


def test_compare(tmp_path: Path, val: Path, results: Path) -> None:
    other = make_checkpoint(tmp_path / "run", seed=1)
    succeed("eval", other, "--benchmark", f"miniature={val}", "--out", tmp_path / "two", "--gallery", 0)
    answer = succeed("eval", "compare", results, tmp_path / "two", "--out", tmp_path / "compared")
    assert "miniature, 6 pictures" in answer.out
    rows = [line.split() for line in answer.out.splitlines()]
    assert {"one", "two"} <= {row[0] for row in rows if row}
    assert (tmp_path / "compared" / "comparison.md").exists()
    assert (tmp_path / "compared" / "comparison.png").exists()
    refused(cocu("eval", "compare", results), 2, "two or more")
    refused(cocu("eval", "compare", results, tmp_path), 2, "holds no results.json")


def test_demo(tmp_path: Path, checkpoint: Path) -> None:
    picture = tmp_path / "picture.jpg"
    Image.fromarray(draw_pair("val", 0, 1).image).save(picture)
    out = tmp_path / "new" / "overlay.png"
    answer = succeed("eval", "demo", checkpoint, picture, "--classes", "dog, grass, sky", "--out", out)
    shares = {line.split()[1]: float(line.split()[0].rstrip("%")) for line in answer.out.splitlines()[:-1]}
    assert set(shares) <= {"dog", "grass", "sky"}
    assert sum(shares.values()) == pytest.approx(100, abs=0.2)
    with Image.open(out) as image:
        assert image.width >= 960
    refused(cocu("eval", "demo", checkpoint, tmp_path / "no.jpg", "--classes", "dog"), 1, "no.jpg: cannot be read")
    refused(cocu("eval", "demo", checkpoint, picture, "--classes", ","), 2, "names nothing")
    refused(cocu("eval", "demo", checkpoint, picture, "--classes", "dog", "--out", tmp_path / "x.txt"), 2, ".png")
