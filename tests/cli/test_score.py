"""`cocu curate score`: what it prints and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.main import main
from tests.curation.curated_fixture import MadePair, make_curated

PAIRS = [
    MadePair("a", "A man", ("man",), (("dog", 1.9, False), ("man", 1.8, True))),
    MadePair("b", "A dog", ("dog",), (("sky", 1.9, False), ("dog", 1.8, True))),
]


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    folder = make_curated(tmp_path / "curated", {"s0": PAIRS})
    (tmp_path / "synonyms.json").write_text('{"person": ["man", "person"], "dog": ["dog"]}')
    rows = [("a", "dog", 0.2), ("b", "dog", 0.3), ("b", "person", 0.2), ("[z]\x1b[31m", "dog", 0.1)]
    (tmp_path / "truth.jsonl").write_text(
        "".join(json.dumps(dict(zip(("key", "object", "area"), row, strict=True))) + "\n" for row in rows)
    )
    options = ["--truth", "truth.jsonl", "--synonyms", "synonyms.json"]
    return [str(folder), *(o if o.startswith("-") else str(tmp_path / o) for o in options)]


def score(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as end:
        main(["curate", "score", *arguments])
    return end.value.code


def test_plain_text_where_there_is_no_terminal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert not score(*arguments, "--per-object", "--top", "1,8")
    out, err = capsys.readouterr()
    assert out.startswith("2 pairs with truth, 2 of them with gaps: 2 objects of area 0.01 or more")
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    assert rows["recall@8"][0] == "0.50"
    assert rows["recall@8"][-2:] == ["0.00", "0.00-0.00"]
    assert rows["new@8"][:2] == ["1.00", "1.00-1.00"]  # what a claim of something new is worth stands first
    assert list(rows).index("new@1") < list(rows).index("recall@1") < list(rows).index("precision@1")
    assert rows["dog"] == ["1", "1", "0"]
    assert "recall@3" not in rows
    assert "1 of 3 truth keys match no pair: [z]" in err
    assert "\x1b" not in out + err


def test_json_for_machines(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert not score(*arguments, "--json")
    out, err = capsys.readouterr()
    assert json.loads(out)["scores"]["curated"]["recall"]["8"]["value"] == 0.5
    assert err == ""


def test_a_table_on_a_terminal(
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    assert not score(*arguments, "--per-object")
    out = capsys.readouterr().out
    assert "─" in out
    line = next(line for line in out.splitlines() if "recall@8" in line)
    assert line.split()[1:3] == ["0.50", "0.00-1.00"]
    assert "…" not in out  # nothing is cut at 80 columns
    assert "false_alarms@8" in out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--top", "one"], "whole numbers with commas between"),
        (["--top", "0"], "give numbers from 1"),
        (["--min-area", "5"], "share of the picture"),
        (["--named-by", "magic"], "expected one of concepts, words, either"),
        (["--truth", "absent.parquet"], "no such file"),
        (["--synonyms", "absent.json"], "no such file"),
        (["--seed", "-1"], "--seed"),
    ],
)
def test_misuse_ends_with_2(
    arguments: list[str],
    change: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert score(*arguments, *change) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err


def test_broken_tables_end_with_1(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    (Path(arguments[0]) / "tables" / "concepts.parquet").unlink()
    assert score(*arguments) == 1
    assert "concepts.parquet" in capsys.readouterr().err
