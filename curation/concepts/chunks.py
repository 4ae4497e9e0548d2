"""Noun chunks of a parsed caption, mended: a tagger of sentences errs where captions are none.

A set phrase wins over the parse ("a fire | hydrant", "stop | sign"), a chunk runs on over the noun that completes it
("with eucalyptus | leaves"), a noun that the parse hung on a verb is a chunk of its own ("a red shirt | playing"), and
a pile of keywords falls apart ("dog park bench snow").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from curation.concepts.lexicon import (
    Lexicon,
    in_set_phrase,
    medium_words,
    object_words,
    plurals,
    set_phrases,
    usual_nouns,
)
from curation.concepts.verbs import cut_at_verbs, subject_odds, verb_odds

if TYPE_CHECKING:
    from spacy.tokens import Doc, Token

Chunk = tuple[int, int]  # a caption's tokens first..head
_NOUNS = ("NOUN", "PROPN")
# As what a noun is parsed, whatever its tag.
_OF_NOUNS = frozenset(["nsubj", "dobj", "pobj", "attr"])
# As what a verb is parsed that the tagger took for a noun: "side by side", "while a man watches".
_NO_NOUN = frozenset(["ROOT", "npadvmod", "advcl", "acl", "relcl", "ccomp", "xcomp", "advmod"])
_VERBS = frozenset(["VB", "VBP", "VBZ", "VBD"])
# The log odds of a verb (verbs.py) from which on not even the tagger is believed.
_SURELY_NO_VERB = -4.0
# A pile of keywords: so many things in a row, and no other word.
_LEAST_PILE = 4


def noun_chunks(doc: Doc, lexicon: Lexicon, titled: bool) -> Iterator[list[Token]]:
    """Chunks of a caption in their order, each up to its head; tags of nouns taken for verbs are set right in `doc`.

    titled: it is written like a title, where what a thing is for and made of comes before it without a comma.
    """
    tokens = list(doc)
    pile = [] if titled else _pile(tokens, lexicon)
    if pile:
        yield from pile
        return
    chunks = [(chunk.start, chunk.root.i) for chunk in doc.noun_chunks]
    # Numbers of words and tags: a string is made of few of them.
    words, tags = doc.to_array(["LOWER", "TAG"]).T.tolist()
    for phrase in _set_phrases(tokens, words, lexicon):
        chunks = _joined(chunks, phrase, tokens)
    chunks = _without_pronouns(chunks, tokens, tags, lexicon)
    chunks = cut_at_verbs(chunks, tokens, lexicon, titled)
    chunks = _taken_in(chunks, tokens, tags, lexicon)
    if titled:
        chunks = _run_together(chunks, tokens)
    for first, head in chunks:
        while first < head and not tokens[head].lower_[0].isalpha():  # "large windows 3d"
            head -= 1
        if _is_made_by_hand(tokens, first, head):
            continue
        yield tokens[first : head + 1]


def _set_phrases(tokens: Sequence[Token], words: Sequence[int], lexicon: Lexicon) -> Iterator[Chunk]:
    """Where set phrases stand: the longest from each word on; none runs into another."""
    starts = _starts()
    free = 0
    for first, pair in enumerate(pairwise(words)):
        if pair not in starts or first < free:
            continue
        for rest in starts[pair]:
            last = first + len(rest)
            if last < len(tokens) and _follows(tokens[first + 1 : last + 1], rest, lexicon):
                free = last + 1
                yield first, last
                break


def _follows(tokens: Sequence[Token], rest: Sequence[str], lexicon: Lexicon) -> bool:
    """Whether tokens are the rest of a phrase, its last word in either number; "the bus stops" is no bus stop."""
    *between, last = tokens
    if any(token.lower_ != word for token, word in zip(between, rest, strict=False)):
        return False
    return last.lower_ == rest[-1] or (last.tag_ != "VBZ" and lexicon.head_form(last.lower_, True) == rest[-1])


@lru_cache(maxsize=1)
def _starts() -> dict[tuple[int, int], list[tuple[str, ...]]]:
    """First two words of set phrases, as spaCy's numbers -> what may follow the first, the longest first."""
    from spacy.strings import hash_string  # type: ignore[attr-defined]

    starts: dict[tuple[int, int], list[tuple[str, ...]]] = {}
    for first, *rest in sorted(set_phrases(), key=lambda phrase: (-len(phrase), phrase)):
        for second in plurals(rest[0]) | {rest[0]} if len(rest) == 1 else {rest[0]}:
            starts.setdefault((hash_string(first), hash_string(second)), []).append(tuple(rest))
    return starts


@lru_cache(maxsize=1)
def _pronoun() -> int:
    from spacy.strings import hash_string  # type: ignore[attr-defined]

    return int(hash_string("PRP"))


@lru_cache(maxsize=1)
def _open_tags() -> frozenset[int]:
    from spacy.strings import hash_string  # type: ignore[attr-defined]

    return frozenset(
        hash_string(tag) for tag in (*_VERBS, "VBG", "VBN", "JJ", "JJR", "RB", "UH", "NN", "NNS", "NNP", "NNPS")
    )


def _joined(chunks: list[Chunk], phrase: Chunk, tokens: Sequence[Token]) -> list[Chunk]:
    """Chunks with a phrase in one of them: the one that it meets, widened, or one of its own."""
    first, last = phrase
    met = [chunk for chunk in chunks if chunk[0] <= last and first <= chunk[1]]
    if any(chunk[0] <= first and last <= chunk[1] for chunk in met):
        return chunks
    for token in tokens[first : last + 1]:
        if token.pos_ not in _NOUNS and (token.i == last or token.pos_ == "VERB"):
            token.tag_, token.pos_ = "NN", "NOUN"
    whole = (min([first] + [chunk[0] for chunk in met]), max([last] + [chunk[1] for chunk in met]))
    return sorted([chunk for chunk in chunks if chunk not in met] + [whole])


def _without_pronouns(
    chunks: list[Chunk], tokens: Sequence[Token], tags: Sequence[int], lexicon: Lexicon
) -> list[Chunk]:
    """Chunks in which a thing that the tagger took for a pronoun is a noun, the end of what stands before it."""
    pronoun, mended = _pronoun(), chunks
    for first, head in chunks:
        if tags[head] != pronoun or not _is_thing(tokens[head].lower_, lexicon) or tokens[head].lower_ == "mine":
            continue
        tokens[head].tag_, tokens[head].pos_ = "NN", "NOUN"
        before = [chunk for chunk in mended if chunk[1] == first - 1]
        for chunk in before:  # "industrial pipe | bookshelf"
            tokens[chunk[1]].dep_ = "compound"
        start = before[0][0] if before else first
        mended = [chunk for chunk in mended if chunk not in [(first, head), *before]] + [(start, head)]
    return chunks if mended is chunks else sorted(mended)


def _taken_in(chunks: list[Chunk], tokens: Sequence[Token], tags: Sequence[int], lexicon: Lexicon) -> list[Chunk]:
    """Chunks with the nouns that the parse left out: they complete the chunk before them, or are chunks."""
    outside = bytearray(b"\1") * len(tokens)
    for first, head in chunks:
        outside[first : head + 1] = bytes(head + 1 - first)
    nouns = _open_tags()
    left_out = [i for i, tag in enumerate(tags) if outside[i] and tag in nouns and _is_left_out(tokens[i], lexicon)]
    if not left_out:
        return chunks
    heads = {head: first for first, head in chunks}
    for i in left_out:
        if tokens[i].pos_ not in _NOUNS:
            tokens[i].tag_, tokens[i].pos_ = ("NNS" if tokens[i].lower_.endswith("s") else "NN"), "NOUN"
        first = i
        before = tokens[i - 1].lower_
        if i - 1 in heads and lexicon.singular(before) == before and tokens[i].lower_ not in medium_words():
            first = heads.pop(i - 1)
            tokens[i - 1].dep_ = "compound"
        heads[i] = first
    return sorted((first, head) for head, first in heads.items())


def _run_together(chunks: list[Chunk], tokens: Sequence[Token]) -> list[Chunk]:
    """Chunks with nothing between them as one: "men's slim fit stretch | denim jeans"."""
    joined: list[Chunk] = []
    for first, head in chunks:
        if joined and joined[-1][1] + 1 == first and tokens[first].pos_ in (*_NOUNS, "ADJ"):
            first = joined.pop()[0]
        joined.append((first, head))
    return joined


def _is_left_out(token: Token, lexicon: Lexicon) -> bool:
    """Whether a token outside all chunks is a noun all the same."""
    word = token.lower_
    before = token.nbor(-1) if token.i else None
    after = token.nbor() if token.i + 1 < len(token.doc) else None
    usual, determined = word in usual_nouns(), before is not None and before.lower_ in ("a", "an", "the")
    if token.pos_ in _NOUNS:
        if token.dep_ in _NO_NOUN:
            return usual
        thing = word in object_words()
        return usual or thing or not lexicon.may_be_verb(word)
    if token.tag_ in _VERBS and _is_thing(word, lexicon) and not lexicon.may_be_verb(word):  # "man cooks | steaks"
        return True
    for_noun = token.pos_ in ("ADJ", "ADV") and token.dep_ in _OF_NOUNS and word not in medium_words()
    if for_noun and (lexicon.is_only_noun(word) or (token.dep_ == "pobj" and _is_thing(word, lexicon))):
        return True  # "with heart | pendant"
    if before is not None and usual and before.tag_ in ("IN", "VBZ") and token.tag_ in ("VB", "VBP", "VBG"):
        return True  # "near | building", "catches | wave"
    if before is not None and usual and before.tag_ == "TO" and before.i and before.nbor(-1).lower_ == "next":
        return True
    if before is None and after is not None and after.tag_ == "VBZ" and word in lexicon.known_words("noun"):
        return True  # "butcher | cuts": a verb has none behind it
    alone = after is None or after.pos_ not in (*_NOUNS, "ADJ", "VERB", "PUNCT") or after.lower_ == "next"
    if (before is None or before.is_punct) and (after is None or after.is_punct):  # "knife, spatula, | whisk"
        return _is_thing(word, lexicon)
    if determined:  # "a remote | on ..."
        alone = alone or (after is not None and after.pos_ == "PUNCT" and after.lower_ != "-")
        return alone and word in object_words()
    if before is None:  # "fork | on table", "boy | riding"
        return after is not None and _is_thing(word, lexicon) and (after.pos_ == "ADP" or after.tag_ in ("VBZ", "VBG"))
    if token.tag_ == "VBZ" and verb_odds(word, lexicon) + subject_odds(before.lower_) < _SURELY_NO_VERB:
        return True  # "railroad | tracks"
    if _is_thing(word, lexicon) and before.pos_ == "ADJ" and token.tag_ in _VERBS:  # "cute kitten | sleeping"
        return after is None or after.pos_ in ("ADP", "VERB", "PUNCT")
    # "bowl of ramen | noodles": what stands behind a preposition is the subject of no verb
    return (
        token.tag_ == "VBZ"
        and usual
        and (before.dep_, before.pos_) in (("pobj", "NOUN"), ("pobj", "PROPN"))
        and (after is None or after.pos_ not in ("DET", "PRON", "ADJ", *_NOUNS))  # nor has it an object
    )


def _is_made_by_hand(tokens: Sequence[Token], first: int, head: int) -> bool:
    """ "hand drawn": how it was made, and no hand."""
    return (
        first == head
        and tokens[head].lower_ == "hand"
        and head + 1 < len(tokens)
        and (tokens[head + 1].tag_ in ("VBN", "VBD"))
    )


def _pile(tokens: list[Token], lexicon: Lexicon) -> list[list[Token]]:
    """The things of a caption that is a pile of keywords, [] where it is none: "dog | park bench | snow".

    Of four words one may be a noun that no list of things has: "gnome".
    """
    if len(tokens) < _LEAST_PILE:
        return []
    others = 0
    for token in tokens:  # most captions fail by their third word
        if not _is_thing(token.lower_, lexicon):
            others += 1
            if others * _LEAST_PILE > len(tokens) or not _names_only(token, lexicon):
                return []
    words = [token.lower_ for token in tokens]
    together = in_set_phrase([*words[:-1], lexicon.singular(words[-1])])
    parts: list[list[Token]] = []
    for token, joined in zip(tokens, together, strict=True):
        token.tag_, token.pos_ = ("NNS" if lexicon.singular(token.lower_) != token.lower_ else "NN"), "NOUN"
        if joined and parts and together[parts[-1][-1].i]:
            parts[-1].append(token)
        else:
            parts.append([token])
    return parts


def _names_only(token: Token, lexicon: Lexicon) -> bool:
    """Whether a word is a noun ("at" is one to dictionaries only), no verb's form and no word for the medium."""
    word = token.lower_
    known = token.pos_ in _NOUNS and word not in medium_words() and lexicon.is_only_noun(word)
    return known and not lexicon.may_be_verb(word)


def _is_thing(word: str, lexicon: Lexicon) -> bool:
    return word in usual_nouns() or lexicon.singular(word) in object_words()
