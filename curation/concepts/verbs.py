"""Verbs that a tagger of sentences takes for nouns where a caption leaves its articles out: "man | repairs | roof".

A word behind a noun is its verb or the next noun of a compound ("city lights", "steam train crossing bridge"). Two
habits of words tell: how often it is a verb at all, and whether verbs or nouns come behind the noun before it. Their
log odds, counted in captions (verbs_or_nouns.tsv), add up; what else stands around shifts the sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import log
from typing import TYPE_CHECKING

from curation.concepts.lexicon import Lexicon, object_words, set_phrases, usual_nouns, verb_counts

if TYPE_CHECKING:
    from spacy.tokens import Token

# What a sum of log odds has to reach, and what it gains or loses by the words around.
LEAST = 1.0
_SHIFT = 3.0
# Counted beside what was seen: few captions prove little, and a word that none has may be either.
_FEW = 2.0
_ONE = frozenset(["a", "an", "one", "another", "each", "every"])
_BASE = frozenset(["VB", "VBP", "UH"])  # what a subject is taken for where nothing stands before it
_FINITE = frozenset(["VBZ", "VBD", "VBP", "MD"])


def cut_at_verbs(
    chunks: Sequence[tuple[int, int]], tokens: Sequence[Token], lexicon: Lexicon, titled: bool = False
) -> list[tuple[int, int]]:
    """Chunks (first..head) without the verbs in them, whose tags are set right: "man repairs roof" -> "man", "roof".

    titled: as a title, where a plural before a noun says for whom it is made ("kids toy boxes").
    """
    parts: list[tuple[int, int]] = []
    for chunk_first, head in chunks:
        first = chunk_first
        for i in range(chunk_first, head + 1):
            of_many = i == first + 1 < head and not titled and _is_verb_of_many(tokens, i, lexicon)
            if not i or not (of_many or _is_verb_behind(tokens, first, i, head, lexicon)):
                continue
            _set_noun(tokens[i - 1])
            tokens[i].tag_, tokens[i].pos_ = (
                ("VBP" if of_many else "VBG" if tokens[i].lower_.endswith("ing") else "VBZ"),
                "VERB",
            )
            if first < i:
                parts.append((first, i - 1))
            first = i + 1
        if first <= head:
            parts.append((first, head))
    return parts


def _is_verb_behind(tokens: Sequence[Token], first: int, i: int, head: int, lexicon: Lexicon) -> bool:
    """Whether token i of the chunk first..head is the verb of the noun before it."""
    word, before = tokens[i].lower_, tokens[i - 1]
    of_one = word.endswith("s")  # "man repairs"
    if not (lexicon.is_verb_form(word) if of_one else word.endswith("ing") and lexicon.may_be_verb(word)):
        return False
    if not _may_be_subject(before, lexicon) or (of_one and before.tag_ == "NNS"):
        return False
    noun = before.lower_
    odds = verb_odds(word, lexicon) + subject_odds(noun)
    if first == i and before.tag_ not in {*_BASE, "JJ"}:  # what parts it from a noun is no chance
        return False
    if (noun, lexicon.singular(word)) in set_phrases():
        odds -= _SHIFT / 2
    after = tokens[i + 1] if i + 1 < len(tokens) else None
    if of_one:
        if after is not None and (_is_finite(after, lexicon) or after.lower_ == "of"):
            odds -= _SHIFT
        if tokens[first].lower_ in _ONE or before.ent_type_ == "PERSON":
            odds += _SHIFT
        elif tokens[first].tag_ == "CD":
            odds -= _SHIFT
    return odds >= LEAST


def _is_verb_of_many(tokens: Sequence[Token], i: int, lexicon: Lexicon) -> bool:
    """Whether token i is the verb of the plural that begins a caption: "volunteers | plant | trees".

    Nouns before nouns are singular, but for what things are made for ("boys swim trunks"): those are no sentences.
    """
    before, token, after = tokens[i - 1], tokens[i], tokens[i + 1]
    if i != 1 or before.tag_ != "NNS" or after.tag_ not in ("NN", "NNS") or token.tag_ not in ("NN", "VB", "VBP"):
        return False
    word, subject = token.lower_, lexicon.singular(before.lower_)
    return (
        word in lexicon.known_words("verb")
        and subject != before.lower_
        and subject_odds(subject) + _SHIFT / 2 >= 0  # "kitchens table": kitchens do nothing
        and (word, lexicon.singular(after.lower_)) not in set_phrases()
        and not any(_is_finite(other, lexicon) for other in tokens[i + 1 :])
        and any(other.tag_ == "IN" for other in tokens[i + 2 :])
    )


def _is_finite(token: Token, lexicon: Lexicon) -> bool:
    """Whether a token is the verb, "city lights | shine", and no object that was taken for it: "lands | jump"."""
    word = token.lower_
    return token.tag_ in _FINITE and word not in usual_nouns() and lexicon.singular(word) not in object_words()


def _may_be_subject(token: Token, lexicon: Lexicon) -> bool:
    """Whether a token is a noun, or one that was taken for something else: "butcher | cuts", "hummingbird | hovers"."""
    if token.tag_ in ("NN", "NNP", "NNS"):
        return True
    word = token.lower_
    if token.tag_ == "JJ":
        return word in lexicon.known_words("noun") and word not in lexicon.known_words("adj")
    return token.tag_ in _BASE and word in (usual_nouns() if token.i else lexicon.known_words("noun"))


def _set_noun(token: Token) -> None:
    if token.pos_ not in ("NOUN", "PROPN"):
        token.tag_, token.pos_ = "NN", "NOUN"


@lru_cache(maxsize=100_000)
def verb_odds(word: str, lexicon: Lexicon) -> float:
    """Log odds that a word is a verb and no noun."""
    seen, other, _, _ = verb_counts().get(word, (0, 0, 0, 0))
    verb, noun = seen + _FEW, other + _FEW
    singular = lexicon.singular(word)
    if singular in object_words() or singular in usual_nouns() or word in lexicon.known_words("noun"):
        noun += 2 * _FEW
    elif word.endswith("s") and singular not in lexicon.known_words("noun"):
        verb += 10 * _FEW
    return log(verb / noun)


@lru_cache(maxsize=100_000)
def subject_odds(noun: str) -> float:
    """Log odds that a verb and no noun comes behind a noun."""
    _, _, verb, other = verb_counts().get(noun, (0, 0, 0, 0))
    return log((verb + _FEW) / (other + _FEW))
