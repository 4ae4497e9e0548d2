"""Concepts that are recovered often on little evidence, marked as such."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.curated.query import connect
from curation.report.report import write_report
from curation.report.vague import FEW, vague_concepts
from tests.curation.curated_fixture import MadePair, make_curated
from tests.examples import examples
from tests.parsed_page import read_page

_Row = tuple[str, bool, int, float | None]  # concept, in the caption, support, confidence


def with_rows(curated: Path, rows: Sequence[_Row]) -> Path:
    path = curated / "tables" / "archives" / "s.parquet"
    whole = pq.read_table(path)
    table = whole.take([0] * len(rows))
    names, named, support, confidence = (list(column) for column in zip(*rows, strict=True))
    for name, values in (
        *(("concept", names), ("in_caption", named)),
        *(("support", support), ("confidence", confidence)),
    ):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(name), pa.array(values, table.schema.field(name).type))
    pq.write_table(table, path)
    return curated


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_curated(tmp_path_factory.mktemp("vague") / "c", {"s": [MadePair("k")]})


@examples(20)
@given(
    st.lists(
        st.tuples(
            *(st.sampled_from(["luck", "dog", "sky's"]), st.booleans(), st.integers(0, 2)),
            st.one_of(st.none(), st.sampled_from([0.0, 0.0625, 0.125, 0.5, float("nan")])),
        ),
        min_size=1,
        max_size=12,
    ),
    st.booleans(),
)
def test_vague_is_what_no_caption_names_or_few_would(made: Path, rows: list[_Row], by_confidence: bool) -> None:
    with_rows(made, rows)
    expected = {}
    for concept in ("luck", "sky's"):  # "dog" is not asked for
        own = [row for row in rows if row[0] == concept and not row[1]]
        told = [row[3] for row in own if row[3] is not None and row[3] == row[3]]
        if sum(row[2] == 0 for row in own) > len(own) / 2:
            expected[concept] = "unnamed"
        elif by_confidence and told and sum(told) / len(told) < FEW:
            expected[concept] = "unlikely"
    assert vague_concepts(connect(made), ["luck", "sky's"], by_confidence) == expected


@pytest.mark.parametrize(
    ("support", "confidence", "weight", "word"),
    [(0, 0.9, 0.2, "unnamed"), (3, 0.05, 0.2, "unlikely"), (3, 0.05, 0.9, ""), (3, 0.5, 0.2, "")],
)
def test_the_report_says_why_a_bar_is_faded(
    tmp_path: Path, support: int, confidence: float, weight: float, word: str
) -> None:
    curated = make_curated(tmp_path / "c", {"s": [MadePair("k")]}, picture={"weight": weight})
    with_rows(curated, [("luck", False, support, confidence)])
    write_report(curated, tmp_path / "r.html", sample=0)
    page = read_page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert page.by_class["label"][0] == f"luck {word}".strip()
    said = " ".join(page.by_class.get("reasons", []))
    assert (f"{word}:" in said) if word else not said
