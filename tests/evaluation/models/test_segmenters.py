"""Every form in which a model comes, what each is asked, and what is said of those that are none."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from open_clip.tokenizer import SimpleTokenizer

from data_cards.cards import read_card
from data_cards.miniature.pairs import draw_pair
from evaluation.figures.confusion import confusion, counts_of, figures
from evaluation.labels.inference import segment_images
from evaluation.models.prompts import class_vectors
from evaluation.models.segmenters import learner_segmenter, load_segmenter
from files.errors import CocuError, MisuseError
from tests.evaluation.tiny_segmenters import tiny_card
from tests.training.models.test_groupvit_weights import in_the_original_layout
from training.models.groupvit import GroupViT, GroupViTConfig
from training.models.groupvit_weights import save_huggingface
from training.recipes.recipe import build_learner
from training.recipes.recipe_file import load_recipe
from training.run.checkpoint import Checkpoints

SMALL = ["model.width=64", "model.text.width=64", "model.text.layers=1", "model.text.context_length=20"]
GROUPS = [
    *("model.heads=1", "model.text.heads=1", "model.depths=[2,1,1]"),
    *("model.group_tokens=[8,8]", "model.output_groups=[8,8]"),
]


def checkpoint(run: Path, recipe_name: str = "miniature_groupvit", *changes: str) -> Path:
    """A checkpoint as a run of cocu train leaves it, with random weights; the last of the run."""
    recipe = load_recipe(recipe_name, [*SMALL, *changes])
    torch.manual_seed(0)
    weights = build_learner(recipe).state_dict()
    return Checkpoints(run, keep=1).save(1, recipe, weights, {"step": 1})


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One GroupViT in every form that it can have: name -> what to load it by."""
    folder = tmp_path_factory.mktemp("forms")
    ours = checkpoint(folder / "run", "miniature_groupvit", *GROUPS)
    learner = load_segmenter(ours).module
    assert isinstance(learner, GroupViT)
    save_huggingface(learner, folder / "hub")
    peer = transformers.GroupViTModel.from_pretrained(folder / "hub").eval()
    weights = in_the_original_layout(peer)
    weights["multi_label_logit_scale"] = learner.concept_logit_scale.detach()
    torch.save({"model": weights, "epoch": 29}, folder / "release.pth")
    return {"cocu": str(ours), "Hugging Face": str(folder / "hub"), "the release": str(folder / "release.pth")}


def test_one_model_in_every_form_gives_the_same_labels(forms: dict[str, str]) -> None:
    card = tiny_card(background=None, resize=None, window=None)
    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    found = {}
    for form, name in forms.items():
        segmenter = load_segmenter(name)
        assert (segmenter.name, segmenter.multiple, segmenter.device.type) == (name, 8, "cpu")
        assert not segmenter.module.training
        vectors = class_vectors(segmenter, card)
        found[form] = (segment_images(segmenter, card, vectors, [picture])[0].labels, segmenter)
    (expected, first), *others = found.values()
    pixels = torch.randn(2, 3, 64, 48)
    for labels, segmenter in others:
        assert torch.equal(labels, expected)
        assert torch.equal(segmenter.dense(pixels).vectors, first.dense(pixels).vectors)
        assert segmenter.scale == first.scale
    kinds = {form: segmenter.kind for form, (_, segmenter) in found.items()}
    assert kinds == {
        "cocu": "groupvit, concepts: caption",
        "Hugging Face": "GroupViT, Hugging Face's form",
        "the release": "GroupViT, the original release's form",
    }


def test_the_digest_is_of_the_weights_whatever_file_they_are_in(forms: dict[str, str]) -> None:
    ours, release = load_segmenter(forms["cocu"]), load_segmenter(forms["the release"])
    assert ours.digest == release.digest
    assert len(ours.digest) == 64
    again = load_segmenter(forms["cocu"])
    with torch.no_grad():
        next(again.module.parameters()).view(-1)[0] += 1e-3
    assert again.digest != ours.digest


def test_patch_alignment_loads_too(tmp_path: Path) -> None:
    segmenter = load_segmenter(checkpoint(tmp_path, "miniature"))
    assert segmenter.kind == "patch-alignment, concepts: caption"
    dense = segmenter.dense(torch.randn(2, 3, 64, 40))
    assert (dense.maps, dense.grid) == (None, (8, 5))
    assert dense.vectors.shape[:2] == (2, 40)
    assert segmenter.similarity(dense.whole, dense.vectors[0, :3]).shape == (2, 3)


def test_the_vector_of_a_class_is_the_unit_mean_of_its_prompts(forms: dict[str, str]) -> None:
    segmenter = load_segmenter(forms["cocu"])
    learner: Any = segmenter.module
    prompts = [["a photo of a dog.", "a photo of a puppy."], ["a photo of the sky."], ["a photo of a dog."]]
    found = segmenter.embed_classes(prompts)
    for texts, vector in zip(prompts, found, strict=True):
        with torch.no_grad():
            each = learner.project_text(learner.encode_text(SimpleTokenizer(context_length=20)(texts)))
        mean = each.mean(dim=0)
        torch.testing.assert_close(vector, mean / mean.norm(), rtol=1e-4, atol=1e-5)
    assert segmenter.embed_classes(prompts) is found, "they are kept"
    assert segmenter.embed_classes(prompts[:1]) is not found
    with pytest.raises(ValueError, match="class 1 has no prompt"):
        segmenter.embed_classes([["a"], []])


def test_as_released_the_mean_is_taken_before_unit_length() -> None:
    torch.manual_seed(0)
    learner = GroupViT(GroupViTConfig(width=24, heads=2, depths=(1, 1, 1), projection_hidden=16)).eval()
    segmenter = learner_segmenter(learner, "fresh")
    prompts = [["a photo of a dog.", "a puppy"], ["the sky"]]
    with torch.no_grad():
        text_head, tokens = learner.text_head, SimpleTokenizer(context_length=77)
        hidden = [text_head.batch_norm(text_head.hidden(learner.encode_text(tokens(texts)))) for texts in prompts]
        means = [text_head.out(each.relu()).mean(dim=0) for each in hidden]
    expected = torch.stack([mean / mean.norm() for mean in means])
    found = segmenter.embed_classes(prompts, as_released=True)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    usual = segmenter.embed_classes(prompts)
    assert not torch.allclose(usual[0], found[0], atol=1e-4)
    torch.testing.assert_close(usual[1], found[1], rtol=1e-4, atol=1e-5)


def test_more_prompts_than_go_through_the_encoder_at_once(
    forms: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [[f"a photo of {number} dogs." for number in range(first, first + 7)] for first in (0, 3, 20)]
    expected = load_segmenter(forms["cocu"]).embed_classes(prompts)
    monkeypatch.setattr("evaluation.models.segmenters.TEXTS_AT_ONCE", 4)
    found = load_segmenter(forms["cocu"]).embed_classes(prompts)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_learner_in_training_is_measured_as_it_is_and_left_as_it_was(tmp_path: Path) -> None:
    learner = build_learner(load_recipe("miniature_groupvit", [*SMALL, "model.drop_path=0.5"])).train()
    with torch.no_grad():
        learner.logit_scale.fill_(9.0)
    segmenter = learner_segmenter(learner, "step 7")
    assert segmenter.scale == 100
    first, second = (segmenter.embed_classes([["a dog"]]) for _ in range(2))
    assert torch.equal(first, second)
    pixels = torch.randn(2, 3, 64, 64)
    assert torch.equal(segmenter.dense(pixels).vectors, segmenter.dense(pixels).vectors)
    assert all(module.training for module in learner.modules())
    assert segmenter.kind == "GroupViT"


@pytest.mark.parametrize("form", ["cocu", "Hugging Face"])
def test_bf16_gives_vectors_in_fp32_near_those_of_fp32(form: str, forms: dict[str, str]) -> None:
    pixels = torch.randn(2, 3, 64, 64)
    full, half = (load_segmenter(forms[form], precision=precision) for precision in ("fp32", "bf16"))
    expected, found = full.dense(pixels), half.dense(pixels)
    assert found.vectors.dtype == found.whole.dtype == torch.float32
    assert not torch.equal(found.whole, expected.whole)
    torch.testing.assert_close(found.whole, expected.whole, rtol=0, atol=0.05)


def test_the_clip_of_the_miniature_segments_it_without_having_learnt_to() -> None:
    """Its figure on 400 pictures is 34 % mIoU, 71 % of the pixels; the commonest class covers a tenth of them."""
    card = read_card("miniature")
    pairs = [draw_pair("val", 5, index, 64) for index in range(24)]
    segmenter = load_segmenter("miniature")
    assert (segmenter.multiple, segmenter.mean) == (8, (0.5, 0.5, 0.5))
    assert "key-key attention in the last 3 blocks" in segmenter.kind
    found = segment_images(segmenter, card, class_vectors(segmenter, card), [pair.image for pair in pairs])
    matrix = sum(
        confusion(one.labels, torch.from_numpy(pair.mask.astype(np.int64)), len(card.classes), 255)
        for one, pair in zip(found, pairs, strict=True)
    )
    assert isinstance(matrix, torch.Tensor)
    assert figures(counts_of(matrix).numpy()).pixel_accuracy > 0.5


def write(path: Path, content: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def run_folder(folder: Path) -> Path:
    (folder / "best").mkdir()
    return write(folder / "config.yaml").parent


def other_model(folder: Path) -> Path:
    return write(folder / "config.json", json.dumps({"model_type": "bert"})).parent


def damaged(folder: Path) -> Path:
    path = checkpoint(folder)
    file = path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    return path


STRANGERS: dict[str, tuple[Callable[[Path], Path | str], type[Exception], str]] = {
    "nothing there": (lambda f: f / "run" / "best", MisuseError, "run/best: there is no such folder or file"),
    "a word": (lambda f: "dog", MisuseError, "dog: there is no such folder or file"),
    "an empty folder": (lambda f: f, MisuseError, "is no checkpoint, it is empty; expected model.safetensors"),
    "some folder": (lambda f: write(f / "a.jpg").parent, MisuseError, "is no checkpoint, it has a.jpg; expected"),
    "a run": (run_folder, MisuseError, "is the folder of a run; give one that is there: "),
    "half": (lambda f: write(f / "config.yaml").parent, MisuseError, "has config.yaml but no model.safetensors"),
    "a picture": (lambda f: write(f / "dog.jpg"), MisuseError, "dog.jpg: is a file, not a checkpoint"),
    "another model": (other_model, MisuseError, "is a model of type bert, not groupvit"),
    "damaged": (damaged, CocuError, "model.safetensors: cannot be read"),
    "no weights": (lambda f: write(f / "x.pth"), CocuError, "x.pth: cannot be read as weights"),
    "few tokens": (
        lambda f: checkpoint(f, "miniature", "model.text.vocabulary=100"),
        CocuError,
        "its vocabulary has 100 tokens, CLIP's 49408",
    ),
    "unknown CLIP": (lambda f: "open_clip:ViT-Z", MisuseError, "open_clip knows no model 'ViT-Z'"),
    "CLIP unweighed": (lambda f: "open_clip:RN50", MisuseError, "no weights are named; give one of openai"),
    "CLIP misnamed": (lambda f: "open_clip:RN50@mine", MisuseError, "no weights 'mine'; give one of openai"),
    "no CLIP": (lambda f: f"local-dir:{f}", MisuseError, "no folder with open_clip_config.json in it"),
    "broken CLIP": (
        lambda f: write(f / "open_clip_config.json", "{").parent,
        CocuError,
        "cannot be loaded (JSONDecodeError",
    ),
    "damaged CLIP": (
        lambda f: f"open_clip:RN50@{write(f / 'weights.pt', 'no weights')}",
        CocuError,
        "weights.pt: is damaged, incomplete or of another model",
    ),
}


@pytest.mark.parametrize(("make", "kind", "said"), STRANGERS.values(), ids=STRANGERS)
def test_what_is_no_model_is_said_with_its_path(
    make: Callable[[Path], Path | str], kind: type[Exception], said: str, tmp_path: Path
) -> None:
    name = make(tmp_path)
    with pytest.raises(kind) as raised:
        load_segmenter(name)
    assert type(raised.value) is kind
    assert said in str(raised.value)
    assert str(name).removeprefix("local-dir:") in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == (2 if kind.__name__ == "MisuseError" else 1)  # type: ignore[attr-defined]


def test_a_precision_that_there_is_not_is_refused() -> None:
    with pytest.raises(MisuseError, match="precision 'fp8': give fp32 or bf16"):
        load_segmenter("miniature", precision="fp8")  # type: ignore[arg-type]
