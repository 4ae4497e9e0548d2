"""How a benchmark is measured: which texts stand for its classes under a protocol, and by which rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from data_cards.cards import Card, Protocol
from evaluation.labels.inference import Rules
from evaluation.labels.words import WordRules
from evaluation.models.prompts import TemplateSet, WordSet, class_vectors, prompted
from evaluation.models.segmenters import Segmenter
from evaluation.models.vocabulary import IndexWords, first_words, read_vocabulary, words_apart
from files.errors import MisuseError
from training.processes import Place, by_leader

AUTO = "auto"
AUTO_WORDS = 26  # of the background: as many as the list has that people wrote for VOC and COCO-Object
STEPS = (10, 30, 100, 300, 1000)  # numbers of distractors that are measured on the way to the one asked for


@dataclass(frozen=True)
class Wording:
    """What is put to the text encoder, and by which protocol.

    templates, prompts: None: the protocol's own. background: words of the background, AUTO for those of a vocabulary,
    None for the card's. vocabulary: an index. distractors: how many names of it stand beside the classes, besides.
    """

    protocol: Protocol = "groupvit"
    templates: TemplateSet | None = None
    prompts: WordSet | None = None
    background: Sequence[str] | Literal["auto"] | None = None
    vocabulary: Path | None = None
    distractors: int = 0

    def check(self, cards: Sequence[Card]) -> None:
        """Raises MisuseError for what does not go together, or not with any of the cards; an index that is none."""
        clip, asked = self.protocol == "clip", self.background == AUTO or self.distractors > 0
        if not clip and self.background is not None:
            raise MisuseError(
                "--background-words: the protocol groupvit has a threshold instead of words; give --protocol clip"
            )
        if clip and self.prompts is not None:
            raise MisuseError("--prompts: the protocol clip has its own words, all of which count; leave it out")
        if self.background is not None and not any(card.background for card in cards):
            raise MisuseError("--background-words: none of the benchmarks has a background")
        if self.background is not None and not (self.background and all(map(str.strip, self.background))):
            raise MisuseError("--background-words: names nothing; give words with commas between, or auto")
        if asked != (self.vocabulary is not None):
            what = "--vocabulary: is for --background-words auto and --distractors; give one of them"
            if asked:
                what = f"{'--distractors' if self.distractors else '--background-words auto'}: give --vocabulary INDEX"
            raise MisuseError(what)
        if self.vocabulary is not None:
            read_vocabulary(self.vocabulary)
        for card in cards:
            if clip and card.background and self.background is None and not (card.clip and card.clip.background):
                raise MisuseError(
                    f"card {card.name}: nobody wrote words for its background; give --background-words auto "
                    "--vocabulary INDEX, or the words themselves"
                )


@dataclass(frozen=True)
class TextSetting:
    """vectors: of the texts that `rules` expects [T, D], then of the distractors. said: by name, for the results."""

    vectors: Tensor
    rules: Rules
    distractors: tuple[str, ...]
    said: dict[str, Any]

    def alone(self) -> tuple[Tensor, Rules]:
        """Vectors and rules of the labels that count, without sweep and distractors."""
        return self.vectors[: len(self.vectors) - len(self.distractors)], replace(self.rules, sweep=(), distractors=())


def setting_of(segmenter: Segmenter, card: Card, wording: Wording, rules: Rules, place: Place) -> TextSetting:
    """The setting of a card that is as `Card.under` has it under the wording's protocol.

    Words are chosen on the leading process. Raises MisuseError where a vocabulary has too few.
    """
    clip = card.clip if wording.protocol == "clip" else None
    templates = wording.templates or (clip.templates if clip else "simple")
    said: dict[str, Any] = {"protocol": wording.protocol, "templates": templates}
    background, distractors = by_leader(lambda: _chosen(segmenter, card, wording), place)
    if clip:
        words = {one.name: one.prompts if one.name != _background(card) else background for one in card.classes}
        owners = tuple(index for index, one in enumerate(card.classes) for _ in words[one.name])
        vectors = _embed(segmenter, [word for own in words.values() for word in own], templates)
        rules = replace(rules, words=WordRules(owners, clip.logit_scale, clip.least_area))
        said |= {"source": clip.source, "words": len(owners), "logit scale": clip.logit_scale}
        if clip.least_area is not None:
            said["least area"] = clip.least_area
        if background:
            said["background words"] = list(background)
            given = str(wording.vocabulary) if wording.background == AUTO else "the command"
            said["background words from"] = "the card" if wording.background is None else given
    else:
        prompts = wording.prompts or "first"
        vectors = class_vectors(segmenter, card, templates, prompts, rules.as_released)
        said |= {"prompts": prompts, "best classes": rules.best}
        if rules.as_released:
            said["as released"] = True
    if card.background:
        said["background threshold"] = card.background.threshold if rules.threshold is None else rules.threshold
    if distractors:
        vectors = torch.cat([vectors, _embed(segmenter, distractors, templates)])
        numbers = (*(step for step in STEPS if step < len(distractors)), len(distractors))
        rules = replace(rules, distractors=numbers)
    return TextSetting(vectors, rules, tuple(distractors), said)


def _chosen(segmenter: Segmenter, card: Card, wording: Wording) -> tuple[tuple[str, ...], list[str]]:
    """Words of the background, and distractors."""
    own = [word for said in card.synonyms().values() for word in said]
    written = card.clip.background if card.clip and wording.protocol == "clip" else ()
    background = tuple(written if wording.background is None else wording.background)
    found: IndexWords | None = read_vocabulary(wording.vocabulary) if wording.vocabulary else None
    if not card.background:
        background = ()
    elif wording.background == AUTO and found:
        apart = words_apart(segmenter, found, own)
        background = tuple(first_words(apart, AUTO_WORDS, "--background-words auto", found))
    if not (wording.distractors and found):
        return background, []
    apart = words_apart(segmenter, found, [*own, *background])
    return background, first_words(apart, wording.distractors, f"--distractors {wording.distractors}", found)


def _background(card: Card) -> str | None:
    return card.background.name if card.background else None


def _embed(segmenter: Segmenter, words: Sequence[str], templates: TemplateSet) -> Tensor:
    """A vector for each word [T, D]."""
    return segmenter.embed_classes([prompted(word, templates) for word in words])
