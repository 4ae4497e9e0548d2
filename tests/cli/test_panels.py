"""Every option stands in a panel of help, and no panel names one that is gone."""

from __future__ import annotations

import pytest

from cli.panels import OF_COMMANDS, PANELS, TITLES, panel
from tests.cli.commands_of_cocu import COMMANDS


def options(path: str) -> set[str]:
    return {one.name for one in COMMANDS[path].params if one.param_type_name == "option"}


@pytest.mark.parametrize("path", COMMANDS)
def test_every_option_has_a_panel(path: str) -> None:
    assert {name for name in options(path) if panel(path, name) == "Options"} == set()


def test_every_name_is_an_option_and_every_title_has_a_place() -> None:
    named = [name for names in PANELS.values() for name in names]
    assert len(named) == len(set(named))
    own = {path: [name for names in panels.values() for name in names] for path, panels in OF_COMMANDS.items()}
    for path, names in own.items():
        assert set(names) <= options(path), path
        assert len(names) == len(set(names)), path
    placed = {(path, name) for path in COMMANDS for name in options(path)}
    assert set(named) == {name for path, name in placed if name not in own.get(path, ())}
    assert {*PANELS, *(title for panels in OF_COMMANDS.values() for title in panels)} <= set(TITLES)
