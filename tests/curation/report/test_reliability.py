"""The reliability diagram: dots where the figures are, and the doubtful under what is claimed."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.report.reliability import drawn_reliability
from curation.report.report import write_pairs_page, write_report
from tests.curation.curated_fixture import MadePair, make_curated


def test_dots_stand_where_the_figures_are() -> None:
    drawing = drawn_reliability({"diagram": [[0.0, 1.0, 10], [0.5, 0.25, 1000]], "named_by": "other captions"})
    assert drawing is not None
    corner, other = drawing.dots
    (left, bottom), (right, top) = (map(float, part.split()) for part in drawing.diagonal[1:].split("L"))
    assert (corner.x, corner.y) == (left, top)
    assert other.x == pytest.approx((left + right) / 2)
    assert other.y == pytest.approx(bottom + 0.25 * (top - bottom))
    assert other.radius > corner.radius
    assert other.says == "said 50%, named 25% of 1,000 concepts"


@pytest.mark.parametrize(
    "diagram",
    [None, 7, "no", [], [[0.1, 0.2]], [[0.1, 2.0, 5]], [[math.nan, 0.1, 5]], [["a", 0.1, 5]], [[0.1, 0.1, 0]], [7]],
)
def test_what_is_no_diagram_is_not_drawn(diagram: object) -> None:
    assert drawn_reliability({"diagram": diagram}) is None
    assert drawn_reliability({}) is None


PAIR = MadePair("a", "A man", ("man",), (("dog", 0.9, False), ("man", 0.8, True), ("comet", 0.7, False)))


def confident(folder: Path, told: dict[str, float]) -> Path:
    curated = make_curated(folder, {"s0": [PAIR]})
    path = curated / "tables" / "archives" / "s0.parquet"
    table = pq.read_table(path)
    column = pa.array([told.get(concept) for concept in table["concept"].to_pylist()], pa.float32())
    pq.write_table(table.set_column(table.column_names.index("confidence"), "confidence", column), path)
    return curated


def test_the_report_shows_confidence_and_what_is_doubtful(tmp_path: Path) -> None:
    curated = confident(tmp_path / "curated", {"dog": 0.625, "comet": 0.05})
    manifest = json.loads((curated / "manifest.json").read_text())
    manifest["confidence"] = {"diagram": [[0.1, 0.12, 500], [0.6, 0.55, 40]], "named_by": "other captions"}
    (curated / "manifest.json").write_text(json.dumps(manifest))
    write_report(curated, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.count("<circle") == 2
    assert "62%" in page
    assert "Doubtful: comet" in page
    write_pairs_page(curated, ["a"], tmp_path / "pairs.html")
    assert "Doubtful" not in (tmp_path / "pairs.html").read_text()  # who asks for a pair sees all of it


def test_without_confidence_the_report_is_as_it_was(tmp_path: Path) -> None:
    curated = make_curated(tmp_path / "curated", {"s0": [PAIR]})
    path = curated / "tables" / "archives" / "s0.parquet"
    pq.write_table(pq.read_table(path).drop_columns("confidence"), path)  # a folder of an earlier version
    write_report(curated, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert not any(word in page for word in ("<circle", "Doubtful", "another caption"))
