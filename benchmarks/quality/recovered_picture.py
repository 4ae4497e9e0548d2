"""Draw a few curated pairs: picture, caption, the concepts it names, the concepts recovered.

    python -m benchmarks.quality.recovered_picture runs/demo/curated --out docs/recovered.png

The README's picture. Takes the first pairs of a curated folder that keep the truth in their `.json`
member (as the miniature's do), so nothing is chosen for being right; a recovered concept that the
picture does not show is printed in red.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

from PIL import Image

from data_cards.cards import read_card
from files.tar import Sample, read_member, read_samples

NAMED, RECOVERED, WRONG = "#57606a", "#1a7f37", "#cf222e"
SHOWN = 5  # recovered concepts of a picture


@dataclass(frozen=True)
class ShownPair:
    """One curated pair. recovered: concepts that its caption omits, best first, and whether the picture shows them."""

    picture: Image.Image
    caption: str
    named: tuple[str, ...]
    recovered: tuple[tuple[str, bool], ...]


def curated_pairs(folder: Path) -> Iterator[ShownPair]:
    """The pairs of a curated folder's shards, in order."""
    said = read_card("miniature").synonyms()
    for shard in sorted((folder / "shards").glob("*.tar")):
        with shard.open("rb") as tar:
            for sample in read_samples(tar):
                if isinstance(sample, Sample):
                    yield _pair({member.field: read_member(tar, member) for member in sample.members}, said)


def _pair(members: dict[str, bytes], said: Mapping[str, Sequence[str]]) -> ShownPair:
    shown = {word for thing in json.loads(members["json"])["objects"] for word in said[thing["name"]]}
    concepts = json.loads(members["concepts.json"])["concepts"]
    return ShownPair(
        picture=Image.open(io.BytesIO(members["jpg"])).convert("RGB"),
        caption=members["txt"].decode(),
        named=tuple(c["concept"] for c in concepts if c["in_caption"]),
        recovered=tuple((c["concept"], c["concept"] in shown) for c in concepts if not c["in_caption"])[:SHOWN],
    )


def draw(pairs: list[ShownPair], out: Path) -> None:
    """Write one PNG with the pairs side by side."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(pairs), figsize=(2.5 * len(pairs), 4.1), dpi=150, squeeze=False)
    for axis, pair in zip(axes[0], pairs, strict=True):
        axis.imshow(pair.picture.resize((384, 384), Image.Resampling.BICUBIC))
        axis.set_axis_off()
        caption = fill(f"“{pair.caption}”", 30)
        axis.text(0, -0.04, caption, transform=axis.transAxes, va="top", fontsize=9, style="italic")
        line = -0.1 - 0.062 * (caption.count("\n") + 1)
        axis.text(
            0,
            line,
            "names:  " + ", ".join(pair.named or ["nothing"]),
            transform=axis.transAxes,
            va="top",
            fontsize=8.5,
            color=NAMED,
        )
        axis.text(0, line - 0.075, "recovered:", transform=axis.transAxes, va="top", fontsize=8.5, color=NAMED)
        for row, (concept, right) in enumerate(pair.recovered):
            axis.text(
                0.4,
                line - 0.075 - 0.068 * row,
                concept,
                transform=axis.transAxes,
                va="top",
                fontsize=9,
                weight="bold",
                color=RECOVERED if right else WRONG,
            )
    figure.subplots_adjust(left=0.01, right=0.99, top=0.99, bottom=0.36, wspace=0.08)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)


def main() -> None:
    """Read, choose, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("curated", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--skip", type=int, default=0, help="pairs to pass over")
    given = parser.parse_args()
    pairs = [pair for _, pair in zip(range(given.skip + given.pairs), curated_pairs(given.curated), strict=False)]
    draw(pairs[given.skip :], given.out)
    print(given.out)


if __name__ == "__main__":
    main()
