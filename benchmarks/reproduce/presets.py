"""How large the experiment is: the presets of `make reproduce`."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.reproduce.arms import (
    ABLATIONS,
    BOUNDS,
    LEARNERS,
    LISTS_ABLATIONS,
    LISTS_MAIN,
    LISTS_OTHERS,
    MAIN,
    Arm,
)
from files.errors import MisuseError


@dataclass(frozen=True)
class Trainings:
    """Arms that a learner trains with, each once for every seed."""

    learner: str
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Preset:
    """What is drawn and trained.

    pairs, validation_pairs: pictures of the miniature. epochs: passes of a run over the pairs. validations: how often
    a run of the main table is measured on its way. workers: loading processes of a run; None: as the trainer thinks.
    judged: whether its figures can meet the goals or miss them. note: what a reader of the report should know.
    """

    name: str
    pairs: int
    validation_pairs: int
    epochs: float
    validations: int
    trainings: tuple[Trainings, ...]
    device: str = "cpu"
    workers: int | None = 0
    seed: int = 1
    validation_seed: int = 2
    judged: bool = True
    note: str = ""

    def steps(self, learner: str) -> int:
        """Steps of a run, as the trainer counts them."""
        return max(1, round(self.epochs * max(1, self.pairs // LEARNERS[learner].batch)))


PRESETS = {
    "smoke": Preset(
        name="smoke",
        pairs=1_000,
        validation_pairs=100,
        epochs=4,
        validations=4,
        trainings=(
            Trainings("self-training", (*LISTS_MAIN, *LISTS_OTHERS), (0,)),
            Trainings("patch-alignment", (*MAIN, *BOUNDS), (0,)),
        ),
        judged=False,
        note="This preset shows that all steps work. So little data and so few steps teach next to nothing: "
        "its figures are no result.",
    ),
    "cpu": Preset(
        name="cpu",
        pairs=10_000,
        validation_pairs=500,
        epochs=4,
        validations=8,
        trainings=(
            Trainings("self-training", LISTS_MAIN, (0, 1, 2)),
            Trainings("self-training", (*LISTS_OTHERS, *LISTS_ABLATIONS), (0,)),
            Trainings("patch-alignment", MAIN, (0, 1, 2)),
            Trainings("patch-alignment", (*BOUNDS, *ABLATIONS), (0,)),
        ),
    ),
    "gpu": Preset(
        name="gpu",
        pairs=100_000,
        validation_pairs=2_000,
        epochs=10,
        validations=20,
        trainings=(
            Trainings("self-training", LISTS_MAIN, (0, 1, 2)),
            *(Trainings(learner, MAIN, (0, 1, 2)) for learner in ("patch-alignment", "groupvit")),
            Trainings("self-training", (*LISTS_OTHERS, *LISTS_ABLATIONS), (0, 1, 2)),
            Trainings("patch-alignment", (*BOUNDS, *ABLATIONS), (0, 1, 2)),
            Trainings("groupvit", (*BOUNDS, *ABLATIONS), (0, 1, 2)),
        ),
        device="cuda",
        workers=None,
    ),
}


def preset_of(name: str) -> Preset:
    """A preset by its name. Raises MisuseError."""
    if name not in PRESETS:
        raise MisuseError(f"--preset {name}: give one of {', '.join([*PRESETS, 'cc3m'])}")
    return PRESETS[name]
