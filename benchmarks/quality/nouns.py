"""How many of the concepts that a person finds in a caption the parser finds, and how many others.

    python -m benchmarks.quality.nouns CAPTIONS.tsv [--plain CAPTIONS.parquet]

CAPTIONS.tsv: a caption, a tab, its concepts parted by `;`, each by `|` from other ways to say it; `?` behind one that
may be left out. Then the names of COCO's objects in twelve plain sentences. --plain: a Parquet table with a column
`caption`: how often "fire hydrant" is found where it stands, and the time per caption beside that of the same spaCy
pipeline run whole, in the same run.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from curation.concepts.languages import ENGLISH
from curation.concepts.noun_phrases import NounOptions
from curation.concepts.parser import CaptionParser, Parser, parser_of
from data_cards.cards import read_card

TEMPLATES = {  # sentence -> what else it names; {a}: a name with its article
    "a photo of {a}": [],
    "{name} on table": ["table"],
    "There is {a} next to a wall.": ["wall"],
    "a man holding {a}": ["man"],
    "A woman is standing near the {name}.": ["woman"],
    "a close up of {a} in a room": ["room"],
    "{a} and a chair in front of a house": ["chair", "house"],
    "A large {name} in the street": ["street"],
    "the {name} is old": [],
    "A dog looks at {a}": ["dog"],
    "{a} with a white background": [],
    "two children and {a} in the grass": ["child", "grass"],
}


@dataclass
class Tally:
    """missed of expected concepts, wrong of given ones."""

    missed: int = 0
    expected: int = 0
    wrong: int = 0
    given: int = 0

    def __str__(self) -> str:
        return (
            f"missed {self.missed} of {self.expected} ({self.missed / max(1, self.expected):.1%}), "
            f"wrong {self.wrong} of {self.given} ({self.wrong / max(1, self.given):.1%})"
        )


@dataclass(frozen=True)
class Expected:
    """One concept of a caption: ways to say it, and whether it may be left out."""

    ways: frozenset[str]
    optional: bool


def read_expected(path: Path) -> list[tuple[str, list[Expected]]]:
    """Captions and their concepts."""
    rows = []
    for line in path.read_text(encoding="utf-8-sig").splitlines():
        caption, _, concepts = line.partition("\t")
        groups = [group.strip() for group in concepts.split(";") if group.strip()]
        rows.append(
            (caption, [Expected(frozenset(way.rstrip("?") for way in g.split("|")), g.endswith("?")) for g in groups])
        )
    return rows


def tally(rows: Iterable[tuple[str, list[Expected]]], parser: CaptionParser, show: bool) -> Tally:
    """Counts over captions; with `show`, a line for each that differs."""
    rows, total = list(rows), Tally()
    for (caption, expected), given in zip(rows, parser.concepts([caption for caption, _ in rows]), strict=True):
        needed = [concept for concept in expected if not concept.optional]
        missed = [concept for concept in needed if not concept.ways & set(given)]
        wrong = [concept for concept in given if not any(concept in other.ways for other in expected)]
        total.missed, total.expected = total.missed + len(missed), total.expected + len(needed)
        total.wrong, total.given = total.wrong + len(wrong), total.given + len(given)
        if show and (missed or wrong):
            print(f"  {caption}\n    given {given}; missed {['|'.join(sorted(m.ways)) for m in missed]}; wrong {wrong}")
    return total


def templates(parser: Parser) -> list[tuple[str, list[Expected]]]:
    """The names of COCO's objects in plain sentences."""
    rows = []
    for name in (item.name for item in read_card("coco-object").classes if item.name != "background"):
        with_article = name if name.endswith("s") and name != "bus" else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
        for template, others in TEMPLATES.items():
            words = [parser.lexicon.normal_form(name), *others]
            rows.append((template.format(name=name, a=with_article), [Expected(frozenset([w]), False) for w in words]))
    return rows


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def plain(path: Path, parser: Parser) -> None:
    """Fire hydrants, and the time, on captions of a table."""
    import pyarrow.parquet as pq

    captions = pq.read_table(path, columns=["caption"])["caption"].to_pylist()
    naming = [caption for caption in captions if "fire hydrant" in caption.lower()]
    found = sum("fire hydrant" in " ".join(concepts) for concepts in parser.concepts(naming))
    print(f'"fire hydrant": in {found} of {len(naming)} captions ({found / max(1, len(naming)):.1%})')
    some = captions[:: max(1, len(captions) // 5_000)][:5_000]
    parser.concepts(some)
    times = [(_seconds(lambda: parser.concepts(some)), _seconds(lambda: list(parser.nlp.pipe(some)))) for _ in range(5)]
    ours, spacys = (statistics.median(column) for column in zip(*times, strict=True))
    print(
        f"{ours / len(some) * 1e6:.0f} us of CPU time a caption; spaCy's pipeline whole {spacys / len(some) * 1e6:.0f}"
    )
    print(f"ratio {ours / spacys:.2f} (median of 5)")


def main() -> None:
    """Print the tallies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captions", type=Path)
    parser.add_argument("--plain", type=Path)
    parser.add_argument("--language", default=ENGLISH, help="of the captions; of another than English there is no more")
    arguments = parser.parse_args()
    if arguments.language != ENGLISH:
        options = NounOptions(language=arguments.language)
        foreign = parser_of(options)(options)
        print(f"{arguments.captions}: {tally(read_expected(arguments.captions), foreign, show=True)}")
        return
    nouns = Parser(NounOptions())
    print(f"{arguments.captions}: {tally(read_expected(arguments.captions), nouns, show=True)}")
    print(f"templates: {tally(templates(nouns), nouns, show=True)}")
    if arguments.plain:
        plain(arguments.plain, nouns)


if __name__ == "__main__":
    main()
