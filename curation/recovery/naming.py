"""Which words name which object: "man" names a person, "hot dog" a hot dog and no dog.

An object comes with words and phrases that name it. A concept names an object when one of these is
the whole concept or its tail, so that its head counts: "police car" names a car. In running text a
phrase counts wherever it stands. Of several phrases at one place the longest wins. Words are
compared in the normal form of concepts, so that "men" and "man" are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

# Everything that is not part of a word: "hot-dog" is "hot dog", "man's" is "man" and "s".
_BETWEEN_WORDS = r"[^\p{L}\p{M}\p{N}]+"

Normal = Callable[[str], str]


@dataclass(frozen=True)
class Phrases:
    """The phrases of all objects as a tree of words, ready for array look-ups.

    objects: names; an object is spoken of by its place in this tuple.
    words: id of each distinct word.
    edges: sorted `state * len(words) + word`; following one leads to state `targets[i]`.
    named: per state, the object whose phrase ends there, or -1.
    depth: most words in a phrase.
    disputed: phrases listed for several objects, with these objects; the first of them is named.
    normal: see `phrases_of`.
    """

    objects: tuple[str, ...]
    words: dict[str, int]
    edges: NDArray[np.int64]
    targets: NDArray[np.int64]
    named: NDArray[np.int32]
    depth: int
    disputed: dict[str, tuple[str, ...]]
    normal: Normal


def phrases_of(synonyms: Mapping[str, Sequence[str]], normal: Normal | None = None) -> Phrases:
    """Prepare the phrases (object -> phrases) for matching.

    A phrase listed for several objects names the one that bears it as its own name, else the first
    listed. normal: puts a phrase into the form of a concept; by default
    `Lexicon().normal_form`.
    """
    if normal is None:
        from curation.concepts.lexicon import Lexicon

        normal = Lexicon().normal_form
    objects = tuple(synonyms)
    listed = [(index, phrase) for index, name in enumerate(objects) for phrase in synonyms[name]]
    claims: dict[tuple[str, ...], dict[int, None]] = {}
    for (index, _), spelled in zip(listed, _folded([phrase for _, phrase in listed], normal), strict=True):
        claims.setdefault(spelled, {}).setdefault(index)
    claims.pop((), None)
    own = {spelled: index for index, spelled in enumerate(_folded(objects, normal))}

    words: dict[str, int] = {}
    steps: dict[tuple[int, int], int] = {}
    named = [-1]
    disputed: dict[str, tuple[str, ...]] = {}
    for spelled, claimants in claims.items():
        ranked = sorted(claimants, key=lambda index: own.get(spelled) != index)
        if len(ranked) > 1:
            disputed[" ".join(spelled)] = tuple(objects[index] for index in ranked)
        state = 0
        for word in spelled:
            step = (state, words.setdefault(word, len(words)))
            if step not in steps:
                steps[step] = len(named)
                named.append(-1)
            state = steps[step]
        named[state] = ranked[0]
    keys = np.array([s * len(words) + w for s, w in steps], dtype=np.int64)
    order = np.argsort(keys)
    return Phrases(
        objects=objects,
        words=words,
        edges=keys[order],
        targets=np.array(list(steps.values()), dtype=np.int64)[order],
        named=np.array(named, dtype=np.int32),
        depth=max(map(len, claims), default=0),
        disputed=disputed,
        normal=normal,
    )


def named_by_concepts(concepts: Any, phrases: Phrases) -> NDArray[np.int32]:
    """Object that each concept names, or -1: int32 [n].

    concepts: n strings, a sequence or an Arrow array. The longest phrase that is the concept or its
    tail decides.
    """
    owner, first, later, lengths = _words_of(concepts, phrases)
    _, last, objects = _mentions(owner, first, later, phrases)
    ends = np.cumsum(lengths) - 1
    at_tail = last == ends[owner[last]]
    named = np.full(len(lengths), -1, dtype=np.int32)
    named[owner[last[at_tail]]] = objects[at_tail]
    return named


def named_in_texts(texts: Any, phrases: Phrases) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Mentions of objects in running texts: (index of the text int64 [m], object int32 [m]).

    texts: strings, a sequence or an Arrow array. A phrase inside a longer one does not count by
    itself: "hot dog" mentions no dog.
    """
    owner, first, later, _ = _words_of(texts, phrases)
    _, last, objects = _mentions(owner, first, later, phrases)
    return owner[last], objects


def _split(texts: Any) -> Any:
    """Arrow list array: the lower-case words of each text."""
    if not isinstance(texts, (pa.Array, pa.ChunkedArray)):
        texts = pa.array(texts, pa.large_string())
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    texts = pc.fill_null(texts.cast(pa.large_string()), "")
    spaced = pc.replace_substring_regex(pc.utf8_lower(texts), _BETWEEN_WORDS, " ")
    return pc.split_pattern(pc.utf8_trim(spaced, " "), " ")


def _folded(phrases: Sequence[str], normal: Normal) -> list[tuple[str, ...]]:
    return [
        tuple(_fold(word, place > 0, normal) for place, word in enumerate(filter(None, words)))
        for words in _split(list(phrases)).to_pylist()
    ]


@lru_cache(maxsize=200_000)
def _fold(word: str, after_another: bool, normal: Normal) -> str:
    """Normal form of one word. Whether it follows another matters: "glasses", but "wine glass".

    Rules for plurals may take the -s of a singular, too ("bus" -> "bu"). Applied again and
    again they do no harm: "buses" and "bus" end alike.
    """
    for _ in range(4):
        forms = normal(f"x {word}" if after_another else word).split()
        if not word or not forms or forms[-1] == word:
            break
        word = forms[-1]
    return word


def _words_of(
    texts: Any, phrases: Phrases
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """All texts as one row of words, and the number of words in each text.

    Per word: index of its text, its id as the first word of a phrase, its id as a later one.
    """
    split = _split(texts)
    lengths = pc.list_value_length(split).to_numpy(zero_copy_only=False).astype(np.int64)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    encoded = pc.list_flatten(split).dictionary_encode()
    distinct = encoded.dictionary.to_pylist()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    ids = [
        np.array(
            [phrases.words.get(_fold(word, later, phrases.normal), -1) for word in distinct],
            dtype=np.int64,
        )
        for later in (False, True)
    ]
    return owner, ids[0][codes], ids[1][codes], lengths


def _mentions(
    owner: NDArray[np.int64],
    first: NDArray[np.int64],
    later: NDArray[np.int64],
    phrases: Phrases,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Mentions in a row of words: place of their first word, of their last, and the object."""
    n = len(owner)
    ends = np.full(n, -1, dtype=np.int64)
    objects = np.full(n, -1, dtype=np.int32)
    starts = np.arange(n)
    state = np.zeros(n, dtype=np.int64)
    for place in range(phrases.depth):
        inside = starts + place < n
        starts, state = starts[inside], state[inside]
        at = starts + place
        word = (later if place else first)[at]
        key = state * len(phrases.words) + word
        edge = np.minimum(np.searchsorted(phrases.edges, key), len(phrases.edges) - 1)
        follows = (word >= 0) & (owner[at] == owner[starts]) & (phrases.edges[edge] == key)
        starts, state, at = starts[follows], phrases.targets[edge[follows]], at[follows]
        found = phrases.named[state] >= 0
        ends[starts[found]] = at[found]  # a longer phrase overwrites the shorter one before it
        objects[starts[found]] = phrases.named[state[found]]
    whole = ends >= 0
    # What an earlier phrase reaches over is a part of it.
    whole[1:] &= ends[1:] > np.maximum.accumulate(ends)[:-1]
    starts = np.flatnonzero(whole)
    return starts, ends[starts], objects[starts]
