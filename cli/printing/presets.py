"""What the presets of a curation set, side by side."""

from typing import Any

from rich.table import Table


def preset_table() -> Table:
    """A row for each option in which presets differ, a column for each preset."""
    from dataclasses import asdict

    from curation.ranking.options import PRESETS

    values = {name: asdict(options) for name, options in PRESETS.items()}
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_row("", *(f"[bold]{name}[/]" for name in values))
    for field in next(iter(values.values())):
        row = [_typed(field, one[field]) for one in values.values()]
        if len(set(row)) > 1:
            name = {"synonyms": "merge_synonyms"}.get(field, field).replace("_", "-")
            table.add_row(f"[bold cyan]--{name}[/]", *row)
    return table


def _typed(field: str, value: Any) -> str:
    """A value as a person reads it; 0 has a meaning of its own in two options."""
    if value == 0 and field in ("neighbours", "keep") and value is not False:
        return {"neighbours": "fitted", "keep": "all"}[field]
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
