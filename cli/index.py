"""The commands `cocu index ...`: argument handling and printing only."""

import typer

app = typer.Typer(
    help="Embed pairs of pictures and captions and search them.",
    no_args_is_help=True,
)


@app.callback()
def _group() -> None:
    """A group stays a group however many commands it has."""
