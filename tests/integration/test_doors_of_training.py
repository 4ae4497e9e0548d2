"""A learner, a loss and a layout that nobody knew, entered through their doors and used by whole commands."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from data_cards.cards import Card
from data_cards.layouts.layout import LAYOUTS
from data_cards.masks import Masks
from tests.integration.commands import cocu, succeed
from tests.training.curated_world import make_curated
from training.models.learner import LEARNERS, DenseFeatures, Learner, LearnerKind
from training.models.text_encoder import TextConfig, TextEncoder
from training.step.losses import LOSSES, Stacked

TEXT = {"width": 16, "layers": 1, "heads": 2}


@dataclass(frozen=True)
class ColoursConfig:
    """Sizes of a learner that looks at a patch's mean colour alone."""

    image_size: int = 16
    patch_size: int = 8
    text: TextConfig = field(default_factory=lambda: TextConfig(**TEXT))


class Colours(Learner):
    def __init__(self, config: ColoursConfig) -> None:
        super().__init__(config.image_size, config.patch_size, config.text)
        self.pool = nn.AvgPool2d(config.patch_size)
        self.text_encoder = TextEncoder(config.text)
        self.image_head = nn.Linear(3, 8)
        self.text_head = nn.Linear(config.text.width, 8)

    def encode_image(self, pixels: Tensor) -> Tensor:
        return self.pool(pixels).flatten(2).mT

    def encode_text(self, tokens: Tensor) -> Tensor:
        return self.text_encoder(tokens)

    def project_image(self, features: Tensor) -> Tensor:
        return F.normalize(self.image_head(features), dim=-1)

    def project_text(self, features: Tensor) -> Tensor:
        return F.normalize(self.text_head(features), dim=-1)

    def similarity(self, images: Tensor, texts: Tensor) -> Tensor:
        return images.mean(1) @ texts.mT

    def dense(self, pixels: Tensor) -> DenseFeatures:
        grid = (pixels.shape[2] // self.multiple, pixels.shape[3] // self.multiple)
        vectors = self.project_image(self.encode_image(pixels))
        return DenseFeatures(vectors, grid, None, vectors)


def sigmoid_loss(similarity: Tensor, scale: Tensor, owners: Tensor, stacked: Stacked) -> Tensor:
    """Every image and text by itself, as in SigLIP; and a hundred, so that a log shows which loss it was."""
    return 100 - stacked(F.logsigmoid(similarity * scale * torch.where(owners, 1.0, -1.0))).mean()


RECIPE = """
learner: colours
concepts: curated-top
steps: 3
log_every: 1
data: {batch: 8, augment: none}
loss: {kind: sigmoid}
optimizer: {warmup_epochs: 0}
"""


@dataclass(frozen=True)
class Pasted:
    """Pictures with their masks beside them, left and right halves of one file."""

    top: Path
    keys: tuple[str, ...]
    masks: Masks

    def picture(self, index: int) -> tuple[str, bytes]:
        return self.half(index, 0)

    def mask(self, index: int) -> tuple[str, bytes]:
        return self.half(index, 1)

    def half(self, index: int, side: int) -> tuple[str, bytes]:
        path = self.picture_file(index)
        pixels = np.asarray(Image.open(path))
        part = pixels[:, pixels.shape[1] // 2 * side :][:, : pixels.shape[1] // 2]
        out = io.BytesIO()
        Image.fromarray(part[..., 0] if side else part).save(out, "PNG")
        return path, out.getvalue()

    def picture_file(self, index: int) -> str:
        return str(self.top / f"{self.keys[index]}.png")

    mask_file = picture_file

    def missing(self) -> list[str]:
        return []


def open_pasted(card: Card, path: Path, split: str) -> Pasted:
    return Pasted(path, tuple(sorted(one.stem for one in path.glob("*.png"))), card.masks[0])


CARD = """---
name: pasted
pretty_name: Pasted
license: other
layout: pasted
split: val
classes: [{name: grass}, {name: sand}]
---
"""


@pytest.fixture
def doors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adds through the doors, and takes away again."""
    for door in (LEARNERS, LOSSES, LAYOUTS):
        list(door)  # the house's own first
        monkeypatch.setattr(door, "_added", dict(door._added))  # type: ignore[attr-defined]
    LEARNERS.add("colours", LearnerKind(ColoursConfig, Colours))
    LOSSES.add("sigmoid", sigmoid_loss)
    LAYOUTS.add("pasted", open_pasted)


@pytest.mark.usefixtures("doors")
def test_a_stranger_is_trained_and_evaluated(tmp_path: Path) -> None:
    data = make_curated(tmp_path / "data", shards=1, pairs=16, side=20)
    (tmp_path / "colours.yaml").write_text(RECIPE)
    options = ["--device", "cpu", "--workers", 0, "--no-tensorboard", "model.image_size=32"]
    succeed("train", tmp_path / "colours.yaml", "--data", data, "--out", tmp_path / "run", *options)
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["caption_loss"] > 100

    rng = np.random.default_rng(0)
    for key in ("a", "b"):
        halves = [rng.integers(0, 255, (24, 24, 3)), np.repeat(rng.integers(0, 2, (24, 24, 1)), 3, axis=2)]
        Image.fromarray(np.concatenate(halves, axis=1).astype(np.uint8)).save(tmp_path / f"{key}.png")
    (tmp_path / "pasted.md").write_text(CARD)
    checkpoint = tmp_path / "run" / "checkpoints" / "step-00000003"
    benchmark = f"{tmp_path / 'pasted.md'}={tmp_path}"
    answer = succeed("eval", checkpoint, "--benchmark", benchmark, "--out", tmp_path / "results", "--device", "cpu")
    result = json.loads((tmp_path / "results" / "results.json").read_text())["benchmarks"][0]
    assert (result["name"], result["pictures"]) == ("pasted", 2), answer.out


@pytest.mark.usefixtures("doors")
def test_wrong_names_are_told_with_the_strangers(tmp_path: Path) -> None:
    data = make_curated(tmp_path / "data", shards=1, pairs=8, side=20)
    train = ("train", tmp_path / "colours.yaml", "--data", data, "--out", tmp_path / "run", "--device", "cpu")
    (tmp_path / "colours.yaml").write_text(RECIPE)
    for override, said in (
        ("learner=colour", "self-training, colours; did you mean colours?"),
        ("model.patch_sise=4", "unknown key model.patch_sise; did you mean model.patch_size?"),
        ("loss.kind=sigmod", "loss.kind sigmod: expected one of contrastive, sigmoid; did you mean sigmoid?"),
    ):
        answer = cocu(*train, override)
        assert answer.code == 2
        assert said in " ".join(answer.err.split())
