from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.curated.pairs import find_pairs
from curation.curated.query import connected
from curation.explorer.catalogue import CACHE, open_catalogue
from curation.explorer.tables import read_pairs
from files.errors import CocuError
from tests.curation.curated_fixture import MadePair, make_curated
from tests.examples import examples

WORDS = ("dog", "grass", "sky", "cat")
ARCHIVES = st.lists(
    st.tuples(st.sampled_from(WORDS), st.integers(-20, 20).map(float), st.booleans()),
    max_size=4,
    unique_by=lambda row: row[0],
)


@examples(20)
@given(shards=st.lists(st.lists(ARCHIVES, min_size=1, max_size=5), min_size=1, max_size=3))
def test_it_lists_what_a_plain_loop_finds(shards: list[list[list[tuple[str, float, bool]]]]) -> None:
    made = {
        f"s{s}": [MadePair(f"k{s}-{i}", concepts=rows, image=None) for i, rows in enumerate(pairs)]
        for s, pairs in enumerate(shards)
    }
    pairs = [pair for of in made.values() for pair in of]
    with TemporaryDirectory() as folder:
        curated = make_curated(Path(folder) / "curated", made)
        found = open_catalogue(curated)
        assert len(found) == len(pairs)
        places = [(shard, row) for shard, of in made.items() for row in range(len(of))]
        assert [found.place(i) for i in range(len(found))] == places
        for word, number in found.concept.items():
            for named, lists in ((False, found.recovered), (True, found.named)):
                wanted = [
                    (-s, i) for i, pair in enumerate(pairs) for c, s, n in pair.concepts if (c, n) == (word, named)
                ]
                assert lists.of(number).tolist() == [i for _, i in sorted(wanted)]
                mean = -sum(s for s, _ in wanted) / max(1, len(wanted))
                assert lists.score[number] == pytest.approx(mean, abs=1e-5)
        backwards = list(range(len(pairs)))[::-1]
        with connected(curated) as connection:
            assert read_pairs(found, backwards) == find_pairs(connection, [pairs[i].key for i in backwards])


@pytest.fixture
def curated(tmp_path: Path) -> Path:
    return make_curated(tmp_path / "curated", {"s": [MadePair("a"), MadePair("b", concepts=(("grass", 2.5, False),))]})


def test_it_is_made_once_and_anew_for_other_tables(curated: Path) -> None:
    first = open_catalogue(curated)
    assert [path.name for path in (curated / CACHE).iterdir()] == [first.cache.name]
    times = {path: path.stat().st_mtime_ns for path in first.cache.iterdir()}
    assert {path: path.stat().st_mtime_ns for path in open_catalogue(curated).cache.iterdir()} == times
    table = curated / "tables" / "archives" / "s.parquet"
    pq.write_table(pq.read_table(table).slice(0, 1), table)
    again = open_catalogue(curated)
    assert list((curated / CACHE).iterdir()) == [again.cache] != [first.cache]
    assert again.recovered.of(again.concept["grass"]).tolist() == [0]


def test_one_that_is_not_whole_is_made_anew(curated: Path) -> None:
    cache = open_catalogue(curated).cache
    (cache / "starts.npy").unlink()
    assert len(open_catalogue(curated)) == 2


def test_a_folder_that_cannot_be_written_has_it_elsewhere(curated: Path, tmp_path: Path) -> None:
    (curated / CACHE).write_text("in the way, for whoever runs this")
    found = open_catalogue(curated, tmp_path / "scratch")
    assert found.recovered.of(found.concept["grass"]).tolist() == [1, 0]
    with pytest.raises(CocuError, match="cannot be written"):
        open_catalogue(curated)


@pytest.mark.parametrize("order", [[2, 0, 1], [0, 2, 1]])
def test_rows_of_other_pairs_or_in_another_order_are_told(curated: Path, order: list[int]) -> None:
    table = curated / "tables" / "archives" / "s.parquet"
    pq.write_table(pq.read_table(table).take(order), table)
    with pytest.raises(CocuError, match=r"archives/s\.parquet: not of the pairs"):
        open_catalogue(curated)


def test_a_concept_that_has_no_word_is_told(curated: Path) -> None:
    table = curated / "tables" / "concepts.parquet"
    pq.write_table(pq.read_table(table).slice(0, 1), table)
    with pytest.raises(CocuError, match=r"s\.parquet: a concept_id that concepts\.parquet has not"):
        open_catalogue(curated)


def test_a_broken_table_is_told(curated: Path) -> None:
    (curated / "tables" / "archives" / "s.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(CocuError, match=r"s\.parquet: broken"):
        open_catalogue(curated)
