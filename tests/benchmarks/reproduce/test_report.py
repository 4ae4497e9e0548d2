"""The report, from files made by hand: every figure against a plain reckoning, every word against the figures."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.reproduce import report
from benchmarks.reproduce.ablations import correlation, gap_closed
from benchmarks.reproduce.arms import BASELINE, COCU, ORACLE, SHUFFLED, Arm, Curation
from benchmarks.reproduce.comparison import reaches
from benchmarks.reproduce.convergence import first_reached
from benchmarks.reproduce.document import Block, Code, Heading, Paragraph, Picture, Table, html, markdown
from benchmarks.reproduce.plan import Places, plan_of, runs_of
from benchmarks.reproduce.presets import Preset, Trainings
from benchmarks.reproduce.report import write_report
from benchmarks.reproduce.steps import Folder
from data_cards.cards import read_card
from files.errors import CocuError
from tests.parsed_page import ATTACK, ParsedPage, read_page

CARD = read_card("miniature")
OTHER = Arm("ranking-odd", "ablation", "ranking: odd | even", Curation("ranking-odd"))
TOP = Arm("sampling-top", "ablation", "the K best", COCU.curation, overrides=("concepts=curated-top",))
PRESET = Preset(
    name="smoke",
    pairs=640,
    validation_pairs=8,
    epochs=4,
    validations=4,
    trainings=(
        Trainings("patch-alignment", (BASELINE, COCU), (0, 1)),
        Trainings("patch-alignment", (ORACLE, SHUFFLED, OTHER, TOP), (0,)),
    ),
)
MIOU = {
    **{"baseline-seed0": 0.10, "baseline-seed1": 0.12, "cocu-seed0": 0.15, "cocu-seed1": 0.13},
    **{"oracle-seed0": 0.30, "shuffled-seed0": 0.08, "ranking-odd-seed0": 0.14, "sampling-top-seed0": 0.16},
}
QUALITY = {"cocu": (0.7, 0.6), "oracle": (0.95, 1.0), "shuffled": (0.1, 0.2), "ranking-odd": (0.5, 0.5)}


def write_eval(folder: Path, miou: float, number: int) -> None:
    """results.json with figures by hand, and counts of eight pictures, drawn."""
    (folder / "miniature").mkdir(parents=True)
    random, classes = np.random.default_rng(number), [one.name for one in CARD.classes]
    true = random.integers(0, 400, (8, len(classes)))
    predicted = random.integers(0, 400, (8, len(classes)))
    right = (np.minimum(true, predicted) * random.random(true.shape) * miou).astype(np.int64)
    np.savez(
        folder / "miniature" / "counts.npz",
        keys=np.array([f"picture {n}" for n in range(8)]),
        classes=np.array(classes),
        counts=np.stack([right, true, predicted], axis=1),
    )
    one = {
        **{"name": "miniature", "card_sha256": "0" * 64, "split": "val", "rules": {}},
        "mean_iou": {"value": miou, "low": miou - 0.01, "high": miou + 0.01},
        "stuff_mean_iou": {"classes": 20, "value": 2 * miou, "low": 0.0, "high": 1.0},
        "things_mean_iou": {"classes": 32, "value": miou / 2, "low": 0.0, "high": 1.0},
        "pixel_accuracy": 3 * miou,
    }
    (folder / "results.json").write_text(json.dumps({"form": 1, "benchmarks": [one]}))


def write_log(folder: Path, miou: list[float]) -> None:
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump({"data": {"batch": 64}}))
    lines: list[dict[str, Any]] = [{"event": "train", "step": 1, "loss": 3.0}]
    for number, value in enumerate(miou, 1):
        lines.append({"event": "validation", "step": 10 * number, "miou": value, "caption_loss": 5.0 - number / 10})
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder in which all steps are done."""
    place, folder = Places(tmp_path / "out"), Folder(tmp_path / "out")
    steps = plan_of(PRESET, place.out)
    folder.begin({"preset": "smoke"}, steps)
    machine = {"cores": 2, "cpu": "a slow one <fast>", "gpu": []}
    for number, step in enumerate(steps):
        began = f"2026-01-01T00:{number:02d}:00+00:00"  # a minute after the last, and they take 90 seconds
        made = {"machine": machine, "commit": "0123456789ab", "versions": {"python": "3.11"}}
        folder.mark(step, began=began, seconds=90.0, again=step.name == "index", **made)
    for number, run in enumerate(runs_of(PRESET)):
        write_eval(place.eval(run.name), MIOU[run.name], number)
    write_log(place.run("baseline-seed0"), [0.02, 0.05, 0.07, 0.10])
    write_log(place.run("cocu-seed0"), [0.04, 0.08, 0.12, 0.15])
    write_log(place.run("baseline-seed1"), [0.02, 0.13, 0.11, 0.12])
    write_log(place.run("cocu-seed1"), [0.02, 0.05, 0.07, 0.09])
    (place.out / "scores").mkdir()
    for name, (recall, precision) in QUALITY.items():
        curated = {"recall": {"5": {"value": recall}}, "precision": {"5": {"value": precision}}}
        (place.out / "scores" / f"{name}.json").write_text(json.dumps({"scores": {"curated": curated}}))
    return place.out


def read(out: Path) -> dict[str, Any]:
    write_report(PRESET, out)
    found: dict[str, Any] = json.loads((out / "report.json").read_text())
    return found["learners"][0] | {"made": found["made"]}


def plain_miou(folder: Path, kind: str | None = None) -> float:
    """IoU of the summed counts, class by class."""
    with np.load(folder / "miniature" / "counts.npz") as file:
        counts = file["counts"].tolist()
    ious = []
    for index, one in enumerate(CARD.classes):
        if kind is None or one.kind == kind:
            right, true, predicted = (sum(picture[row][index] for picture in counts) for row in range(3))
            if true + predicted - right:
                ious.append(right / (true + predicted - right))
    return sum(ious) / len(ious)


def test_the_main_table(out: Path) -> None:
    table = read(out)["main"]
    baseline, cocu = table["arms"]
    assert (baseline["arm"], cocu["arm"], cocu["seeds"]) == ("baseline", "cocu", [0, 1])
    assert cocu["miou"] == {"mean": pytest.approx(0.14), "sd": pytest.approx(math.sqrt(2e-4)), "values": [0.15, 0.13]}
    assert baseline["stuff"]["values"] == [0.20, 0.24]
    assert baseline["pixel_accuracy"]["mean"] == pytest.approx(0.33)
    for pair in table["pairs"]:
        seed = pair["seed"]
        folders = [out / "eval" / f"{arm}-seed{seed}" for arm in ("cocu", "baseline")]
        for figure, kind in (("miou", None), ("stuff", "stuff"), ("things", "thing")):
            ours, theirs = (plain_miou(folder, kind) for folder in folders)
            assert pair[figure]["value"] == pytest.approx(ours - theirs)
            assert pair[figure]["low"] < pair[figure]["value"] < pair[figure]["high"]
    assert table["pairs"][0]["miou"]["gain"] == pytest.approx(0.5)
    assert [goal["met"] for goal in table["goals"]] == [False, False]
    assert table["goals"][0]["gains"] == [pytest.approx(0.5), pytest.approx(0.13 / 0.12 - 1)]


def test_what_is_said_of_the_goals_follows_from_the_figures(out: Path) -> None:
    write_report(PRESET, out)
    text = (out / "report.md").read_text()
    assert "Goal, mIoU at least 20% above the baseline's in every seed: missed (+50%, +8%)." in text
    edit(out / "eval" / "cocu-seed1" / "results.json", mean_iou={"value": 0.144, "low": 0.1, "high": 0.2})
    write_report(PRESET, out)
    text = (out / "report.md").read_text()
    assert "Goal, mIoU at least 20% above the baseline's in every seed: met (+50%, +20%)." in text
    assert "Goal, mIoU of stuff at least 40% above the baseline's in every seed: missed (+50%, +8%)." in text
    (out / "eval" / "cocu-seed1" / "results.json").unlink()
    write_report(PRESET, out)
    assert "in every seed: open (+50%)." in (out / "report.md").read_text()


def edit(path: Path, **changes: object) -> None:
    content = json.loads(path.read_text())
    content["benchmarks"][0] |= changes
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("before", "after", "met"),
    [(0.1, 0.12, True), (0.1, 0.119, False), (0.0, 0.001, True), (0.0, 0.0, False), (None, 1.0, False)],
)
def test_a_goal_is_a_share_above(before: float | None, after: float, met: bool) -> None:
    assert reaches(before, after, 0.2) == met


def test_convergence(out: Path) -> None:
    table = read(out)["convergence"]
    assert {(curve["arm"], curve["seed"]) for curve in table["curves"]} == {
        (arm, seed) for arm in ("baseline", "cocu") for seed in (0, 1)
    }
    assert table["curves"][0]["samples"] == [640, 1280, 1920, 2560]
    assert table["curves"][0]["caption_loss"] == pytest.approx([4.9, 4.8, 4.7, 4.6])
    first, second = table["reached"]
    assert first["target"] == 0.10
    assert first["cocu"] == pytest.approx(1600)  # half-way from 0.08 to 0.12
    assert first["baseline"] == 2560
    assert first["ratio"] == pytest.approx(1.6)
    assert second["baseline"] == pytest.approx(640 + 640 * 10 / 11)
    assert (second["cocu"], second["ratio"]) == (None, None)
    assert "not reached" in (out / "report.md").read_text()


CURVES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


@given(CURVES, st.floats(0, 1))
def test_a_curve_reaches_where_a_fine_grid_says(values: list[float], target: float) -> None:
    samples = [100.0 * (place + 1) for place in range(len(values))]
    found, bound = first_reached(samples, values, target)
    grid = np.linspace(samples[0], samples[-1], 4001)
    above = np.flatnonzero(np.interp(grid, samples, values) >= target)
    if found is None:
        assert not len(above)
        return
    assert bound == (values[0] > target)
    if values[0] >= target:
        assert found == samples[0]
        return
    assert np.interp(found, samples, values) == pytest.approx(target, abs=1e-9)
    assume(len(above))  # a peak may lie between two points of the grid
    assert found <= grid[above[0]] + 1e-6
    assert np.interp(grid[grid < found - 1e-6], samples, values).max(initial=-1) < target


def test_ablations(out: Path) -> None:
    table = read(out)["ablations"]
    assert table["seeds"] == [0]
    rows = {row["arm"]: row for row in table["rows"]}
    assert list(rows) == ["baseline", "cocu", "oracle", "shuffled", "ranking-odd", "sampling-top"]
    gaps = {name: row["gap_closed"]["mean"] for name, row in rows.items()}
    wanted = {"baseline": 0.0, "cocu": 0.25, "oracle": 1.0, "shuffled": -0.1, "ranking-odd": 0.2, "sampling-top": 0.3}
    assert gaps == pytest.approx(wanted)
    assert (rows["baseline"]["recall"], rows["baseline"]["f1"]) == (None, None)
    assert (rows["sampling-top"]["recall"], rows["sampling-top"]["precision"]) == QUALITY["cocu"]
    assert rows["cocu"]["f1"] == pytest.approx(2 / (1 / 0.7 + 1 / 0.6))
    assert rows["cocu"]["from_cocu"] == []
    for name in ("baseline", "oracle", "ranking-odd"):
        (found,) = rows[name]["from_cocu"]
        folders = [out / "eval" / f"{arm}-seed0" for arm in (name, "cocu")]
        assert found["value"] == pytest.approx(plain_miou(folders[0]) - plain_miou(folders[1]))


@pytest.mark.parametrize("bounds", [(None, 0.3), (0.1, None), (0.1, 0.1), (0.2, 0.1)])
def test_without_a_gap_nothing_of_it_is_closed(bounds: tuple[float | None, float | None]) -> None:
    assert gap_closed(0.2, *bounds) is None


def test_quality_against_training(out: Path) -> None:
    quality = read(out)["quality"]
    names = [point["arm"] for point in quality["points"]]
    assert names == ["cocu", "oracle", "shuffled", "ranking-odd"]  # sampling-top has the curation of cocu
    f1 = [2 / (1 / r + 1 / p) for r, p in (QUALITY[name] for name in names)]
    miou = [MIOU[f"{name}-seed0"] for name in names]
    assert quality["all"]["pearson"] == pytest.approx(stats.pearsonr(f1, miou).statistic)
    assert quality["all"]["spearman"] == pytest.approx(stats.spearmanr(f1, miou).statistic)
    assert quality["without_bounds"] == {"points": 2, "pearson": None, "spearman": None}


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=12))
def test_correlations_are_those_of_scipy(points: list[tuple[int, int]]) -> None:
    f1, miou = ([float(point[axis]) for point in points] for axis in (0, 1))
    found = correlation([{"f1": a, "miou": b} for a, b in points])
    if len(set(f1)) == 1 or len(set(miou)) == 1:
        assert found["pearson"] is found["spearman"] is None
        return
    assert found["pearson"] == pytest.approx(stats.pearsonr(f1, miou).statistic)
    assert found["spearman"] == pytest.approx(stats.spearmanr(f1, miou).statistic)


def test_how_it_was_made(out: Path) -> None:
    made = read(out)["made"]
    steps = len(plan_of(PRESET, out))
    assert made["step_seconds"] == 90 * steps
    assert made["wall_seconds"] == 60 * (steps - 1) + 90
    assert [machine["cores"] for machine in made["machines"]] == [2]
    assert (made["commits"], made["missing"]) == (["0123456789ab"], [])
    text = (out / "report.md").read_text()
    assert made["again"] == ["index"]
    assert "begun more than once, and the last time counted: index" in text
    for step in plan_of(PRESET, out):
        assert f"# {step.name}: 90 s\n{step.typed}" in text


def test_the_page_needs_nothing_else(out: Path) -> None:
    page = read_page(write_report(PRESET, out).read_text(encoding="utf-8"))
    assert len(page.sources) == 3
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert "2 cores of a slow one <fast>, no GPU" in page.text
    assert "ranking: odd | even" in page.texts
    assert "ranking: odd \\| even" in (out / "report.md").read_text()
    for plot in ("convergence", "ablations", "quality"):
        assert (out / "plots" / f"{plot}-patch-alignment.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_not_there_yet_is_a_dash(tmp_path: Path) -> None:
    out = tmp_path / "out"
    Folder(out).begin({"preset": "smoke"}, plan_of(PRESET, out))
    write_report(PRESET, out)
    text = (out / "report.md").read_text()
    assert "Not done, and left out: data-train, data-validation, index" in text
    assert "in every seed: open (not measured)" in text
    assert "Convergence" not in text


def test_a_broken_score_is_named(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (out / "scores" / "cocu.json").write_text("{}")
    with pytest.raises(CocuError, match=r"cocu\.json: cannot be read"):
        write_report(PRESET, out)
    assert report.main([str(out / "nowhere")]) == 2
    assert "plan.json" in capsys.readouterr().err


def blocks_of(folder: Path, said: str) -> list[Block]:
    (folder / "plots").mkdir(exist_ok=True)
    (folder / "plots" / "a.png").write_bytes(b"png")
    return [
        Heading(said, 1),
        Paragraph(f"1 & {said}"),
        Table(["x", said], [[f"a|{said}", "1"], ["c", said]], marked=[1]),
        Picture(folder / "plots" / "a.png", f"says {said}"),
        Code(said, ["cocu 'a' && b", said]),
    ]


def test_a_document_is_escaped_in_both_forms(tmp_path: Path) -> None:
    text = markdown(blocks_of(tmp_path, '"so"'), tmp_path)
    assert '| a\\|"so" | 1 |\n| **c** | **"so"** |' in text
    assert '![says "so"](plots/a.png)' in text
    assert "```\ncocu 'a' && b\n" in text
    page = read_page(html(blocks_of(tmp_path, ATTACK)))
    assert page.elements == ParsedPage(html(blocks_of(tmp_path, "plain"))).elements
    assert {ATTACK, f"1 & {ATTACK}", f"a|{ATTACK}", f"cocu 'a' && b\n{ATTACK}"} <= set(page.texts)
    assert page.by_class["marked"] == [f"c{ATTACK}"]
    assert page.by_class["number"] == [ATTACK, "1", ATTACK]
    assert ("img", "alt", f"says {ATTACK}") in page.attributes
    assert page.sources == ["data:image/png;base64,cG5n"]
