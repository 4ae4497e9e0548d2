"""GroupViT against transformers' GroupViTModel, which others wrote: same weights, same input, same figures."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import training.models.groupvit
from tests.training.groupvit_peer import SIZES, batch, own_loss, random_peer, saved
from training.models.groupvit import GroupViT
from training.models.groupvit_names import names_in
from training.models.groupvit_weights import load_huggingface


def assert_equal_gradients(model: GroupViT, peer: Any) -> None:
    theirs = dict(peer.named_parameters())
    for ours, parameter in model.named_parameters():
        names = names_in("huggingface", ours)
        if not names:
            assert parameter.grad is None
            continue
        expected = torch.cat([theirs[name].grad.flatten() for name in names])
        assert parameter.grad is not None, ours
        torch.testing.assert_close(parameter.grad.flatten(), expected, rtol=1e-7, atol=1e-9, msg=ours)


@pytest.mark.parametrize("size", SIZES)
def test_features_assignments_and_loss_equal_transformers(size: str, tmp_path: Path) -> None:
    config = SIZES[size]
    peer = random_peer(config)
    model = load_huggingface(saved(peer, tmp_path))
    inputs = batch(config)
    with torch.no_grad():
        theirs = peer(**inputs, return_loss=True, output_attentions=True)
        segments, logits = model.image_encoder(inputs["pixel_values"])
        image, text = model.encode_image(inputs["pixel_values"]), model.encode_text(inputs["input_ids"])

        exact = {"rtol": 1e-5, "atol": 1e-5}
        torch.testing.assert_close(image, theirs.vision_model_output.pooler_output, **exact)
        torch.testing.assert_close(text, theirs.text_model_output.pooler_output, **exact)
        torch.testing.assert_close(model.project_image(image), theirs.image_embeds, **exact)
        torch.testing.assert_close(model.project_text(text), theirs.text_embeds, **exact)
        torch.testing.assert_close(segments, theirs.vision_model_output.last_hidden_state, **exact)
        assignments = theirs.vision_model_output.attentions
        assert len(logits) == len(assignments) == len(config.vision_config.depths) - 1
        for ours, other in zip(logits, assignments, strict=True):
            torch.testing.assert_close(ours.softmax(-1).mT, other, **exact)
        assert len(assignments[0].argmax(1).unique()) > 1, "the test is to see several groups in use"
        torch.testing.assert_close(own_loss(model, inputs), theirs.loss, **exact)


def test_group_maps_equal_transformers_before_its_resize(tmp_path: Path) -> None:
    config = SIZES["three stages"]
    peer = random_peer(config)
    model = load_huggingface(saved(peer, tmp_path))
    inputs = batch(config)
    with torch.no_grad():
        theirs = peer(**inputs, output_segmentation=True)
        dense = model.dense(inputs["pixel_values"])
        scale = model.logit_scale.exp()
        texts = model.project_text(model.encode_text(inputs["input_ids"]))
        side = config.vision_config.image_size
        maps = F.interpolate(dense.maps, (side, side), mode="bilinear")
        # transformers multiplies by its scale twice.
        ours = scale**2 * torch.einsum("bgd,td,bghw->bthw", dense.vectors, texts, maps)
    torch.testing.assert_close(ours, theirs.segmentation_logits, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("size", ["three stages", "two stages"])
@pytest.mark.parametrize("training_mode", [False, True])
def test_gradients_equal_transformers(
    size: str, training_mode: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SIZES[size]
    peer = random_peer(config)
    loaded = load_huggingface(saved(peer, tmp_path))
    model = GroupViT(replace(loaded.config, drop_path=0.0))
    model.load_state_dict(loaded.state_dict())
    model.double().train(training_mode)
    peer.double().train(training_mode)
    inputs = batch(config, dtype=torch.float64)
    drawn: list[Tensor] = []

    def theirs_of(_: Any, shape: torch.Size) -> Tensor:
        drawn.append(-torch.log(-torch.log(torch.rand(shape, dtype=torch.float64))))
        return drawn[-1]

    monkeypatch.setattr(torch.distributions.gumbel.Gumbel, "sample", theirs_of)
    theirs = peer(**inputs, return_loss=True).loss
    assert len(drawn) == (len(config.vision_config.depths) - 1 if training_mode else 0)
    monkeypatch.setattr(training.models.groupvit, "gumbel_noise", lambda *_: drawn.pop(0).mT)
    ours = own_loss(model, inputs)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    theirs.backward()
    ours.backward()
    assert_equal_gradients(model, peer)
    running = dict(peer.named_buffers())["visual_projection.1.running_mean"]
    torch.testing.assert_close(model.image_head.batch_norm.running_mean, running)


@pytest.mark.parametrize(("height", "width"), [(48, 48), (32, 64)])
def test_other_picture_sizes_equal_transformers_with_stretched_positions(
    height: int, width: int, tmp_path: Path
) -> None:
    peer = random_peer(SIZES["three stages"])
    model = load_huggingface(saved(peer, tmp_path))
    pixels = torch.randn(2, 3, height, width)
    with torch.no_grad():
        tokens = peer.vision_model.embeddings(pixels, interpolate_pos_encoding=True)
        theirs = peer.vision_model.layernorm(peer.vision_model.encoder(tokens).last_hidden_state)
        ours, _ = model.image_encoder(pixels)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
