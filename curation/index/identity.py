"""Identity: what tells, by hashes alone, that two names are one picture's and that two captions are nearly one text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b

import numpy as np

_NOT_WORD = re.compile(r"[\W_]+")
# The last bits of a picture's hash are its folder's; 0: its name tells none.
FOLDER = np.uint64((1 << 24) - 1)
# A sketch holds, for eight times so many hash functions, a byte of the least hash of a text's runs of three letters.
# The share of bytes that two have in common is about that of the runs of both texts.
SKETCH_WORDS = 4
# Of a text of fewer bytes the sketch is a hash of it all: one letter more or less makes a cat of a car there.
SHORTEST = 40
_RANDOM = np.random.default_rng(0).integers(0, 2**32, (2, 8 * SKETCH_WORDS), np.uint32)
# Two texts are nearly one where so many bytes of their sketches agree, and of the first word, which is looked at first.
NEAR, NEAR_FIRST = 25, 5
_LETTERS = 1 << 18
_LOW, _HIGH = np.uint64(0x7F7F7F7F7F7F7F7F), np.uint64(0x8080808080808080)


def text_hashes(captions: Iterable[str]) -> np.ndarray:
    """uint64 hashes of captions; case, spaces and punctuation do not count."""
    return _hashes(_plain(caption) for caption in captions)


def name_hashes(names: Iterable[str | None]) -> np.ndarray:
    """uint64 hashes of names; 0 for None."""
    return _hashes(name or "" for name in names)


def picture_hashes(names: Sequence[str | None]) -> np.ndarray:
    """uint64 hashes of pictures by their names, which are keys or paths without their endings; 0 for an unknown one.

    `same_picture` compares them.
    """
    parts = [(name or "").rpartition("/") for name in names]
    stem = name_hashes(last.replace(".", "_") for _, _, last in parts)  # keys have no dots, for those part members
    folder = name_hashes(path.rpartition("/")[2] for path, _, _ in parts)
    return np.where(stem == 0, stem, np.maximum(stem & ~FOLDER, FOLDER + np.uint64(1)) | (folder & FOLDER))


def same_picture(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Whether two hashes may be one picture's: of the same name, and in the same folder where both tell one."""
    differ = one ^ other
    folder = ((differ & FOLDER) == 0) | ((one & FOLDER) == 0) | ((other & FOLDER) == 0)
    return ((differ & ~FOLDER) == 0) & folder & (one != 0) & (other != 0)


def sketches(captions: Iterable[str]) -> np.ndarray:
    """Sketches of captions, uint64 [N, SKETCH_WORDS]; case, spaces and punctuation do not count."""
    found = [_sketches(texts) for texts in _in_blocks(_plain(caption).encode() for caption in captions)]
    return np.concatenate(found) if found else np.zeros((0, SKETCH_WORDS), np.uint64)


def shared_bytes(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How many of the eight bytes of uint64 words are the same."""
    differ = one ^ other
    return 8 - np.bitwise_count((((differ & _LOW) + _LOW) | differ) & _HIGH)


def _plain(caption: str) -> str:
    return _NOT_WORD.sub("", caption.casefold())


def _hashes(texts: Iterable[str]) -> np.ndarray:
    digests = (blake2b(t.encode(), digest_size=8).digest() if t else bytes(8) for t in texts)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def _in_blocks(texts: Iterable[bytes]) -> Iterator[list[bytes]]:
    block: list[bytes] = []
    held = 0
    for text in texts:
        block.append(text)
        held += len(text) + 2
        if held >= _LETTERS:
            yield block
            block, held = [], 0
    if block:
        yield block


def _sketches(texts: list[bytes]) -> np.ndarray:
    letters = np.frombuffer(b"".join([text + bytes(2) for text in texts] + [bytes(2)]), np.uint8).astype(np.uint32)
    runs = letters[:-2] | letters[1:-1] << 8 | letters[2:] << 16
    runs[letters[:-2] == 0] = 0  # would reach into the next text
    runs = (runs ^ runs >> 11) * np.uint32(0x9E3779B1)
    runs ^= runs >> 15
    first = np.cumsum([0, *(len(text) + 2 for text in texts[:-1])])
    found = np.empty((len(texts), 8 * SKETCH_WORDS), np.uint8)
    for i, (mask, factor) in enumerate(_RANDOM.T):
        least = np.minimum.reduceat((runs ^ mask) * (factor | np.uint32(1)), first)
        found[:, i] = least * np.uint32(0x85EBCA6B) >> np.uint32(24)
    for i, text in enumerate(texts):
        if len(text) < SHORTEST:
            found[i] = np.frombuffer(blake2b(text, digest_size=8 * SKETCH_WORDS).digest(), np.uint8)
    return found.view(np.uint64)
