"""What an evaluation leaves behind: forms of the files, what is said of the run, and what damage does."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_cards.cards import Background, Card, CardClass, read_card
from evaluation.figures.tally import Bad, PictureTally
from evaluation.results.result import (
    Result,
    card_digest,
    header,
    members_of_kind,
    read_counts,
    read_results,
    summary,
    write_benchmark,
)
from evaluation.results.text import markdown_table, percent, write_results
from files.errors import CocuError, MisuseError

CARD = Card(
    name="three",
    pretty_name="Three | classes",
    license="other",
    layout="folders",
    split="val",
    background=Background(name="rest", threshold=0.5),
    classes=(
        CardClass(name="rest", kind="stuff"),
        CardClass(name="grass", kind="stuff"),
        CardClass(name="dog", kind="thing"),
        CardClass(name="cat", kind="thing"),
    ),
)
# Two pictures; nobody has a cat.
COUNTS = np.array(
    [[[5, 2, 0, 0], [6, 3, 1, 0], [5, 4, 1, 0]], [[1, 0, 4, 0], [1, 2, 7, 0], [3, 3, 4, 0]]], dtype=np.int64
)


def result(**changes: Any) -> Result:
    total = COUNTS.sum(0)
    tally = PictureTally(
        indices=np.array([0, 3]),
        counts=COUNTS,
        boundary=COUNTS // 2,
        matrix=np.diag(total[0]),
        swept=np.zeros((0, 3, 4), np.int64),
        bad=(Bad("b", "x/b.png", "is empty"),),
    )
    given: dict[str, Any] = {
        **{"card": CARD, "path": Path("data"), "split": "val", "available": 4, "keys": ("a", "d"), "tally": tally},
        **{"rules": {"templates": "simple", "best classes": 5}, "seconds": 0.5},
    }
    return Result(**{**given, **changes})


def head() -> dict[str, Any]:
    checkpoint = {"name": "run/best", "kind": "groupvit", "sha256": "0123456789abcdef"}
    return header(checkpoint, ["cocu", "eval"], "2025-01-02T03:04:05+00:00", device="1 x cpu", precision="fp32")


def test_the_figures_are_those_worked_out_by_hand() -> None:
    found = summary(result())
    # rest 6 / (7 + 8 - 6), grass 2 / (5 + 7 - 2), dog 4 / (8 + 5 - 4); a class that is nowhere has no IoU.
    rest, grass, dog = 6 / 9, 2 / 10, 4 / 9
    assert found["mean_iou"]["value"] == pytest.approx((rest + grass + dog) / 3)
    assert [row["iou"] for row in found["classes"]] == [
        pytest.approx(rest),
        pytest.approx(grass),
        pytest.approx(dog),
        None,
    ]
    assert found["pixel_accuracy"] == pytest.approx(12 / 20)
    assert found["mean_accuracy"] == pytest.approx((6 / 7 + 2 / 5 + 4 / 8) / 3)
    assert found["stuff_mean_iou"]["value"] == pytest.approx(grass), "the background is neither stuff nor thing"
    assert found["things_mean_iou"]["value"] == pytest.approx(dog)
    assert [row["pictures"] for row in found["classes"]] == [2, 2, 2, 0]
    assert found["classes"][0]["kind"] == "background"
    assert found["pictures_per_second"] == 4.0
    assert found["left_out"] == [{"key": "b", "path": "x/b.png", "reason": "is empty"}]


def test_a_card_that_does_not_say_has_neither_stuff_nor_things() -> None:
    card = CARD.model_copy(update={"classes": tuple(CardClass(name=one.name) for one in CARD.classes)})
    assert (members_of_kind(card, "stuff"), members_of_kind(card, "thing")) == ([], [])
    found = summary(result(card=card))
    assert (found["stuff_mean_iou"], found["things_mean_iou"]) == (None, None)


def test_files_are_read_as_they_were_written(tmp_path: Path) -> None:
    write_benchmark(tmp_path / "three", result())
    write_results(tmp_path, head(), [summary(result())])
    content = read_results(tmp_path)
    assert content["benchmarks"] == json.loads(json.dumps([summary(result())]))
    assert content["command"] == ["cocu", "eval"]
    assert set(content) >= {"cocu", "torch", "numpy", "date", "checkpoint", "device", "precision"}
    assert "NaN" not in (tmp_path / "results.json").read_text()
    counts = read_counts(tmp_path / "three")
    assert (counts.keys, counts.classes) == (("a", "d"), ("rest", "grass", "dog", "cat"))
    assert np.array_equal(counts.counts, COUNTS)
    with (tmp_path / "three" / "classes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == ["rest", "grass", "dog", "cat"]
    assert float(rows[1]["iou"]) == 0.2
    assert rows[3]["iou"] == ""


def test_the_table_says_what_was_left_out_and_by_which_rules(tmp_path: Path) -> None:
    write_results(tmp_path, head(), [summary(result())])
    text = (tmp_path / "results.md").read_text()
    assert "| three | val | 2 of 4 | 43.70 |" in text
    assert "- b: x/b.png: is empty" in text
    assert "templates: simple; best classes: 5" in text
    assert "| grass | stuff | 20.00 | 40.00 |" in text


def test_the_digest_is_of_what_the_card_says() -> None:
    card = read_card("miniature")
    again = Card.model_validate(card.model_dump())
    assert card_digest(card) == card_digest(again)
    assert card_digest(card) != card_digest(card.model_copy(update={"ignore_index": 254}))


def test_cells_of_tables_keep_their_bars() -> None:
    assert markdown_table(["a", "b"], [["x|y", "1"]], right=[1]) == ["| a | b |", "| --- | ---: |", "| x\\|y | 1 |"]
    assert (percent(None), percent(0.12345)) == ("-", "12.35")
    assert not math.isnan(float(percent(0.0)))


def test_damage_is_named(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match=r"holds no results\.json"):
        read_results(tmp_path)
    (tmp_path / "results.json").write_text('{"form": 1, ')
    with pytest.raises(CocuError, match=r"results\.json: cannot be read"):
        read_results(tmp_path)
    (tmp_path / "results.json").write_text('{"form": 99}')
    with pytest.raises(CocuError, match="is not of form 1"):
        read_results(tmp_path)
    write_benchmark(tmp_path / "three", result())
    whole = (tmp_path / "three" / "counts.npz").read_bytes()
    for content in (whole[: len(whole) // 2], b""):
        (tmp_path / "three" / "counts.npz").write_bytes(content)
        with pytest.raises(CocuError, match=r"counts\.npz: cannot be read .* evaluate again"):
            read_counts(tmp_path / "three")
