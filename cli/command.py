"""Commands and groups of `cocu`: what all of them do with their words, and how they are shown.

A command of a file is made by `Commands`, which has Typer take the classes of this file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from cli.old_names import with_names_of_today

if TYPE_CHECKING:
    from files.registry import Registry

DEFAULT = "run"


class Command(TyperCommand):
    """A command that knows old names of its options, and whose help is that of cli/help.py."""

    registries: Mapping[str, Callable[[], Registry[Any]]] = {}  # by the option whose values are their entries

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        for argument in self.params:
            if isinstance(argument, TyperArgument) and argument.metavar is None:
                argument.metavar = (argument.name or "").upper()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take options by old names, too."""
        return super().parse_args(ctx, self.today(ctx, args))

    def today(self, ctx: Any, args: list[str]) -> list[str]:
        """The words with today's names of options."""
        return list(with_names_of_today(args, self.params, silent=ctx.resilient_parsing))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """[OPTIONS], and the arguments by their names in capitals."""
        words = [(one.metavar or "", one.required) for one in self.params if isinstance(one, TyperArgument)]
        return ["[OPTIONS]", *(name if needed else f"[{name}]" for name, needed in words)]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help."""
        from cli.help import print_help

        print_help(self, ctx)


class Group(TyperGroup):
    """A group of commands, whose help is that of cli/help.py."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help."""
        from cli.help import print_help

        print_help(self, ctx)


class RunUnlessNamed(Group):
    """A group whose main job need not be named: `cocu train RECIPE` is `cocu train run RECIPE`, and its help that."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command's name in front, unless one is there."""
        if args and args[0] not in self.commands:
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help of the main job."""
        main = self.commands[DEFAULT]
        with main.make_context("", [], parent=ctx, resilient_parsing=True) as inner:
            main.format_help(inner, formatter)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The main job goes by the group's name."""
        name, command, rest = super().resolve_command(ctx, args)
        return ("" if name == DEFAULT else name), command, rest

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Commands, and what the main job takes first."""
        main = self.commands[DEFAULT]
        with main.make_context("", [], parent=ctx, resilient_parsing=True) as inner:
            first = next(one for one in main.params if isinstance(one, TyperArgument))
            there = first.shell_complete(inner, incomplete) if not incomplete.startswith("-") else []
            options = main.shell_complete(inner, incomplete)
        named = [one for one in super().shell_complete(ctx, incomplete) if not one.value.startswith("-")]
        return [*named, *there, *options]


class Commands(typer.Typer):
    """Typer with the classes of this file."""

    def __init__(self, cls: type[Group] = Group, **named: Any) -> None:
        super().__init__(cls=cls, no_args_is_help=True, **named)
        self.callback()(_group)

    def command(self, name: str | None = None, *, cls: type[TyperCommand] | None = None, **named: Any) -> Any:
        """As Typer's."""
        return super().command(name, cls=cls or Command, **named)


def _group() -> None:
    """A group stays a group however many commands it has."""
