"""The Typer app `cocu`: one file per command group, only argument handling and printing."""
