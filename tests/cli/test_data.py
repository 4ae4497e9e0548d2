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
        (["--out", "OUT", "--split", "test"], 2, "split 'test': give one of train, val, clip"),
        (["--out", "OUT", "--pairs", "0"], 2, "pairs 0"),
        (["--out", "OUT", "--workers", "0"], 2, "--workers"),
        (["--sheet", "OUT/none/sheet.png"], 1, "No such file or directory"),
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
