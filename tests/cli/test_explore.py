"""`cocu explore` and `cocu curate export`: wrong arguments, and what is printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.main import main
from curation.curated.judgements import Judgement, Judgements
from curation.explorer import explore
from tests.curation.curated_fixture import MadePair, make_curated

RANKED = (("sky", 1.9, False), ("tree", 1.7, False))


@pytest.fixture
def curated(tmp_path: Path) -> Path:
    folder = make_curated(tmp_path / "curated", {"s": [MadePair(k, concepts=RANKED) for k in "abcde"]})
    for key, said in zip("abcd", (True, True, True, False), strict=True):
        for concept in ("sky", "tree"):
            Judgements(folder / "judged.sqlite").judge(Judgement("s", key, concept, said, True))
    return folder


def run(*arguments: object) -> int | str | None:
    with pytest.raises(SystemExit) as end:
        main([str(one) for one in arguments])
    return end.value.code


def test_without_its_packages_it_says_what_to_install(
    curated: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explore, "find_spec", lambda name: None if name == "uvicorn" else object())
    assert run("explore", curated) == 2
    assert "pip install -c constraints.txt '.[explore]' (uvicorn missing)" in capsys.readouterr().err


def test_judgements_are_scored_with_an_interval(curated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not run("curate", "score", curated, "--judged", curated / "judged.sqlite", "--top", "1,2")
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert rows["right@1"][:5] == ["0.75", "0.30-0.95", "4", "of", "4"]
    assert rows["right@2"][0] == "0.75"
    # Two concepts that are right together tell no more than one.
    assert rows["right@2"][1] == "0.30-0.95"


def test_truth_or_judgements(curated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options in ([], ["--judged", "x", "--truth", "y"], ["--truth", "y"], ["--synonyms", "z"]):
        assert run("curate", "score", curated, *options) == 2
        assert "give --truth and --synonyms, or --judged alone" in capsys.readouterr().err


def test_export_gives_truth_that_score_reads(curated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not run("curate", "export", curated, "--truth", tmp_path / "truth.parquet", "--top", 2)
    out, err = capsys.readouterr()
    assert "4 pairs, 6 concepts that they show" in out
    assert err == ""
    command = out.splitlines()[-1].split()[1:]
    assert not run(*command)
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert rows["new@2"][0] == "0.75"


@pytest.mark.parametrize("options", [[], ["--atlas", "a.parquet", "--truth", "b.parquet"]])
def test_export_wants_one_thing(curated: Path, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("curate", "export", curated, *options) == 2
    assert "give one of --atlas" in capsys.readouterr().err


def test_a_map_needs_the_index(curated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("curate", "export", curated, "--atlas", tmp_path / "a.parquet") == 2
    assert "give it by --index" in capsys.readouterr().err
    assert run("curate", "export", curated, "--atlas", tmp_path / "a.csv") == 2
    assert not (tmp_path / "a.parquet").exists()
