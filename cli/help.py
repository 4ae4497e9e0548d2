"""Help as it is printed: how a command is called, what it does, its options in panels, and examples.

An option and what it takes stand in one column, and what it is for beside them, so that 80 columns leave sentences.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.highlighter import RegexHighlighter
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from rich.theme import Theme
from typer.core import TyperArgument, TyperGroup, TyperOption

from cli.examples import EXAMPLES
from cli.panels import TITLES, panel

WIDEST = 26  # letters of an option and what it takes in one line
CHOICES_BESIDE = 14  # letters of choices that stand beside their option
STYLE = Theme({"help.option": "bold cyan", "help.takes": "yellow", "help.title": "bold"})

Rows = list[tuple[Text, Any]]


class _Options(RegexHighlighter):
    base_style = "help."
    highlights = (r"(^|[\s,(`/])(?P<option>--?[a-z\[][\w\-\]]*)",)


def print_help(command: Any, ctx: Any) -> None:
    """Print the help of a command or of a group."""
    console = Console(theme=STYLE, highlight=False)
    path = " ".join(ctx.command_path.split())
    usage = " ".join(["Usage:", path, *command.collect_usage_pieces(ctx)])
    console.print(Padding(Text(usage, "help.title"), (1, 1)))
    for paragraph in (command.help or "").split("\n\n"):
        console.print(Padding(_said(" ".join(paragraph.split())), (0, 1, 1, 1)))
    panels = _panels(command, ctx, path)
    width = max(len(line) for rows in panels.values() for label, _ in rows for line in label.plain.splitlines())
    for title, rows in panels.items():
        table = Table.grid(padding=(0, 2, 0, 0), expand=True)
        table.add_column(width=width, no_wrap=True)
        table.add_column(ratio=1)
        for row in rows:
            table.add_row(*row)
        console.print(Panel(table, title=title, title_align="left", border_style="dim"))
    for title, block in below(path):
        console.print(Padding(Text(title, "help.title"), (1, 1, 0, 1)))
        console.print(Padding(block, (0, 1, 0, 3)))


def _panels(command: Any, ctx: Any, path: str) -> dict[str, Rows]:
    """The rows of each panel, in the order of the panels."""
    found: dict[str, Rows] = {}
    for param in command.get_params(ctx):
        if isinstance(param, TyperArgument):
            found.setdefault("Arguments", []).append((Text(param.metavar or "", "help.option"), _meaning(param, ctx)))
        elif isinstance(param, TyperOption) and not param.hidden:
            found.setdefault(panel(path, param.name or ""), []).append((label(param), _meaning(param, ctx)))
    main = command
    if not isinstance(command, TyperGroup) and ctx.parent is not None and not ctx.info_name:
        command = ctx.parent.command  # a group's main job, beside which its other commands are shown
    for name in command.list_commands(ctx) if isinstance(command, TyperGroup) else ():
        one = command.commands[name]
        if one is not main and not one.hidden:
            first = (one.help or "").split("\n\n")[0]
            found.setdefault("Commands", []).append((Text(name, "help.option"), _said(" ".join(first.split()))))
    return {title: found[title] for title in TITLES if title in found}


def label(option: TyperOption) -> Text:
    """-k, --top N"""
    names = sorted(option.opts, key=len)
    if option.secondary_opts:
        names = [f"--[no-]{names[-1].removeprefix('--')}"]
    label = Text(", ".join(names), "help.option")
    taken = _taken(option)
    if taken:
        label.append(" " if len(label) + 1 + len(taken) <= WIDEST else "\n  ").append(taken, "help.takes")
    return label


def _taken(option: TyperOption) -> str:
    """What stands behind an option: its metavar, its choices, a kind of number, or the last word of its name."""
    kind = option.type_descriptor
    if option.is_flag:
        return ""
    if option.metavar:
        return option.metavar
    choices = "|".join(map(str, kind.choices or ()))
    if choices and len(choices) <= CHOICES_BESIDE:
        return choices
    if kind.annotation in (int, float):
        return "0..1" if (option.min, option.max) == (0, 1) else "N" if kind.annotation is int else "X"
    last = (option.name or "").split("_")[-1].upper()
    return last if not (kind.annotation is Path and last == "OUT") else "PATH"


def _meaning(param: Any, ctx: Any) -> Any:
    """What a parameter is for, its default, and the entries that it names, each in a line of its own."""
    said = _said(" ".join((param.help or "").split()))
    default = param.show_default if isinstance(param.show_default, str) else default_told(param)
    if param.required:
        said.append(" ").append("[required]", "red")
    elif default:
        said.append(" ").append(f"[default: {default}]", "dim")
    registry = getattr(ctx.command, "registries", {}).get(param.name)
    if registry is None:
        return said
    entries = Table.grid(padding=(0, 1, 0, 0))
    for name, words in registry().described().items():
        entries.add_row(Text(f"  {name}:", "help.takes"), Text(words))
    return Group(said, entries)


def default_told(param: Any) -> str:
    """A default as it would be typed; "" where there is none to tell."""
    if param.default is None or param.default is False:
        return ""
    if param.default is True:
        return str(max(param.opts, key=len))
    return str(param.default)


def _said(words: str) -> Text:
    text = Text(words)
    _Options().highlight(text)
    return text


def below(path: str) -> list[tuple[str, Any]]:
    """What stands under the panels: a title, and what is printed."""
    below: list[tuple[str, Any]] = []
    if path in EXAMPLES:
        examples = Text()
        for command, what in EXAMPLES[path]:
            examples.append(f"{what}\n").append(f"  {command}\n", "help.takes")
        examples.rstrip()
        below.append(("Examples", examples))
    if path == "cocu curate run":
        from cli.printing.presets import preset_table

        below.append(("Defaults by preset", preset_table()))
    return below
