"""Options that take the name of a registry's entry: help and completion list what there is when they are asked for.

Help shows the options under the panels of cli/panels.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperOption

from cli.panels import panel

if TYPE_CHECKING:
    from files.registry import Registry


def listing(**registries: Callable[[], Registry[Any]]) -> type[TyperCommand]:
    """The class of a command with panels, whose help lists, for each of these options, what its registry holds."""

    class Listing(TyperCommand):
        def format_help(self, ctx: Any, formatter: Any) -> None:
            anchors = any(option.name == "anchors" for option in self.params)
            for option in self.params:
                if isinstance(option, TyperOption) and option.name:
                    option.rich_help_panel = panel(option.name, anchors)
                if isinstance(option, TyperOption) and option.name in registries:
                    entries = registries[option.name]().described().items()
                    lines = [f"{name}: {words}" if words else name for name, words in entries]
                    # \b keeps the lines, and a bracket would be markup
                    option.help = "\n\n".join([option.help or "", "\b\n" + "\n".join(lines).replace("[", "\\[")])
            super().format_help(ctx, formatter)

    return Listing


def completion(registry: Callable[[], Registry[Any]], joined: str = "") -> Callable[[str], list[tuple[str, str]]]:
    """What completes an option's value to names of entries, or, with `joined`, to the last of several."""

    def complete(incomplete: str) -> list[tuple[str, str]]:
        chosen = incomplete.split(joined)[:-1] if joined else []
        before = "".join(name + joined for name in chosen)
        return [(before + name, words) for name, words in registry().described().items() if name not in chosen]

    return complete
