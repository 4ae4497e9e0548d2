"""The plans of the presets: same tuning for every arm, commands that `cocu` takes, in an order that can be run."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.reproduce import cc3m
from benchmarks.reproduce.arms import ALL, BASELINE, COCU, LEARNERS, LISTS_ABLATIONS, LISTS_ALL
from benchmarks.reproduce.cc3m import Request, checks
from benchmarks.reproduce.plan import plan_of, runs_of
from benchmarks.reproduce.presets import PRESETS, Preset
from benchmarks.reproduce.steps import Step
from cli.main import app
from curation.ranking.expansion import parse_expansion
from curation.ranking.relevance import RANKINGS
from training.recipes.recipe_file import load_recipe

OUT = Path("runs/made here")
EVERY = pytest.mark.parametrize("preset", PRESETS.values(), ids=list(PRESETS))


@EVERY
def test_every_step_needs_earlier_ones_and_names_are_its_own(preset: Preset) -> None:
    steps = plan_of(preset, OUT)
    seen = set[str]()
    for step in steps:
        assert step.name not in seen
        assert seen.issuperset(step.needs)
        seen.add(step.name)


@EVERY
def test_what_a_step_reads_is_written_by_one_that_it_needs(preset: Preset) -> None:
    """Followed through the commands' own words: whatever lies in OUT has a writer among the steps before."""
    steps = {step.name: step for step in plan_of(preset, OUT)}

    def before(step: Step) -> set[str]:
        return {name for need in step.needs for name in {need, *before(steps[need])}}

    def out_of(step: Step) -> str:
        return step.command[step.command.index("--out") + 1] if "--out" in step.command else str(step.stdout)

    for step in steps.values():
        made = [out_of(steps[name]) for name in before(step)]
        read = [word.partition("=")[2] if "=" in word else word for word in step.command]
        kept = str(OUT / "features")  # each run reads what there is of it, and adds to it
        for path in (word for word in read if word.startswith(str(OUT)) and word not in (out_of(step), kept)):
            assert any(path == one or path.startswith(f"{one}/") for one in made), (step.name, path)


@EVERY
def test_arms_differ_in_concepts_alone(preset: Preset) -> None:
    for learner in LEARNERS:
        names = {COCU.recipe(learner), *(arm.recipe(learner) for arm in ALL)}
        assert names == {COCU.recipe(learner), BASELINE.recipe(learner)}
        ours, theirs = (load_recipe(arm.recipe(learner), []).model_dump() for arm in (COCU, BASELINE))
        assert {name for name in ours if ours[name] != theirs[name]} == {"concepts"}
        assert LEARNERS[learner].batch == ours["data"]["batch"]
    trained = [step.command for step in plan_of(preset, OUT) if step.kind == "train"]
    allowed = ("seed=", "epochs=", "validation.every_steps=", "concepts=", "data.concepts_per_image=", "miniature=")
    for command in trained:
        assert [word for word in command if "=" in word and not word.startswith(allowed)] == []
        assert f"epochs={preset.epochs:g}" in command


@EVERY
def test_recipes_take_the_settings_and_end_where_the_plan_says(preset: Preset) -> None:
    steps = {step.name: step for step in plan_of(preset, OUT)}
    runs = runs_of(preset)
    for run in {(run.learner, run.arm.name): run for run in runs}.values():
        if not run.trained:
            assert steps[f"eval-{run.name}"].command[2] == "miniature"
            continue
        step = steps[f"train-{run.name}"]
        recipe = load_recipe(step.command[2], [w for w in step.command if "=" in w and not w.startswith("miniature=")])
        # As training/step/schedule.py and training/batches/loader.py count.
        last = round(recipe.epochs * (preset.pairs // recipe.data.batch))
        assert str(step.writes[0]).endswith(f"checkpoints/step-{last:08d}/model.safetensors")
        evaluated = steps[f"eval-{run.name}"].command[2]
        assert evaluated == str(step.writes[0].parent)
        if run.watched:
            assert last % (recipe.validation.every_steps or 0) < last / preset.validations


def test_the_cpu_preset_has_the_arms_of_the_paper() -> None:
    every = runs_of(PRESETS["cpu"])
    runs = {(run.arm.name, run.seed) for run in every if run.learner == "patch-alignment"}
    assert {("baseline", seed) for seed in (0, 1, 2)} | {("cocu", seed) for seed in (0, 1, 2)} <= runs
    assert len(runs) == 6 + 17
    ours = {(run.arm.name, run.seed) for run in every if run.learner == "self-training"}
    main = {(name, seed) for name in ("baseline", "cocu") for seed in (0, 1, 2)}
    others = ("clip", "oracle", "shuffled", *(arm.name for arm in LISTS_ABLATIONS))
    assert ours == main | {(name, 0) for name in others}
    asked = {arm.name.partition("-")[0] for arm in LISTS_ABLATIONS}
    assert asked == {"preset", "ranking", "expansion", "neighbours", "keep"}
    first = [step.name for step in plan_of(PRESETS["cpu"], OUT) if step.kind == "train"][:6]
    assert {name.partition("-seed")[0] for name in first} == {
        "train-self-training-baseline",
        "train-self-training-cocu",
    }


def test_options_of_curations_are_those_of_cocu() -> None:
    for arm in (*ALL, *LISTS_ALL):
        options = dict(zip(arm.curation.options[::2], arm.curation.options[1::2], strict=True))
        assert options.keys() <= {"--preset", "--expansion", "--ranking", "--neighbours", "--keep"}
        parse_expansion(options.get("--expansion", "image"))
        assert options.get("--ranking", "paper") in RANKINGS
        assert int(options.get("--neighbours", "1")) > 0
        assert int(options.get("--keep", "1")) > 0


@pytest.mark.parametrize("kind", ["data", "index", "curate", "score", "train", "eval"])
def test_commands_are_of_cocu(kind: str) -> None:
    """With --help behind them, all options before it are looked at, and nothing is done."""
    steps = [step for step in plan_of(PRESETS["smoke"], OUT) if step.kind == kind and step.command[0] == "cocu"]
    steps += [step for step in cc3m.plan(Request("x.tar", OUT)) if step.kind == kind and step.command[0] == "cocu"]
    assert steps
    for step in steps:
        unknown = CliRunner().invoke(app, [*step.command[1:], "--no-such-option", "--help"])
        assert "no such option: --no-such-option" in str(unknown.exception)
        found = CliRunner().invoke(app, [*step.command[1:], "--help"])
        assert found.exit_code == 0, found.output


# The paper's recipe.


def test_the_paper_is_refused_line_by_line(tmp_path: Path) -> None:
    request = Request(
        str(tmp_path / "*.tar"), tmp_path, ("voc2012=" + str(tmp_path), "nothing"), model="ViT-B-17@openai"
    )
    found = {finding.what: finding for finding in checks(request)}
    assert list(found) == ["shards", "encoder", "GPU", "disk", "benchmark voc2012", "benchmark nothing"]
    for what in ("shards", "encoder", "benchmark voc2012", "benchmark nothing"):
        assert not found[what].well
        assert found[what].line().startswith("missing")
    assert str(tmp_path) in found["shards"].said
    assert "ViT-B-17" in found["encoder"].said


def test_the_plan_of_the_paper_goes_from_shards_to_figures() -> None:
    request = Request("cc3m/{0..9}.tar", Path("out"), ("voc2012=VOC devkit",), gpus=8)
    steps = {step.name: step for step in cc3m.plan(request)}
    assert list(steps) == ["index", "curate-cocu", *(f"{k}-{r}" for r in cc3m.RECIPES for k in ("train", "eval"))]
    assert "--model ViT-B-16 --pretrained openai" in steps["index"].typed
    assert "--preset paper" in steps["curate-cocu"].typed
    recipes = [load_recipe(name, []) for name in cc3m.RECIPES]
    assert [recipe.concepts for recipe in recipes] == ["caption", "curated-cluster"]
    for name in cc3m.RECIPES:
        assert steps[f"train-{name}"].typed.startswith(
            f"torchrun --no-python --standalone --nproc-per-node 8 cocu train {name}"
        )
        assert "'voc2012=VOC devkit'" in steps[f"eval-{name}"].command[-1]
    assert cc3m.plan(Request("x", Path("out")))[2].command[0] == "cocu"


def test_the_last_checkpoint_is_the_one_that_is_measured(tmp_path: Path) -> None:
    """The line of the shell, with `echo` in the place of `cocu`."""
    import subprocess

    for step in (5, 90, 100):
        (tmp_path / "out of it/runs/groupvit_cc3m/checkpoints" / f"step-{step:08d}").mkdir(parents=True)
    plan = cc3m.plan(Request("x", tmp_path / "out of it", ("a=b",)))
    line = next(step for step in plan if step.name == "eval-groupvit_cc3m").command[-1]
    said = subprocess.run(["bash", "-c", line.replace("cocu", "echo", 1)], capture_output=True, text=True, check=True)
    assert (
        said.stdout.split("--benchmark")[0].strip().endswith("out of it/runs/groupvit_cc3m/checkpoints/step-00000100")
    )
