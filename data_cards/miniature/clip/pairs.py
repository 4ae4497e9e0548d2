"""What the tiny CLIP learns from: pictures of the miniature, captions, and what is to be seen, drawn into memory."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from functools import cache, partial
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_cards.cards import read_card
from data_cards.miniature.captions.names import ClassNames
from data_cards.miniature.captions.writer import write_caption
from data_cards.miniature.pairs import draw_pair

# Pictures drawn by a worker at a time.
SPAN = 250
# Keeps the captions written here apart from those that the pairs come with.
CAPTION_STREAM = 2


@dataclass(frozen=True)
class ClipPairs:
    """N pictures with K captions each.

    pixels: uint8 [N, size, size, 3]. area: share of the picture that a class covers, float32 [N, C], in the
    card's order. tokens: CLIP's token ids, uint16 [N, K, L], zero behind the end. named: whether a caption
    names a class, bool [N, K, C].
    """

    pixels: NDArray[np.uint8]
    area: NDArray[np.float32]
    tokens: NDArray[np.uint16]
    named: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True)
class DrawnSource:
    """Which pictures: those of a split and a seed, `size` pixels a side.

    extra: styles of captions to write besides those that the pairs come with. context_length: tokens of a caption.
    """

    split: str
    seed: int
    size: int
    extra: tuple[str, ...]
    context_length: int


def draw_pairs(source: DrawnSource, pairs: int, workers: int = 1) -> ClipPairs:
    """Pictures 0 to pairs - 1 of the source; the same on any number of workers."""
    spans = [range(first, min(first + SPAN, pairs)) for first in range(0, pairs, SPAN)]
    draw = partial(_draw_span, source)
    if workers == 1:
        return _joined([draw(span) for span in spans])
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        return _joined(list(pool.map(draw, spans)))


def tokenise(texts: Sequence[str], context_length: int) -> NDArray[np.uint16]:
    """CLIP's token ids, uint16 [T, context_length]; longer texts are cut."""
    found: NDArray[np.uint16] = _tokenizer()(list(texts), context_length=context_length).numpy().astype(np.uint16)
    return found


def _draw_span(source: DrawnSource, span: range) -> ClipPairs:
    card = read_card("miniature")
    position = {name: place for place, name in enumerate(card.kinds())}
    class_names = ClassNames(card.synonyms())
    pixels, captions = [], []
    area = np.zeros((len(span), len(position)), np.float32)
    for row, index in zip(area, span, strict=True):
        pair = draw_pair(source.split, source.seed, index, source.size)
        pixels.append(pair.image)
        rng = np.random.default_rng([source.seed, index, CAPTION_STREAM])
        captions.append([*pair.captions, *(write_caption(rng, pair.scene, style) for style in source.extra)])
        for seen in pair.scene.objects:
            row[position[seen.name]] = seen.area
    named = np.zeros((len(span), len(captions[0]), len(position)), bool)
    for of_picture, texts in zip(named, captions, strict=True):
        for of_text, text in zip(of_picture, texts, strict=True):
            of_text[[position[name] for name in class_names.named(text)]] = True
    tokens = tokenise([text for texts in captions for text in texts], source.context_length)
    return ClipPairs(np.stack(pixels), area, tokens.reshape(*named.shape[:2], -1), named)


def _joined(parts: Sequence[ClipPairs]) -> ClipPairs:
    return ClipPairs(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(ClipPairs)))


@cache
def _tokenizer() -> Any:
    import open_clip

    return open_clip.SimpleTokenizer()
