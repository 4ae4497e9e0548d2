"""Texts -> token ids: captions, and concepts in one of CLIP's ImageNet prompts.

CLIP's BPE, or what a learner brings. CLIP's ids are those of open_clip's tokenizer, whose files come with it; what is
done once instead of every time is kept here: the ids of words, and those of concepts, which are joined to the ids of
the prompt's words around them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from open_clip import OPENAI_IMAGENET_TEMPLATES
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

from data_cards.prompt import SIMPLE

KEPT_WORDS = 100_000
KEPT_CONCEPTS = 200_000
# Of a text so many letters are read for each token that is kept, ten times as many as there are; merging the letters of
# one word takes the square of their number.
LETTERS_PER_TOKEN = 50

# Texts -> token ids [T, context length].
TextTokenizer = Callable[[Sequence[str]], Tensor]


def text_id(kind: str, text: str) -> int:
    """Identity of a text, a whole number of 63 bits: equal kind and text <=> equal number, in all processes."""
    digest = blake2b(f"{kind}\0{text}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


@lru_cache(1)
def _bpe() -> SimpleTokenizer:
    """Read once a process: it takes a fifth of a second."""
    return SimpleTokenizer()


class Tokenizer:
    """CLIP's tokenizer at one context length; ids as open_clip's gives them."""

    dtype: type[np.unsignedinteger] = np.uint16  # holds all 49,408

    def __init__(self, context_length: int) -> None:
        self.context_length = context_length
        self._bpe = _bpe()
        self._most = LETTERS_PER_TOKEN * context_length
        split = [template("\n").split("\n") for template in OPENAI_IMAGENET_TEMPLATES]
        self.templates = [(before, after) for before, after in split]
        self.plain = split.index(SIMPLE.split("{}"))
        self._around = [(self._bpe.encode(before), self._bpe.encode(after)) for before, after in self.templates]
        self._word = lru_cache(KEPT_WORDS)(self._bpe.encode)
        self._concept = lru_cache(KEPT_CONCEPTS)(self._encode_concept)

    def caption(self, text: str) -> list[int]:
        """Ids of a text, without those of start and end; of a long one those of its beginning, more than are kept."""
        text = text[: self._most]
        if not (text.isascii() and text.isprintable() and "&" not in text):  # has to be cleaned first
            return list(self._bpe.encode(text))
        return [token for word in self._bpe.pat.findall(text.lower()) for token in self._word(word)]

    def prompted(self, concept: str, template: int) -> tuple[list[int], int]:
        """Ids of a concept in prompt number `template`, and the identity of the concept."""
        ids, identity, joins = self._concept(concept)
        if not joins:
            before, after = self.templates[template]
            return self.caption(before + concept + after), identity
        before_ids, after_ids = self._around[template]
        return [*before_ids, *ids, *after_ids], identity

    def write(self, row: np.ndarray, ids: list[int]) -> None:
        """Put ids into a row of zeros [context_length], with start and end; what does not fit is cut."""
        ids = ids[: self.context_length - 2]
        row[0] = self._bpe.sot_token_id
        row[1 : 1 + len(ids)] = ids
        row[1 + len(ids)] = self._bpe.eot_token_id

    def _encode_concept(self, concept: str) -> tuple[list[int], int, bool]:
        """Ids, identity, and whether its tokens stay the same next to a prompt's words.

        They do unless its first or last sign may merge with a neighbour, or be cleaned away with it.
        """
        joins = concept.isascii() and concept[:1].isalnum() and concept[-1:].isalnum() and "&" not in concept
        return self._bpe.encode(concept[: self._most]), text_id("concept", concept), joins


class GivenTokenizer(Tokenizer):
    """Another tokenizer than CLIP's, of which nothing is known: it is asked for whole rows."""

    dtype = np.uint32

    def __init__(self, given: TextTokenizer, context_length: int) -> None:
        super().__init__(context_length)
        self._given = given

    def caption(self, text: str) -> list[int]:
        """The row of a text, with what starts, ends and fills it."""
        row: list[int] = self._given([text[: self._most]])[0].tolist()
        return row

    def prompted(self, concept: str, template: int) -> tuple[list[int], int]:
        """The row of a concept in prompt number `template`, and the identity of the concept."""
        before, after = self.templates[template]
        return self.caption(before + concept + after), text_id("concept", concept)

    def write(self, row: np.ndarray, ids: list[int]) -> None:
        """Put a row in its place."""
        row[:] = ids


def tokenizer_of(given: TextTokenizer | None, context_length: int) -> Tokenizer:
    """The tokenizer of a learner; CLIP's own, which is quicker, wherever it gives the same ids."""
    clips = given is None or (isinstance(given, SimpleTokenizer) and _as_plain(given))
    return Tokenizer(context_length) if given is None or clips else GivenTokenizer(given, context_length)


def _as_plain(given: SimpleTokenizer) -> bool:
    """Whether it cleans and cuts as CLIP's does, with CLIP's vocabulary."""
    plain = _bpe()
    settings = ("clean_fn", "reduction_fn", "encoder")
    return all(getattr(given, name) == getattr(plain, name) for name in settings)
