"""Concepts from a list: files of listed concepts, and what of a caption's concepts they keep."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from curation.concepts.lemmas import Lemmas
from curation.concepts.lexicon import Lexicon
from files.errors import MisuseError


def keep_listed(concepts: Iterable[str], listed: frozenset[str], heads_first: bool = False) -> Iterator[str]:
    """Concepts restricted to a list: each becomes its longest listed tail ("snow mountain" -> "mountain").

    heads_first: of a language whose heads come first, its longest listed beginning.
    """
    for concept in concepts:
        words = concept.split()
        for cut in range(len(words)):
            part = " ".join(words[: len(words) - cut] if heads_first else words[cut:])
            if part in listed:
                yield part
                break


def read_vocabulary(path: str, lexicon: Lexicon | Lemmas, digest: str | None = None) -> frozenset[str]:
    """A vocabulary file: one concept a line, `#` starts a comment. Phrases are put into normal form.

    digest: what `file_digest` gave when the index was built; None: unknown. Raises MisuseError for a file that is not
    there, is no UTF-8 text, lists nothing or has changed.
    """
    try:
        with open(path, encoding="utf-8-sig") as lines:
            phrases = [line.partition("#")[0].strip() for line in lines]
    except OSError as error:
        raise MisuseError(f"--vocabulary {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise MisuseError(f"{path}: not UTF-8 ({error}); save the vocabulary as UTF-8 text") from error
    listed = frozenset(lexicon.normal_form(phrase) for phrase in phrases if phrase)
    if not listed:
        raise MisuseError(f"{path}: lists no concept; give one a line")
    if digest not in (None, file_digest(path)):
        raise MisuseError(f"{path}: the vocabulary of the index has changed since; put the old one back")
    return listed


def file_digest(path: str) -> str:
    """First 16 hex digits of a file's SHA-256."""
    with Path(path).open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()[:16]
