"""The lists of words that are counted in captions."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.quality import word_usage

CAPTIONS = [
    "A man repairs the roof of a house.",
    "A dog crouches near two arches.",
    "A woman is riding a horse.",
    "The city lights shine.",
    "A man runs with a wetsuit.",
]


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[list[str]]]:
    folder = tmp_path_factory.mktemp("usage")
    pq.write_table(pa.table({"caption": CAPTIONS * word_usage.LEAST}), folder / "captions.parquet")
    word_usage.main([str(folder / "captions.parquet"), "--out", str(folder)])
    return {path.name: rows(path) for path in folder.glob("*.tsv")}


def rows(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]


def test_verbs_are_told_by_what_stands_before_them(lists: dict[str, list[list[str]]]) -> None:
    counts = {word: list(map(int, row)) for word, *row in lists["verbs_or_nouns.tsv"]}
    assert counts["repairs"][:2] == counts["crouches"][:2] == counts["riding"][:2] == [10, 0]
    assert counts["arches"][:2] == [0, 10]
    assert counts["man"][2:] == [20, 0]
    assert counts["city"][2:] == [0, 10]


def test_usual_nouns_are_nouns_even_where_no_dictionary_knows_them(lists: dict[str, list[list[str]]]) -> None:
    nouns = {word: count for word, count, _ in lists["usual_nouns.tsv"]}
    assert {"man", "roof", "wetsuit"} <= nouns.keys()
    assert nouns["man"] == "20"
    assert not {"repairs", "riding", "near", "runs"} & nouns.keys()


def test_the_lists_have_the_columns_of_the_package(lists: dict[str, list[list[str]]]) -> None:
    data = Path(word_usage.__file__).parents[2] / "curation" / "concepts" / "data"
    for name, found in lists.items():
        assert {len(row) for row in found} <= {len(rows(data / name)[0])}
        assert [row[0] for row in rows(data / name)] == sorted(row[0] for row in rows(data / name))
