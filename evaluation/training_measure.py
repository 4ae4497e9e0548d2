"""Zero-shot segmentation as a measure of a run in training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_cards.cards import Card
from data_cards.layouts.benchmark import open_benchmark
from evaluation.figures.confusion import figures
from evaluation.figures.tally import chosen_pictures, refuse_missing, tally
from evaluation.labels.inference import Rules
from evaluation.models.prompts import TemplateSet, class_vectors
from evaluation.models.segmenters import learner_segmenter
from evaluation.results.doubts import refuse_empty_truth


def validation_measure(
    card: Card,
    path: Path,
    *,
    split: str | None = None,
    limit: int | None = None,
    templates: TemplateSet = "simple",
    batch: int = 16,
) -> Callable[[Any], dict[str, float]]:
    """What gives {"miou": ...} of a learner on a benchmark, for TrainOptions.measure.

    limit: pictures, spread evenly over the benchmark. The benchmark is opened at once, so that what is wrong with it
    is said before anything is trained. Raises MisuseError, CocuError; when called, BadItem, or CocuError where no
    pixel of the truth counts.
    """
    benchmark = open_benchmark(card, path, split)
    refuse_missing(benchmark, hint="complete the data set")
    indices = chosen_pictures(len(benchmark), limit)

    def measure(learner: Any) -> dict[str, float]:
        segmenter = learner_segmenter(learner, "the run")
        vectors = class_vectors(segmenter, card, templates)
        rules = Rules(windows_at_once=batch)
        counted = tally(segmenter, benchmark, vectors, rules, indices=indices, batch=batch)
        refuse_empty_truth(counted.counts, card, path)
        return {"miou": figures(counted.counts.sum(0)).mean_iou}

    return measure
