"""The reference of the commands, made of what their help says."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from typing import Any

import typer.main
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from cli.main import app

_CODE = re.compile(r"(`[^`]*`)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each command of the top, with its own below it."""
    top = typer.main.get_command(app)
    context = _context(top, "cocu", None)
    for name in top.list_commands(context):  # type: ignore[attr-defined]
        command = top.get_command(context, name)  # type: ignore[attr-defined]
        page = "\n".join(_page(command, name, context))
        files.append(File.generated(config, f"reference/cocu-{name}.md", content=page))
    return files


def _context(command: Any, name: str, parent: Any) -> Any:
    return command.context_class(command, info_name=name, parent=parent)


def _page(command: Any, name: str, parent: Any) -> Iterator[str]:
    context = _context(command, name, parent)
    yield f"# cocu {name}\n"
    if not hasattr(command, "commands"):
        yield from _described(command, context)
        return
    yield f"{_escaped(command.help or '')}\n"
    for below in command.list_commands(context):
        one = command.get_command(context, below)
        if not one.hidden:
            yield f"## cocu {name} {below}\n"
            yield from _described(one, _context(one, below, context))


def _described(command: Any, context: Any) -> Iterator[str]:
    with contextlib.redirect_stdout(io.StringIO()):  # help fills in what registries hold, and the panels
        command.format_help(context, context.make_formatter())
    yield f"{_escaped(command.help or '')}\n"
    usage, panels = [context.command_path], dict[str, list[str]]()
    for parameter in command.get_params(context):
        record = None if parameter.name == "help" else parameter.get_help_record(context)
        if not record:
            continue
        argument = parameter.param_type_name == "argument"
        kind = getattr(parameter, "rich_help_panel", None) or ("Arguments" if argument else "Options")
        panels.setdefault(kind, []).append(f"`{_name(record[0])}`\n:   {_lines(record[1])}\n")
        if argument:
            usage += parameter.get_usage_pieces(context)
        elif parameter.required:
            usage.append(_name(record[0]))
    yield f"    {' '.join(usage)}{' [OPTIONS]' if len(panels) > ('Arguments' in panels) else ''}\n"
    for title, options in panels.items():
        yield "\n".join([f"**{title}**\n", *options])
    if command.epilog:
        yield f"{_escaped(command.epilog)}\n"


def _name(name: str) -> str:
    """ "--keep <int range>" -> "--keep <int>"."""
    return re.sub(r"<(?:list\[)?(\w+)(?: range)?\]?>", r"<\1>", name)


def _lines(text: str) -> str:
    """Lines that help keeps are lines here."""
    parts = _escaped(text).split("\b\n")
    lines = [" ".join(parts[0].split()), *(line.strip() for part in parts[1:] for line in part.split("\n"))]
    return "<br>".join(line for line in lines if line)


def _escaped(text: str) -> str:
    """Rich's words as Markdown's."""
    pieces = _CODE.split(text.replace("\\[", "["))
    for at in range(0, len(pieces), 2):
        pieces[at] = re.sub(r"([*<\[])", r"\\\1", pieces[at])
    return "".join(pieces)
