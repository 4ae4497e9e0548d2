"""A preset as a plan: every command from drawing the pictures to measuring the last checkpoint, in order of weight."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.reproduce.arms import COCU_CURATION, Arm, Curation
from benchmarks.reproduce.presets import Preset
from benchmarks.reproduce.steps import Step


@dataclass(frozen=True)
class Places:
    """Where in OUT everything lies."""

    out: Path

    @property
    def pairs(self) -> Path:
        """The training pairs of the miniature."""
        return self.out / "pairs"

    @property
    def index(self) -> Path:
        """Their index."""
        return self.out / "index"

    @property
    def validation(self) -> Path:
        """The validation pairs, with masks."""
        return self.out / "validation"

    @property
    def features(self) -> Path:
        """What runs keep of a frozen tower's features."""
        return self.out / "features"

    @property
    def validation_curated(self) -> Path:
        """The validation pairs with their concepts."""
        return self.out / "curated" / "validation"

    def curated(self, curation: Curation) -> Path:
        """A curated folder."""
        return self.curated_as(curation.name)

    def curated_as(self, name: str) -> Path:
        """The curated folder of this name."""
        return self.out / "curated" / name

    def score(self, curation: Curation) -> Path:
        """What `cocu curate score` says of it."""
        return self.out / "scores" / f"{curation.name}.json"

    def run(self, name: str) -> Path:
        """The folder of a training run."""
        return self.out / "runs" / name

    def eval(self, name: str) -> Path:
        """The results of its last checkpoint."""
        return self.out / "eval" / name


@dataclass(frozen=True)
class TrainingRun:
    """One training run: an arm, a learner, a seed. watched: validated on its way."""

    arm: Arm
    learner: str
    seed: int
    watched: bool

    @property
    def trained(self) -> bool:
        """Whether there is anything to train."""
        return self.arm.concepts != "none"

    @property
    def name(self) -> str:
        """Of its folders and steps."""
        of_learner = "" if self.learner == "patch-alignment" else f"{self.learner}-"
        return f"{of_learner}{self.arm.name}-seed{self.seed}"


def runs_of(preset: Preset) -> tuple[TrainingRun, ...]:
    """The runs of a preset, those of the main table first; of these one seed after the other."""
    return tuple(
        TrainingRun(arm, trainings.learner, seed, watched=arm.group == "main")
        for trainings in preset.trainings
        for seed in trainings.seeds
        for arm in trainings.arms
    )


def plan_of(preset: Preset, out: Path) -> list[Step]:
    """All steps of a preset."""
    place = Places(out)
    steps = [*_data(preset, place)]
    made = set[str]()
    for run in runs_of(preset):
        curation = run.arm.curation
        if curation.name not in made:
            made.add(curation.name)
            steps += _curation(curation, place)
        if run.trained:
            steps.append(_training(run, preset, place))
        steps.append(_evaluation(run, preset, place))
    return steps


def _data(preset: Preset, place: Places) -> Iterator[Step]:
    """The pictures, their index and the validation set."""
    draw = ("cocu", "data", "miniature", "--out")
    yield Step(
        "data-train",
        (*draw, str(place.pairs), "--pairs", str(preset.pairs), "--seed", str(preset.seed)),
        writes=(place.pairs / "truth.parquet", place.pairs / "synonyms.json"),
        alone=True,
    )
    yield Step(
        "data-validation",
        (
            *(*draw, str(place.validation), "--split", "val"),
            *("--pairs", str(preset.validation_pairs), "--seed", str(preset.validation_seed)),
        ),
        writes=(place.validation / "truth.parquet",),
        alone=True,
    )
    yield Step(
        "index",
        ("cocu", "index", "build", str(place.pairs), "--model", "miniature", "--out", str(place.index)),
        needs=("data-train",),
        writes=(place.index / "manifest.json",),
        alone=True,
    )
    yield _curate(COCU_CURATION, place)
    validation = ("--anchors", str(place.validation), "--out", str(place.validation_curated))
    yield Step(
        "curate-validation",
        ("cocu", "curate", "run", str(place.index), *COCU_CURATION.options, *validation),
        needs=("index", "data-validation"),
        writes=(place.validation_curated / "shards",),
    )


def _curation(curation: Curation, place: Places) -> list[Step]:
    """A curated folder, and how good it is."""
    if curation == COCU_CURATION:
        return [_score(curation, place)]
    if curation.rewritten is None:
        return [_curate(curation, place), _score(curation, place)]
    source, out = place.curated_as(curation.source), place.curated(curation)
    rewrite = Step(
        f"curate-{curation.name}",
        ("python", "-m", "benchmarks.reproduce.shards", curation.rewritten, str(source), "--out", str(out)),
        needs=(f"curate-{curation.source}",),
        writes=(out / "manifest.json",),
    )
    return [rewrite, _score(curation, place)]


def _curate(curation: Curation, place: Places) -> Step:
    out = place.curated(curation)
    return Step(
        f"curate-{curation.name}",
        ("cocu", "curate", "run", str(place.index), *curation.options, "--out", str(out)),
        needs=("index",),
        writes=(out / "shards",),
    )


def _score(curation: Curation, place: Places) -> Step:
    truth = ("--truth", str(place.pairs / "truth.parquet"), "--synonyms", str(place.pairs / "synonyms.json"))
    return Step(
        f"score-{curation.name}",
        ("cocu", "curate", "score", str(place.curated(curation)), *truth, "--json"),
        needs=(f"curate-{curation.name}",),
        stdout=place.score(curation),
    )


def _training(run: TrainingRun, preset: Preset, place: Places) -> Step:
    """Runs of the main table are measured on their way; validation changes nothing that is learnt."""
    folder = place.run(run.name)
    options = ["--data", str(place.curated(run.arm.curation) / "shards"), "--out", str(folder)]
    settings = [f"seed={run.seed}", f"epochs={preset.epochs:g}", *run.arm.overrides]
    needs = [f"curate-{run.arm.curation.name}"]
    if run.watched:
        options += ["--val", str(place.validation_curated / "shards"), "--benchmark", f"miniature={place.validation}"]
        settings.append(f"validation.every_steps={max(1, preset.steps(run.learner) // preset.validations)}")
        needs.append("curate-validation")
    if preset.workers is not None:
        options += ["--workers", str(preset.workers)]
    if run.learner == "self-training":
        options += ["--features", str(place.features)]
    options += ["--device", preset.device, "--no-tensorboard"]
    return Step(
        f"train-{run.name}",
        ("cocu", "train", run.arm.recipe(run.learner), *options, *settings),
        needs=tuple(needs),
        writes=(_last_checkpoint(run, preset, place) / "model.safetensors",),
    )


def _evaluation(run: TrainingRun, preset: Preset, place: Places) -> Step:
    """Of the last checkpoint: the best one was chosen by the very pictures that it is measured on."""
    checkpoint, out = _last_checkpoint(run, preset, place) if run.trained else "miniature", place.eval(run.name)
    options = ("--benchmark", f"miniature={place.validation}", "--device", preset.device, "--gallery", "0")
    return Step(
        f"eval-{run.name}",
        ("cocu", "eval", str(checkpoint), *options, "--out", str(out), "--overwrite"),
        needs=(*([f"train-{run.name}"] if run.trained else []), "data-validation"),
        writes=(out / "results.json", out / "miniature" / "counts.npz"),
    )


def _last_checkpoint(run: TrainingRun, preset: Preset, place: Places) -> Path:
    return place.run(run.name) / "checkpoints" / f"step-{preset.steps(run.learner):08d}"
