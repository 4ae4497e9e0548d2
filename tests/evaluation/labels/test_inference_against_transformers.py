"""Label maps of real photographs: our GroupViT and inference against transformers' GroupViT and the plain rules.

transformers' own segmentation head mixes groups softly and knows neither windows nor best classes nor background, so
what is taken of it is what it computes from pixels and texts: segments, assignments, embeddings. The rules are those
of the oracle (plain_inference.py). What the head itself gives is compared too, with what it leaves out left out.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor
from torch.nn import functional as F

from data_cards.cards import Background, Card, read_card
from data_cards.layouts.benchmark import open_benchmark
from evaluation.labels.inference import segment_images
from evaluation.labels.labelling import region_of_pixel
from evaluation.models.prompts import class_prompts, class_vectors
from evaluation.models.segmenters import Segmenter, load_segmenter
from tests.evaluation.plain_inference import Seen, plain_labels
from tests.training.groupvit_peer import saved

SMALL = transformers.GroupViTConfig(
    vision_config={
        **{"image_size": 224, "patch_size": 16, "hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 2},
        **{
            "depths": [2, 1, 1],
            "num_hidden_layers": 4,
            "num_group_tokens": [16, 8, 0],
            "num_output_groups": [16, 8, 8],
        },
    },
    text_config={
        **{"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 1},
        **{"bos_token_id": 49406, "eos_token_id": 49407},
    },
    projection_dim=32,
    projection_intermediate_dim=64,
)
PAPER = transformers.GroupViTConfig(text_config={"bos_token_id": 49406, "eos_token_id": 49407})


class Peer:
    """transformers' model at the windows' size: it has no way to take another, so its positions are stretched."""

    def __init__(self, model: Any, card: Card, side: int = 448) -> None:
        config = transformers.GroupViTConfig.from_dict(model.config.to_dict())
        config.vision_config.image_size = side
        self.model = transformers.GroupViTModel(config).double().eval()
        weights, name = model.double().state_dict(), "vision_model.embeddings.position_embeddings"
        trained, grid = round(weights[name].shape[1] ** 0.5), side // config.vision_config.patch_size
        places = weights[name].mT.unflatten(2, (trained, trained))
        weights[name] = F.interpolate(places, (grid, grid), mode="bicubic").flatten(2).mT
        self.model.load_state_dict(weights)
        self.grid = (grid, grid)
        self.prompts = class_prompts(card)
        self.tokens = SimpleTokenizer()([text for texts in self.prompts for text in texts])

    @torch.no_grad()
    def outputs(self, pixels: np.ndarray) -> Any:
        return self.model(
            input_ids=self.tokens,
            pixel_values=torch.from_numpy(pixels)[None],
            output_attentions=True,
            output_segmentation=True,
        )

    @torch.no_grad()
    def look(self, pixels: np.ndarray) -> Seen:
        given = self.outputs(pixels)
        vectors = self.model.visual_projection(given.vision_model_output.last_hidden_state[0])
        first, second = given.vision_model_output.attentions
        maps = (second[0] @ first[0]).unflatten(1, self.grid)
        of_classes = given.text_embeds.split([len(texts) for texts in self.prompts])
        texts = F.normalize(torch.stack([of_class.mean(dim=0) for of_class in of_classes]), dim=1)
        return Seen(
            (F.normalize(vectors, dim=1) @ texts.T).numpy(),
            maps.numpy(),
            self.grid,
            (given.image_embeds @ texts.T)[0].numpy(),
        )


def models(config: Any, card: Card, folder: Path, pictures: list[np.ndarray]) -> tuple[Segmenter, Peer]:
    """Ours and theirs, of the same random weights."""
    torch.manual_seed(0)
    theirs = transformers.GroupViTModel(config).eval()
    draw(theirs)
    settle(theirs, card, pictures)
    ours = load_segmenter(saved(theirs, folder))
    ours.module.double()
    return ours, Peer(theirs, card)


@torch.no_grad()
def draw(model: Any) -> None:
    """Random weights, larger in the assignment: by the usual ones, one group would win all pixels."""
    for name, value in model.named_parameters():
        if "group_token" in name or "position_embedding" in name:
            value.normal_()
        elif value.ndim > 1:
            value.normal_(std=(6 if "assign.q_proj" in name else 1) * value[0].numel() ** -0.5)


@torch.no_grad()
def settle(model: Any, card: Card, pictures: list[np.ndarray]) -> None:
    """Batch norms and temperature as after training: random heads would call every group about the same."""
    pixels = torch.stack([torch.from_numpy(picture[:224, :224]).permute(2, 0, 1) / 127.5 - 1 for picture in pictures])
    tokens = SimpleTokenizer()([text for texts in class_prompts(card) for text in texts])
    segments = model.vision_model(pixels).last_hidden_state.flatten(0, 1)
    for head, features in (
        (model.visual_projection, segments),
        (model.text_projection, model.text_model(tokens).pooler_output),
    ):
        head[1].momentum = 1.0
        head.train()(features)
        head.eval()
    model.logit_scale.fill_(np.log(100))


@pytest.fixture(scope="module")
def card() -> Card:
    return read_card("coco-mini")


def photos(shared: Path, card: Card, count: int) -> list[np.ndarray]:
    benchmark = open_benchmark(card, shared / "data" / "coco_mini")
    return [benchmark.image(index) for index in range(0, len(benchmark), len(benchmark) // count)][:count]


@pytest.mark.parametrize(
    ("config", "count", "threshold"),
    [
        pytest.param(SMALL, 2, 0.95, id="small"),
        pytest.param(SMALL, 3, 0.2, id="small, low threshold"),
        pytest.param(PAPER, 2, 0.95, id="the paper's", marks=pytest.mark.slow),
    ],
)
def test_label_maps_of_real_photos_equal_transformers(
    config: Any, count: int, threshold: float, shared: Path, card: Card, tmp_path: Path
) -> None:
    card = card.model_copy(update={"background": Background(name="background", threshold=threshold)})
    pictures = photos(shared, card, count)
    ours, theirs = models(config, card, tmp_path, pictures)
    texts = class_vectors(ours, card)
    seen = set()
    for picture, found in zip(pictures, segment_images(ours, card, texts, pictures), strict=True):
        expected = plain_labels(
            picture, card, theirs.look, scale=ours.scale, mean=ours.mean, std=ours.std, multiple=ours.multiple
        )
        differ = found.labels.numpy() != expected.labels
        assert not (differ & (expected.margin > 1e-9)).any()
        assert differ.mean() < 1e-3, "ties are rare"
        seen |= set(expected.labels.flatten().tolist())
    assert len(seen) >= 2, "the test is to see several classes"


def test_groups_of_pixels_equal_those_of_transformers_own_head(shared: Path, card: Card, tmp_path: Path) -> None:
    """The head's logits are scale² times a soft mixture of groups; by hard groups they are our rules' first step."""
    (picture,) = photos(shared, card, 1)
    ours, theirs = models(SMALL, card, tmp_path, [picture])
    window = torch.from_numpy(picture[:224, :224]).permute(2, 0, 1).double() / 255
    mean, std = (torch.tensor(x, dtype=torch.float64).view(3, 1, 1) for x in (ours.mean, ours.std))
    pixels = F.interpolate(((window - mean) / std)[None], (448, 448), mode="bilinear")
    dense = ours.dense(pixels)
    with torch.no_grad():
        texts = ours.encode_texts([text for texts in class_prompts(card) for text in texts])
    assert dense.maps is not None
    maps = F.interpolate(dense.maps, (448, 448), mode="bilinear")
    scale = float(ours.module.logit_scale.detach().exp())  # type: ignore[operator, union-attr]
    mixture: Tensor = scale**2 * torch.einsum("gt,ghw->thw", dense.vectors[0] @ texts.T, maps[0])
    head = theirs.outputs(pixels[0].numpy()).segmentation_logits[0]
    torch.testing.assert_close(mixture, head, rtol=1e-9, atol=1e-9)
    assert torch.equal(region_of_pixel(dense.maps, (448, 448)), maps.argmax(dim=1))
