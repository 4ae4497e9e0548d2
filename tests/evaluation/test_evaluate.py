"""The whole evaluation: its figures against label maps counted by brute force, bad pictures, shares of processes."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import jaccard_score

from benchmarks.speed.tiny_pairs import write_tar
from data_cards.cards import Background, Card, read_card
from data_cards.layouts.benchmark import open_benchmark
from data_cards.layouts.decoding import BadItem
from data_cards.miniature.pairs import draw_pair
from evaluation.evaluate import EvaluateOptions, Opened, evaluate, evaluate_all
from evaluation.figures.tally import PictureTally, Share, chosen_pictures, merged, tally
from evaluation.labels.inference import Rules, segment_images
from evaluation.models.segmenters import Segmenter, load_segmenter
from evaluation.results.background_sweep import THRESHOLDS
from evaluation.setting import TextSetting, Wording, setting_of
from evaluation.training_measure import validation_measure
from files.errors import CocuError, MisuseError
from tests.evaluation.tiny_checkpoints import make_checkpoint, make_miniature
from training.processes import Place

PICTURES = 12
PLAIN = Rules()
ALONE = Place(0, 1, torch.device("cpu"))
MINIATURE = read_card("miniature")
WITH_BACKGROUND = MINIATURE.model_copy(update={"background": Background(name="sky", threshold=0.3)})


@pytest.fixture(scope="module")
def val(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_miniature(tmp_path_factory.mktemp("val"), PICTURES)


@pytest.fixture(scope="module", params=["groupvit", "patch-alignment"])
def segmenter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Segmenter:
    return load_segmenter(make_checkpoint(tmp_path_factory.mktemp("run"), request.param))


def run(
    segmenter: Segmenter, path: Path, out: Path, card: Card = MINIATURE, overwrite: bool = False, **options: Any
) -> dict[str, Any]:
    chosen = EvaluateOptions(**{"shown": 0, **options})
    return evaluate_all(segmenter, [(card, path)], out, chosen, ALONE, overwrite=overwrite)


def setting(segmenter: Segmenter, card: Card = MINIATURE, **wording: Any) -> TextSetting:
    return setting_of(segmenter, card, Wording(**wording), Rules(), ALONE)


def label_maps(
    segmenter: Segmenter, path: Path, card: Card = MINIATURE, batch: int = 8, rules: Rules = PLAIN
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Truth and prediction of every picture, in batches as the evaluation makes them."""
    benchmark = open_benchmark(card, path)
    vectors = setting(segmenter, card).vectors
    found = []
    for start in range(0, len(benchmark), batch):
        items = [benchmark.item(index) for index in range(start, min(start + batch, len(benchmark)))]
        labelled = segment_images(segmenter, card, vectors, [image for image, _ in items], rules)
        for (_, truth), one in zip(items, labelled, strict=True):
            found.append((truth.astype(np.int64), one.labels.numpy().astype(np.int64)))
    return found


def by_hand(maps: list[tuple[NDArray[np.int64], NDArray[np.int64]]], card: Card) -> dict[str, Any]:
    """All figures, class by class, from the label maps."""
    truth, found = (np.concatenate([each[part].ravel() for each in maps]) for part in (0, 1))
    counted = truth != (-1 if card.ignore_index is None else card.ignore_index)
    truth, found = truth[counted], found[counted]
    ious, accuracies = [], []
    for index in range(len(card.classes)):
        union = ((truth == index) | (found == index)).sum()
        ious.append(((truth == index) & (found == index)).sum() / union if union else None)
        true = (truth == index).sum()
        accuracies.append(((truth == index) & (found == index)).sum() / true if true else None)
    return {
        "ious": ious,
        "mean_iou": np.mean([one for one in ious if one is not None]),
        "pixel_accuracy": (truth == found).mean(),
        "mean_accuracy": np.mean([one for one in accuracies if one is not None]),
        "jaccard": jaccard_score(truth, found, average="macro", labels=np.unique(np.concatenate([truth, found]))),
        "predicted": len(np.unique(found)),
    }


def test_figures_are_those_of_the_label_maps(tmp_path: Path, segmenter: Segmenter, val: Path) -> None:
    (one,) = run(segmenter, val, tmp_path)["benchmarks"]
    maps = label_maps(segmenter, val)
    expected = by_hand(maps, MINIATURE)
    assert expected["predicted"] >= 4, "a model that always says the same would test nothing"
    assert expected["mean_iou"] > 0
    assert one["mean_iou"]["value"] == pytest.approx(expected["mean_iou"], abs=1e-12)
    assert one["mean_iou"]["value"] == pytest.approx(expected["jaccard"], abs=1e-12)
    assert one["mean_iou"]["low"] <= one["mean_iou"]["high"]
    for name in ("pixel_accuracy", "mean_accuracy"):
        assert one[name] == pytest.approx(expected[name], abs=1e-12)
    assert [row["iou"] for row in one["classes"]] == pytest.approx(expected["ious"], abs=1e-12)
    with np.load(tmp_path / "miniature" / "counts.npz") as counts:
        assert counts["keys"].tolist() == [f"val-{index:08d}" for index in range(PICTURES)]
        for place, (truth, found) in enumerate(maps):
            for index in range(len(MINIATURE.classes)):
                right = ((truth == index) & (found == index)).sum()
                expected_counts = [right, (truth == index).sum(), (found == index).sum()]
                assert counts["counts"][place, :, index].tolist() == expected_counts
        truth, found = (np.concatenate([each[part].ravel() for each in maps]) for part in (0, 1))
        matrix = np.zeros_like(counts["confusion"])
        np.add.at(matrix, (truth, found), 1)
        assert np.array_equal(counts["confusion"], matrix)


def test_stuff_and_things_are_means_over_their_classes(tmp_path: Path, segmenter: Segmenter, val: Path) -> None:
    (one,) = run(segmenter, val, tmp_path)["benchmarks"]
    for kind, name in (("stuff", "stuff_mean_iou"), ("thing", "things_mean_iou")):
        shares = [row["iou"] for row in one["classes"] if row["kind"] == kind and row["iou"] is not None]
        assert one[name]["value"] == pytest.approx(np.mean(shares), abs=1e-12)
    assert (one["stuff_mean_iou"]["classes"], one["things_mean_iou"]["classes"]) == (20, 32)


def parts_of(segmenter: Segmenter, val: Path, shares: int, batch: int) -> list[PictureTally]:
    benchmark = open_benchmark(MINIATURE, val)
    vectors = setting(segmenter, MINIATURE).vectors
    indices = np.arange(PICTURES)
    return [
        tally(segmenter, benchmark, vectors, Rules(), indices=indices, batch=batch, share=Share(number, shares))
        for number in range(shares)
    ]


def test_shares_of_processes_add_up_to_the_whole(segmenter: Segmenter, val: Path) -> None:
    (whole,) = parts_of(segmenter, val, 1, batch=3)
    for shares in (2, 3, 5):
        parts = parts_of(segmenter, val, shares, batch=3)
        found = merged(parts)
        for name in ("indices", "counts", "boundary", "matrix"):
            assert np.array_equal(getattr(found, name), getattr(whole, name)), (shares, name)


def test_the_sweep_has_the_threshold_of_the_run_in_it(tmp_path: Path, segmenter: Segmenter, val: Path) -> None:
    (one,) = run(segmenter, val, tmp_path, WITH_BACKGROUND, sweep=True)["benchmarks"]
    swept = one["background_sweep"]
    assert json.loads((tmp_path / "miniature" / "background_sweep.json").read_text()) == swept
    assert swept["label"] == "tuned on the evaluated data"
    assert swept["mean_iou"][THRESHOLDS.index(0.3)] == pytest.approx(one["mean_iou"]["value"], abs=1e-12)
    for place in (0, THRESHOLDS.index(0.1), len(THRESHOLDS) - 1):
        maps = label_maps(segmenter, val, WITH_BACKGROUND, rules=Rules(threshold=THRESHOLDS[place]))
        expected = by_hand(maps, WITH_BACKGROUND)["mean_iou"]
        assert swept["mean_iou"][place] == pytest.approx(expected, abs=1e-12)
    assert swept["best_mean_iou"] == max(swept["mean_iou"])
    assert len(set(swept["mean_iou"])) > 1
    Image.open(tmp_path / "miniature" / "background_sweep.png").load()
    assert "tuned on the evaluated data" in (tmp_path / "results.md").read_text()


def png(array: NDArray[np.integer]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    return out.getvalue()


def write_pictures(folder: Path, changed: dict[int, dict[str, bytes | None]], count: int = 5) -> Path:
    """Pictures of the miniature, of which some have other members, or none."""
    members = []
    for index in range(count):
        pair = draw_pair("val", 3, index)
        own: dict[str, bytes | None] = {"png": png(pair.image), "mask.png": png(pair.mask), **changed.get(index, {})}
        members += [(f"k{index}.{name}", content) for name, content in own.items() if content is not None]
    write_tar(folder / "val-000000.tar", members)
    return folder


BROKEN = {
    "a mask is missing": ({"mask.png": None}, "k1.mask.png", "missing"),
    "sizes differ": ({"mask.png": png(np.zeros((64, 60), np.uint8))}, "k1.mask.png", "60 x 64"),
    "a label is outside": ({"mask.png": png(np.full((64, 64), 77, np.uint8))}, "k1.mask.png", "holds 77"),
    "no image": ({"png": b"hello"}, "k1.png", "not in a known format"),
    "cut off": ({"png": png(draw_pair("val", 3, 1).image)[:300]}, "k1.png", "truncated picture: "),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_bad_picture_ends_the_run_or_is_left_out(tmp_path: Path, segmenter: Segmenter, kind: str) -> None:
    change, file, reason = BROKEN[kind]
    path = write_pictures(tmp_path / "data", {1: change})
    with pytest.raises((BadItem, CocuError), match=file) as raised:
        run(segmenter, path, tmp_path / "stopped")
    assert reason in str(raised.value)
    assert raised.value.exit_code == 1
    assert not (tmp_path / "stopped" / "results.json").exists()

    (one,) = run(segmenter, path, tmp_path / "skipped", skip_bad=True, batch=1)["benchmarks"]
    assert [bad["key"] for bad in one["left_out"]] == ["k1"]
    assert one["left_out"][0]["path"].endswith(file)
    assert reason in one["left_out"][0]["reason"]
    assert (one["pictures"], one["pictures_in_split"]) == (4, 5)
    assert f"{file}: " in (tmp_path / "skipped" / "results.md").read_text()
    kept = write_pictures(tmp_path / "kept", {1: {"png": None, "mask.png": None}})
    (alone,) = run(segmenter, kept, tmp_path / "alone", batch=1)["benchmarks"]
    assert one["classes"] == alone["classes"]


def test_pictures_of_16_bits_give_the_figures_of_their_high_8(tmp_path: Path, segmenter: Segmenter) -> None:
    found = []
    for bits, low in ((8, 0), (16, 0x33)):
        grey = [draw_pair("val", 3, index).image.mean(axis=2).astype(np.uint8) for index in range(5)]
        pixels = [one if bits == 8 else one.astype(np.uint16) << 8 | low for one in grey]
        path = write_pictures(tmp_path / f"{bits}", {index: {"png": png(one)} for index, one in enumerate(pixels)})
        (one,) = run(segmenter, path, tmp_path / f"out {bits}")["benchmarks"]
        found.append(one["classes"])
    assert found[0] == found[1]
    assert sum(row["pixels_predicted"] > 0 for row in found[0]) > 1


def test_nothing_left_is_an_error(tmp_path: Path, segmenter: Segmenter) -> None:
    path = write_pictures(tmp_path / "data", {index: {"png": b"?"} for index in range(5)})
    with pytest.raises(CocuError, match=r"no picture could be measured; the first: .*k0\.png"):
        run(segmenter, path, tmp_path / "out", skip_bad=True)


def masked(folder: Path, value: int, pictures: range = range(5)) -> Path:
    """Pictures of the miniature, of which these are of one value everywhere."""
    return write_pictures(folder, {index: {"mask.png": png(np.full((64, 64), value, np.uint8))} for index in pictures})


def test_a_truth_without_a_pixel_that_counts_is_an_error(tmp_path: Path, segmenter: Segmenter) -> None:
    path = masked(tmp_path / "data", 255)
    with pytest.raises(CocuError, match=r"data: nothing could be measured: in 5 masks .* \(ignore_index 255\)"):
        run(segmenter, path, tmp_path / "out")
    assert not (tmp_path / "out" / "results.json").exists()
    with pytest.raises(CocuError, match="nothing could be measured"):
        validation_measure(MINIATURE, path)(segmenter.model)


def test_what_gives_reason_to_doubt_is_in_the_results(tmp_path: Path, segmenter: Segmenter, val: Path) -> None:
    (one,) = run(segmenter, masked(tmp_path / "one", 7), tmp_path / "a")["benchmarks"]
    only, absent = one["warnings"]
    assert f"nothing but {MINIATURE.classes[7].name!r}" in only
    assert f"{len(MINIATURE.classes) - 1} of {len(MINIATURE.classes)} classes never occur" in absent
    (some,) = run(segmenter, masked(tmp_path / "some", 255, range(2)), tmp_path / "b")["benchmarks"]
    assert some["warnings"][-1] == "in 2 of 5 masks every pixel is ignored; these pictures count nowhere"
    assert some["warnings"][-1] in (tmp_path / "b" / "results.md").read_text()
    present = MINIATURE.model_copy(update={"classes": MINIATURE.classes[:2], "background": None, "ignore_index": 2})
    half = np.repeat([[0, 1]], 32, axis=1).repeat(64, axis=0).astype(np.uint8)
    path = write_pictures(tmp_path / "both", {index: {"mask.png": png(half)} for index in range(5)})
    assert run(segmenter, path, tmp_path / "c", present)["benchmarks"][0]["warnings"] == []


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_model_that_gives_no_numbers_is_an_error(tmp_path: Path, val: Path, broken: float) -> None:
    for kind in ("groupvit", "patch-alignment"):
        segmenter = load_segmenter(make_checkpoint(tmp_path / kind, kind))
        with torch.no_grad():
            next(one for one in segmenter.module.parameters() if one.ndim > 1)[0] = broken
        with pytest.raises(CocuError, match="no finite numbers"):
            run(segmenter, val, tmp_path / "out")
        assert not (tmp_path / "out" / "results.json").exists()


def test_labels_beyond_a_byte_and_ignored_pixels(tmp_path: Path, segmenter: Segmenter) -> None:
    card = MINIATURE.model_copy(update={"ignore_index": 1000})
    wide = {}
    for index in range(5):
        mask = draw_pair("val", 3, index).mask.astype(np.uint16)
        mask[:20] = 1000
        wide[index] = {"mask.png": png(mask)}
    path = write_pictures(tmp_path / "data", wide)  # type: ignore[arg-type]
    assert open_benchmark(card, path).truth(0).dtype == np.uint16
    (one,) = run(segmenter, path, tmp_path / "out", card)["benchmarks"]
    expected = by_hand(label_maps(segmenter, path, card), card)
    assert one["mean_iou"]["value"] == pytest.approx(expected["mean_iou"], abs=1e-12)
    assert one["pixel_accuracy"] == pytest.approx(expected["pixel_accuracy"], abs=1e-12)
    assert sum(row["pixels"] for row in one["classes"]) == 5 * 44 * 64


def test_a_card_without_ignore_index(tmp_path: Path, segmenter: Segmenter, val: Path) -> None:
    card = MINIATURE.model_copy(update={"ignore_index": None})
    (one,) = run(segmenter, val, tmp_path / "none", card)["benchmarks"]
    (same,) = run(segmenter, val, tmp_path / "some")["benchmarks"]
    assert one["classes"] == same["classes"]


def test_the_first_prompt_alone(segmenter: Segmenter) -> None:
    classes = tuple(one.model_copy(update={"prompts": (one.name, f"{one.name} thing")}) for one in MINIATURE.classes)
    card = MINIATURE.model_copy(update={"classes": classes})
    both, first = (setting(segmenter, card, prompts=said).vectors for said in ("all", "first"))
    assert torch.equal(first, setting(segmenter, MINIATURE).vectors)
    assert not torch.allclose(both, first, atol=1e-3)
    assert torch.equal(first, setting(segmenter, card).vectors)


@given(total=st.integers(1, 2000), limit=st.integers(1, 2500))
def test_a_limit_is_spread_over_the_set(total: int, limit: int) -> None:
    chosen = chosen_pictures(total, limit)
    assert len(chosen) == min(total, limit)
    assert len(np.unique(chosen)) == len(chosen)
    assert (np.diff(chosen) > 0).all()
    assert chosen[0] == 0
    assert chosen[-1] < total
    assert np.diff([*chosen, total]).max() <= -(-total // limit)


def test_a_run_is_measured_as_its_checkpoint_is(segmenter: Segmenter, val: Path) -> None:
    measure = validation_measure(MINIATURE, val, batch=8)
    learner: Any = segmenter.model
    learner.eval()
    opened = Opened(MINIATURE, val, open_benchmark(MINIATURE, val))
    expected = evaluate(segmenter, opened, setting(segmenter), EvaluateOptions(), ALONE).figures.mean_iou
    assert measure(learner) == {"miou": expected}
    some = validation_measure(MINIATURE, val, limit=3, batch=8)(learner)["miou"]
    limited = evaluate(segmenter, opened, setting(segmenter), EvaluateOptions(limit=3), ALONE)
    assert limited.keys == ("val-00000000", "val-00000004", "val-00000008")
    assert some == limited.figures.mean_iou


def test_misuse(tmp_path: Path, segmenter: Segmenter, val: Path) -> None:
    with pytest.raises(MisuseError, match="given twice"):
        evaluate_all(segmenter, [(MINIATURE, val), (MINIATURE, val)], tmp_path, EvaluateOptions(), ALONE)
    with pytest.raises(MisuseError, match="none of the benchmarks has a background"):
        run(segmenter, val, tmp_path, sweep=True)
    with pytest.raises(MisuseError, match="--as-released: is of GroupViT's evaluation"):
        run(segmenter, val, tmp_path, rules=Rules(as_released=True), wording=Wording("clip"))
    (tmp_path / "file").write_text("")
    with pytest.raises(MisuseError, match="is a file"):
        run(segmenter, val, tmp_path / "file")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_results_are_replaced_only_when_told(tmp_path: Path, segmenter: Segmenter, val: Path) -> None:
    run(segmenter, val, tmp_path, WITH_BACKGROUND, limit=4, shown=1, sweep=True)
    (tmp_path / "miniature" / "notes.txt").write_text("mine")
    with pytest.raises(MisuseError, match="--overwrite"):
        run(segmenter, val, tmp_path)
    assert json.loads((tmp_path / "results.json").read_text())["benchmarks"][0]["pictures"] == 4
    run(segmenter, val, tmp_path, overwrite=True)
    assert json.loads((tmp_path / "results.json").read_text())["benchmarks"][0]["pictures"] == PICTURES
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("[!.]*") if path.is_file())
    kept = ["miniature/classes.csv", "miniature/counts.npz", "miniature/notes.txt", "results.json", "results.md"]
    assert files == kept, "nothing old is left that the new results do not speak of"


def test_results_that_were_cut_short_say_so_and_give_way_to_the_same_run(tmp_path: Path, segmenter: Segmenter) -> None:
    whole = write_pictures(tmp_path / "whole", {})
    broken = write_pictures(tmp_path / "second", {2: {"png": b"nothing"}})
    wanted = [(MINIATURE, whole), (MINIATURE.model_copy(update={"name": "second"}), broken)]
    out = tmp_path / "out"

    def again(one: Segmenter = segmenter) -> dict[str, Any]:
        return evaluate_all(one, wanted, out, EvaluateOptions(shown=1), ALONE)

    with pytest.raises((BadItem, CocuError), match="second"):
        again()
    assert json.loads((out / "results.json").read_text())["unfinished"] == ["second"]
    assert "Not finished: second not measured yet." in (out / "results.md").read_text()
    write_pictures(tmp_path / "second", {})
    with pytest.raises(MisuseError, match="holds results"):
        again(replace(segmenter, name="another"))
    content = again()
    assert json.loads((out / "results.json").read_text()) == content
    assert [one["name"] for one in content["benchmarks"]] == ["miniature", "second"]
    assert "unfinished" not in content
    assert "Not finished" not in (out / "results.md").read_text()
    with pytest.raises(MisuseError, match="holds results"):
        again()
