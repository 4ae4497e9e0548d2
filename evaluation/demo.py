"""Any picture segmented by any words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data_cards.cards import Background, Card, CardClass, Resize, Window
from data_cards.layouts.decoding import BadItem, decode_picture
from evaluation.figures.confusion import AT_ONCE
from evaluation.labels.inference import Rules, segment_images, too_large
from evaluation.models.prompts import TemplateSet, class_vectors
from evaluation.models.segmenters import Segmenter
from evaluation.results.overlay import colours_of, labels_at, overlay, picture_at, shown_sides, with_legend
from files.errors import CocuError, MisuseError

BACKGROUND = "(none of these)"
SHORT_SIDE = 448  # of the published evaluation, with models trained at 224 pixels
SIDE = 1024  # pixels of the overlay's longer side


@dataclass(frozen=True)
class Demo:
    """A picture with its legend, and each word's share of the picture 0..1, the largest first."""

    picture: Image.Image
    shares: dict[str, float]


def words_of(text: str) -> list[str]:
    """ "dog, grass, sky" -> its words. Raises MisuseError for none, or one that is named twice."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise MisuseError(
            f'--classes {text!r}: names nothing; give words with commas between, such as "dog, grass, sky"'
        )
    if twice := next((word for number, word in enumerate(words) if word in words[:number]), None):
        raise MisuseError(f"--classes {text!r}: {twice!r} is named twice")
    return words


def demo(
    segmenter: Segmenter,
    path: Path,
    words: Sequence[str],
    *,
    background: float | None = None,
    short_side: int | None = None,
    templates: TemplateSet = "simple",
) -> Demo:
    """Segment the picture in a file.

    background: threshold under which a pixel is none of the words; None: every pixel is one of them. short_side: the
    picture's, for the model; None: 448, or that of its training where this was smaller than 224. Raises
    CocuError where there is no such file, BadItem where it cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CocuError(f"{path}: cannot be read ({error.strerror or error})") from error
    image = decode_picture(content, str(path))
    card = words_card(words, background, short_side or _short_side(segmenter))
    if reason := too_large(card, image.shape[:2]):
        raise BadItem(str(path), reason)
    vectors = class_vectors(segmenter, card, templates)
    (labelled,) = segment_images(segmenter, card, vectors, [image], Rules())
    labels = labelled.labels.cpu().numpy()
    parts = np.split(labels.ravel(), range(AT_ONCE, labels.size, AT_ONCE))
    counts = np.sum([np.bincount(part, minlength=len(card.classes)) for part in parts], axis=0)
    order = [int(index) for index in np.argsort(-counts, kind="stable") if counts[index]]
    names = [one.name for one in card.classes]
    colours = colours_of(card)
    sides = shown_sides(labels.shape[0], labels.shape[1], SIDE)
    shown = Image.fromarray(overlay(picture_at(image, sides), labels_at(labels, sides), colours, opacity=0.55))
    shares = {names[index]: float(counts[index] / labels.size) for index in order}
    entries = [
        (f"{names[index]}  {counts[index] / labels.size:.0%}", tuple(colours[index].tolist())) for index in order
    ]
    return Demo(with_legend(shown, entries), shares)


def words_card(words: Sequence[str], background: float | None, short_side: int) -> Card:
    """A card of these classes, in windows that overlap by half. Raises MisuseError for a threshold outside 0 to 1."""
    names = list(words)
    more: dict[str, Any] = {}
    if background is not None:
        if not 0 <= background <= 1:
            raise MisuseError(f"--background {background:g}: give a threshold from 0 to 1")
        names.append(BACKGROUND)
        more["background"] = Background(name=BACKGROUND, threshold=background)
    return Card(
        name="demo",
        pretty_name="demo",
        license="other",
        layout="none",
        split="none",
        classes=tuple(CardClass(name=name) for name in names),
        resize=Resize(short_side=short_side),
        window=Window(size=short_side, stride=max(1, short_side // 2)),
        **more,
    )


def _short_side(segmenter: Segmenter) -> int:
    size = getattr(segmenter.model, "image_size", None)
    return size if isinstance(size, int) and size < SHORT_SIDE // 2 else SHORT_SIDE
