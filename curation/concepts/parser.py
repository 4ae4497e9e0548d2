"""Parsers: captions -> the concepts that they name.

A new parser is a class, and its entry in `PARSERS`, in a file of this room or in a package of its own (entry point
`cocu.parsers`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from curation.concepts.lexicon import Lexicon, resolve_pipeline
from curation.concepts.noun_phrases import OWN_PARSER, NounOptions, concepts_of
from files.errors import MisuseError
from files.registry import Registry

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

_FUNCTION_WORDS = frozenset(
    ["a", "an", "the", "of", "on", "in", "at", "to", "by", "for", "from", "with", "and", "or", "is", "are"]
)
_WORD = re.compile(r"[^\W\d_]+")
_LATER_CAPITAL = re.compile(r"(?<=\W)[^\W\d_a-z]")


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
        if not any("token.dep" in self.nlp.get_pipe_meta(name).assigns for name in self.nlp.pipe_names):
            raise MisuseError(
                f"--spacy-pipeline {pipeline}: has no dependency parser, it has "
                f"{', '.join(self.nlp.pipe_names) or 'nothing'}; give an English pipeline that parses"
            )
        self._ner: Any = self.nlp.get_pipe("ner") if "ner" in self.nlp.pipe_names else None
        self._disabled = ["ner"] if self._ner is not None else []
        self._pos = _penn_parts_of_speech(self.nlp)
        if self._pos and "attribute_ruler" in self.nlp.pipe_names:  # a fifth of the time, for what a dict can do
            self._disabled.append("attribute_ruler")
        else:
            self._pos = {}

    def concepts(self, captions: Sequence[str], batch_size: int = 256) -> list[list[str]]:
        """Concepts of each caption; [] where a caption names nothing."""
        cased = [_plain_case(caption) for caption in captions]
        docs = list(self.nlp.pipe([text for text, _ in cased], batch_size=batch_size, disable=self._disabled))
        for doc in docs if self._pos else ():
            _set_parts_of_speech(doc, self._pos)
        if self._ner is not None:  # Names are written with capitals; few captions have any after their first letter.
            named = [doc for doc, (_, titled) in zip(docs, cased, strict=True) if not titled and _may_name(doc)]
            for _ in self._ner.pipe(named, batch_size=batch_size):
                pass
        return [
            concepts_of(doc, self.options, self.lexicon, titled) for doc, (_, titled) in zip(docs, cased, strict=True)
        ]


def _check(entry: object) -> None:
    if not (isinstance(entry, type) and callable(getattr(entry, "concepts", None))):
        raise ValueError(f"{entry!r} is no class with a method `concepts`")


PARSERS: Registry[type[CaptionParser]] = Registry("--parser", "cocu.parsers", "curation.concepts", _check)
PARSERS.add(OWN_PARSER, Parser)


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
    """Whether a caption may hold a name: a capital after its beginning, or a first word that is tagged as one."""
    return bool(len(doc)) and (doc[0].tag_ in ("NNP", "NNPS") or _LATER_CAPITAL.search(doc.text, 1) is not None)


def _plain_case(text: str) -> tuple[str, bool]:
    """(text to parse, whether its capitals say nothing): captions in capitals, or written like titles, in lower case.

    Taggers take every word of "A Dog Runs On The Beach" for a name.
    """
    words = _WORD.findall(text)
    later = words[1:]
    if not later or not any(word[0].isupper() for word in later):
        return text, False
    content = [word for word in words if word.lower() not in _FUNCTION_WORDS]
    share = sum(word[0].isupper() for word in content) / max(1, len(content))
    functional = any(word[0].isupper() for word in later if word.lower() in _FUNCTION_WORDS)
    titled = all(word.isupper() for word in words) or (share >= 0.8 and (functional or len(content) >= 4))
    return (text.lower(), True) if titled else (text, False)
