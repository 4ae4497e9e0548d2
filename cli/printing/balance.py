"""What `cocu curate balance` prints: the curve of counts before and after, and what was left out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cli.printing.lines import tell
from cli.printing.terminal_table import print_table

if TYPE_CHECKING:
    from curation.curated.balance import Balance


def print_balance(out: Path, made: Balance) -> None:
    """The curve and the last lines. After: pairs of the subset, or, of weights, those expected."""
    pairs, which = made.concepts.pairs, made.concepts.which
    rows = [[name, concept, f"{before:,}", f"{after:,.0f}"] for name, concept, before, after in made.curve()]
    print_table(("quantile", "concept there", "pairs before", "after"), rows, right=(2, 3))
    before, after = made.shares
    rare = int((made.concepts.counts[made.concepts.counts > 0] <= made.cap).sum())
    tell(f"{out}: cap {made.cap:,}, over concepts as {which}")
    tell(
        f"rare concepts ({rare:,}, of {made.cap:,} pairs or fewer): {before:.1%} of mentions before, {after:.1%} after"
    )
    if made.subset:
        left = pairs - made.kept
        why = f"{left - made.without:,.0f} not drawn, {made.without:,} that show no concept of the vocabulary"
        tell(f"kept {made.kept:,.0f} of {pairs:,} pairs; left out {left:,.0f}: {why}")
    else:
        none = f"; 0 for {made.without:,} that show no concept of the vocabulary" if made.without else ""
        tell(f"weights of {pairs:,} pairs, {made.kept:,.0f} pairs an epoch{none}")
    if outside := made.concepts.outside:
        tell(f"not counted: {outside:,} mentions of what is not in the vocabulary (index build --min-count)")
    for note in made.notes:
        tell(note)
