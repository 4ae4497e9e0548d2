"""Words and their forms: singulars, words that name no content, phrases that stay together (lists: data/*.tsv)."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.concepts.languages import ENGLISH, CaptionLanguage, language_of, usual_pipelines
from files.errors import MisuseError

if TYPE_CHECKING:
    from spacy.language import Language

PIPELINES = language_of(ENGLISH).pipelines
LONGEST_SET_PHRASE = 3
MOST_WORDS = 200_000


def resolve_pipeline(name: str = "auto", language: CaptionLanguage | None = None) -> str:
    """Name of the spaCy pipeline to load, of English by default. Raises MisuseError when it is not installed.

    Of the usual names only packages are taken, never a folder of that name.
    """
    if name not in ("auto", *usual_pipelines()) and (Path(name) / "config.cfg").is_file():
        return name
    language = language or language_of(ENGLISH)
    candidates = language.pipelines if name == "auto" else (name,)
    for candidate in candidates:
        if candidate.isidentifier() and importlib.util.find_spec(candidate) is not None:
            return candidate
    looked_for = f"looked for {' and '.join(candidates)}" if name == "auto" else "it is neither a package nor a folder"
    raise MisuseError(
        f"spaCy pipeline {name!r} is not installed ({looked_for}); run `{language.install}`, "
        f"or give the package name or folder of {language.article} {language.name} pipeline with --spacy-pipeline"
    )


class Lexicon:
    """What an English spaCy pipeline knows of single words. There are far fewer words than captions: answers are kept.

    pipeline: package name or folder; "auto" takes the first installed of `PIPELINES`. It is loaded with the first
    word; raises MisuseError then when it is not installed.
    """

    def __init__(self, pipeline: str = "auto") -> None:
        self.pipeline = pipeline
        for name in (
            "singular",
            "is_adjective",
            "is_only_noun",
            "is_verb_form",
            "may_be_verb",
            "lemma_of",
            "known_words",
        ):
            setattr(self, name, lru_cache(MOST_WORDS)(getattr(self, name)))

    @property
    def set_phrases(self) -> frozenset[tuple[str, ...]]:
        """Phrases that are words of their own, in the normal form of concepts."""
        return set_phrases()

    def normal_form(self, phrase: str) -> str:
        """A listed phrase in the form of a concept: "Fire Trucks" -> "fire truck"."""
        words = phrase.lower().split()
        if not words:
            return ""
        return " ".join([*words[:-1], self.head_form(words[-1], len(words) > 1)])

    def head_form(self, word: str, compound: bool) -> str:
        """Singular head; "glasses" alone is eyewear, but "wine glasses" are glasses to drink from."""
        if compound and plural_only().get(word) == "alone":
            return word.removesuffix("es") if word.endswith("sses") else word.removesuffix("s")
        return self.singular(word)

    def singular(self, word: str) -> str:
        """Singular of one noun, lower case: "trucks" -> "truck", "women" -> "woman", "jeans" -> "jeans"."""
        word = word.lower()
        if word in plural_only() or word.endswith("ss"):
            return word
        if word in _irregular():
            return _irregular()[word]
        stem, hyphen, last = word.rpartition("-")
        if hyphen and last:
            return f"{stem}-{self.singular(last)}"
        # Told that "bus" is a noun, the rules make "bu" of it; their own list of nouns knows better.
        lemma, known = self.lemma_of(word, "NOUN"), self.known_words("noun")
        if not lemma or (lemma not in known and (word in known or not word.endswith("s"))):  # nor "raman" of "ramen"
            return word
        if lemma not in (word, word[:-1], word[:-2], f"{word[:-3]}y") and lemma not in object_words():
            # An exception of the dictionary's, and a word that nobody means: "graf" of "graves", "taxis" of "taxes".
            return next((form for form in (word[:-1], word[:-2], word) if word[-1] == "s" and form in known), lemma)
        return lemma

    def is_adjective(self, word: str) -> bool:
        """Whether a word before a noun is an adjective that taggers take for a noun: "shirtless man", "snowy hill"."""
        if word in self.known_words("noun"):
            return False
        return word in self.known_words("adj") or word.endswith(("less", "ish", "ful"))

    def is_only_noun(self, word: str) -> bool:
        """Whether a word is a noun and nothing else: "surfboard"."""
        parts = (self.known_words(part) for part in ("adj", "adv"))
        return self.singular(word) in self.known_words("noun") and not any(word in part for part in parts)

    def is_verb_form(self, word: str) -> bool:
        """Whether a word may be the third person of a verb: "dances"."""
        lemma = self.lemma_of(word, "VERB")
        return word.endswith("s") and lemma != word and lemma in self.known_words("verb")

    def may_be_verb(self, word: str) -> bool:
        """Whether a word may be any form of a verb: "jump", "jumps", "jumping"."""
        verbs = self.known_words("verb")
        return word in verbs or self.lemma_of(word, "VERB") in verbs or word.endswith(("ing", "ed"))

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
    lemmatiser: Any = nlp.get_pipe("lemmatizer")
    if getattr(lemmatiser, "mode", None) == "rule":  # its lists are searched for each word
        known = lemmatiser.lookups.get_table("lemma_index")
        for part_of_speech in known:
            known[part_of_speech] = frozenset(known[part_of_speech])
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
def object_words() -> frozenset[str]:
    """Words for things that pictures show, and the last words of such phrases (object_names.tsv)."""
    return frozenset(row["name"].split()[-1] for row in _rows("object_names.tsv"))


@lru_cache(maxsize=1)
def set_phrases() -> frozenset[tuple[str, ...]]:
    """Phrases whose words stay together, whatever they are alone: "hot dog", "fire hydrant".

    set_phrases.tsv, and what data sets of objects call their classes (object_names.tsv).
    """
    phrases = [row["phrase"] for row in _rows("set_phrases.tsv")] + [row["name"] for row in _rows("object_names.tsv")]
    return frozenset(tuple(phrase.split()) for phrase in phrases if " " in phrase)


@lru_cache(maxsize=1)
def joined_phrases() -> dict[str, str]:
    """Set phrases by how a hash tag writes them: "palmtree", "palmtrees" -> "palm tree"."""
    joined = {"".join(phrase): " ".join(phrase) for phrase in set_phrases()}
    return {f"{tag}s": phrase for tag, phrase in joined.items()} | joined


@lru_cache(maxsize=1)
def usual_nouns() -> frozenset[str]:
    """Words, in both numbers, that captions write small and use as nouns, verbs though some may be (usual_nouns.tsv).

    From 257,685 captions of photographs: in at least ten, nine tenths of the times small, 85 % a noun to the tagger; of
    words that may be verbs, or that no dictionary knows, those of 97 %, and of the former those of 85 % that name an
    object. `python -m benchmarks.quality.word_usage` makes the list, and the two below.
    """
    return frozenset(row["word"] for row in _rows("usual_nouns.tsv"))


@lru_cache(maxsize=1)
def not_names() -> frozenset[str]:
    """Words for things that are often written like names: "Frisbee" (not_names.tsv)."""
    return frozenset(row["word"] for row in _rows("not_names.tsv"))


@lru_cache(maxsize=1)
def plural_only() -> dict[str, str]:
    """Nouns without a singular, and where that holds (plural_only.tsv): "any", or "alone", as glasses are eyewear."""
    return {row["word"]: row["scope"] for row in _rows("plural_only.tsv")}


@lru_cache(maxsize=1)
def _irregular() -> dict[str, str]:
    return {row["word"]: row["singular"] for row in _rows("irregular_plurals.tsv")}


@lru_cache(maxsize=1)
def usual_verbs() -> frozenset[str]:
    """Words that may be nouns, and are verbs two times in five or more in the same captions (usual_verbs.tsv)."""
    return frozenset(row["word"] for row in _rows("usual_verbs.tsv"))


@lru_cache(maxsize=1)
def verb_counts() -> dict[str, tuple[int, int, int, int]]:
    """Of words in the same captions (verbs_or_nouns.tsv): times as verb, as noun, before a verb, before a noun."""
    return {
        row["word"]: (int(row["verb"]), int(row["noun"]), int(row["before_verb"]), int(row["before_noun"]))
        for row in _rows("verbs_or_nouns.tsv")
    }


def plurals(word: str) -> set[str]:
    """What the plural of a noun may look like: "knife" -> "knives", "knifes", "knifees"."""
    irregular = {plural for plural, singular in _irregular().items() if singular == word}
    endings = {"y": "ies", "f": "ves", "fe": "ves", "man": "men", "foot": "feet", "tooth": "teeth"}
    changed = {word.removesuffix(end) + plural for end, plural in endings.items() if word.endswith(end)}
    return irregular | changed | {f"{word}s", f"{word}es"}


def in_set_phrase(words: Sequence[str]) -> list[bool]:
    """Which of the words belong to a set phrase."""
    found = [False] * len(words)
    phrases = set_phrases()
    for first in range(len(words) - 1):
        for end in range(min(first + LONGEST_SET_PHRASE, len(words)), first + 1, -1):
            if tuple(words[first:end]) in phrases:
                found[first:end] = [True] * (end - first)
    return found
