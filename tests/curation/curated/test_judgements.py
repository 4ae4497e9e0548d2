from __future__ import annotations

import sqlite3
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.curated.judgements import Judgement, Judgements, read_judgements, share_drawn, share_right
from files.errors import CocuError, MisuseError

ONE = Judgement("s", "k", "dog", True, True, 1)


@pytest.fixture
def kept(tmp_path: Path) -> Judgements:
    return Judgements(tmp_path / "judged.sqlite")


def test_a_file_appears_with_the_first_judgement(kept: Judgements) -> None:
    assert (kept.all(), kept.count(), kept.of("s", "k"), kept.path.exists()) == ([], 0, {}, False)
    kept.withdraw("s", "k", "dog")
    assert not kept.path.exists()
    kept.judge(ONE)
    assert (kept.all(), kept.count(), kept.of("s", "k")) == ([ONE], 1, {"dog": True})
    assert Judgements(kept.path).all() == [ONE] == read_judgements(kept.path)


def test_the_last_word_counts_and_a_draw_stays_one(kept: Judgements) -> None:
    kept.judge(ONE)
    kept.judge(Judgement("s", "k", "dog", False, False, 3))
    assert kept.all() == [Judgement("s", "k", "dog", False, True, 3)]
    kept.withdraw("s", "k", "dog")
    assert kept.all() == []


def test_pairs_of_one_key_in_two_shards_are_two(kept: Judgements) -> None:
    kept.judge(ONE)
    kept.judge(Judgement("t", "k", "dog", False))
    assert (kept.of("s", "k"), kept.of("t", "k")) == ({"dog": True}, {"dog": False})


def test_several_at_once_lose_nothing(kept: Judgements, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curation.curated.judgements._SECONDS", 100.0)  # a disk may take long for forty

    def judge(thread: int) -> None:
        for i in range(10):
            kept.judge(Judgement("s", f"{thread}-{i}", "dog", True))

    threads = [Thread(target=judge, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept.count() == 40


def test_a_file_of_another_kind_is_told_and_left_alone(tmp_path: Path, kept: Judgements) -> None:
    kept.path.write_bytes(b"not a database, but long enough to be looked at as one" * 40)
    with pytest.raises(CocuError, match=r"judged\.sqlite: judgements cannot be kept or read there"):
        kept.all()
    other = Judgements(tmp_path / "other.sqlite")
    with sqlite3.connect(other.path) as file:
        file.execute("CREATE TABLE mine (x)")
    with pytest.raises(MisuseError, match=r"other\.sqlite: is no file of judgements"):
        other.judge(ONE)
    with pytest.raises(CocuError, match="cannot be kept"):
        Judgements(tmp_path / "nowhere" / "judged.sqlite").judge(ONE)
    with pytest.raises(MisuseError, match=r"--judged .*no such file"):
        read_judgements(tmp_path / "nothing.sqlite")


COUNTS = st.lists(
    st.integers(0, 5).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=1, max_size=60
)


@given(counts=COUNTS)
def test_a_share_lies_in_its_interval(counts: list[tuple[int, int]]) -> None:
    right, judged = zip(*counts, strict=True)
    share = share_right(right, judged)
    if not sum(judged):
        assert np.isnan([share.value, share.low, share.high]).all()
        return
    assert share.value == sum(right) / sum(judged)
    assert 0 <= share.low <= share.value + 1e-12
    assert share.value - 1e-12 <= share.high <= 1
    assert share.high - share.low > 0.005  # sixty pairs never tell all
    assert (share.right, share.judged, share.pairs) == (sum(right), sum(judged), sum(n > 0 for n in judged))


def test_wilson_where_each_pair_has_one() -> None:
    # 8 of 10: as every textbook has it
    share = share_right([1] * 8 + [0] * 2, [1] * 10)
    assert (share.low, share.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert share_right([1] * 20, [1] * 20).low == pytest.approx(0.8389, abs=1e-3)


def test_concepts_of_one_picture_that_stand_or_fall_together_tell_less() -> None:
    alone = share_right([1, 0] * 25, [1] * 50)
    together = share_right([5, 0] * 5, [5] * 10)
    assert (alone.value, together.value) == (0.5, 0.5)
    assert together.high - together.low > 1.8 * (alone.high - alone.low)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        rate = rng.beta(8, 4, 60)  # of each picture
        right = rng.binomial(5, rate)
        share = share_right(right.tolist(), [5] * 60)
        held += share.low <= 8 / 12 <= share.high
    assert held / 300 > 0.91


def test_of_a_draw_only_so_many_best_count() -> None:
    given = [
        Judgement("s", "a", "dog", True, True, 1),
        Judgement("s", "a", "sky", False, True, 2),
        Judgement("s", "a", "man", False, True, 0),  # named by the caption
        Judgement("s", "b", "dog", False, False, 1),  # chosen by hand
    ]
    assert [(share_drawn(given, k).right, share_drawn(given, k).judged) for k in (1, 2, 5)] == [(1, 1), (1, 2), (1, 2)]
