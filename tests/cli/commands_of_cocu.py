"""The commands of `cocu`, by the words that call them."""

from __future__ import annotations

from typing import Any

import typer

from cli.command import DEFAULT
from cli.main import app


def _commands(command: Any, path: str) -> dict[str, Any]:
    if not hasattr(command, "commands"):
        return {path: command}
    found: dict[str, Any] = {}
    for name, one in command.commands.items():
        if not one.hidden or name == DEFAULT:
            found |= _commands(one, path if one.hidden else f"{path} {name}")
    return found


COMMANDS = _commands(typer.main.get_command(app), "cocu")
