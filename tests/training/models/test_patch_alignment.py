"""Patch alignment: its similarity beside the formula, what its patches see, and that it learns where things are."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from files.errors import MisuseError
from tests.examples import examples
from tests.training.tiny_learners import tiny_batch, tiny_learner
from training.models import patch_alignment
from training.models.patch_alignment import (
    PatchAlignment,
    PatchAlignmentConfig,
    conv_stem,
    patch_stem,
    pooled_similarity,
    waves,
)
from training.models.text_encoder import TextConfig
from training.step.gradient_cache import Encoders
from training.step.losses import total_loss

TEXT = TextConfig(vocabulary=30, context_length=6, width=16, layers=1, heads=2)
SMALL = PatchAlignmentConfig(image_size=32, patch_size=8, width=16, layers=2, heads=2, text=TEXT, projection_width=8)


def unit(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


def pixels(batch: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


# --- the similarity --------------------------------------------------------------------------------------------------


def by_the_formula(patches: Tensor, texts: Tensor, temperature: float) -> Tensor:
    """PACL: weights by softmax over patches, the weighted mean of the patches, times the text."""
    weights = (temperature * torch.einsum("bnd,td->btn", patches, texts)).softmax(-1)
    pooled = torch.einsum("btn,bnd->btd", weights, patches)
    return torch.einsum("btd,td->bt", pooled, texts)


@examples(40)
@given(
    st.integers(1, 7),
    st.integers(1, 9),
    st.integers(1, 6),
    st.sampled_from([0.1, 10.0, patch_alignment.HIGHEST_TEMPERATURE]),
    st.sampled_from([1, 20, 2**17]),
)
def test_similarity_and_its_gradient_are_the_formulas_whatever_the_blocks(
    batch: int, count: int, texts: int, temperature: float, block: int
) -> None:
    ours = unit(batch, count, 5).requires_grad_(), unit(texts, 5, seed=1).requires_grad_()
    theirs = tuple(x.detach().clone().requires_grad_() for x in ours)
    weight = torch.randn(batch, texts, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(patch_alignment.BLOCK, "cpu", block)
        found = pooled_similarity(*ours, temperature)
        (found * weight).sum().backward()
    expected = by_the_formula(*theirs, temperature)
    (expected * weight).sum().backward()
    torch.testing.assert_close(found, expected)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-9, atol=1e-11)


def test_similarity_stays_finite_and_within_one_at_the_highest_temperature_in_fp32() -> None:
    text = unit(1, 8).float()
    patches = torch.stack([text.expand(4096, 8), -text.expand(4096, 8)]).requires_grad_()
    similarity = pooled_similarity(patches, text, patch_alignment.HIGHEST_TEMPERATURE)
    torch.testing.assert_close(similarity.detach(), torch.tensor([[1.0], [-1.0]]))
    similarity.sum().backward()
    assert patches.grad is not None
    assert patches.grad.isfinite().all()


def test_a_text_is_as_similar_as_the_few_patches_it_is_about() -> None:
    """One patch of 64 shows the text: the mean over patches would say 1/64."""
    patches = torch.zeros(1, 64, 4)
    patches[..., 0] = 1.0
    patches[0, 17] = torch.tensor([0.0, 1.0, 0.0, 0.0])
    similarity = pooled_similarity(patches, torch.eye(4), 10.0)
    assert float(similarity[0, 1]) > 0.99
    assert float(similarity[0, 0]) > 0.99
    assert float(similarity[0, 2]) == 0.0


def test_similarity_is_fp32_under_autocast() -> None:
    learner = PatchAlignment(SMALL)
    images, texts = unit(2, 5, 8).float(), unit(3, 8, seed=1).float()
    with torch.autocast("cpu", torch.bfloat16):
        found = learner.similarity(images, texts)
    torch.testing.assert_close(found, by_the_formula(images, texts, 10.0))


# --- the model -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stem", ["patch", "conv"])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (16, 40), (64, 8)])
def test_every_patch_gets_a_unit_vector_at_any_size(stem: Any, height: int, width: int) -> None:
    torch.manual_seed(0)
    learner = PatchAlignment(replace(SMALL, stem=stem))
    count = height * width // 64
    features = learner.encode_image(pixels(2, height, width))
    assert features.shape == (2, count, 16)
    vectors = learner.project_image(features)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(2, count))
    dense = learner.dense(pixels(2, height, width))
    torch.testing.assert_close(dense.vectors, vectors)
    torch.testing.assert_close(dense.whole, vectors)
    assert (dense.maps, dense.grid) == (None, (height // 8, width // 8)), "every patch is a region of its own"
    texts = learner.project_text(learner.encode_text(tiny_batch(3, 1)[1]))
    torch.testing.assert_close(texts.norm(dim=-1), torch.ones(3))
    assert learner.similarity(vectors, texts).shape == (2, 3)


def test_patches_are_counted_row_by_row_on_their_grid() -> None:
    learner = PatchAlignment(replace(SMALL, layers=0))  # without attention a patch sees itself alone
    before = pixels(1, 24, 40)
    after = before.clone()
    after[0, :, 16:24, 8:16] += 1.0
    old, new = learner.dense(before), learner.dense(after)
    changed = (old.vectors != new.vectors).any(dim=-1)[0].nonzero().flatten().tolist()
    assert changed == [2 * 5 + 1]
    assert old.grid == (3, 5)


@pytest.mark.parametrize("stem", ["patch", "conv"])
def test_a_picture_does_not_depend_on_those_beside_it(stem: Any) -> None:
    learner = PatchAlignment(replace(SMALL, stem=stem)).double()
    batch = pixels(4, 32, 32).double()
    together = learner.encode_image(batch)
    for i in range(4):
        torch.testing.assert_close(learner.encode_image(batch[i : i + 1]), together[i : i + 1])


def test_positions_differ_and_stretch_over_a_larger_picture() -> None:
    assert waves(5, 16).flatten(1).unique(dim=1).shape == (16, 25)
    learner = PatchAlignment(SMALL)
    encoder = learner.image_encoder
    own = encoder._positions(4, 4)
    assert own is encoder.position_embedding
    larger = encoder._positions(8, 8)
    torch.testing.assert_close(F.avg_pool2d(larger[None], 2)[0], own, atol=0.2, rtol=0)


@pytest.mark.parametrize(("stem", "patch"), [("patch", 8), ("conv", 2), ("conv", 4), ("conv", 16), ("conv", 32)])
def test_stems_give_one_cell_for_each_patch(stem: str, patch: int) -> None:
    config = replace(SMALL, patch_size=patch, image_size=4 * patch)
    layers = (conv_stem if stem == "conv" else patch_stem)(config)
    assert layers(pixels(2, 2 * patch, 3 * patch)).shape == (2, 16, 2, 3)


def test_dense_is_without_noise_and_leaves_the_mode_alone() -> None:
    learner = PatchAlignment(replace(SMALL, drop_path=0.5))
    first, second = learner.dense(pixels(4, 32, 32)), learner.dense(pixels(4, 32, 32))
    assert torch.equal(first.vectors, second.vectors)
    assert learner.training
    assert not first.vectors.requires_grad
    noisy = learner.encode_image(pixels(4, 32, 32))
    assert not torch.equal(noisy, learner.encode_image(pixels(4, 32, 32)))
    learner.eval()
    learner.dense(pixels(1, 32, 32))
    assert not learner.training


def test_health_tells_when_all_patches_are_alike() -> None:
    learner = PatchAlignment(SMALL)
    learner.dense(pixels(1, 32, 32))
    assert learner.health() == {}
    vectors = learner.project_image(learner.encode_image(pixels(3, 32, 32))).detach()
    pairs = torch.einsum("bnd,bmd->bnm", vectors, vectors).mean()
    assert learner.health() == {"patch_agreement": pytest.approx(float(pairs), rel=1e-4)}
    learner.project_image(torch.ones(2, 16, 16))
    assert learner.health() == {"patch_agreement": pytest.approx(1.0)}


def test_it_compiles_whole_and_gives_the_same() -> None:
    learner = tiny_learner("patch-alignment")
    encoders = Encoders(learner)
    batch = tiny_batch(3, 2)
    compiled: Any = torch.compile(encoders, fullgraph=True, backend="aot_eager")
    for found, expected in zip(compiled(*batch), encoders(*batch), strict=True):
        torch.testing.assert_close(found, expected)


def test_bfloat16_autocast_stays_close_and_its_vectors_are_unit() -> None:
    torch.manual_seed(0)
    learner = PatchAlignment(SMALL)
    with torch.autocast("cpu", torch.bfloat16):
        half = learner.project_image(learner.encode_image(pixels(2, 32, 32)))
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.norm(dim=-1), torch.ones(2, 16))
    whole = learner.project_image(learner.encode_image(pixels(2, 32, 32)))
    assert F.cosine_similarity(half, whole, dim=-1).min().item() > 0.99


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"image_size": 30}, "image_size 30"),
        ({"width": 18, "heads": 4}, "width 18"),
        ({"width": 18}, "width 18"),
        ({"heads": 0}, "width 16 .* 0"),
        ({"layers": -1}, "layers -1"),
        ({"projection_width": 0}, "projection_width 0"),
        ({"stem": "linear"}, "stem 'linear'"),
        ({"stem": "conv", "patch_size": 1}, "patch_size 1 "),
        ({"stem": "conv", "patch_size": 24, "image_size": 48}, "patch_size 24"),
        ({"temperature": 0.0}, "temperature 0"),
        ({"temperature": 61.0}, "temperature 61"),
        ({"drop_path": 1.0}, "drop_path 1"),
    ],
)
def test_sizes_that_cannot_be_are_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(MisuseError, match=named):
        replace(SMALL, **wrong)


def test_a_picture_that_the_patch_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match=r"32 x 36 pixels.*patches of 8"):
        PatchAlignment(SMALL).encode_image(pixels(1, 32, 36))


# --- learning --------------------------------------------------------------------------------------------------------

COLOURS = (
    torch.tensor([[2, 0, 0], [0, 2, 0], [0, 0, 2], [2, 2, 0], [0, 2, 2], [2, 0, 2], [2, 2, 2], [0, 0, 0]]).float() - 1
)
PHOTO, AND, END = 20, 21, 29


def coloured_pictures(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures of 4 x 4 cells in up to three of 8 colours, each cell's colour, and captions that name two of them."""
    palette = torch.rand(count, 8, generator=generator).argsort(dim=1)[:, :3]
    cells = palette.gather(1, torch.randint(0, 3, (count, 16), generator=generator))
    noise = 0.3 * torch.randn(count, 3, 32, 32, generator=generator)
    grid = COLOURS[cells].mT.unflatten(2, (4, 4))
    captions = torch.zeros(count, 6, dtype=torch.long)
    for caption, own in zip(captions, cells, strict=True):
        named = own[torch.randperm(16, generator=generator)[:2]] + 1
        caption[:5] = torch.tensor([PHOTO, named[0], AND, named[1], END])
    return F.interpolate(grid, scale_factor=8.0) + noise, cells, captions


def test_it_learns_where_the_colours_are_from_captions_alone() -> None:
    """Captions name two colours and no place; patches come to know theirs. Chance 1/8; 0.71 to 1.00 with six seeds."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    learner = PatchAlignment(SMALL)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 120)
    for _ in range(120):
        batch, _, captions = coloured_pictures(48, generator)
        features = Encoders(learner)(batch, captions, None)
        parts = total_loss(learner, features.image, features.captions)
        optimizer.zero_grad()
        parts.total.backward()
        optimizer.step()
        schedule.step()
    batch, cells, _ = coloured_pictures(64, generator)
    words = torch.zeros(8, 6, dtype=torch.long)
    words[:, 0], words[:, 1], words[:, 2] = PHOTO, torch.arange(8) + 1, END
    with torch.no_grad():
        texts = learner.project_text(learner.encode_text(words))
    right = (learner.dense(batch).vectors @ texts.T).argmax(dim=-1) == cells
    assert float(right.float().mean()) > 0.5
