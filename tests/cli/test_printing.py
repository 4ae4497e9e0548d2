"""Whatever names stand in what commands print, they are read and not obeyed."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from cli.main import main
from cli.printing.cards import print_card, print_check
from cli.printing.lines import tell
from cli.printing.summaries import print_nearest
from cli.printing.terminal_table import print_table
from curation.index.search import Neighbour
from data_cards.cards import read_card
from data_cards.layouts.checks import Check
from files.errors import CocuError

EVIL = "\x1b[31mred\x1b]0;title\x07\x9b2J\u202egnp.exe\u2066 \r\nover"
# What rich styles with, and moves by.
BAD = {"\x07", "\x9b", "\u202e", "\u2066", "\r"}


class Spoken:
    """Texts of one terminal or pipe."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def check(self) -> None:
        out, err = self.capsys.readouterr()
        assert "title" in out + err
        assert not BAD & set(out + err)
        for part in (out + err).split("\x1b")[1:]:
            assert not part.startswith(("]", "[31mred")), part


@pytest.fixture
def spoken(capsys: pytest.CaptureFixture[str]) -> Spoken:
    return Spoken(capsys)


@pytest.fixture(params=[False, True], ids=["pipe", "terminal"], autouse=True)
def terminal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    if request.param:
        monkeypatch.setenv("FORCE_COLOR", "1")


def test_tables(spoken: Spoken) -> None:
    print_table(["name", "value"], [["a", EVIL]])
    spoken.check()
    tell(EVIL)
    spoken.check()


def test_what_a_search_finds(spoken: Spoken) -> None:
    print_nearest([Neighbour(0.5, EVIL, EVIL, EVIL)])
    spoken.check()


def test_a_card_and_what_is_wrong_with_its_data(spoken: Spoken, tmp_path: Path) -> None:
    text = Path("data_cards/camvid.md").read_text().replace("CamVid, 11 classes", r'"a \e[31mred\e]0;title\a\u202e"')
    path = tmp_path / "evil.md"
    path.write_text(text)
    card = read_card(str(path))
    assert "\x1b" in card.pretty_name
    print_card(card, f"# {EVIL}\n\n    {EVIL}\n")
    spoken.check()
    print_check(card, tmp_path, Check((EVIL,), (EVIL,)))
    spoken.check()


def test_an_error(spoken: Spoken, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise CocuError(f"shard {EVIL}: is bad")

    monkeypatch.setattr("cocu.open_index", fail)
    with pytest.raises(SystemExit):
        main(["index", "info", "somewhere"])
    spoken.check()


def test_nothing_in_cli_prints_by_itself() -> None:
    """All goes through `tell` or a table; `main` makes its errors safe itself."""
    wrong = []
    for path in sorted(Path("cli").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "typer.echo", "click.echo"):
                wrong.append((path.name, node.lineno))
    assert [name for name, _ in wrong] == ["main.py", "main.py", "lines.py"]
