"""Every option of `cocu index` and `cocu curate run` stands in a panel of help, and no panel names one that is gone."""

from __future__ import annotations

import pytest
import typer

from cli.main import app, main
from cli.panels import OF_ANCHORS, PANELS, panel

COMMANDS = (("index", "build"), ("index", "add"), ("index", "merge"), ("index", "search"), ("curate", "run"))


def options(group: str, command: str) -> set[str]:
    top = typer.main.get_command(app)
    found = top.commands[group].commands[command].params  # type: ignore[attr-defined]
    return {one.name for one in found if one.param_type_name == "option"}


def test_every_option_has_a_panel_and_every_name_an_option() -> None:
    there = {command: options(*command) for command in COMMANDS}
    for command, names in there.items():
        assert {name for name in names if panel(name, "anchors" in names) is None} == set(), command
    named = [name for names in PANELS.values() for name in names]
    assert len(named) == len(set(named))
    assert {*named, *OF_ANCHORS} == set().union(*there.values())


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_them(
    command: tuple[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    titles = [line for line in capsys.readouterr().out.splitlines() if line.startswith("╭─ ")]
    shown = [line.split()[1] for line in titles]
    names = options(*command)
    assert set(shown) == {"Arguments", "Options", *(panel(name, "anchors" in names) for name in names)}
    assert len(shown) == len(set(shown))
