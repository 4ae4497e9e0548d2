"""What a run is given besides its recipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.models.learner import Learner
from training.shards.found import Source

Measure = Callable[[Learner], dict[str, float]]


@dataclass(frozen=True)
class TrainOptions:
    """What a run is given besides its recipe.

    data, val: shards to train on, and to measure on (none: no validation). resume: auto, never, or a checkpoint's
    folder. init: what a new run begins with, in place of the recipe's own (start.py). trust_remote_code: whether Python
    code that comes with it may run. weights: a table of how likely an epoch sees each pair. workers: loading processes
    of each rank; None: fitted to the cores. features: folder that keeps what frozen towers make of pictures
    (feature_cache.py); None: one in the run's. measure: figures of a learner in eval mode, asked for at every
    validation on the leading process; "miou" among them then decides what is best.
    """

    run: Path
    data: Sequence[Source]
    val: Sequence[Source] = ()
    resume: str = "auto"
    init: str | None = None
    trust_remote_code: bool = False
    weights: Path | None = None
    features: Path | None = None
    device: str = "auto"
    compile: bool = False
    workers: int | None = None
    tensorboard: bool = True
    wandb: bool = False
    measure: Measure | None = None
