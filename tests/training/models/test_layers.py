"""The layers of towers: their depths, by hand, and gradients that are the same when activations are forgotten."""

from __future__ import annotations

import copy
from typing import Any

import open_clip
import pytest
import torch
from torch import nn

from tests.training.tiny_learners import Kind, gradients, tiny_batch, tiny_learner
from training.models.layers import depths, forget_activations, layers
from training.step.gradient_cache import Encoders, MicroBatch, accumulate
from training.step.losses import total_loss


def test_depths_in_a_transformer_of_ours() -> None:
    found, top = depths(tiny_learner("patch-alignment").image_encoder)
    assert top == 3
    by_depth = {
        depth: {name.split(".")[0] if "blocks" not in name else name[:8] for name, d in found.items() if d == depth}
        for depth in range(4)
    }
    assert by_depth == {0: {"stem", "position_embedding"}, 1: {"blocks.0"}, 2: {"blocks.1"}, 3: {"norm"}}


def test_depths_where_groupings_stand_between_layers() -> None:
    found, top = depths(tiny_learner("groupvit").image_encoder)
    assert top == 4
    expected = {
        **{"stages.0.group_tokens": 0, "stages.0.blocks.0.mlp.up.weight": 1, "stages.0.grouping.out.weight": 1},
        **{"stages.1.group_tokens": 1, "stages.1.blocks.0.mlp.up.weight": 2, "stages.1.grouping.out.weight": 2},
        "stages.2.blocks.0.mlp.up.weight": 3,
    }
    assert found.items() >= expected.items()
    assert (found["position_embedding"], found["patch_embedding.weight"], found["norm.weight"]) == (0, 0, 4)


def test_depths_in_a_clip() -> None:
    vision: Any = {"image_size": 16, "patch_size": 8, "width": 16, "layers": 3, "head_width": 8}
    text: Any = {"context_length": 9, "vocab_size": 40, "width": 8, "heads": 2, "layers": 2}
    clip = open_clip.CustomTextCLIP(embed_dim=12, vision_cfg=vision, text_cfg=text)
    found, top = depths(clip.visual)
    assert top == 4
    first = ("conv1.weight", "class_embedding", "positional_embedding", "ln_pre.weight")
    assert [found[name] for name in first] == [0] * 4
    assert [found[f"transformer.resblocks.{i}.mlp.c_fc.weight"] for i in range(3)] == [1, 2, 3]
    assert (found["ln_post.weight"], found["proj"]) == (4, 4)
    assert found.keys() == dict(clip.visual.named_parameters()).keys()
    found, top = depths(clip.text)
    assert top == found["text_projection"] == 3
    assert found["token_embedding.weight"] == found["positional_embedding"] == 0


@pytest.mark.parametrize("kind", ["patch-alignment", "groupvit"])
@pytest.mark.parametrize("sizes", [(6,), (4, 2)])
def test_gradients_are_the_same_where_activations_are_forgotten(kind: Kind, sizes: tuple[int, ...]) -> None:
    learner = tiny_learner(kind, drop_path=0.4)
    forgetful = copy.deepcopy(learner)
    assert forget_activations(forgetful) == len(layers(forgetful)) > 1
    found = []
    for one in (learner, forgetful):
        torch.manual_seed(3)
        parts = (x.split(sizes) for x in tiny_batch(sum(sizes), 2))
        pieces = [MicroBatch(*part) for part in zip(*parts, strict=True)]
        accumulate(Encoders(one), pieces, lambda features, one=one: total_loss(one, *features))  # type: ignore[misc]
        found.append((gradients(one), torch.get_rng_state()))
    assert found[0][0].keys() == found[1][0].keys()
    for name, gradient in found[0][0].items():
        assert torch.equal(gradient, found[1][0][name]), name
    assert torch.equal(found[0][1], found[1][1])


def test_forgotten_activations_are_not_kept() -> None:
    def kept(learner: Any) -> int:
        total = 0

        def note(x: torch.Tensor) -> torch.Tensor:
            nonlocal total
            total += x.numel()
            return x

        with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
            learner.encode_image(tiny_batch(4, 0)[0])
        return total

    learner = tiny_learner("patch-alignment")
    before = kept(learner)
    forget_activations(learner)
    assert kept(learner) < 0.3 * before


def test_a_layer_with_batch_norm_keeps_its_activations() -> None:
    class Bottleneck(nn.Sequential):
        pass

    tower = nn.Sequential(Bottleneck(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), Bottleneck(nn.Conv2d(4, 4, 1)))
    assert len(layers(tower)) == 2
    assert forget_activations(tower) == 1
