"""GroupViT's weights in the layouts of others, against transformers' GroupViTModel."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from files.errors import CocuError, MisuseError
from tests.training.groupvit_peer import SIZES, batch, huggingface_config, own_loss, random_peer, saved
from training.models.groupvit import GroupViT, GroupViTConfig
from training.models.groupvit_names import names_in
from training.models.groupvit_weights import load_huggingface, load_original, save_huggingface
from training.models.text_encoder import TextConfig


def small_model(**levers: Any) -> GroupViT:
    torch.manual_seed(5)
    config = GroupViTConfig(
        **{"image_size": 32, "patch_size": 8, "width": 32, "heads": 2, "depths": (2, 1, 1)},
        **{"group_tokens": (6, 4), "output_groups": (6, 3), "projection_hidden": 48, "projection_width": 24},
        text=TextConfig(vocabulary=60, context_length=10, width=64, layers=2, heads=1),
        **levers,
    )
    model = GroupViT(config)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn_like(value) * 0.3)
    return model.eval()


def test_a_saved_model_is_the_same_in_transformers_and_back(tmp_path: Path) -> None:
    model = small_model(assignment_scale=2.5)
    save_huggingface(model, tmp_path)
    peer, report = transformers.GroupViTModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    inputs = batch(peer.config)
    with torch.no_grad():
        theirs = peer.eval()(**inputs, return_loss=True)
        torch.testing.assert_close(own_loss(model, inputs), theirs.loss, rtol=1e-5, atol=1e-5)
        again = load_huggingface(tmp_path)
        assert again.config == replace(model.config, assignment_scale=1.0)
        torch.testing.assert_close(own_loss(again, inputs), own_loss(model, inputs), rtol=1e-5, atol=1e-5)
    save_huggingface(again, tmp_path / "twice")
    first, second = load_file(tmp_path / "model.safetensors"), load_file(tmp_path / "twice/model.safetensors")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_hugging_face_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="hard_assignment"):
        save_huggingface(small_model(hard_assignment=False), tmp_path)
    with pytest.raises(MisuseError, match="differ from output_groups"):
        save_huggingface(GroupViT(replace(small_model().config, output_groups=(5, 3))), tmp_path)
    assert not list(tmp_path.iterdir())


def test_missing_left_over_and_misshapen_weights_are_named(tmp_path: Path) -> None:
    save_huggingface(small_model(), tmp_path)
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    del weights["text_projection.1.running_mean"]
    weights["vision_model.encoder.stages.0.downsample.assign.w_proj.weight"] = torch.zeros(3)
    weights["text_model.embeddings.position_embedding.weight"] = torch.zeros(7, 64)
    weights["text_model.embeddings.position_ids"] = torch.arange(10)[None]
    save_file(weights, file)
    with pytest.raises(CocuError) as error:
        load_huggingface(tmp_path)
    message = str(error.value)
    assert str(file) in message
    assert "missing: text_projection.1.running_mean;" in message
    assert "left over: vision_model.encoder.stages.0.downsample.assign.w_proj.weight;" in message
    assert "text_model.embeddings.position_embedding.weight is [7, 64] where [10, 64] is expected" in message
    assert "position_ids" not in message


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("text_config", "hidden_act", "gelu"),
        ("vision_config", "assign_eps", 0.5),
        ("vision_config", "intermediate_size", 99),
    ],
)
def test_a_model_of_another_kind_is_refused(part: str, key: str, value: Any, tmp_path: Path) -> None:
    config = huggingface_config()
    setattr(getattr(config, part), key, value)
    with pytest.raises(MisuseError, match=rf"{part}\.{key} is {value!r}"):
        load_huggingface(saved(random_peer(config), tmp_path))


def test_folders_without_a_groupvit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match=r"has no config\.json"):
        load_huggingface(tmp_path)
    transformers.CLIPConfig().save_pretrained(tmp_path / "clip")
    with pytest.raises(MisuseError, match="type clip, not groupvit"):
        load_huggingface(tmp_path / "clip")
    huggingface_config().save_pretrained(tmp_path / "bare")
    with pytest.raises(MisuseError, match=r"has no model\.safetensors"):
        load_huggingface(tmp_path / "bare")
    (tmp_path / "bare/model.safetensors").write_bytes(b"torn")
    with pytest.raises(CocuError, match="cannot be read"):
        load_huggingface(tmp_path / "bare")


def in_the_original_layout(peer: Any) -> dict[str, Tensor]:
    """transformers' weights under the names of the original release, written out apart from the product's table."""
    theirs = {name: value.clone() for name, value in peer.state_dict().items()}
    renamed: dict[str, Tensor] = {}

    def move(new: str, old: str) -> None:
        for last in ("weight", "bias"):
            if f"{old}.{last}" in theirs:
                renamed[f"{new}.{last}"] = theirs.pop(f"{old}.{last}")

    def join(new: str, old: str) -> None:
        for last in ("weight", "bias"):
            joined = torch.cat([theirs.pop(f"{old}.{x}_proj.{last}") for x in "qkv"])
            renamed[new.format(last)] = joined

    move("img_encoder.patch_embed.proj", "vision_model.embeddings.patch_embeddings.projection")
    move("img_encoder.patch_embed.norm", "vision_model.embeddings.layernorm")
    renamed["img_encoder.pos_embed"] = theirs.pop("vision_model.embeddings.position_embeddings")
    move("img_encoder.norm", "vision_model.layernorm")
    vision = peer.config.vision_config
    for stage, depth in enumerate(vision.depths):
        new, old = f"img_encoder.layers.{stage}", f"vision_model.encoder.stages.{stage}"
        for layer in range(depth):
            join(f"{new}.blocks.{layer}.attn.qkv.{{}}", f"{old}.layers.{layer}.self_attn")
            move(f"{new}.blocks.{layer}.attn.proj", f"{old}.layers.{layer}.self_attn.out_proj")
            move(f"{new}.blocks.{layer}.norm1", f"{old}.layers.{layer}.layer_norm1")
            move(f"{new}.blocks.{layer}.norm2", f"{old}.layers.{layer}.layer_norm2")
            for fc in ("mlp.fc1", "mlp.fc2"):
                move(f"{new}.blocks.{layer}.{fc}", f"{old}.layers.{layer}.{fc}")
        if vision.num_group_tokens[stage]:
            renamed[f"{new}.group_token"] = theirs.pop(f"{old}.group_token")
            attention = "downsample.pre_assign_attn.attn"
            move(f"{new}.{attention}.proj", f"{old}.{attention}.out_proj")
        for name in [name for name in theirs if name.startswith(old)]:  # the rest is called alike
            renamed[name.replace(old, new)] = theirs.pop(name)
    renamed["text_encoder.positional_embedding"] = theirs.pop("text_model.embeddings.position_embedding.weight")
    move("text_encoder.token_embedding", "text_model.embeddings.token_embedding")
    move("text_encoder.ln_final", "text_model.final_layer_norm")
    for layer in range(peer.config.text_config.num_hidden_layers):
        new, old = f"text_encoder.transformer.resblocks.{layer}", f"text_model.encoder.layers.{layer}"
        join(f"{new}.attn.in_proj_{{}}", f"{old}.self_attn")
        move(f"{new}.attn.out_proj", f"{old}.self_attn.out_proj")
        move(f"{new}.ln_1", f"{old}.layer_norm1")
        move(f"{new}.ln_2", f"{old}.layer_norm2")
        move(f"{new}.mlp.c_fc", f"{old}.mlp.fc1")
        move(f"{new}.mlp.c_proj", f"{old}.mlp.fc2")
    for new, old in (("img_projector", "visual_projection"), ("text_projector", "text_projection")):
        move(f"{new}.linear_hidden.0", f"{old}.0")
        move(f"{new}.linear_out", f"{old}.3")
        for name in (f"{new}.linear_hidden.0.weight", f"{new}.linear_out.weight"):
            renamed[name] = renamed[name].unsqueeze(-1)  # there they are convolutions of one tap
        for name in [name for name in theirs if name.startswith(f"{old}.1")]:
            renamed[name.replace(old, f"{new}.linear_hidden")] = theirs.pop(name)
    renamed["logit_scale"] = theirs.pop("logit_scale")
    assert not theirs
    return renamed | {"multi_label_logit_scale": torch.tensor(1.5)}


def test_original_files_load_and_equal_transformers(tmp_path: Path) -> None:
    config = SIZES["three stages"]
    peer = random_peer(config)
    weights = in_the_original_layout(peer)
    torch.save({"model": weights, "epoch": 30}, tmp_path / "release.pth")
    model = load_original(tmp_path / "release.pth", heads=2)
    assert model.concept_logit_scale.item() == 1.5
    inputs = batch(config)
    with torch.no_grad():
        theirs = peer(**inputs, return_loss=True)
        torch.testing.assert_close(own_loss(model, inputs), theirs.loss, rtol=1e-5, atol=1e-5)

    del weights["multi_label_logit_scale"]  # a release without the multi-label loss
    torch.save({"model": weights}, tmp_path / "release.pth")
    again = load_original(tmp_path / "release.pth", heads=2)
    assert all(
        torch.equal(a, b)
        for (n, a), b in zip(again.state_dict().items(), model.state_dict().values(), strict=True)
        if n != "concept_logit_scale"
    )

    weights["extra.weight"] = weights.pop("img_encoder.layers.1.blocks.0.attn.qkv.bias")
    torch.save({"model": weights}, tmp_path / "release.pth")
    with pytest.raises(
        CocuError, match=r"missing: img_encoder\.layers\.1\.blocks\.0\.attn\.qkv\.bias; left over: extra\.weight"
    ):
        load_original(tmp_path / "release.pth", heads=2)


class Configuration:
    """Stands for the classes of other libraries that release files hold; loading must not need it."""

    def __init__(self) -> None:
        self.content = {"lr": 1e-3, "parents": [self]}


class Trap:
    """Would run code when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return exec, (f"open({str(self.path)!r}, 'w')",)


def test_what_lies_beside_the_weights_is_never_run(tmp_path: Path) -> None:
    weights = in_the_original_layout(random_peer(SIZES["three stages"]))
    beside = {"config": Configuration(), "metrics": {"miou": Trap(tmp_path / "sprung")}}
    torch.save({"model": weights} | beside, tmp_path / "release.pth")
    load_original(tmp_path / "release.pth", heads=2)
    assert not (tmp_path / "sprung").exists()
    torch.load(tmp_path / "release.pth", weights_only=False)
    assert (tmp_path / "sprung").exists(), "the trap is a real one"


def test_files_that_hold_no_release_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "release.pth"
    with pytest.raises(MisuseError, match="no such file"):
        load_original(file)
    file.write_bytes(b"torn")
    with pytest.raises(CocuError, match="cannot be read as weights alone"):
        load_original(file)
    torch.save({"state_dict": {}}, file)
    with pytest.raises(CocuError, match='holds no weights under "model"'):
        load_original(file)
    torch.save({"model": {"a": torch.zeros(1)}}, file)
    with pytest.raises(CocuError, match=r"missing: img_encoder\.patch_embed\.proj\.weight"):
        load_original(file)


def test_every_parameter_has_one_name_in_each_layout() -> None:
    state = small_model().state_dict()
    for layout in ("huggingface", "original"):
        names = [name for ours in state for name in names_in(layout, ours)]
        assert len(names) == len(set(names))
    with pytest.raises(KeyError):
        names_in("original", "image_encoder.unheard_of.weight")
