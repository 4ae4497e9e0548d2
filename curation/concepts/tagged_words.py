"""Single words for concepts: the nouns and verbs of a caption as they stand, which is what GroupViT was trained with.

Its release takes them by NLTK's tags; these are spaCy's, of the same set of tags.
"""

from __future__ import annotations

from collections.abc import Sequence

from curation.concepts.noun_phrases import NounOptions
from curation.concepts.parser import PARSERS, Parser
from curation.concepts.plain_text import plain_case, plain_text

TAGS = frozenset(["NN", "NNS", "NNP", "VB", "VBD", "VBG", "VBN", "VBP", "VBZ"])


class TaggedWords:
    """Words by their tags, in small letters; forms are left as they are."""

    help = "nouns and verbs, one word each, as GroupViT's release has them"
    needs_torch = False

    def __init__(self, options: NounOptions) -> None:
        self._parser = Parser(options)

    def concepts(self, captions: Sequence[str]) -> list[list[str]]:
        """Words of each caption, each once, in their order."""
        texts = [plain_case(plain_text(caption))[0] for caption in captions]
        return [
            list(dict.fromkeys(token.lower_ for token in doc if token.tag_ in TAGS))
            for doc in self._parser.parsed(texts)
        ]


PARSERS.add("words", TaggedWords)
