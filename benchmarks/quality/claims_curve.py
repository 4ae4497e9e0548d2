"""What claims of new objects are worth, the surest first: precision against recall, by confidence and by score.

    python -m benchmarks.quality.claims_curve CURATED --truth TRUTH --synonyms FILE --pictures "COCO-mini dev" \\
        --out docs/new-objects.csv --picture docs/new-objects.png

Replaces the rows of these --pictures in the CSV, and draws what the CSV holds then.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from curation.recovery.scorecard import score_folder

HEAD = ("pictures", "ordered by", "least", "claims", "right", "recall")
ORDERS = ("confidence", "score")
COLOURS = ("#1a7f37", "#0969da", "#8250df", "#bf8700")


def main() -> None:
    """Measure, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curated", type=Path)
    parser.add_argument("--truth", required=True, type=Path)
    parser.add_argument("--synonyms", required=True, type=Path)
    parser.add_argument("--pictures", required=True)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    rows: list[list[str]] = []
    if given.out.exists():
        with given.out.open(encoding="utf-8", newline="") as file:
            rows = [cells for cells in csv.reader(file) if cells[0] not in (HEAD[0], given.pictures)]
    for order in ORDERS:
        for point in score_folder(given.curated, given.truth, given.synonyms, surest=order).curve:
            cells = (f"{point.confidence:.4f}", str(point.claims), f"{point.precision_new:.3f}", f"{point.recall:.3f}")
            rows.append([given.pictures, order, *cells])
    with given.out.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([HEAD, *rows])
    if given.picture:
        draw(rows, given.picture)


def draw(rows: list[list[str]], out: Path) -> None:
    """A line for each set of pictures and order: full by confidence, dashed by score."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 4.2), dpi=110)
    for colour, pictures in zip(COLOURS, dict.fromkeys(row[0] for row in rows), strict=False):
        for order, style in zip(ORDERS, ("-", "--"), strict=True):
            points = [row for row in rows if row[:2] == [pictures, order]]
            recall, right = ([float(row[i]) for row in points] for i in (5, 4))
            axes.plot(recall, right, style, color=colour, marker="o", markersize=3, label=f"{pictures}, by {order}")
    axes.set(xlabel="recall of unsaid objects", ylabel="share of new claims that is right", xlim=(0, 0.6), ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(out)


if __name__ == "__main__":
    main()
