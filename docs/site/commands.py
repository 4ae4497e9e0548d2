"""The reference of the commands, made of what their help says."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import typer.main
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from rich.console import Console
from typer.core import TyperArgument, TyperGroup

from cli.command import DEFAULT, RunUnlessNamed
from cli.help import below, default_told, label
from cli.main import app
from cli.panels import TITLES, panel

_CODE = re.compile(r"(`[^`]*`)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each command of the top, with its own below it."""
    top = typer.main.get_command(app)
    context = _context(top, "cocu", None)
    for name, command in top.commands.items():  # type: ignore[attr-defined]
        page = "\n".join(_page(command, _context(command, name, context)))
        files.append(File.generated(config, f"reference/cocu-{name}.md", content=page))
    return files


def _context(command: Any, name: str, parent: Any) -> Any:
    return command.context_class(command, info_name=name, parent=parent)


def _page(command: Any, context: Any) -> Iterator[str]:
    yield f"# {context.command_path}\n"
    if not isinstance(command, TyperGroup):
        yield from _described(command, context)
        return
    if isinstance(command, RunUnlessNamed):
        main = command.commands[DEFAULT]
        yield from _described(main, _context(main, "", context))
    else:
        yield f"{_escaped(command.help or '')}\n"
    for name, one in command.commands.items():
        if not one.hidden:
            inner = _context(one, name, context)
            yield f"## {inner.command_path}\n"
            yield from _described(one, inner)


def _described(command: Any, context: Any) -> Iterator[str]:
    path = " ".join(context.command_path.split())
    yield f"{_escaped(command.help or '')}\n"
    usage, panels = [path], dict[str, list[str]]()
    for one in command.get_params(context):
        if one.name == "help" or getattr(one, "hidden", False):
            continue
        argument = isinstance(one, TyperArgument)
        name = one.metavar if argument else " ".join(label(one).plain.split())
        if argument:
            usage.append(name if one.required else f"[{name}]")
        elif one.required:
            usage.append(name)
        title = "Arguments" if argument else panel(path, one.name)
        panels.setdefault(title, []).append(f"`{name}`\n:   {_meaning(one, command)}\n")
    yield f"    {' '.join(usage)} [OPTIONS]\n"
    for title in TITLES:
        if title in panels:
            yield "\n".join([f"**{title}**\n", *panels[title]])
    for title, block in below(path):
        printed = Console(file=io.StringIO(), width=96, color_system=None)
        printed.print(block)
        lines = printed.file.getvalue().splitlines()  # type: ignore[attr-defined]
        yield "\n".join([f"**{title}**\n", *(f"    {line}".rstrip() for line in lines), ""])


def _meaning(one: Any, command: Any) -> str:
    """What help says of it, and the entries that it names."""
    said = _escaped(" ".join((one.help or "").split()))
    default = one.show_default if isinstance(one.show_default, str) else default_told(one)
    if one.required:
        said += " Required."
    elif default:
        said += f" Default: {default}." if " " in default else f" Default: `{default}`."
    registry = getattr(command, "registries", {}).get(one.name)
    entries = registry().described().items() if registry else ()
    return "<br>".join([said, *(f"`{name}`: {_escaped(words)}" for name, words in entries)])


def _escaped(text: str) -> str:
    """Plain words as Markdown's."""
    pieces = _CODE.split(text)
    for at in range(0, len(pieces), 2):
        pieces[at] = re.sub(r"([*<\[])", r"\\\1", pieces[at])
    return "".join(pieces)
