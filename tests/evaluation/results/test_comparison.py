"""Results side by side: paired by key, differences against plain resampling, what is said of unlike runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from data_cards.cards import Card, CardClass
from evaluation.figures.bootstrap import iou_differences, mean_iou_difference
from evaluation.figures.tally import PictureTally
from evaluation.results.comparison import compare, result_names
from evaluation.results.comparison_files import comparison_text, overview, write_comparison
from evaluation.results.result import Result, header, summary, write_benchmark
from evaluation.results.text import write_results
from files.errors import CocuError, MisuseError

NAMES = ("sky", "grass", "dog", "unicorn")


def card(name: str = "four", classes: tuple[str, ...] = NAMES, **more: Any) -> Card:
    given = tuple(CardClass(name=one) for one in classes)
    return Card(name=name, pretty_name=name, license="other", layout="folders", split="val", classes=given, **more)


def counts(seed: int, share: float, number: int = 30) -> NDArray[np.int64]:
    """Pictures of which about `share` of the pixels are right; nobody has a unicorn."""
    true = np.random.default_rng(1).integers(50, 900, (number, 4))
    rng = np.random.default_rng(seed)
    right = rng.binomial(true, share)
    predicted = right + rng.integers(0, 300, (number, 4))
    found = np.stack([right, true, predicted], axis=1)
    found[:, :, 3] = 0
    return found.astype(np.int64)


def write(
    folder: Path, found: NDArray[np.int64], keys: list[str] | None = None, one: Card | None = None, **rules: Any
) -> Path:
    one = one or card()
    keys = keys or [f"k{index}" for index in range(len(found))]
    tally = PictureTally(np.arange(len(found)), found, found, np.zeros((4, 4), np.int64), np.zeros((0, 3, 4), np.int64))
    result = Result(one, Path("data"), "val", len(found), tuple(keys), tally, {"templates": "simple", **rules}, 1.0)
    write_benchmark(folder / one.name, result)
    head = header({"name": "m", "kind": "k", "sha256": "0"}, [], "now", device="cpu", precision="fp32")
    write_results(folder, head, [summary(result)])
    return folder


def test_pictures_are_paired_by_key(tmp_path: Path) -> None:
    first, second = counts(2, 0.5), counts(3, 0.6)
    order = np.random.default_rng(0).permutation(30)
    a = write(tmp_path / "a", first)
    b = write(tmp_path / "b", second[order], [f"k{index}" for index in order])
    (one,) = compare([a, b])
    expected = mean_iou_difference(first, second)
    assert one.difference == (expected,)
    assert one.miou[1].value - one.miou[0].value == pytest.approx(expected.value)
    assert (one.pictures, one.notes, one.names) == (30, (), ("a", "b"))
    assert overview(one)[1][3] == f"{100 * expected.value:+.2f} *"


def test_results_of_other_protocols_are_refused(tmp_path: Path) -> None:
    older = write(tmp_path / "a", counts(2, 0.5))
    same = write(tmp_path / "b", counts(3, 0.5), protocol="groupvit")
    other = write(tmp_path / "c", counts(3, 0.5), protocol="clip")
    assert compare([older, same])[0].notes == ()
    for first, second in ((older, other), (other, same)):
        with pytest.raises(MisuseError, match=r"four was measured under the protocol .* cannot be compared"):
            compare([first, second])


def test_pictures_that_one_lacks_are_left_out_of_all(tmp_path: Path) -> None:
    first, second = counts(2, 0.5), counts(3, 0.6)
    a = write(tmp_path / "a", first)
    b = write(tmp_path / "b", second[5:], [f"k{index}" for index in range(5, 30)])
    (one,) = compare([a, b])
    assert one.pictures == 25
    assert one.difference[0] == mean_iou_difference(first[5:], second[5:])
    assert "a measured 30 pictures; 25 are compared" in one.notes[0]


def test_differences_of_classes_are_those_of_plain_resampling() -> None:
    first, second = counts(2, 0.5), counts(3, 0.6)
    found = iou_differences(first, second, resamples=300, seed=5)
    rng = np.random.default_rng(5)
    drawn = []
    for block in (100, 100, 100):
        for times in rng.multinomial(30, np.full(30, 1 / 30), size=block):
            pictures = np.repeat(np.arange(30), times)
            totals = [each[pictures].sum(0) for each in (first, second)]
            iou = [total[0, :3] / (total[1, :3] + total[2, :3] - total[0, :3]) for total in totals]
            drawn.append(iou[1] - iou[0])
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    assert found.low[:3] == pytest.approx(low)
    assert found.high[:3] == pytest.approx(high)
    assert np.isnan([found.value[3], found.low[3], found.high[3]]).all()
    assert (found.low[:3] < found.value[:3]).all()
    assert (found.value[:3] < found.high[:3]).all()


def test_a_class_that_few_pictures_hold_has_an_interval_over_those_that_do() -> None:
    first, second = counts(2, 0.5), counts(3, 0.6)
    for each in (first, second):
        each[1:, :, 2] = 0
    found = iou_differences(first, second)
    assert found.low[2] == pytest.approx(found.value[2])
    assert found.high[2] == pytest.approx(found.value[2])


def test_a_result_against_itself_differs_by_nothing(tmp_path: Path) -> None:
    a, b = (write(tmp_path / name, counts(2, 0.5)) for name in "ab")
    (one,) = compare([a, b])
    assert (one.difference[0].low, one.difference[0].value, one.difference[0].high) == (0, 0, 0)
    assert "*" not in overview(one)[1][3]


def test_what_was_measured_otherwise_is_said(tmp_path: Path) -> None:
    a = write(tmp_path / "a", counts(2, 0.5))
    b = write(tmp_path / "b", counts(3, 0.6), one=card(ignore_index=255), templates="full", limit=30)
    (one,) = compare([a, b])
    said = "\n".join(one.notes)
    assert "b was measured with another card than a" in said
    assert "b was measured with templates full, a with simple" in said
    assert "b was measured with limit 30, a with None" in said
    assert all(note in comparison_text([one]) for note in one.notes)


def test_files_name_every_class_and_result(tmp_path: Path) -> None:
    folders = [
        write(tmp_path / name, counts(seed, share))
        for name, seed, share in (("a", 2, 0.5), ("b", 3, 0.6), ("c", 4, 0.4))
    ]
    write_comparison(tmp_path / "out", compare(folders))
    text = (tmp_path / "out" / "comparison.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 3 + 2 + 4
    assert {line.split(" | ")[0].strip("| ") for line in rows} >= {*NAMES, "a", "b", "c"}
    assert len({line.count(" | ") for line in rows[5:]}) == 1
    with Image.open(tmp_path / "out" / "comparison.png") as image:
        image.load()
        assert image.width > 500
    (tmp_path / "file").write_text("")
    with pytest.raises(MisuseError, match="is a file"):
        write_comparison(tmp_path / "file", compare(folders))


def test_names_tell_folders_apart() -> None:
    assert result_names([Path("x/one"), Path("x/two")]) == ("one", "two")
    assert result_names([Path("one/eval"), Path("two/eval")]) == ("one/eval", "two/eval")
    assert len(set(result_names([Path("one"), Path("one")]))) == 2


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    a = write(tmp_path / "a", counts(2, 0.5))
    with pytest.raises(MisuseError, match="two or more"):
        compare([a])
    with pytest.raises(MisuseError, match="holds no results"):
        compare([a, tmp_path / "nothing"])
    other = write(tmp_path / "other", counts(2, 0.5), one=card("five"))
    with pytest.raises(MisuseError, match=r"no benchmark in common: .*a has four; .*other has five"):
        compare([a, other])
    strangers = write(tmp_path / "strangers", counts(2, 0.5), [f"z{index}" for index in range(30)])
    with pytest.raises(MisuseError, match="no picture in common"):
        compare([a, strangers])
    renamed = write(tmp_path / "renamed", counts(2, 0.5), one=card(classes=("sky", "grass", "dog", "cat")))
    with pytest.raises(CocuError, match="its classes are not those of"):
        compare([a, renamed])
    (a / "four" / "counts.npz").unlink()
    with pytest.raises(CocuError, match=r"counts\.npz: cannot be read"):
        compare([a, strangers])
