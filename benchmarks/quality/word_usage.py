"""How captions use words: makes the lists of curation/concepts/data that are counted, not thought out.

    python -m benchmarks.quality.word_usage CAPTIONS.parquet --out curation/concepts/data

CAPTIONS.parquet: a table with a column `caption`; the lists of the package are those of 257,685 captions of
photographs. Every word is counted by the tag that spaCy's tagger gives it, by its capital, and by what it stands
before; from that come

    usual_nouns.tsv     words that captions write small and use as nouns, though some may be verbs
    usual_verbs.tsv     words that may be nouns, and are verbs two times in five or more
    verbs_or_nouns.tsv  how often a word that may be either is a verb, and whether a verb or a noun stands behind a noun

Object names (object_names.tsv) are no captions' matter: its column `source` says whose class each is.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from curation.concepts.lexicon import Lexicon, medium_words, object_words, plural_only
from curation.concepts.noun_phrases import NounOptions
from curation.concepts.parser import Parser
from files.atomic import write_text

if TYPE_CHECKING:
    from spacy.tokens import Doc, Token

# A word in fewer captions than this tells nothing; of what stands behind it, fewer do.
LEAST, LEAST_BEHIND = 10, 4
# Usual nouns: the share of the times that they are written small, and a noun; that of words which may be verbs, or
# which no dictionary knows.
SMALL, NOUN, NOUN_IN_DOUBT = 0.9, 0.85, 0.97
# Usual verbs: the share of the times that they are a verb.
VERB = 0.4
BATCH = 1024

_NOUNS = frozenset(["NN", "NNS", "NNP", "NNPS"])
_VERBS = frozenset(["VB", "VBP", "VBZ", "VBD", "VBG", "VBN", "MD"])
_BEFORE_NOUNS = frozenset(["amod", "compound", "nmod"])


_NEVER_THINGS = ("any", "colour", "colour or thing", "head")
_ONE = frozenset(["a", "an", "one", "another", "each", "every", "this"])
_SUBJECTS = frozenset(["he", "she", "it", "who", "which", "that"])
_BEFORE_THINGS = frozenset(["DT", "CD", "JJ", "PRP$", "IN", "POS"])


@dataclass(frozen=True)
class Usage:
    """Counts of words, lower case: by tag; their case behind a caption's first word; as verbs and nouns; what follows.

    verb, noun: of words in -s by what is before them, for there the tagger errs: "a man crouches" is a verb, "two
    arches" a noun; of words in -ing by their tags. before_verb, before_noun: of singular nouns, by what is behind.
    """

    tags: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    small: Counter[str] = field(default_factory=Counter)
    capital: Counter[str] = field(default_factory=Counter)
    verb: Counter[str] = field(default_factory=Counter)
    noun: Counter[str] = field(default_factory=Counter)
    before_verb: Counter[str] = field(default_factory=Counter)
    before_noun: Counter[str] = field(default_factory=Counter)

    def add(self, doc: Doc) -> None:
        """Counts the words of a tagged and parsed caption."""
        tokens = list(doc)
        for i, token in enumerate(tokens):
            word, after = token.lower_, tokens[i + 1] if i + 1 < len(tokens) else None
            self.tags[word][token.tag_] += 1
            if i:
                (self.small if token.text[0].islower() else self.capital)[word] += 1
            if word.endswith("ing"):
                (self.verb if _is_verb(token) else self.noun)[word] += 1
            elif i and word.endswith("s"):
                if tokens[i - 1].lower_ in _SUBJECTS or _is_one_thing(tokens, i - 1):
                    self.verb[word] += 1
                elif tokens[i - 1].tag_ in _BEFORE_THINGS:
                    self.noun[word] += 1
            if token.tag_ in ("NN", "NNP") and after is not None:
                if _is_verb(after):
                    self.before_verb[word] += 1
                elif after.tag_ in _NOUNS and token.dep_ in _BEFORE_NOUNS:
                    self.before_noun[word] += 1


def _is_verb(token: Token) -> bool:
    return token.tag_ in _VERBS and token.dep_ not in _BEFORE_NOUNS  # "running shoes"


def _is_one_thing(tokens: Sequence[Token], last: int) -> bool:
    """Whether a phrase of one thing ends here: "a small child"."""
    if tokens[last].tag_ != "NN":
        return False
    first = last
    while first > 0 and tokens[first].tag_ in ("NN", "JJ"):
        first -= 1
    return tokens[first].lower_ in _ONE


def usual_nouns(usage: Usage, lexicon: Lexicon) -> Iterator[tuple[str, int, str]]:
    """Rows of usual_nouns.tsv: a word, how often it occurs, the share of nouns among that."""
    for word, tags in sorted(usage.tags.items()):
        count, cased = tags.total(), usage.small[word] + usage.capital[word]
        if count < LEAST or not word.isalpha() or len(word) < 3 or medium_words().get(word) in _NEVER_THINGS:
            continue
        share = sum(tags[tag] for tag in _NOUNS) / count
        singular = lexicon.singular(word)
        verb = lexicon.may_be_verb(word)
        known = singular in lexicon.known_words("noun") or word in plural_only()
        if not known and (verb or lexicon.is_adjective(word)):  # the tagger errs: "shirtless"
            continue
        doubt = not known or (verb and singular not in object_words())
        if usage.small[word] >= SMALL * max(1, cased) and share >= (NOUN_IN_DOUBT if doubt else NOUN):
            yield word, count, f"{share:.2f}"


def usual_verbs(usage: Usage, lexicon: Lexicon) -> Iterator[tuple[str, int, str]]:
    """Rows of usual_verbs.tsv: a verb that may be a noun, how often it and its -s form occur, the share of verbs."""
    for word in sorted(lexicon.known_words("verb") & lexicon.known_words("noun") & usage.tags.keys()):
        tags, third = usage.tags[word], usage.tags.get(_third_person(word), Counter[str]())
        count = tags.total() + third.total()
        share = (tags["VB"] + tags["VBP"] + third["VBZ"]) / count
        if count >= LEAST and word.isalpha() and share >= VERB:
            yield word, count, f"{share:.2f}"


def _third_person(verb: str) -> str:
    if verb.endswith(("s", "sh", "ch", "x", "z")):
        return f"{verb}es"
    return f"{verb[:-1]}ies" if verb.endswith("y") and verb[-2:-1] not in tuple("aeiou") else f"{verb}s"


def verbs_or_nouns(usage: Usage) -> Iterator[tuple[str, int, int, int, int]]:
    """Rows of verbs_or_nouns.tsv: a word; times as a verb, as a noun; times that a verb, a noun stands behind it."""
    for word in sorted(usage.verb.keys() | usage.noun.keys() | usage.before_verb.keys() | usage.before_noun.keys()):
        row = usage.verb[word], usage.noun[word], usage.before_verb[word], usage.before_noun[word]
        if word.isalpha() and sum(row) >= LEAST_BEHIND:
            yield word, *row


def count(captions: Sequence[str], parser: Parser) -> Usage:
    """Counts the words of captions."""
    usage = Usage()
    for start in range(0, len(captions), BATCH):
        for doc in parser.parsed(captions[start : start + BATCH]):
            usage.add(doc)
    return usage


def write_lists(usage: Usage, folder: Path, lexicon: Lexicon) -> None:
    """The three lists, into a folder."""
    lists: dict[str, tuple[str, Iterable[tuple[object, ...]]]] = {
        "usual_nouns.tsv": ("word captions noun", usual_nouns(usage, lexicon)),
        "usual_verbs.tsv": ("word captions verb", usual_verbs(usage, lexicon)),
        "verbs_or_nouns.tsv": ("word verb noun before_verb before_noun", verbs_or_nouns(usage)),
    }
    for name, (columns, rows) in lists.items():
        lines = [columns.split(), *([str(cell) for cell in row] for row in rows)]
        write_text(folder / name, "".join("\t".join(line) + "\n" for line in lines))
        print(f"{folder / name}: {len(lines) - 1:,} words")


def main(argv: Sequence[str] | None = None) -> None:
    """Count, and write the lists."""
    import pyarrow.parquet as pq

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captions", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args(argv)
    captions = pq.read_table(arguments.captions, columns=["caption"])["caption"].to_pylist()
    nouns = Parser(NounOptions(names=True))
    write_lists(count(captions, nouns), arguments.out, nouns.lexicon)


if __name__ == "__main__":
    main()
