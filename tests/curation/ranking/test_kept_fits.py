"""Fitted models are kept with the index: read again they are what was fitted, and nothing else is taken for them."""

import dataclasses
import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.index.opened import Index, open_index
from curation.ranking import kept_fits
from curation.ranking.fitted import FittedModels, fit_models
from curation.ranking.kept_fits import fitted_models
from curation.ranking.options import CurateOptions, preset_options
from curation.ranking.picture_statistics import PictureStatistics
from files.errors import MisuseError
from tests.integration.commands import succeed


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    succeed("data", "miniature", "--out", folder / "pairs", "--pairs", "120", "--seed", "5")
    succeed("index", "build", folder / "pairs", "--model", "miniature", "--out", folder / "index")
    return folder / "index"


@pytest.fixture
def index(built: Path, tmp_path: Path) -> Index:
    return open_index(Path(shutil.copytree(built, tmp_path / "index")))


def parts(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """The arrays and values within models, by where they stand."""
    if isinstance(value, PictureStatistics):
        yield f"{where}.concepts", value.concepts
        yield f"{where}.pictures", np.asarray(value.pictures)
        yield f"{where}.mean", value.sampled[0]
        yield f"{where}.covariance", value.sampled[1]
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from parts(getattr(value, field.name), f"{where}.{field.name}")
    else:
        yield where, value


def same(one: FittedModels, other: FittedModels) -> None:
    left, right = dict(parts(one)), dict(parts(other))
    assert left.keys() == right.keys()
    for name, value in left.items():
        if isinstance(value, np.ndarray):
            assert value.dtype == right[name].dtype, name
            np.testing.assert_array_equal(value, right[name], name)
        else:
            assert value == right[name], name


def no_fit(*arguments: Any) -> FittedModels:
    raise AssertionError("was kept, and is fitted again")


OPTIONS = [
    CurateOptions(),
    CurateOptions(ranking="support", expansion="image"),
    CurateOptions(confidence=0.1),
    preset_options("clip"),
    preset_options("paper", merge=True, confidence=0.05),
]


@pytest.mark.parametrize("options", OPTIONS)
def test_what_is_read_is_what_was_fitted(index: Index, options: CurateOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fitted_models(index, options)
    same(first, fit_models(index, options))
    monkeypatch.setattr(kept_fits, "fit_models", no_fit)
    same(first, fitted_models(index, options))


def test_an_index_is_built_with_what_its_usual_curation_asks_for(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_fits, "fit_models", no_fit)
    assert fitted_models(index, CurateOptions()).picture is not None
    assert fitted_models(index, CurateOptions(keep=4, seed=3)).picture is not None  # which the fit does not know


def test_other_options_other_code_and_another_index_are_fitted_anew(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(index: Index, options: CurateOptions) -> FittedModels:
        times.append(options)
        return fit_models(index, options)

    times: list[CurateOptions] = []
    monkeypatch.setattr(kept_fits, "fit_models", asked)
    for options in (CurateOptions(neighbours=8), CurateOptions(grounded=False), CurateOptions(expansion="caption")):
        fitted_models(index, options)
    assert len(times) == 3
    assert len(list((index.path / "fits").iterdir())) == 4
    monkeypatch.setattr(kept_fits, "_of_code", lambda: "other")
    fitted_models(index, CurateOptions())
    assert len(times) == 4
    assert len(list((index.path / "fits").iterdir())) == 1, "those of the former code are of no use"
    other = dataclasses.replace(index, manifest=index.manifest | {"fingerprint": [0.5]})
    fitted_models(other, CurateOptions())
    assert len(times) == 5


def damaged(data: bytes, kind: str) -> bytes:
    if kind == "cut short":
        return data[: len(data) // 2]
    if kind == "a byte changed":
        return data[:900] + bytes([data[900] ^ 255]) + data[901:]
    if kind == "empty":
        return b""
    arrays = dict(np.load(io.BytesIO(data)))
    values = json.loads(arrays["values"].tobytes())
    changed: dict[str, Any] = {
        "an array of another length": {"support_prior": arrays["support_prior"][1:]},
        "an array of another kind": {"trust": arrays["trust"].astype(np.float64)},
        "an array too many": {"more": arrays["trust"]},
        "a concept that is none": {"families_same": arrays["families_same"] + np.int32(1)},
        "what is no number": {"pictures_covariance": arrays["pictures_covariance"] * np.float32(np.nan)},
        "objects": {"trust": np.array([{}], object)},
        "values of another shape": {"values": np.frombuffer(json.dumps({**values, "support": 3}).encode(), np.uint8)},
        "no values": {"values": np.zeros(0, np.uint8)},
    }.get(kind, {})
    if kind == "an array missing":
        del arrays["picture_lift"]
    out = io.BytesIO()
    (np.savez_compressed if kind == "compressed" else np.savez)(out, **(arrays | changed))
    return out.getvalue()


KINDS = [
    *("cut short", "a byte changed", "empty", "compressed", "an array missing", "an array too many", "objects"),
    *("an array of another length", "an array of another kind", "a concept that is none", "no values"),
    *("values of another shape", "what is no number"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_damaged_is_fitted_again(index: Index, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = (index.path / "fits").iterdir()
    good = fitted_models(index, CurateOptions())
    before = path.read_bytes()
    path.write_bytes(damaged(before, kind))
    same(good, fitted_models(index, CurateOptions()))
    assert f"{path}: cannot be read (" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_pictures_are_not_read_again(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted_models(index, CurateOptions())
    monkeypatch.setattr(np, "cov", no_fit)
    kept = fitted_models(index, CurateOptions())
    assert kept.judge is not None
    assert kept.judge.witness.statistics.spread.any()
    assert not kept.statistics.alike


def test_a_header_that_promises_terabytes_costs_nothing(index: Index) -> None:
    (path,) = (index.path / "fits").iterdir()
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 43,)})
    members["judge_steps.npy"] = header.getvalue() + bytes(64)
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    assert fitted_models(index, CurateOptions()).judge is not None


def test_where_there_is_no_place_for_it_the_curation_goes_on(index: Index, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(index.path / "fits")
    (index.path / "fits").write_text("a file where the folder would be")
    assert fitted_models(index, CurateOptions()).picture is not None
    assert "what was fitted can't be kept there" in capsys.readouterr().err


def test_too_few_pairs_for_a_confidence_are_told_each_time(tmp_path: Path) -> None:
    succeed("data", "miniature", "--out", tmp_path / "pairs", "--pairs", "20", "--seed", "5")
    succeed("index", "build", tmp_path / "pairs", "--model", "miniature", "--out", tmp_path / "index")
    few = open_index(tmp_path / "index")
    for _ in range(2):
        with pytest.raises(MisuseError, match=r"--confidence 0\.5: .* has too few pairs"):
            fitted_models(few, CurateOptions(confidence=0.5))


def test_code_is_told_by_its_sources_alone() -> None:
    """Compiled files come and go, and are of one Python."""
    before = kept_fits._of_code()
    kept_fits._of_code.cache_clear()
    compiled = Path(kept_fits.__file__).parent / "__pycache__" / "written_by_a_test.pyc"
    compiled.parent.mkdir(exist_ok=True)
    compiled.write_bytes(b"other")
    try:
        assert kept_fits._of_code() == before
    finally:
        compiled.unlink()
