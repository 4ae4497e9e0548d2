"""Made-up tags have the quality that is asked for."""

import numpy as np
import pytest

from benchmarks.quality.made_up_tagger import made_up_tags, main
from curation.reading.tags import tag_rows
from curation.recovery.truth import Truth


def test_tags_have_the_recall_and_the_errors_asked_for():
    there = np.random.default_rng(0).random((2000, 10)) < 0.3
    truth = Truth(
        tuple(f"{i}" for i in range(2000)), tuple("abcdefghij"), np.where(there, 0.1, np.nan).astype(np.float32)
    )
    table = made_up_tags(truth, 0.7, 0.1, seed=1)
    given = {(int(row["key"]), ord(row["concept"]) - ord("a")) for row in table.to_pylist() if row["concept"]}
    right = sum(bool(there[one]) for one in given)
    assert right / there.sum() == pytest.approx(0.7, abs=0.03)
    assert (len(given) - right) / (~there).sum() == pytest.approx(0.1, abs=0.01)
    assert len(set(table["key"].to_pylist())) == 2000


def test_the_command_writes_a_table_of_tags(tmp_path):
    (tmp_path / "truth.jsonl").write_text('{"key": "1", "object": "dog", "area": 0.2}\n')
    main([str(tmp_path / "truth.jsonl"), "--recall", "1", "--out", str(tmp_path / "tags.parquet")])
    (part,) = tag_rows(tmp_path / "tags.parquet", "--tags")
    assert (part.keys, part.concepts) == (["1"], ["dog"])
