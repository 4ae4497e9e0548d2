"""What noun phrases cost a caption, part by part, beside the same way with spaCy's own runs of its models.

    OMP_NUM_THREADS=1 python -m benchmarks.speed.noun_speed CAPTIONS.parquet [--captions 20000] [--repeats 3]
    python -m benchmarks.speed.noun_speed CAPTIONS.parquet --captions 100000 --repeats 1 --store concepts.json
    python -m benchmarks.speed.noun_speed CAPTIONS.parquet --captions 100000 --repeats 1 --against concepts.json

CAPTIONS.parquet: a table with a column `caption`; so many of them are drawn, always the same. Both ways take turns, in
one thread; times are of the CPU. Then the captions in which the concepts are equal. --store writes the concepts, and
--against counts the captions where they are those that another version stored.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import spacy

from benchmarks.speed.measure import print_table
from curation.concepts.noun_phrases import NounOptions, concepts_of
from curation.concepts.parser import Parser
from curation.concepts.plain_text import plain_case, plain_text

BATCH = 256
PARTS = ("plain text", "words", "tags and parses", "names", "concepts of the parse")


class Piped:
    """A component run by its own `pipe` alone."""

    def __init__(self, component: Any) -> None:
        self.pipe = component.pipe


class PipedModels:
    """The components of a pipeline one after the other, each by its own `pipe`."""

    def __init__(self, components: Sequence[Any]) -> None:
        self._components = components

    def run(self, docs: Sequence[Any], batch_size: int) -> list[Any]:
        """As `inference.Models.run`."""
        for component in self._components:
            docs = list(component.pipe(docs, batch_size=batch_size))
        return list(docs)


def spacys_own(options: NounOptions) -> Parser:
    """The parser with models as spaCy runs them."""
    own = Parser(options)
    own.nlp = spacy.load(own.lexicon.pipeline, exclude=["lemmatizer", "senter", "textcat"])
    own._models = PipedModels([own.nlp.get_pipe(name) for name in ("tok2vec", "tagger", "parser")])  # type: ignore[assignment]
    own._ner = Piped(own.nlp.get_pipe("ner"))
    return own


def timed(parser: Parser, captions: Sequence[str]) -> tuple[list[list[str]], dict[str, float]]:
    """Concepts as `Parser.concepts` gives them, and the seconds of its parts."""
    seconds: dict[str, float] = defaultdict(float)

    def clocked(part: str, work: Callable[..., Any], *arguments: Any) -> Any:
        start = time.process_time()
        done = work(*arguments)
        seconds[part] += time.process_time() - start
        return done

    def plain(some: Sequence[str]) -> tuple[list[str], list[bool]]:
        cased = [plain_case(plain_text(caption)) for caption in some]
        return [text for text, _ in cased], [titled for _, titled in cased]

    def phrases(docs: Sequence[Any], titled: Sequence[bool]) -> list[list[str]]:
        return [concepts_of(doc, parser.options, parser.lexicon, t) for doc, t in zip(docs, titled, strict=True)]

    rows: list[list[str]] = []
    for first in range(0, len(captions), BATCH):
        texts, titled = clocked(PARTS[0], plain, captions[first : first + BATCH])
        docs = clocked(PARTS[1], lambda texts: [parser.nlp.make_doc(text) for text in texts], texts)
        docs = clocked(PARTS[2], parser.tagged, docs, BATCH)
        clocked(PARTS[3], parser.name, docs, titled, BATCH)
        rows += clocked(PARTS[4], phrases, docs, titled)
    return rows, seconds


def main() -> None:
    """Print the table, and how many captions are equal."""
    import pyarrow.parquet as pq

    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("table", type=Path)
    arguments.add_argument("--captions", type=int, default=20_000)
    arguments.add_argument("--repeats", type=int, default=3, help="of which the medians are shown")
    arguments.add_argument("--store", type=Path)
    arguments.add_argument("--against", type=Path)
    given = arguments.parse_args()
    captions = pq.read_table(given.table, columns=["caption"])["caption"].to_pylist()
    random.Random(0).shuffle(captions)
    captions = captions[: given.captions]
    options = NounOptions()
    ways = {"spaCy's own runs": spacys_own(options), "ours": Parser(options)}
    times: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    found = {}
    for _ in range(given.repeats):
        for name, parser in ways.items():
            found[name], seconds = timed(parser, captions)
            times[name].append(seconds)
    middle = {
        name: {part: statistics.median(one[part] for one in runs) / len(captions) * 1e6 for part in PARTS}
        for name, runs in times.items()
    }
    own, ours = (middle[name] | {"all": sum(middle[name].values())} for name in ways)
    rows = [[part, f"{own[part]:.0f}", f"{ours[part]:.0f}", f"{ours[part] / own[part]:.2f}"] for part in ours]
    print_table(["microseconds a caption", *ways, "ratio"], rows)
    _compare("spaCy's own runs", *found.values())
    if given.store:
        given.store.write_text(json.dumps(found["ours"]), encoding="utf-8")
    if given.against:
        _compare(str(given.against), json.loads(given.against.read_text(encoding="utf-8")), found["ours"])


def _compare(name: str, other: list[list[str]], ours: list[list[str]]) -> None:
    equal = sum(one == two for one, two in zip(other, ours, strict=True))
    print(f"concepts equal to those of {name} in {equal:,} of {len(ours):,} captions ({equal / len(ours):.3%})")


if __name__ == "__main__":
    main()
