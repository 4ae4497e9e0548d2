"""The grid of docs/curation-quality.csv: expansions x neighbours x rankings, scored against truth.

python -m benchmarks.quality.curation_quality INDEX --anchors SHARD --truth TRUTH --synonyms FILE [--model M] [--out F]
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from curation.curate import run_curation
from curation.encoding.model_names import named_encoder
from curation.index.anchors import AnchorShards
from curation.index.opened import open_index
from curation.ranking.expansion import EXPANSIONS
from curation.ranking.options import PRESETS, CurateOptions
from curation.ranking.relevance import RANKINGS
from curation.reading.pairs import CaptionOptions
from curation.reading.shards import find_shards
from curation.recovery.scorecard import score_folder

NEIGHBOURS = (8, 16, 32, 64, 128, 256)
HALVES = ("global", "local")  # of the paper's ranking, which is in the grid as a whole
K = 8
# What of a caption names objects: its concepts or its words, or its concepts alone.
WAYS = ("either", "concepts")
# Column -> way, figure.
FIGURES = {
    "new right": ("either", "precision_new"),
    "recall": ("either", "recall"),
    "recall by concepts": ("concepts", "recall"),
    "precision": ("either", "precision"),
    "strict precision": ("either", "precision_strict"),
}
Cards = dict[str, dict[str, Any]]


def interval(figure: dict[str, Any], digits: int = 2) -> str:
    """ "0.41 (0.33-0.49)": a figure and its 95 % interval."""
    if figure["value"] is None:
        return "-"
    return f"{figure['value']:.{digits}f} ({figure['low']:.{digits}f}-{figure['high']:.{digits}f})"


def at_k(scores: dict[str, Any], name: str, k: int = K) -> dict[str, Any]:
    """One figure at k of a ranking's scores in a scorecard's JSON."""
    found: dict[str, Any] = scores[name][str(k)]
    return found


def main() -> None:
    """Run the grid, print it, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("--anchors", required=True)
    parser.add_argument("--model", help="the index's, where it is not built in nor in open_clip's list")
    parser.add_argument("--truth", required=True, type=Path)
    parser.add_argument("--synonyms", required=True, type=Path)
    parser.add_argument("--out", type=Path, help="CSV, in which rows of the same --pictures are replaced")
    parser.add_argument("--pictures", default="pictures", help="what the CSV calls these pictures")
    parser.add_argument("--json", type=Path, help="all figures as JSON")
    parser.add_argument("--expansions", default=",".join(EXPANSIONS))
    parser.add_argument("--neighbours", default=",".join(map(str, NEIGHBOURS)))
    parser.add_argument("--rankings", default=",".join(name for name in RANKINGS if name not in HALVES))
    arguments = parser.parse_args()
    index = open_index(arguments.index)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        found, encoder = find_shards([arguments.anchors]), named_encoder(arguments.model, None, False)
        shards = AnchorShards(found, CaptionOptions(), embedded=Path(folder) / "anchors", encoder=encoder)

        def score(name: str, options: CurateOptions) -> Cards:
            out = Path(folder) / name
            run_curation(index, out, options, shards)
            cards = {
                way: score_folder(out, arguments.truth, arguments.synonyms, named_by=way).as_json() for way in WAYS
            }
            manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
            neighbours = options.neighbours or manifest["support"]["neighbours"]
            rows.append(row(name, (options.expansion, neighbours, options.ranking), cards, "curated"))
            print(line(rows[-1]), flush=True)
            return cards

        cards = score("default", PRESETS["default"])
        rows += [row(name, ("", "", ""), cards, name) for name in ("most frequent", "random order", "caption alone")]
        score("paper", PRESETS["paper"])
        grid = itertools.product(
            arguments.expansions.split(","), map(int, arguments.neighbours.split(",")), arguments.rankings.split(",")
        )
        for expansion, neighbours, ranking in grid:
            options = replace(PRESETS["default"], expansion=expansion, neighbours=neighbours, ranking=ranking)
            score(f"{expansion}-{neighbours}-{ranking}", options)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if arguments.out:
        write_csv(arguments.out, arguments.pictures, rows)


def row(name: str, how: tuple[str, int | str, str], cards: Cards, scored: str) -> dict[str, Any]:
    """One row of the grid: how it was curated, and its figures by each way of telling what a caption names."""
    figures = {way: card["scores"][scored] for way, card in cards.items()}
    return {"name": name, "how": how, **figures}


def line(row: dict[str, Any]) -> str:
    """One row as a person reads it."""
    either = row["either"]
    cells = [row["name"] if row["name"] in PRESETS or not row["how"][0] else "", *map(str, row["how"])]
    cells += [interval(at_k(either, "precision_new")), *(interval(at_k(row[way], "recall")) for way in WAYS)]
    cells += [interval(at_k(either, "precision")), interval(at_k(either, "precision_strict"))]
    cells += [interval(either["mean_average_precision"])]
    return "| " + " | ".join(cells) + " |"


def write_csv(path: Path, pictures: str, rows: list[dict[str, Any]]) -> None:
    """The grid's rows in the place of those of the same pictures; those of others stay."""
    kept: list[list[str]] = []
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            kept = [cells for cells in csv.reader(file) if cells[0] not in ("pictures", pictures)]
    ends = ("value", "low", "high")
    head = ["pictures", "name", "expansion", "neighbours", "ranking"]
    head += [f"{name}@{K} {end}".removesuffix(" value") for name in FIGURES for end in ends]
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerows([head, *kept])
        for row in rows:
            figures = [at_k(row[way], name) for way, name in FIGURES.values()]
            table.writerow([pictures, row["name"], *row["how"], *(_cell(one[end]) for one in figures for end in ends)])


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
