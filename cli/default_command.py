"""Groups whose first command need not be named: `cocu train RECIPE` is `cocu train run RECIPE`."""

from typing import Any

from typer.core import TyperGroup

DEFAULT = "run"


class RunUnlessNamed(TyperGroup):
    """A group that runs `DEFAULT` where none of its commands is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command's name in front, unless one is there or help is wanted."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)
