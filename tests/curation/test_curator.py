"""Pairs are searched in groups and curated in blocks: how many make a group or a block changes nothing."""

from __future__ import annotations

import shutil
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation import curating, curator
from curation.curate import run_curation
from curation.curator import BLOCK, GROUP, group_rows
from curation.index.caption_rows import COLUMNS, OWN_COLUMNS
from curation.index.opened import Index, open_index
from curation.ranking.embedded import anchors_of
from curation.ranking.expansion import Retrieved
from curation.ranking.options import CurateOptions
from curation.runs.parquet_parts import arrow_to_vectors, parquet_batches
from tests.curation.small_index import small_index
from tests.integration.commands import succeed


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = tmp_path_factory.mktemp("groups")
    succeed("data", "miniature", "--out", folder / "pairs", "--pairs", "90", "--seed", "5")
    succeed("index", "build", folder / "pairs", "--model", "miniature", "--out", folder / "index")
    return open_index(folder / "index")


def tables(folder: Path) -> dict[str, list[dict]]:
    return {
        str(path.relative_to(folder)): pq.read_table(path).to_pylist() for path in sorted(folder.rglob("tables/*/*"))
    }


@pytest.mark.parametrize(("block", "group"), [(1, 1), (7, 21), (16, 40), (40, 1000)])
def test_groups_and_blocks_change_no_table(
    index: Index, tmp_path: Path, block: int, group: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = CurateOptions(output="tables")
    run_curation(index, tmp_path / "whole", options)
    monkeypatch.setattr(curator, "BLOCK", block)
    monkeypatch.setattr(curating, "BLOCK", block)
    monkeypatch.setattr(curator, "GROUP", group)
    run_curation(index, tmp_path / "parts", options)
    whole = tables(tmp_path / "whole")
    assert sum(map(len, whole.values())) > 90
    assert tables(tmp_path / "parts") == whole


@given(pairs=st.integers(0, 100_000))
def test_a_group_is_whole_blocks_and_not_too_many(pairs: int) -> None:
    rows = group_rows(pairs)
    assert rows % BLOCK == 0
    assert 0 < rows <= GROUP
    assert -(-pairs // rows) <= -(-pairs // GROUP) + 1, "of groups hardly more than there must be"


def test_own_pairs_have_their_vectors_from_the_rows(index: Index) -> None:
    """The embeddings of others are read from the file that holds them."""
    row = 0
    for path in sorted((index.path / "embeddings").glob("*.parquet")):
        batches = zip(parquet_batches(path, 16, COLUMNS), parquet_batches(path, 16, OWN_COLUMNS), strict=True)
        for whole, own in batches:
            assert tuple(own.schema.names) == OWN_COLUMNS
            inside, outside = anchors_of(own, row, index), anchors_of(whole, -1, index)
            np.testing.assert_array_equal(inside.image_vectors, arrow_to_vectors(whole["image_vec"]))
            np.testing.assert_array_equal(inside.text_vectors, arrow_to_vectors(whole["text_vec"]))
            for field in fields(inside):
                one, other = getattr(inside, field.name), getattr(outside, field.name)
                assert one.dtype == other.dtype
                if field.name != "rows":
                    np.testing.assert_array_equal(one, other, field.name)
            row += len(own)
    assert row == index.rows.images


@given(start=st.integers(0, 20), length=st.integers(0, 25))
def test_parts_of_anchors_and_of_what_is_retrieved(start: int, length: int) -> None:
    small = small_index(seed=3)
    anchors, _ = small.anchors(list(range(20)))
    which = slice(start, start + length)
    expected, _ = small.anchors(list(range(20))[which])
    part = anchors.part(which)
    for field in fields(part):
        np.testing.assert_array_equal(getattr(part, field.name), getattr(expected, field.name), field.name)
    rows = np.arange(60).reshape(20, 3)
    whole = Retrieved(rows, np.arange(20) % 2 == 0, np.arange(20))
    some = whole.part(which)
    assert some.rows.tolist() == rows[which].tolist()
    assert some.counts_anchor.tolist() == whole.counts_anchor[which].tolist()
    assert some.left_out is not None
    assert some.left_out.tolist() == list(range(20))[which]
    assert replace(whole, left_out=None).part(which).left_out is None


def test_a_failure_of_the_search_is_told(index: Index, tmp_path: Path) -> None:
    """It runs in a thread of its own, which ends with it."""
    broken = open_index(Path(shutil.copytree(index.path, tmp_path / "index")))
    path = next((broken.path / "embeddings").glob("*.parquet"))
    table = pq.read_table(path).drop_columns("concepts")
    pq.write_table(table, path)
    with pytest.raises(Exception, match=rf"{path.name}: broken \(it has no column concepts\)"):
        run_curation(broken, tmp_path / "out", CurateOptions(output="tables"))
