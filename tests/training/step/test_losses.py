"""The contrastive losses beside loops and torch's own cross-entropy."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from tests.examples import examples
from tests.training.tiny_learners import gradients, tiny_batch, tiny_learner
from training.step.gradient_cache import Encoders
from training.step.losses import (
    capped_scale,
    caption_owners,
    concept_owners,
    contrastive_loss,
    precision_at_1,
    total_loss,
)

CPU = torch.device("cpu")


class Identity(nn.Module):
    """Features are the vectors already, unit or not."""

    def __init__(self, scale: float = 20.0, concept_scale: float = 7.0) -> None:
        super().__init__()
        self.logit_scale = nn.Parameter(torch.tensor(math.log(scale), dtype=torch.float64))
        self.concept_logit_scale = nn.Parameter(torch.tensor(math.log(concept_scale), dtype=torch.float64))

    def project_image(self, features: Tensor) -> Tensor:
        return features

    def project_text(self, features: Tensor) -> Tensor:
        return features

    def similarity(self, images: Tensor, texts: Tensor) -> Tensor:
        return images @ texts.T


def vectors(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


def looped(similarity: Tensor, scale: float, text_ids: list[int], own_ids: list[set[int]]) -> float:
    """Both directions, pair by pair. own_ids: the ids of each image's own texts."""
    images, texts = similarity.shape
    logit = [[scale * float(similarity[i, j]) for j in range(texts)] for i in range(images)]
    of_images = 0.0
    for i in range(images):
        total = sum(math.exp(value) for value in logit[i])
        mine = [j for j in range(texts) if text_ids[j] in own_ids[i]]
        of_images += sum(-math.log(math.exp(logit[i][j]) / total) / len(mine) for j in mine) / images
    of_texts = 0.0
    for j in range(texts):
        total = sum(math.exp(logit[i][j]) for i in range(images))
        owners = [i for i in range(images) if text_ids[j] in own_ids[i]]
        of_texts += sum(-math.log(math.exp(logit[i][j]) / total) / len(owners) for i in owners) / texts
    return (of_images + of_texts) / 2


# --- one matrix ------------------------------------------------------------------------------------------------------


def test_caption_loss_is_the_symmetric_cross_entropy_of_the_diagonal() -> None:
    similarity = vectors(9, 5) @ vectors(9, 5, seed=1).T
    loss = contrastive_loss(similarity, torch.tensor(12.5), caption_owners(9, None, CPU))
    logits, target = 12.5 * similarity, torch.arange(9)
    expected = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("per_image", [1, 3])
def test_concept_loss_has_soft_targets_of_1_over_k_and_one_hot_ones_the_other_way(per_image: int) -> None:
    images = 7
    similarity = vectors(images, 5) @ vectors(images * per_image, 5, seed=1).T
    loss = contrastive_loss(similarity, torch.tensor(8.0), concept_owners(images, per_image, None, CPU))
    soft = torch.zeros(images, images * per_image, dtype=torch.float64)
    for i in range(images):
        soft[i, i * per_image : (i + 1) * per_image] = 1 / per_image
    one_hot = torch.tensor([j // per_image for j in range(images * per_image)])
    expected = (F.cross_entropy(8 * similarity, soft) + F.cross_entropy(8 * similarity.T, one_hot)) / 2
    torch.testing.assert_close(loss, expected)


@examples(60)
@given(st.data())
def test_equal_concepts_belong_to_every_image_that_has_one(data: st.DataObject) -> None:
    images, per_image = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 4))
    # from a few names to hardly any repetition, among them the ends of int64, and a name twice in one image
    names = st.sampled_from([-(2**63), 2**63 - 1, *range(data.draw(st.sampled_from([1, 3, 50])))])
    ids = data.draw(st.lists(st.lists(names, min_size=per_image, max_size=per_image), min_size=images, max_size=images))
    similarity = vectors(images, 4, seed=images) @ vectors(images * per_image, 4, seed=per_image).T
    owners = concept_owners(images, per_image, torch.tensor(ids), CPU)
    loss = contrastive_loss(similarity, torch.tensor(9.0), owners)
    expected = looped(similarity, 9.0, [name for own in ids for name in own], [set(own) for own in ids])
    assert float(loss) == pytest.approx(expected, rel=1e-12)


@examples(30)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=9))
def test_equal_captions_belong_to_every_image_that_has_one(ids: list[int]) -> None:
    similarity = vectors(len(ids), 4) @ vectors(len(ids), 4, seed=1).T
    loss = contrastive_loss(similarity, torch.tensor(9.0), caption_owners(len(ids), torch.tensor(ids), CPU))
    assert float(loss) == pytest.approx(looped(similarity, 9.0, ids, [{name} for name in ids]), rel=1e-12)


@pytest.mark.parametrize(("ids", "attracted"), [(None, False), (torch.tensor([[5, 6], [5, 7]]), True)])
def test_the_other_pictures_text_of_a_shared_concept_attracts_instead_of_repelling(ids, attracted: bool) -> None:
    similarity = torch.zeros(2, 4, requires_grad=True)
    contrastive_loss(similarity, torch.tensor(5.0), concept_owners(2, 2, ids, CPU)).backward()
    assert similarity.grad is not None
    assert (float(similarity.grad[0, 2]) < 0) is attracted
    assert float(similarity.grad[0, 3]) > 0


def test_precision_counts_images_whose_best_text_is_theirs() -> None:
    similarity = torch.tensor([[0.9, 0.1, 0.3], [0.8, 0.2, 0.1], [0.0, 0.1, 0.5]], requires_grad=True)
    alone = precision_at_1(similarity, caption_owners(3, None, CPU))
    assert float(alone) == pytest.approx(2 / 3)
    assert not alone.requires_grad
    assert float(precision_at_1(similarity, caption_owners(3, torch.tensor([4, 4, 5]), CPU))) == 1.0


# --- the scale -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "upstream", "passes"),
    [
        (1.0, 1.0, True),
        (1.0, -1.0, True),
        (100.0, 1.0, True),
        (100.0, -1.0, False),
        (150.0, 1.0, True),
        (150.0, -1.0, False),
    ],
)
def test_the_scale_is_capped_and_can_leave_the_cap(value: float, upstream: float, passes: bool) -> None:
    log_scale = torch.tensor(math.log(value), dtype=torch.float64, requires_grad=True)
    scale = capped_scale(log_scale)
    assert float(scale.detach()) == pytest.approx(min(value, 100.0))
    (scale * upstream).backward()
    assert log_scale.grad is not None
    assert float(log_scale.grad) == pytest.approx(upstream * min(value, 100.0) if passes else 0.0)


# --- the whole -------------------------------------------------------------------------------------------------------


def test_total_loss_is_captions_plus_weighted_concepts_each_with_its_temperature() -> None:
    images, captions, concepts = vectors(5, 4), vectors(5, 4, seed=1), vectors(5, 2, 4, seed=2)
    ids = torch.tensor([[1, 2], [3, 1], [4, 5], [6, 7], [2, 9]])
    caption_ids = torch.tensor([1, 2, 1, 3, 4])
    learner = Identity(scale=20.0, concept_scale=7.0)
    flat = [int(name) for name in ids.flatten()]
    for mask in (True, False):
        parts = total_loss(
            learner, images, captions, concepts, ids, caption_ids, mask_duplicates=mask, concept_weight=0.5
        )
        names = caption_ids.tolist() if mask else list(range(5))
        caption = looped(images @ captions.T, 20.0, names, [{name} for name in names])
        texts = flat if mask else list(range(10))
        owned = [set(texts[2 * i : 2 * i + 2]) for i in range(5)]
        concept = looped(images @ concepts.flatten(0, 1).T, 7.0, texts, owned)
        assert float(parts.caption) == pytest.approx(caption, rel=1e-12)
        assert parts.concepts is not None
        assert float(parts.concepts) == pytest.approx(concept, rel=1e-12)
        assert float(parts.total.detach()) == pytest.approx(caption + 0.5 * concept, rel=1e-12)


def test_without_concepts_the_total_is_the_captions() -> None:
    parts = total_loss(Identity(), vectors(5, 4), vectors(5, 4, seed=1))
    assert parts.concepts is parts.concept_precision is None
    assert float(parts.total.detach()) == float(parts.caption)
    expected = precision_at_1(vectors(5, 4) @ vectors(5, 4, seed=1).T, caption_owners(5, None, CPU))
    assert float(parts.caption_recall) == float(expected)


@pytest.mark.parametrize("kind", ["patch-alignment", "groupvit"])
def test_every_parameter_learns_and_only_the_total_has_gradient(kind) -> None:
    learner = tiny_learner(kind)
    pixels, captions, concepts = tiny_batch(6, 3)
    features = Encoders(learner)(pixels, captions, concepts)
    parts = total_loss(learner, features.image, features.captions, features.concepts)
    parts.total.backward()
    found = gradients(learner)
    assert found.keys() == dict(learner.named_parameters()).keys()
    assert all(g.isfinite().all() for g in found.values())
    figures = (parts.caption, parts.concepts, parts.caption_recall, parts.concept_precision)
    assert not any(figure.requires_grad for figure in figures if figure is not None)


def test_captions_and_concepts_share_one_batch_of_the_heads_batch_norm() -> None:
    learner = tiny_learner("groupvit")
    seen: list[int] = []
    learner.text_head.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    features = Encoders(learner)(*tiny_batch(4, 3))
    total_loss(learner, features.image, features.captions, features.concepts)
    assert seen == [16]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_and_softmax_are_fp32_under_autocast(dtype: torch.dtype) -> None:
    """bfloat16 would round logits near 100 by up to a quarter; the loss has to know them to 1e-4."""
    images, captions, concepts = vectors(64, 32), vectors(64, 32, seed=1), vectors(64, 3, 32, seed=2)
    half = [x.to(dtype) for x in (images, captions, concepts)]
    exact = total_loss(Identity(90.0, 90.0), *(x.double() for x in half))
    with torch.autocast("cpu", torch.bfloat16):
        parts = total_loss(Identity(90.0, 90.0).float(), *half)
    assert parts.total.dtype == torch.float32
    assert float(parts.total.detach()) == pytest.approx(float(exact.total.detach()), rel=1e-5)


def test_extreme_logits_stay_finite() -> None:
    images = torch.eye(4).requires_grad_()
    parts = total_loss(Identity(1e9, 1e9), images, -torch.eye(4), -torch.eye(4)[:, None].expand(4, 2, 4))
    parts.total.backward()
    assert parts.total.isfinite()
    assert images.grad is not None
    assert images.grad.isfinite().all()
