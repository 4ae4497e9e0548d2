"""Concepts of captions in languages other than English: their nouns, each by its lemma, and set phrases.

English has a grammar of its own (noun_phrases.py), made by looking at thousands of captions. Here all that is asked of
spaCy's pipeline is which words are nouns, and what their lemmas are; what belongs together is listed. So a language
costs a file of words (languages.py), and its concepts are single nouns but for the phrases that it lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from curation.concepts.inference import keep_word_vectors
from curation.concepts.languages import ENGLISH, CaptionLanguage, language_of
from curation.concepts.lexicon import MOST_WORDS, Lexicon, resolve_pipeline
from curation.concepts.noun_phrases import NounOptions, is_word
from curation.concepts.plain_text import plain_case, plain_text
from files.errors import MisuseError

if TYPE_CHECKING:
    from spacy.tokens import Doc, Token

# First word of a set phrase, as its lemma or as it stands -> the words after it, and the phrase, longest first.
Phrases = dict[str, list[tuple[tuple[str, ...], str]]]


class Lemmas:
    """What a pipeline and a language's lists know of words: the counterpart of `Lexicon`.

    Raises MisuseError for a pipeline that is not installed, of another language, or that tells no parts of speech.
    """

    def __init__(self, pipeline: str, language: CaptionLanguage) -> None:
        import spacy

        self.language = language
        self.nlp = spacy.load(resolve_pipeline(pipeline, language), exclude=["parser", "ner", "senter", "textcat"])
        if self.nlp.lang != language.code:
            raise MisuseError(
                f"--spacy-pipeline {pipeline}: is of language {self.nlp.lang!r}, --language is {language.code!r}; "
                f"give one of {', '.join(language.pipelines)}"
            )
        if not any(
            name == "attribute_ruler" or "token.pos" in self.nlp.get_pipe_meta(name).assigns
            for name in self.nlp.pipe_names
        ):
            raise MisuseError(
                f"--spacy-pipeline {pipeline}: tells no parts of speech, it has "
                f"{', '.join(self.nlp.pipe_names) or 'nothing'}; give one of {', '.join(language.pipelines)}"
            )
        keep_word_vectors(self.nlp)
        self._lemmatiser: Any = self.nlp.get_pipe("lemmatizer") if "lemmatizer" in self.nlp.pipe_names else None
        self.lemma = lru_cache(MOST_WORDS)(self._lemma)
        self.phrases = phrases_of(
            language, lambda text: [token.lower_ for token in self.nlp.make_doc(text)], self.lemma
        )

    @property
    def set_phrases(self) -> frozenset[tuple[str, ...]]:
        """Phrases that are words of their own, in the normal form of concepts."""
        return frozenset(tuple(text.split()) for found in self.phrases.values() for _, text in found)

    def normal_form(self, phrase: str) -> str:
        """A listed phrase in the form of a concept: "Planches à roulettes" -> "planche à roulettes"."""
        first, _, rest = " ".join(phrase.lower().split()).partition(" ")
        return f"{self.lemma(first)} {rest}".strip() if first else ""

    def _lemma(self, word: str, part_of_speech: str = "NOUN") -> str:
        from spacy.tokens import Doc

        if word in self.language.things:
            return word
        if getattr(self._lemmatiser, "mode", None) == "rule":
            doc = Doc(self.nlp.vocab, words=[word], pos=[part_of_speech])
            return str(self._lemmatiser(doc)[0].lemma_ or word).lower()
        return str(self.nlp(word)[0].lemma_ or word).lower()


def lexicon_of(options: NounOptions) -> Lexicon | Lemmas:
    """What knows the words of captions that are read so."""
    language = language_of(options.language)
    return Lexicon(options.pipeline) if language.code == ENGLISH else Lemmas(options.pipeline, language)


def phrases_of(language: CaptionLanguage, words_of: Callable[[str], list[str]], lemma: Callable[[str], str]) -> Phrases:
    """The language's set phrases, and those that name no content. words_of: how the pipeline parts a text."""
    found: Phrases = {}
    for text in sorted(language.set_phrases | language.no_content, key=lambda text: (-len(text), text)):
        first, *rest = words_of(text)
        if rest:
            for start in {first, lemma(first)}:
                found.setdefault(start, []).append((tuple(rest), text))
    return found


class LemmaParser:
    """A spaCy pipeline of another language with only the components that nouns need."""

    help = "nouns, as spaCy's pipeline of the language finds them"
    needs_torch = False

    def __init__(self, options: NounOptions) -> None:
        self.options = options
        self.lemmas = Lemmas(options.pipeline, language_of(options.language))
        # Lemmas are asked for once per distinct word.
        self._off = [name for name in self.lemmas.nlp.pipe_names if name == "lemmatizer"]

    def concepts(self, captions: Sequence[str], batch_size: int = 256) -> list[list[str]]:
        """Concepts of each caption; [] where a caption names nothing."""
        texts = [plain_case(plain_text(caption))[0] for caption in captions]
        docs = self.lemmas.nlp.pipe(texts, batch_size=batch_size, disable=self._off)
        return [nouns_of(doc, self.options, self.lemmas) for doc in docs]


def nouns_of(doc: Doc, options: NounOptions, lemmas: Lemmas) -> list[str]:
    """Distinct concepts of a tagged caption, in order of appearance."""
    kinds = {"NOUN", "PROPN"} if options.names else {"NOUN"}
    found: dict[str, None] = {}
    for tokens, phrase in _parted(list(doc), lemmas):
        head = tokens[0]
        text = phrase or lemmas.lemma(head.lower_)
        is_noun = head.pos_ in kinds or (head.pos_ != "PROPN" and text in lemmas.language.things)
        if not phrase and (not is_noun or not is_word(text)):
            continue
        if _names_nothing(text, _at(doc, tokens[-1].i + 1), lemmas.language):
            continue
        if options.adjectives and not phrase:
            near = [_at(doc, head.i - 1), head, _at(doc, head.i + 1)]
            said = [token for token in near if token is not None and (token is head or token.pos_ == "ADJ")]
            text = " ".join(text if token is head else lemmas.lemma(token.lower_, token.pos_) for token in said)
        found.setdefault(text)
    return list(found)


def _at(doc: Doc, place: int) -> Token | None:
    return doc[place] if 0 <= place < len(doc) else None


def _names_nothing(text: str, after: Token | None, language: CaptionLanguage) -> bool:
    """Whether a noun or phrase is one for the medium, or for a quantity of what comes after it."""
    if text in language.no_content or text in language.no_things:
        return True
    return text in language.quantities and after is not None and after.lower_ in language.no_content_before


def _parted(tokens: list[Token], lemmas: Lemmas) -> Iterator[tuple[list[Token], str]]:
    """A caption's tokens by set phrases, the longest from each on, each with the phrase; "" of a token alone."""
    at = 0
    while at < len(tokens):
        first = tokens[at]
        starts = (first.lower_, lemmas.lemma(first.lower_))
        for rest, text in (one for start in starts for one in lemmas.phrases.get(start, ())):
            following = tokens[at + 1 : at + 1 + len(rest)]
            if [token.lower_ for token in following] == list(rest):
                yield [first, *following], text
                at += 1 + len(rest)
                break
        else:
            yield [first], ""
            at += 1
