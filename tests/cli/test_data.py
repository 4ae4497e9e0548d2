"""`cocu data miniature`: what it prints and its exit codes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from cli.main import main


def data(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as end:
        main(["data", "miniature", *arguments])
    return end.value.code


def test_what_was_written_and_what_the_captions_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--out", str(tmp_path / "world"), "--pairs", "300", "--seed", "7", "--workers", "1"]
    assert not data(*arguments)
    out, err = capsys.readouterr()
    rows = dict(re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in out.splitlines()[1:])
    assert rows["pairs"] == "300 in 1 shard"
    assert re.fullmatch(r"300 pairs in [\d.]+ s, [\d,]+ pairs/s", rows["drawn now"])
    visible = re.match(r"([\d.]+) per picture.*: ([\d.]+) stuff, ([\d.]+) things", rows["visible classes"])
    assert visible
    assert float(visible[1]) == pytest.approx(float(visible[2]) + float(visible[3]), abs=0.011)
    named = re.match(
        r"([\d.]+)% of the visible classes: ([\d.]+)% of stuff, ([\d.]+)% of things", rows["named by captions"]
    )
    assert named
    assert 25 <= float(named[1]) <= 40
    assert float(named[2]) < float(named[1]) < float(named[3])
    assert str(tmp_path / "world" / "truth.parquet") in rows["truth"]
    assert err == ""
    assert not data(*arguments)
    assert "nothing, all was there" in capsys.readouterr().out


def test_a_sheet_to_look_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not data("--sheet", str(tmp_path / "sheet.png"), "--size", "32", "--split", "val")
    assert capsys.readouterr().out == f"wrote {tmp_path / 'sheet.png'}\n"
    assert Image.open(tmp_path / "sheet.png").size == (3 * (8 * 32 + 7), 3 * (6 * 32 + 5))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "give a folder, or --sheet"),
        (["--out", "OUT", "--split", "test"], 2, "--split test: expected one of train, val, clip"),
        (["--out", "OUT", "--pairs", "0"], 2, "pairs 0"),
        (["--out", "OUT", "--workers", "0"], 2, "--workers"),
        (["--sheet", "/"], 2, "/: is no file"),
    ],
)
def test_misuse_is_told_in_one_message(
    arguments: list[str], code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert data(*(argument.replace("OUT", str(tmp_path / "world")) for argument in arguments)) == code
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err
    assert "bug" not in err


# The cards.


def command(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as end:
        main(["data", *arguments])
    return end.value.code


def test_cards_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert not command("cards")
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: re.split(r"\s{2,}", line) for line in lines if line}
    assert rows["voc2012"] == ["voc2012", "PASCAL VOC 2012", "20 + background", "1,449", "val", "other"]
    assert rows["miniature"][2:4] == ["52", "-"]
    assert len(rows) == 14 + 2  # and the head, and what to do next


def test_a_card_is_shown_with_its_facts_classes_and_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert not command("card", "voc2012")
    out = capsys.readouterr().out
    assert re.search(r"^split +val, 1,449 pictures$", out, re.M)
    assert re.search(r"^sizes +short side 448, long side at most 2048, windows of 448, 224 apart$", out, re.M)
    assert re.search(r"^0 +background +none: below 0\.95 ", out, re.M)
    assert re.search(r"^20 +tvmonitor +monitor, television +thing +tv, screen +television monitor, ", out, re.M)
    assert re.search(r"^19 +train +train +thing +locomotive, subway, tram$", out, re.M)
    assert re.search(r"^protocol clip +short side 336, long side at most 2048, .*, logit scale 65$", out, re.M)
    assert "\n## Traps\n" in out
    assert command("card", "voc2011") == 2
    assert "card 'voc2011': there is none of this name; give one of ade20k, " in capsys.readouterr().err


def test_every_card_can_be_shown_from_its_file(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (root / "data_cards").glob("*.md"):
        assert not command("card", str(path))
        assert f"{path.stem}: " in capsys.readouterr().out


def test_a_data_set_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not data("--out", str(tmp_path / "val"), "--pairs", "30", "--split", "val", "--workers", "1")
    capsys.readouterr()
    assert not command("check", f"miniature={tmp_path / 'val'}", "--sample", "10")
    out = capsys.readouterr().out
    assert "pictures     30, of which 10 were read" in out
    counts = re.findall(r"^[a-z ]+?  +([\d.]+)%  +(\d+)(?:  #+)?$", out, re.M)
    assert sum(float(share) for share, _ in counts) == pytest.approx(100, abs=0.01 * len(counts))
    assert 1 <= max(int(pictures) for _, pictures in counts) <= 10
    assert out.endswith("miniature: as its card says\n")
    assert command("check", f"miniature={tmp_path}") == 1
    out = capsys.readouterr().out
    assert f"wrong: miniature={tmp_path}: no val-*.tar is there; the folder holds val\n" in out
    assert out.endswith("miniature: not as its card says\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "voc2012"], "give NAME=PATH, such as voc2012=VOCdevkit"),
        (["check", "=somewhere"], "give NAME=PATH"),
        (["check", "voc=somewhere"], "card 'voc': there is none of this name"),
        (["check", "voc2012=somewhere", "--sample", "0"], "--sample"),
    ],
)
def test_a_check_that_cannot_be_made_is_misuse(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(*arguments) == 2
    assert said in " ".join(capsys.readouterr().err.replace("│", " ").split())
