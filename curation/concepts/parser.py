"""Parsers: captions -> the concepts that they name.

A new parser is a class, and its entry in `PARSERS`, in a file of this room or in a package of its own (entry point
`cocu.parsers`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from curation.concepts.inference import Models, run_component
from curation.concepts.languages import ENGLISH
from curation.concepts.lemmas import LemmaParser
from curation.concepts.lexicon import Lexicon, resolve_pipeline, usual_nouns
from curation.concepts.noun_phrases import OWN_PARSER, NounOptions, concepts_of
from curation.concepts.plain_text import plain_case, plain_text
from files.errors import MisuseError
from files.registry import Registry

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

_CAPITAL = re.compile(r"[^\W\d_a-z]")


class CaptionParser(Protocol):
    """What names the concepts of captions. It is made once in each process that parses.

    help: for the command line, in a few words. needs_torch: whether workers have to load torch, for seconds and
    hundreds of megabytes.
    """

    help: str
    needs_torch: bool

    def __init__(self, options: NounOptions) -> None: ...

    def concepts(self, captions: Sequence[str]) -> list[list[str]]:
        """Concepts of each caption, in the normal form of `Lexicon`; [] where a caption names nothing."""


class Parser:
    """A spaCy pipeline with only the components that concepts need, each run only on captions that need it."""

    help = "noun phrases, as spaCy's grammar finds them"
    needs_torch = False

    def __init__(self, options: NounOptions) -> None:
        import spacy

        pipeline = resolve_pipeline(options.pipeline)
        self.options, self.lexicon = options, Lexicon(pipeline)
        # Heads are lemmatised once per distinct word (`Lexicon.singular`), so the pipeline's own lemmatiser stays off.
        exclude = ["lemmatizer", "senter", "textcat"] + (["ner"] if options.names else [])
        self.nlp: Language = spacy.load(pipeline, exclude=exclude)
        if self.nlp.lang != ENGLISH:
            raise MisuseError(
                f"--spacy-pipeline {pipeline}: is of language {self.nlp.lang!r}; "
                f"give --language {self.nlp.lang}, or an English pipeline"
            )
        if not any("token.dep" in self.nlp.get_pipe_meta(name).assigns for name in self.nlp.pipe_names):
            raise MisuseError(
                f"--spacy-pipeline {pipeline}: has no dependency parser, it has "
                f"{', '.join(self.nlp.pipe_names) or 'nothing'}; give an English pipeline that parses"
            )
        self._ner: Any = self.nlp.get_pipe("ner") if "ner" in self.nlp.pipe_names else None
        self._pos = _penn_parts_of_speech(self.nlp) if "attribute_ruler" in self.nlp.pipe_names else {}
        # The ruler takes a fifth of the time, for what a dict can do.
        others = {"ner"} | ({"attribute_ruler"} if self._pos else set())
        self._models = Models(self.nlp, frozenset(others))

    def concepts(self, captions: Sequence[str], batch_size: int = 256) -> list[list[str]]:
        """Concepts of each caption; [] where a caption names nothing."""
        cased = [plain_case(plain_text(caption)) for caption in captions]
        titled = [is_title for _, is_title in cased]
        docs = self.parsed([text for text, _ in cased], batch_size)
        self.name(docs, titled, batch_size)
        return [
            concepts_of(doc, self.options, self.lexicon, is_title) for doc, is_title in zip(docs, titled, strict=True)
        ]

    def parsed(self, texts: Sequence[str], batch_size: int = 256) -> list[Doc]:
        """Texts as they stand, tagged and parsed, without names."""
        return self.tagged([self.nlp.make_doc(text) for text in texts], batch_size)

    def tagged(self, docs: list[Doc], batch_size: int) -> list[Doc]:
        """Documents of words, tagged and parsed."""
        docs = self._models.run(docs, batch_size)
        for doc in docs if self._pos else ():
            _set_parts_of_speech(doc, self._pos)
        return docs

    def name(self, docs: Sequence[Doc], titled: Sequence[bool], batch_size: int) -> None:
        """Find the names in documents. They are written with capitals; few captions have any after their first letter.

        titled: whose capitals say nothing.
        """
        if self._ner is not None:
            named = [doc for doc, is_title in zip(docs, titled, strict=True) if not is_title and _may_name(doc)]
            run_component(self._ner, named, batch_size)


def _check(entry: object) -> None:
    if not (isinstance(entry, type) and callable(getattr(entry, "concepts", None))):
        raise ValueError(f"{entry!r} is no class with a method `concepts`")


PARSERS: Registry[type[CaptionParser]] = Registry("--parser", "cocu.parsers", "curation.concepts", _check)
PARSERS.add(OWN_PARSER, Parser)


def parser_of(options: NounOptions) -> type[CaptionParser]:
    """The parser of a name; the house's own has a grammar of English alone."""
    foreign = options.parser == OWN_PARSER and options.language != ENGLISH
    return LemmaParser if foreign else PARSERS[options.parser]


def _penn_parts_of_speech(nlp: Language) -> dict[int, int]:
    """Tag -> part of speech, as ids of spaCy, for taggers with the Penn Treebank's tags; {} for others."""
    from spacy import symbols

    if "tagger" not in nlp.pipe_names:
        return {}
    tagger: Any = nlp.get_pipe("tagger")
    if not {"NN", "NNS", "NNP", "JJ", "VBG"} <= set(tagger.labels):
        return {}
    groups = {
        "NOUN": "NN NNS",
        "PROPN": "NNP NNPS",
        "ADJ": "JJ JJR JJS AFX",
        "VERB": "VB VBD VBG VBN VBP VBZ",
        "AUX": "MD",
        "PRON": "PRP WP EX",
        "DET": "DT PDT WDT",
        "NUM": "CD",
        "CCONJ": "CC",
        "ADP": "IN RP",
        "ADV": "RB RBR RBS WRB",
        "PART": "POS TO",
        "PUNCT": ". , : HYPH `` '' -LRB- -RRB- NFP",
    }
    return {nlp.vocab.strings.add(tag): getattr(symbols, pos) for pos, tags in groups.items() for tag in tags.split()}


def _set_parts_of_speech(doc: Doc, pos: dict[int, int]) -> None:
    import numpy as np  # not for help, which lists the parsers

    tags: Any = doc.to_array(["TAG"])
    values: Any = np.array([[pos.get(tag, 0)] for tag in tags.ravel().tolist()], dtype=np.uint64).reshape(-1, 1)
    doc.from_array(["POS"], values)


def _may_name(doc: Doc) -> bool:
    """Whether a caption may hold a name: a capital that is neither its beginning's nor on a word for a thing."""
    if not len(doc) or (_CAPITAL.search(doc.text, 1) is None and doc[0].tag_ not in ("NNP", "NNPS")):
        return False
    return any(
        len(token) > 1
        and (token.i or token.tag_ in ("NNP", "NNPS"))
        and token.text[0].isupper()
        and token.lower_ not in usual_nouns()
        for token in doc
    )
