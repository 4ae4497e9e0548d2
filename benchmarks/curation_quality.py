"""The grid of docs/curation-quality.md: expansions x neighbours x rankings, scored against truth.

python -m benchmarks.curation_quality INDEX --anchors SHARD --truth TRUTH --synonyms FILE [--out FILE.md]
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from curation.curate import PRESETS, AnchorShards, CurateOptions, run_curation
from curation.index import open_index
from curation.pairs import CaptionOptions
from curation.scorecard import score_folder
from curation.shards import find_shards

EXPANSIONS = ("image", "caption", "language", "mixed")
NEIGHBOURS = (8, 16, 32, 64, 128)
RANKINGS = ("paper", "support", "similarity", "random")
K = 8
START, END = "<!-- grid: begin -->", "<!-- grid: end -->"


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
    """Run the grid and print or insert its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("--anchors", required=True)
    parser.add_argument("--truth", required=True, type=Path)
    parser.add_argument("--synonyms", required=True, type=Path)
    parser.add_argument("--out", type=Path, help="Markdown file whose part between the grid markers is replaced")
    parser.add_argument("--json", type=Path, help="all figures as JSON")
    parser.add_argument("--expansions", default=",".join(EXPANSIONS))
    parser.add_argument("--neighbours", default=",".join(map(str, NEIGHBOURS)))
    parser.add_argument("--rankings", default=",".join(RANKINGS))
    arguments = parser.parse_args()
    index = open_index(arguments.index)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        shards = AnchorShards(find_shards([arguments.anchors]), CaptionOptions(), embedded=Path(folder) / "anchors")

        def score(name: str, options: CurateOptions) -> dict[str, Any]:
            out = Path(folder) / name
            run_curation(index, out, options, shards)
            card = score_folder(out, arguments.truth, arguments.synonyms).as_json()
            rows.append({"name": name, "expansion": options.expansion, "neighbours": options.neighbours,
                         "ranking": options.ranking, **card["scores"]["curated"]})  # fmt: skip
            print(line(rows[-1]), flush=True)
            return card

        card = score("default", PRESETS["default"])
        for reference in ("most frequent", "random order", "caption alone"):
            rows.append({"name": reference, "expansion": "", "neighbours": "", "ranking": "",
                         **card["scores"][reference]})  # fmt: skip
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
        insert(arguments.out, markdown(rows))


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    cells = [row["name"] if not row["expansion"] or row["name"] in PRESETS else "", row["expansion"]]
    cells += [str(row["neighbours"]), row["ranking"]]
    cells += [interval(at_k(row, "recall")), interval(at_k(row, "precision")), interval(at_k(row, "precision_strict"))]
    cells += [interval(row["mean_average_precision"])]
    return "| " + " | ".join(cells) + " |"


def markdown(rows: list[dict[str, Any]]) -> str:
    """The grid as a Markdown table."""
    head = ("", "expansion", "L", "ranking", f"gap recall@{K}", f"precision@{K}", f"strict precision@{K}", "mAP")
    return "\n".join(["| " + " | ".join(head) + " |", "|---" * len(head) + "|", *map(line, rows)])


def insert(path: Path, table: str) -> None:
    """Replace what stands between the markers of a Markdown file."""
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{START}\n{table}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
