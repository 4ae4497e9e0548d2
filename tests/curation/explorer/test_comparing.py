from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("python_multipart")

from curation.explorer.server import application
from tests.curation.curated_fixture import MadePair, make_curated
from tests.curation.explorer.asking import ask, explore


def pairs(**recovered: tuple[str, ...]) -> list[MadePair]:
    return [
        MadePair(key, "a man", (), tuple((word, 9.0 - i, False) for i, word in enumerate(words)))
        for key, words in recovered.items()
    ]


A = {"s": pairs(a=("dog", "sky"), b=("dog",), c=("sky",)), "only": pairs(z=("dog",))}
# Another order of pairs, other numbers of concepts, and a pair that A has not.
B = {"s": pairs(c=("sky", "dog"), b=("tree",), a=("dog",), new=("dog",))}


@pytest.fixture
def app(tmp_path: Path) -> Any:
    return application([explore(make_curated(tmp_path / name, shards)) for name, shards in (("A", A), ("B", B))])


def rows(html: str) -> dict[str, list[int]]:
    """Of each concept A, B, only A, only B."""
    found = re.findall(r'<tr class="step".*?</tr>', html, re.DOTALL)
    numbers = {re.search(r">([^<]+)</a>", row)[1]: re.findall(r'"number">(\d+)<', row) for row in found}  # type: ignore[index]
    return {word: [int(n) for n in row] for word, row in numbers.items()}


def test_numbers_are_those_of_a_plain_count(app: Any) -> None:
    found = rows(ask(app, "/?order=all").text)
    assert found == {"dog": [3, 3, 1, 1], "sky": [2, 1, 1, 0], "tree": [0, 1, 0, 1]}
    assert "3 in both, which are compared" in ask(app, "/").text


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("order=most", ["sky", "tree"]),
        ("order=more", ["tree"]),
        ("order=less", ["sky"]),
        ("order=all&q=SK", ["sky"]),
        ("order=all&q=zebra", []),
    ],
)
def test_order_and_filter(app: Any, asked: str, words: list[str]) -> None:
    assert list(rows(ask(app, f"/?{asked}").text)) == words


@pytest.mark.parametrize(("side", "keys"), [("a", ["b"]), ("b", ["c"]), ("both", ["a"])])
def test_pairs_that_differ_are_listed_with_what_each_recovers(app: Any, side: str, keys: list[str]) -> None:
    html = ask(app, f"/differs?word=dog&side={side}").text
    assert re.findall(r'class="key">(\w+)<', html) == keys
    if side == "b":  # c: sky of both, dog of B alone
        assert re.findall(r'class="chip (\w+)">(\w+)<', html) == [("plain", "sky"), ("plain", "sky"), ("only", "dog")]
        assert {'href="/a/pair/', 'href="/b/pair/'} <= set(re.findall(r'href="/[ab]/pair/', html))


def test_each_is_explored_by_itself(app: Any) -> None:
    assert "4</b><span>pairs" in ask(app, "/a/").text
    assert ask(app, "/a/search?by=key&q=new").status == 200
    assert ask(app, "/b/search?by=key&q=new").headers["location"] == "/b/pair/3"
    assert ask(app, "/differs?word=zebra").status == 404


def test_curations_of_other_pairs_are_told(tmp_path: Path) -> None:
    folders = [make_curated(tmp_path / shard, {shard: pairs(a=("dog",))}) for shard in ("s", "t")]
    found = ask(application([explore(folder) for folder in folders]), "/")
    assert found.status == 400
    assert "no pair in common" in found.text
