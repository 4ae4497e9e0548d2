"""A ranking and an expansion that the house does not know, through their doors into whole commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from curation.index.opened import open_index
from curation.ranking.expansion import EXPANSIONS
from curation.ranking.relevance import RANKINGS
from files.registry import Registry
from tests.integration.commands import UNFILTERED, cocu, succeed
from tests.strangers_package import install

CODE = """
import numpy as np

from curation.ranking.expansion import Expansion
from curation.ranking.relevance import Ranking


def lengths(archives, context):
    return np.array([len(context.vocabulary.words[i]) for i in archives.concept])


shortest = Ranking(
    "short words first",
    lambda archives, parts, context: -lengths(archives, context),
    keeps=lambda archives, score, context: lengths(archives, context) <= 5,
)
opposite = Expansion("captions [of all] least like the picture", lambda anchors: -anchors.image_vectors)
all_alike = Ranking("one score for all", lambda archives, parts, context: np.float32(1))
"""
GROUPS = {"cocu.rankings": ("shortest", "all_alike"), "cocu.expansions": ("opposite",)}

Enter = Callable[[], None]


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> Enter:
    """Enters in this process, until the test ends."""

    def enter() -> None:
        made: dict[str, Any] = {}
        exec(CODE, made)
        for door in (RANKINGS, EXPANSIONS):
            for name in GROUPS[door.group]:
                door.add(name, made[name])

    _as_it_was_afterwards(monkeypatch)
    return enter


@pytest.fixture
def by_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Enter:
    """Enters as an installed package."""

    def enter() -> None:
        groups = "".join(
            f"[{group}]\n" + "".join(f"{name} = stranger:{name}\n" for name in names) for group, names in GROUPS.items()
        )
        install(monkeypatch, tmp_path / "site", groups, CODE)

    _as_it_was_afterwards(monkeypatch)
    return enter


def _as_it_was_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    door: Registry[Any]
    for door in (RANKINGS, EXPANSIONS):
        for held in ("_added", "_packages"):
            monkeypatch.setattr(door, held, dict(getattr(door, held)))


@pytest.mark.parametrize("way", ["by_hand", "by_package"])
def test_a_ranking_and_an_expansion_enter(
    way: str, request: pytest.FixtureRequest, index: Path, tmp_path: Path
) -> None:
    before = cocu("curate", "run", index, "--out", tmp_path / "early", "--ranking", "shortest")
    assert (before.code, "--ranking shortest: expected one of paper, " in before.err) == (2, True)
    request.getfixturevalue(way)()
    options = ("--expansion", "opposite", "--neighbours", 5, "--ranking", "shortest", "--keep", 0, *UNFILTERED)
    answer = succeed("curate", "run", index, "--out", tmp_path / "out", *options)
    assert "expansion opposite, 5 neighbours, ranking shortest" in answer.out
    found = [
        row
        for path in sorted((tmp_path / "out" / "tables" / "archives").iterdir())
        for row in pq.read_table(path).to_pylist()
    ]
    assert {row["score"] for row in found if not row["in_caption"]} >= {-3.0, -4.0, -5.0}
    opened = open_index(index)
    named = np.split(opened.rows.concept_ids, opened.rows.offsets[1:-1])
    archives: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in found:
        archives.setdefault((row["shard"], row["key"]), []).append(row)
    assert len(archives) == opened.rows.images
    for x, rows in enumerate(archives.values()):  # in the order of the index
        assert [row["score"] for row in rows] == sorted([-len(row["concept"]) for row in rows], reverse=True)
        far = opened.rows.text_vectors.astype(np.float32) @ opened.rows.image_vectors[x].astype(np.float32)
        others = np.flatnonzero(opened.rows.text_hash != opened.rows.text_hash[x])
        retrieved = np.concatenate([named[y] for y in others[np.argsort(far[others], kind="stable")[:5]]])
        for row in rows:
            assert row["support"] == (retrieved == row["concept_id"]).sum()
        short = {i for i in retrieved.tolist() if len(opened.vocabulary.words[i]) <= 5}
        assert {row["concept_id"] for row in rows if not row["in_caption"]} == short - set(named[x].tolist())


def test_help_names_the_package(by_package: Enter) -> None:
    own = succeed("curate", "run", "--help").out
    assert "posterior:" in own
    assert "mixed:" in own
    assert "cocu-stranger" not in own
    by_package()
    words = " ".join(succeed("curate", "run", "--help").out.replace("│", " ").split())
    assert "shortest: short words first (package cocu-stranger)" in words
    assert "opposite: captions [of all] least like the picture (package cocu-stranger)" in words


def test_scores_that_are_not_one_for_each_are_refused(by_hand: Enter, index: Path, tmp_path: Path) -> None:
    by_hand()
    answer = cocu("curate", "run", index, "--out", tmp_path / "out", "--ranking", "all_alike")
    assert answer.code == 1
    assert "--ranking all_alike: gave scores ()" in answer.err


def test_what_is_no_ranking_is_told_by_the_packages_name(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(
        monkeypatch,
        tmp_path / "site",
        "[cocu.rankings]\nodd = stranger:odd\n[cocu.expansions]\nodd = stranger:odd\n",
        "odd = len",
    )
    for option in ("--ranking", "--expansion"):
        answer = cocu("curate", "run", index, "--out", tmp_path / "out", option, "odd")
        assert answer.code == 2
        assert f"{option} odd: the package cocu-stranger offers it (stranger:odd), but it cannot be used" in answer.err
        assert "Traceback" not in answer.err
