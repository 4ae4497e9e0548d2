"""The commands `cocu curate ...`: argument handling and printing only."""

import typer

app = typer.Typer(
    help="Find and rank the concepts that captions leave out.",
    no_args_is_help=True,
)


@app.callback()
def _group() -> None:
    """A group stays a group however many commands it has."""
