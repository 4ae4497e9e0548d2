from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curation.curated.judgements import Judgement, Judgements
from curation.recovery.judged import score_judged
from curation.recovery.judged_truth import write_judged_truth
from curation.recovery.scorecard import score_folder
from files.errors import MisuseError
from tests.curation.curated_fixture import MadePair, make_curated

RANKED = (("sky", 1.9, False), ("tree", 1.7, False), ("cat", 1.6, False))


@pytest.fixture
def curated(tmp_path: Path) -> Path:
    pairs = [MadePair(key, "a man", ("man",), RANKED) for key in "abcd"]
    return make_curated(tmp_path / "curated", {"s": pairs, "t": [MadePair("d", "a man", ("man",), RANKED)]})


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    kept = Judgements(tmp_path / "judged.sqlite")
    said = {"a": "yn", "b": "nn", "c": "y", "d": "yy"}  # c: the second is not judged; d: a key of two shards
    for key, row in said.items():
        for shard in ("s", "t") if key == "d" else ("s",):
            for (concept, _, _), one in zip(RANKED, row, strict=False):
                kept.judge(Judgement(shard, key, concept, one == "y", True))
    return kept.path


def test_what_is_written(curated: Path, judged: Path, tmp_path: Path) -> None:
    written = write_judged_truth(curated, judged, tmp_path / "truth.parquet", 2)
    assert pq.read_table(tmp_path / "truth.parquet").to_pylist() == [
        {"key": "a", "object": "sky", "area": 1.0},
        {"key": "b", "object": None, "area": None},  # looked at, and none of them there
    ]
    assert json.loads(written.synonyms.read_text()) == {"sky": ["sky"], "tree": ["tree"]}
    assert (written.pairs, written.shown) == (2, 1)
    assert [note.split(":")[0] for note in written.notes] == ["1 of 5 judged pairs left out", "2 pairs left out"]


def test_scored_as_truth_it_gives_what_was_judged(curated: Path, judged: Path, tmp_path: Path) -> None:
    written = write_judged_truth(curated, judged, tmp_path / "truth.parquet", 2)
    card = score_folder(curated, tmp_path / "truth.parquet", written.synonyms, ks=(1, 2), normal=str)
    assert [figure.value for figure in card.scores["curated"].precision_new] == [1 / 2, 1 / 4]
    only = Judgements(tmp_path / "two.sqlite")
    for one in Judgements(judged).all():
        if one.key in "ab":
            only.judge(one)
    assert [share.value for share in score_judged(curated, only.path, (1, 2)).drawn] == [1 / 2, 1 / 4]


def test_where_nothing_is_judged_so_deep(curated: Path, judged: Path, tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="3 best recovered concepts"):
        write_judged_truth(curated, judged, tmp_path / "truth.parquet", 3)
    with pytest.raises(MisuseError, match=r"ends in \.parquet"):
        write_judged_truth(curated, judged, tmp_path / "truth.csv", 2)
    assert not list(tmp_path.glob("truth*"))
