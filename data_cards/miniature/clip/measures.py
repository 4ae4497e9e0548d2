"""What the tiny CLIP knows, on pictures that it was not trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_cards.cards import Card
from data_cards.miniature.captions.writer import VISIBLE


@dataclass(frozen=True)
class ClipFigures:
    """Figures of one model on N held-out pictures.

    ranking: mean average precision of ranking the classes of a picture, over pictures. classes: average precision of
    finding the pictures of a class, by class; stuff, things: their means. neighbours: as `ranking`, with the classes
    ranked by how many of the picture's 16 nearest pictures show them. recall: picture to caption, recall@1 among
    the N captions, by style.
    """

    pictures: int
    ranking: float
    classes: Mapping[str, float]
    stuff: float
    things: float
    neighbours: float
    recall: Mapping[str, float]

    @property
    def all_classes(self) -> float:
        """Mean of `classes`, over those that occur."""
        return float(np.nanmean(list(self.classes.values())))


def measure(
    images: NDArray[np.float32],
    prompts: NDArray[np.float32],
    captions: Mapping[str, NDArray[np.float32]],
    area: NDArray[np.float32],
    card: Card,
) -> ClipFigures:
    """Figures from unit vectors of pictures [N, D], of the classes' prompts [C, D], of captions [N, D] by style.

    area: share of each picture that each class covers, [N, C].
    """
    visible = area >= VISIBLE
    scores = images @ prompts.T
    by_class = dict(zip(card.kinds(), average_precision(scores.T, visible.T).tolist(), strict=True))
    kinds = card.kinds()
    alike = images @ images.T
    np.fill_diagonal(alike, -np.inf)
    nearest = np.argpartition(-alike, 16, axis=1)[:, :16]
    return ClipFigures(
        pictures=len(images),
        ranking=float(np.nanmean(average_precision(scores, visible))),
        classes=by_class,
        stuff=float(np.nanmean([value for name, value in by_class.items() if kinds[name] == "stuff"])),
        things=float(np.nanmean([value for name, value in by_class.items() if kinds[name] == "thing"])),
        neighbours=float(np.nanmean(average_precision(visible[nearest].mean(1), visible))),
        recall={style: recall_at_1(images @ vectors.T) for style, vectors in captions.items()},
    )


def average_precision(scores: NDArray[np.floating], relevant: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Average precision of each row's ranking, [R, C] -> [R]; nan for a row without anything relevant.

    Of equal scores the relevant ones count as ranked last, so that nothing is gained by ties.
    """
    order = np.lexsort((relevant, -scores), axis=1)
    hits = np.take_along_axis(relevant, order, axis=1)
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    with np.errstate(invalid="ignore"):
        found: NDArray[np.float64] = (precision * hits).sum(1) / hits.sum(1)
    return found


def recall_at_1(scores: NDArray[np.floating]) -> float:
    """Share of the rows of [N, N] whose largest value, by itself, is on the diagonal."""
    own = np.diagonal(scores)
    return float((((scores >= own[:, None]).sum(1)) == 1).mean())
