"""Sizes in bytes as people write them."""

import re

import typer

UNITS = {"": 1, "K": 1_000, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


def parse_size(text: str) -> int:
    """ "2GB" -> 2_000_000_000, "512MiB" -> 536_870_912. Raises typer.BadParameter."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?\s*", text.upper())
    size = int(float(match[1]) * UNITS[match[2]]) if match is not None and match[2] in UNITS else 0
    if size == 0:
        raise typer.BadParameter(f"{text!r}: give a size such as 2GB or 512MiB", param_hint="--memory")
    return size
