"""The lines that a command answers with."""

import typer


def tell(text: str = "", *, err: bool = False) -> None:
    """A line or several, on stdout or stderr; names in it may be a stranger's, and cannot command the terminal."""
    from files.printable import printable_lines

    typer.echo(printable_lines(text), err=err)
