"""Captions -> the concepts that they name, by batches and in several processes; files of listed concepts."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.lexicon import normal_form, resolve_pipeline
from curation.noun_phrases import NounOptions, concepts_of
from files.errors import MisuseError
from files.workers import WorkerPool

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

# Below this many captions a pool costs more to start than it saves.
POOL_THRESHOLD = 2_000

_FUNCTION_WORDS = {
    "a",
    "an",
    "the",
    "of",
    "on",
    "in",
    "at",
    "to",
    "by",
    "for",
    "from",
    "with",
    "and",
    "or",
    "is",
    "are",
}
_WORD = re.compile(r"[^\W\d_]+")
_LATER_CAPITAL = re.compile(r"(?<=\W)[^\W\d_a-z]")


class Parser:
    """A spaCy pipeline with only the components that concepts need, each run only on captions that need it."""

    def __init__(self, options: NounOptions) -> None:
        import spacy

        self.options = replace(options, pipeline=resolve_pipeline(options.pipeline))
        # Heads are lemmatised once per distinct word (`singular`), so the pipeline's own lemmatiser stays off.
        exclude = ["lemmatizer", "senter", "textcat"] + (["ner"] if options.names else [])
        self.nlp: Language = spacy.load(self.options.pipeline, exclude=exclude)
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
        return [concepts_of(doc, self.options, titled) for doc, (_, titled) in zip(docs, cased, strict=True)]


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


class ConceptExtractor:
    """Extracts concepts from captions, in this process or in a pool of processes.

    Use as a context manager; the pool starts at the first large batch. Order is kept, and the result does not
    depend on the number of processes.
    """

    def __init__(self, options: NounOptions, processes: int = 1, batch_size: int = 256) -> None:
        self.options = replace(options, pipeline=resolve_pipeline(options.pipeline))
        self.processes = processes
        self.batch_size = batch_size
        self._pool: WorkerPool | None = None
        self._parser: Parser | None = None
        self._seen = 0

    def __enter__(self) -> ConceptExtractor:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._pool is not None:
            self._pool.close(at_once=exc[0] is not None)
            self._pool = None

    def extract(self, captions: Sequence[str]) -> list[list[str]]:
        """Concepts of each caption; [] where a caption names nothing."""
        captions = [caption[: self.options.max_chars] for caption in captions]
        self._seen += len(captions)
        if self._pool is None and (self.processes < 2 or self._seen < POOL_THRESHOLD):
            if self._parser is None:
                self._parser = Parser(self.options)
            return self._parser.concepts(captions, self.batch_size)
        if self._pool is None:
            self._pool = WorkerPool(self.processes, _start_worker, (self.options,))
        chunks = [captions[i : i + self.batch_size] for i in range(0, len(captions), self.batch_size)]
        return [row for rows in self._pool.map(_work, chunks) for row in rows]


_worker: Parser | None = None


def _start_worker(options: NounOptions) -> None:
    global _worker
    # spaCy imports torch when it finds it, for seconds and hundreds of megabytes that parsing does not need.
    sys.modules.setdefault("torch", None)  # type: ignore[arg-type]
    _worker = Parser(options)


def _work(captions: Sequence[str]) -> list[list[str]]:
    assert _worker is not None
    return _worker.concepts(captions, len(captions))


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
    """A vocabulary file: one concept a line, `#` starts a comment. Phrases are put into normal form.

    Raises MisuseError for a file that is not there, is no UTF-8 text or lists nothing.
    """
    try:
        with open(path, encoding="utf-8") as lines:
            phrases = [line.partition("#")[0].strip() for line in lines]
    except OSError as error:
        raise MisuseError(f"--vocabulary {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise MisuseError(f"{path}: not UTF-8 ({error}); save the vocabulary as UTF-8 text") from error
    listed = frozenset(normal_form(phrase, pipeline) for phrase in phrases if phrase)
    if not listed:
        raise MisuseError(f"{path}: lists no concept; give one a line")
    return listed
