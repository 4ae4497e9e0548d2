"""The search for a dense mode: its score by hand, and that it finds cells that say what is where."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import cocu
from data_cards.layouts.benchmark import Benchmark
from data_cards.miniature.shards import write_miniature
from evaluation.mode_search import ModeSearch, agreement, parts_of
from evaluation.models.dense_clip import DenseClip
from evaluation.models.segmenters import Segmenter, dense_modes
from files.errors import CocuError, MisuseError
from tests.evaluation.tiny_segmenters import tiny_card, tiny_segmenter

COLOURS = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])


def test_agreement_is_the_mean_correlation_of_the_best_classes() -> None:
    random = np.random.default_rng(0)
    told, shown, whole = random.random((2, 9, 7)), random.random((2, 9, 7)), random.random((2, 7))
    told[1, :, np.argmax(whole[1])] = 0.25  # says the same of all parts
    found = agreement(*(torch.from_numpy(one) for one in (told, shown, whole)))
    for picture in range(2):
        best = np.argsort(-whole[picture])[:5]
        each = []
        for index in best:
            with np.errstate(invalid="ignore"):
                each.append(np.corrcoef(told[picture, :, index], shown[picture, :, index])[0, 1])
        assert float(found[picture]) == pytest.approx(np.nan_to_num(each).mean())
    assert agreement(torch.rand(1, 4, 2), torch.rand(1, 4, 2), torch.rand(1, 2)).shape == (1,), "fewer classes than 5"


def test_parts_go_from_end_to_end() -> None:
    assert [box[:2] for box in parts_of(64, 64, 0.5, 3)] == [(y, x) for y in (0, 16, 32) for x in (0, 16, 32)]
    boxes = parts_of(40, 96, 0.625, 4)
    assert {box[2:] for box in boxes} == {(25, 60)}
    assert (boxes[0][:2], boxes[-1][:2], len(boxes)) == ((0, 0), (15, 36), 16)
    assert len(parts_of(1, 1, 0.5, 3)) == 9


@dataclass(frozen=True, eq=False)
class ColourClip(DenseClip):
    """Sees mean colours. Its cells are their own, in the right place; or far away; or the whole picture's."""

    @property
    def modes(self) -> tuple[str, ...]:
        return ("of the whole", "elsewhere", "right")

    def in_mode(self, mode: str) -> ColourClip:
        def tower(pixels: Tensor) -> tuple[Tensor, tuple[int, int], Tensor]:
            whole = pixels.mean(dim=(2, 3))
            cells = F.adaptive_avg_pool2d(pixels, (8, 4)).flatten(2).mT
            said = {
                "of the whole": (9 * whole)[:, None].expand_as(cells),
                "elsewhere": 9 * cells.flip(1),
                "right": cells,
            }
            return said[mode], (8, 4), whole

        return replace(self, mode=mode, tower=tower)


def colour_segmenter() -> Segmenter:
    module = nn.Linear(1, 1)
    sizes: dict[str, Any] = {"image_size": 16, "multiple": 1, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    clip = ColourClip("colours", module, "", None, None, "colours", **sizes)  # type: ignore[arg-type]
    return replace(
        tiny_segmenter("patch-alignment", dtype=torch.float32),
        **{"name": "colours", "model": clip.in_mode("of the whole"), "module": module, "scale": 20.0},
        encode_texts=lambda texts: COLOURS[: len(texts)],
        **{name: sizes[name] for name in ("mean", "std", "multiple")},
    )


def patchwork(folder: Path, count: int) -> Path:
    """Pictures of red, green and blue rectangles, of two sizes."""
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(1)
    for number in range(count):
        colours = np.eye(3, dtype=np.uint8)[random.integers(0, 3, (4, 2 + number % 2))] * 255
        Image.fromarray(colours.repeat(16, 0).repeat(16, 1)).save(folder / f"{number}.PNG")
    return folder


def test_the_mode_whose_cells_say_what_is_where_is_found(tmp_path: Path) -> None:
    folder = patchwork(tmp_path / "pictures", 12)
    (folder / "bad.png").write_bytes(b"nothing")
    card = tiny_card(3, background=None, resize=None, window=None)
    benchmark: Any = None
    found = ModeSearch(folder).found(colour_segmenter(), [(card, benchmark), (card, benchmark)])
    assert (found.mode, found.pictures, found.left_out) == ("right", 24, 2)
    assert set(found.scores) == {"right", "of the whole", "elsewhere"}
    assert found.scores["right"] > 0.5 > 0.01 > found.scores["of the whole"]


def test_what_cannot_be_searched_is_said(tmp_path: Path) -> None:
    card = tiny_card(3, background=None)
    benchmark: Any = None
    with pytest.raises(MisuseError, match="is no folder"):
        ModeSearch(tmp_path / "none").found(colour_segmenter(), [(card, benchmark)])
    with pytest.raises(MisuseError, match="holds no picture"):
        ModeSearch(tmp_path).found(colour_segmenter(), [(card, benchmark)])
    (tmp_path / "one.jpg").write_bytes(b"no picture")
    with pytest.raises(CocuError, match=r"no picture of .* could be looked at; the first: .*one\.jpg"):
        ModeSearch(tmp_path).found(colour_segmenter(), [(card, benchmark)])
    with pytest.raises(MisuseError, match="tiny: has no dense modes"):
        dense_modes(tiny_segmenter("groupvit"))


def test_auto_is_measured_in_the_mode_that_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_miniature(tmp_path / "val", pairs=12, seed=3, size=64, split="val", workers=1)
    options: dict[str, Any] = {"gallery": 0, "quiet": True}
    read: list[int] = []
    monkeypatch.setattr(Benchmark, "truth", lambda self, index: read.append(index) or _truth(self, index))
    found = cocu.evaluate("miniature", {"miniature": tmp_path / "val"}, tmp_path / "auto", dense="auto", **options)
    dense = found.content["checkpoint"]["dense"]
    assert (dense["pictures"], dense["left_out"], len(read)) == (12, 0, 12), "masks are read by the measure alone"
    assert dense["mode"] == next(iter(dense["scores"]))
    assert len(dense["scores"]) > 20
    by_name = cocu.evaluate(
        f"miniature?dense={dense['mode']}", {"miniature": tmp_path / "val"}, tmp_path / "named", **options
    )
    assert by_name.miou == found.miou
    assert f"Dense mode {dense['mode']}, of {len(dense['scores'])}" in (tmp_path / "auto" / "results.md").read_text()
    with pytest.raises(MisuseError, match=r"--dense-pictures .*: is for --dense auto"):
        cocu.evaluate("miniature", {"miniature": tmp_path / "val"}, tmp_path / "x", dense_pictures=tmp_path, **options)


_truth = Benchmark.truth
