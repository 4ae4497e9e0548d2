"""A CLIP of open_clip as a segmenter: loaded from a folder, and better than chance on photographs."""

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from data_cards.cards import read_card
from data_cards.layouts.benchmark import open_benchmark
from data_cards.miniature.clip import built_in
from evaluation.figures.confusion import confusion, counts_of, figures
from evaluation.labels.inference import Rules, segment_images
from evaluation.models.prompts import class_vectors
from evaluation.models.segmenters import Segmenter, in_dense_mode, load_segmenter
from files.errors import MisuseError


def in_folder(folder: Path, model: Any, config: dict[str, Any]) -> Path:
    """A model as open_clip's local-dir reads it."""
    preprocessing = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocessing}))
    save_file(dict(model.state_dict()), folder / "open_clip_model.safetensors")
    return folder


def test_a_clip_is_loaded_from_a_folder_with_its_own_pixels_scale_and_texts(tmp_path: Path) -> None:
    config: dict[str, Any] = {
        "embed_dim": 12,
        "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 16, "layers": 2, "head_width": 8},
        "text_cfg": {"context_length": 9, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
    }
    torch.manual_seed(0)
    model = open_clip.CLIP(**config).eval()
    segmenter = load_segmenter(f"local-dir:{in_folder(tmp_path, model, config)}")
    assert load_segmenter(tmp_path).digest == segmenter.digest
    assert (segmenter.mean, segmenter.std, segmenter.multiple) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), 8)
    assert segmenter.scale == pytest.approx(1 / 0.07, rel=1e-3)
    images = torch.randn(2, 3, 32, 32)
    dense = segmenter.dense(images)
    assert (dense.maps, dense.grid) == (None, (4, 4))
    torch.testing.assert_close(dense.vectors.norm(dim=2), torch.ones(2, 16))
    with torch.no_grad():
        expected = model.encode_image(images, normalize=True)
        texts = model.encode_text(open_clip.get_tokenizer(f"local-dir:{tmp_path}")(["a dog", "sky"]), normalize=True)
    torch.testing.assert_close(dense.whole, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(segmenter.embed_classes([["a dog"], ["sky"]]), texts, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(segmenter.similarity(dense.whole, texts), expected @ texts.T, rtol=1e-4, atol=1e-5)


@pytest.fixture
def photographs_encoder(shared: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Segmenter:
    """The encoder of photographs beside the checkout; its text tower is named by a path from the checkout's root."""
    monkeypatch.chdir(root)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return load_segmenter(f"local-dir:../{shared.name}/clip/photos")


def test_photographs_are_segmented_better_than_by_chance(photographs_encoder: Segmenter, shared: Path) -> None:
    """Chance: the same label maps, each laid on the picture after it."""
    card = read_card("coco-mini")
    benchmark = open_benchmark(card, shared / "data" / "coco_mini")
    items = [benchmark.item(index) for index in range(0, len(benchmark), 12)]
    found = segment_images(
        *(photographs_encoder, card, class_vectors(photographs_encoder, card)),
        [image for image, _ in items],
        Rules(threshold=0.05),
    )
    maps = [one.labels for one in found]

    def mean_iou(labels: list[Tensor]) -> float:
        counts = torch.zeros(3, len(card.classes), dtype=torch.int64)
        for one, (_, truth) in zip(labels, items, strict=True):
            laid = F.interpolate(one[None, None].float(), truth.shape, mode="nearest")[0, 0].long()
            counts += counts_of(confusion(laid, torch.from_numpy(truth.astype("int64")), len(card.classes), 65535))
        return figures(counts.numpy()).mean_iou

    assert mean_iou(maps) > 2 * mean_iou(maps[1:] + maps[:1])


@pytest.mark.parametrize("name", ["miniature", "open_clip:local-dir", "folder"])
def test_a_dense_mode_is_asked_for_behind_the_name_or_beside_it(name: str) -> None:
    source = {"open_clip:local-dir": f"open_clip:local-dir:{built_in.FOLDER}", "folder": str(built_in.FOLDER)}
    source_of = source.get(name, name)
    pixels = torch.randn(2, 3, 64, 48)
    plain = load_segmenter(source_of)
    asked = load_segmenter(f"{source_of}?dense=naclip")
    assert asked.name.endswith("?dense=naclip")
    assert "NACLIP" in asked.kind
    vectors = asked.dense(pixels).vectors
    assert not torch.allclose(vectors, plain.dense(pixels).vectors, atol=1e-2)
    torch.testing.assert_close(load_segmenter(source_of, dense="naclip").dense(pixels).vectors, vectors)
    torch.testing.assert_close(in_dense_mode(plain, "naclip").dense(pixels).vectors, vectors)
    torch.testing.assert_close(asked.dense(pixels).whole, plain.dense(pixels).whole)


@pytest.mark.parametrize(
    ("name", "dense", "said"),
    [
        ("miniature?dense=clear", None, "dense mode clear: expected one of maskclip, .* did you mean clearclip"),
        ("miniature?dense=naclip", "sclip", "asks for the dense mode naclip, and --dense for sclip; give one of them"),
        ("some/where?dense=naclip", None, "dense mode naclip: is for models of open_clip"),
    ],
)
def test_a_dense_mode_that_cannot_be_is_refused(name: str, dense: str | None, said: str) -> None:
    with pytest.raises(MisuseError, match=said):
        load_segmenter(name, dense=dense)
