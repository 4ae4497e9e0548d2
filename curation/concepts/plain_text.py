"""Captions as the web writes them, made plain for a tagger of sentences.

What stands in a caption and is no word of it goes: tags and entities of HTML, addresses, file names, placeholders such
as <PERSON>. What stands for a comma becomes one: bars, slashes, bullets, hash marks. Capitals that say nothing, as in
titles, become small letters, for taggers take every word of "A Dog Runs On The Beach" for a name.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from curation.concepts.lexicon import joined_phrases, object_words, usual_nouns

_FUNCTION_WORDS = frozenset(
    ["a", "an", "the", "of", "on", "in", "at", "to", "by", "for", "from", "with", "and", "or", "is", "are"]
)
_WORD = re.compile(r"[^\W\d_]+")
# Most captions have none of these, and cost one search.
_MARKED = re.compile(r"[&<|\\_#@~*=•·●▪►»«★☆✓→–—…\[\]{}]|://|www\.|\w/|\.[A-Za-z]|\.\.| - ")

_TAG = re.compile(r"<!--.{0,200}?-->|</?[A-Za-z_][^<>]{0,200}>|[\[{][A-Z]+(?:[_ ][A-Z]+)*_?\d*[\]}]", re.S)
_BREAK = re.compile(r"</?(?:br|p|li|tr|td|div|h\d)\b", re.I)
_ADDRESS = re.compile(r"(?:https?://|www\.)\S+|\S+@\S+\.\w+|@\w+|\b[\w-]+\.(?:com|net|org|co\.uk)\b(?:/\S*)?", re.I)
_FILE_NAME = re.compile(r"\b([\w-]+)\.(?:jpe?g|png|gif|webp|bmp|tiff?|heic|psd|svg|eps|mp4|mov)\b", re.I)
_CAMERA_NAME = re.compile(r"\b(?:img|dscn?|dscf|dcim|pict?|imag|image|photo|screenshot|untitled)[_-]?\d[\w-]*", re.I)
_WITH = re.compile(r"\bw/(o\b)?", re.I)
_HASH_TAGS = re.compile(r"(?:#\w+[\s,]*)+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=\d)(?=[A-Za-z])")
_STOPS = re.compile(r"\s*(?:[|\\•·●▪►»«★☆✓→~*=\[\]{}–—…]+|\.{2,}|\s-+\s(?=[A-Z0-9]))\s*")
# Of shorter words too much can be put together: "leg end".
_LEAST_PART = 4
_COMMAS = re.compile(r"\s*,(?:\s*,)+")


def plain_text(caption: str) -> str:
    """A caption without marks that are no words; those that part its words have become commas."""
    if not _MARKED.search(caption):
        return caption
    text = html.unescape(html.unescape(caption))  # "&amp;amp;" is seen, too
    text = _TAG.sub(lambda tag: ", " if _BREAK.match(tag[0]) else " ", text)
    text = _FILE_NAME.sub(lambda name: _CAMERA_NAME.sub(" ", name[1]).replace("-", " "), _ADDRESS.sub(" ", text))
    text = _HASH_TAGS.sub(_listed, _CAMERA_NAME.sub(" ", text)).replace("_", " ")
    text = _WITH.sub(lambda found: "without" if found[1] else "with ", text)
    return " ".join(_COMMAS.sub(",", _STOPS.sub(", ", text)).strip(" ,").split())


def _listed(tags: re.Match[str]) -> str:
    """Words of hash tags: several are a list, and one is a word of its sentence ("my #dog at home")."""
    words = [_spaced(tag) for tag in re.findall(r"#(\w+)", tags[0])]
    alone = len(words) == 1 and tags.end() < len(tags.string)
    return f"{words[0]} " if alone else f", {', '.join(words)}, "


def _spaced(tag: str) -> str:
    """ "PalmTrees", "palm_trees", "palmtrees" -> "palm trees"."""
    words = _CAMEL.sub(" ", tag).replace("_", " ").lower()
    return joined_phrases().get(words) or next(iter(_two_nouns(words)), words)


def _two_nouns(word: str) -> Iterator[str]:
    """What a word that is none may be put together of: "maplesyrup" -> "maple syrup"."""
    nouns = usual_nouns() | object_words()
    if word not in nouns:
        for end in range(_LEAST_PART, len(word) - _LEAST_PART + 1):
            if word[:end] in nouns and word[end:] in nouns:
                yield f"{word[:end]} {word[end:]}"


def plain_case(text: str) -> tuple[str, bool]:
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
