"""The curve's file keeps the rows of other pictures, and the grid's does."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest

from benchmarks.quality import claims_curve
from benchmarks.quality.curation_quality import FIGURES, K, write_csv
from tests.curation.curated_fixture import MadePair, make_curated


def read(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_the_curve_by_score_is_written_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [
        MadePair("a", "A man", ("man",), (("dog", 0.9, False), ("man", 0.8, True))),
        MadePair("b", "A man", ("man",), (("ball", 0.5, False), ("dog", 0.4, False))),
    ]
    curated = make_curated(tmp_path / "curated", {"s0": pairs})
    shown = [("a", "dog"), ("b", "dog")]
    (tmp_path / "truth.jsonl").write_text(
        "".join(json.dumps({"key": key, "object": name, "area": 0.5}) + "\n" for key, name in shown)
    )
    (tmp_path / "words.json").write_text(json.dumps({"dog": ["dog"], "ball": ["ball"]}))
    out, picture = tmp_path / "out.csv", tmp_path / "out.png"
    paths = ["--truth", tmp_path / "truth.jsonl", "--synonyms", tmp_path / "words.json", "--out", out]
    for name in ("these", "others", "these"):
        arguments = ["claims_curve", curated, *paths, "--pictures", name, "--picture", picture]
        monkeypatch.setattr(sys, "argv", [str(argument) for argument in arguments])
        claims_curve.main()
    wanted = [["score", "0.9000", "1", "1.000", "0.500"], ["score", "0.4000", "3", "0.667", "1.000"]]
    head, *rows = read(out)
    assert head == list(claims_curve.HEAD)
    assert rows == [[name, *row] for name in ("others", "these") for row in wanted]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_grid_keeps_the_rows_of_other_pictures(tmp_path: Path) -> None:
    figures = {figure: {str(K): {"value": 0.5, "low": 0.25, "high": None}} for _, figure in FIGURES.values()}
    row = {"name": "default", "how": ("mixed", 256, "support"), "either": figures, "concepts": figures}
    for pictures, rows in (("one", [row, row]), ("other", [row]), ("one", [row])):
        write_csv(tmp_path / "grid.csv", pictures, rows)
    head, *rows = read(tmp_path / "grid.csv")
    assert [cells[0] for cells in rows] == ["other", "one"]
    assert dict(zip(head, rows[0], strict=True))[f"new right@{K}"] == "0.500"
    assert all(
        dict(zip(head, rows[0], strict=True))[f"recall@{K} {end}"] == cell
        for end, cell in (("low", "0.250"), ("high", ""))
    )
