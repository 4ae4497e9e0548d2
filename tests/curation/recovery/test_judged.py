from __future__ import annotations

from pathlib import Path

import pytest

from curation.curated.judgements import Judgement, Judgements
from curation.recovery.judged import score_judged
from files.errors import MisuseError
from tests.curation.curated_fixture import MadePair, make_curated

RANKED = (("dog", 1.9, False), ("man", 1.8, True), ("sky", 1.7, False), ("cat", 1.6, False))


@pytest.fixture
def curated(tmp_path: Path) -> Path:
    return make_curated(
        tmp_path / "curated", {"s": [MadePair(k, concepts=RANKED) for k in "abc"], "t": [MadePair("a")]}
    )


def judged(folder: Path, *given: tuple[str, str, str, bool, bool]) -> Path:
    kept = Judgements(folder / "judged.sqlite")
    for one in given:
        kept.judge(Judgement(*one))
    return kept.path


def test_by_hand(curated: Path, tmp_path: Path) -> None:
    file = judged(
        tmp_path,
        ("s", "a", "dog", True, True),
        ("s", "a", "sky", False, True),
        ("s", "b", "dog", True, True),
        ("s", "b", "man", False, True),  # named by the caption: no recovered concept
        ("s", "c", "cat", False, False),
        ("t", "a", "grass", True, False),
        ("u", "a", "grass", True, False),  # a shard that is not there
    )
    score = score_judged(curated, file, [1, 2, 3])
    assert [(share.right, share.judged) for share in score.drawn] == [(2, 2), (2, 3), (2, 3)]
    assert [(share.right, share.judged) for share in score.everything] == [(3, 3), (3, 4), (3, 5)]
    assert score.unjudged == (0, 1, 3)
    assert [note.split(" are ")[0].split(" were ")[0] for note in score.notes] == [
        "2 of 7 judgements",
        "2 of 4 judged pairs",
        "3 of the best 3 recovered concepts of drawn pairs",
    ]
    assert score.as_json()["drawn"]["1"]["value"] == 1.0


def test_where_no_pair_was_drawn_the_share_is_null(curated: Path, tmp_path: Path) -> None:
    found = score_judged(curated, judged(tmp_path, ("s", "a", "dog", True, False))).as_json()
    assert found["drawn"]["1"]["value"] is None
    assert found["everything"]["1"]["value"] == 1.0


def test_judgements_of_another_set_are_told(curated: Path, tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="none of its 1 judgements"):
        score_judged(curated, judged(tmp_path, ("s", "z", "dog", True, True)))
    with pytest.raises(MisuseError, match="--top 0"):
        score_judged(curated, judged(tmp_path), [0])
