"""What stands for a class: the mean of its prompts in the space of texts.

A prompt is one of the card's words for the class in a sentence. GroupViT's published figures are of the first word and
the set "simple".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, get_args

from open_clip import OPENAI_IMAGENET_TEMPLATES, SIMPLE_IMAGENET_TEMPLATES
from torch import Tensor

from data_cards.cards import Card
from data_cards.prompt import SIMPLE
from files.errors import MisuseError

TemplateSet = Literal["simple", "subset", "full"]
WordSet = Literal["first", "all"]


class TextSpace(Protocol):
    """What embeds prompts: a segmenter."""

    def embed_classes(self, prompts: Sequence[Sequence[str]]) -> Tensor:
        """Prompts of each class -> unit vectors [C, D]."""


def class_vectors(space: TextSpace, card: Card, templates: TemplateSet = "simple", words: WordSet = "first") -> Tensor:
    """Unit vectors [C, D] of the classes that text names (Card.text_classes), in order. Raises MisuseError."""
    return space.embed_classes(class_prompts(card, templates, words))


def class_prompts(card: Card, templates: TemplateSet = "simple", words: WordSet = "first") -> list[list[str]]:
    """For each class of Card.text_classes, its first word, or all of its words, in every sentence of the set.

    Raises MisuseError: there is no such set; the card has no class that text names.
    """
    if templates not in get_args(TemplateSet):
        raise MisuseError(f"templates {templates!r}: give one of {', '.join(get_args(TemplateSet))}")
    if not card.prompts():
        raise MisuseError(f"card {card.name}: it has no class that text names")
    most = 1 if words == "first" else None
    return [[said for word in own[:most] for said in prompted(word, templates)] for own in card.prompts()]


def prompted(word: str, templates: TemplateSet) -> list[str]:
    """A word in each sentence of a set: one, 7 or 80; the larger are CLIP's for ImageNet, as open_clip has them."""
    if templates == "simple":
        return [SIMPLE.format(word)]
    sentences = SIMPLE_IMAGENET_TEMPLATES if templates == "subset" else OPENAI_IMAGENET_TEMPLATES
    return [sentence(word) for sentence in sentences]
