"""A tiny reproduction, from nothing to the report."""

import json
from pathlib import Path

import pytest

from benchmarks.reproduce import __main__ as command
from benchmarks.reproduce import presets
from benchmarks.reproduce.arms import BOUNDS, MAIN
from benchmarks.reproduce.presets import Preset, Trainings


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_from_nothing_to_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trainings = (Trainings("patch-alignment", (*MAIN, *BOUNDS), (0,)),)
    tiny = Preset("tiny", pairs=256, validation_pairs=20, epochs=2, validations=2, trainings=trainings)
    monkeypatch.setitem(presets.PRESETS, "tiny", tiny)
    out = tmp_path / "out"
    arguments = ["--preset", "tiny", "--out", str(out), "--jobs", "2"]
    assert command.main(arguments) == 0
    assert "[18 of 18]" in capsys.readouterr().out

    report = json.loads((out / "report.json").read_text())
    found = report["learners"][0]
    for row in found["ablations"]["rows"]:
        results = json.loads((out / "eval" / f"{row['arm']}-seed0" / "results.json").read_text())
        assert row["miou"]["values"] == [results["benchmarks"][0]["mean_iou"]["value"]]
    quality = {row["arm"]: row["precision"] for row in found["ablations"]["rows"]}
    assert quality["oracle"] == 1.0
    assert quality["shuffled"] < quality["cocu"]
    assert [curve["samples"] for curve in found["convergence"]["curves"]] == [[256, 512]] * 2
    for curve in found["convergence"]["curves"]:  # the last validation measures what the evaluation measures again
        results = json.loads((out / "eval" / f"{curve['arm']}-seed0" / "results.json").read_text())
        assert curve["miou"][-1] == pytest.approx(results["benchmarks"][0]["mean_iou"]["value"], abs=1e-4)
    assert report["made"]["missing"] == []

    # Again: nothing is left to do. A run that is gone is made again, and what was measured of it is the same.
    assert command.main(arguments) == 0
    assert "18 of 18 steps were done before" in capsys.readouterr().out
    before = (out / "eval" / "cocu-seed0" / "miniature" / "classes.csv").read_text()
    for name in ("train-cocu-seed0", "eval-cocu-seed0"):
        (out / "steps" / f"{name}.json").unlink()
    (out / "eval" / "cocu-seed0" / "results.json").unlink()
    assert command.main(arguments) == 0
    assert (out / "eval" / "cocu-seed0" / "miniature" / "classes.csv").read_text() == before
