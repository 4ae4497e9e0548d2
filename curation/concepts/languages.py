"""Languages of captions: what each needs, in one file of data/languages.

A new language is a file NAME.toml there, NAME being spaCy's code: its prompt, its pipelines, and its lists of words.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from files.errors import MisuseError

ENGLISH = "en"


@dataclass(frozen=True)
class CaptionLanguage:
    """What is known of a language.

    article: before its name. prompt: the sentence of a concept. pipelines: of spaCy, the best first; install: what
    brings the first. heads_first: a "planche à roulettes" is a planche, where an English skateboard is a board.
    things: words that are nouns, and their own lemmas, whatever a tagger takes them for; no_things: that never are.
    no_content: words and phrases that name nothing that a picture shows. quantities: words that name nothing before
    one of no_content_before. set_phrases: words that are one concept, as they are written.
    English has its lists elsewhere (lexicon.py).
    """

    code: str
    name: str
    article: str
    prompt: str
    pipelines: tuple[str, ...]
    install: str
    heads_first: bool = False
    things: frozenset[str] = frozenset()
    no_things: frozenset[str] = frozenset()
    no_content: frozenset[str] = frozenset()
    quantities: frozenset[str] = frozenset()
    no_content_before: frozenset[str] = frozenset()
    set_phrases: frozenset[str] = frozenset()


@cache
def known_languages() -> tuple[str, ...]:
    """Codes of the languages that there are."""
    return tuple(sorted(one.name.removesuffix(".toml") for one in _folder().iterdir() if one.name.endswith(".toml")))


@cache
def language_of(code: str) -> CaptionLanguage:
    """The language of a code. Raises MisuseError for one that there is not, with those that there are."""
    if code not in known_languages():
        listed = ", ".join(f"{one} ({language_of(one).name})" for one in known_languages())
        raise MisuseError(f"--language {code}: expected one of {listed}; another is a file more in {_folder()}")
    entries = tomllib.loads((_folder() / f"{code}.toml").read_text(encoding="utf-8"))
    pipelines = tuple(entries.pop("pipelines"))
    entries |= {name: frozenset(words) for name, words in entries.items() if isinstance(words, list)}
    return CaptionLanguage(code, pipelines=pipelines, **entries)


@cache
def usual_pipelines() -> frozenset[str]:
    """Names of the pipelines of all languages."""
    return frozenset(name for code in known_languages() for name in language_of(code).pipelines)


def _folder() -> resources.abc.Traversable:
    return resources.files("curation.concepts").joinpath("data", "languages")
