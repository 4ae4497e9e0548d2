"""GroupViT's weights from and to Hugging Face's GroupViTModel, and from the original release's .pth files."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from files.atomic import atomic, sweep
from files.errors import CocuError, MisuseError
from files.locks import locked
from training.models.groupvit import GroupViT, GroupViTConfig
from training.models.groupvit_names import Layout, names_in
from training.models.learner import EXPORTS
from training.models.text_encoder import TextConfig

# Buffers of constants that old files hold beside the weights.
CONSTANTS = {"text_model.embeddings.position_ids"}
# Not every release file has them: they stay as they were initialised.
OPTIONAL = {"multi_label_logit_scale"}
NAMED_AT_MOST = 4


def load_huggingface(folder_or_name: str | Path) -> GroupViT:
    """A GroupViT with the weights of Hugging Face's GroupViTModel, in eval mode.

    folder_or_name: a folder with config.json and model.safetensors, or a name on the hub. Hugging
    Face keeps no temperature of the multi-label loss: concept_logit_scale stays as initialised.
    Raises MisuseError for a folder that holds no GroupViT, CocuError for weights that are
    missing, left over or of another shape, all named.
    """
    config = _own_config(_read_config(folder_or_name), str(folder_or_name))
    file = _weights_file(folder_or_name)
    try:
        weights = (
            load_file(file)
            if file.suffix == ".safetensors"
            else torch.load(file, map_location="cpu", weights_only=True)
        )
    except (SafetensorError, RuntimeError, pickle.UnpicklingError) as error:
        raise CocuError(f"{file}: cannot be read ({_short(error)}); fetch it again") from error
    return _filled(GroupViT(config), weights, "huggingface", file)


def load_original(path: str | Path, heads: int | None = None) -> GroupViT:
    """A GroupViT with the weights of a .pth file of the original release, in eval mode.

    heads: attention heads of the image encoder, which the file does not tell; one for every 64
    channels unless given, as in the release. The file's other contents (optimizer, configuration)
    are not looked at, and no code that it names is run. Raises as load_huggingface does.
    """
    path = Path(path)
    weights = _original_weights(path)
    return _filled(GroupViT(_original_config(weights, heads, path)), weights, "original", path)


def save_huggingface(model: GroupViT, folder: str | Path) -> None:
    """Write config.json and model.safetensors as transformers' GroupViTModel.from_pretrained loads them.

    Raises MisuseError for a model that the layout cannot hold, before anything is written.
    """
    weights, config = huggingface_weights(model), huggingface_config(model.config)
    folder = Path(folder)
    config.architectures = ["GroupViTModel"]
    with locked(folder, None):
        sweep(folder, deep=False)
        config.save_pretrained(folder)
        with atomic(folder / "model.safetensors") as unfinished:
            save_file(weights, unfinished, metadata={"format": "pt"})


def huggingface_weights(model: GroupViT) -> dict[str, Tensor]:
    """Copies of the weights, on the CPU, as the state dict of transformers' GroupViTModel.

    The temperature of the multi-label loss has no place there and is left out; an assignment scale
    goes into the weights of the assignment's queries. Raises MisuseError for a model that the
    layout cannot hold.
    """
    from transformers import GroupViTModel

    if not model.config.hard_assignment:
        raise MisuseError(
            "hard_assignment: Hugging Face's GroupViTModel assigns hard; a soft model cannot be saved for it"
        )
    with torch.device("meta"):
        theirs = GroupViTModel(huggingface_config(model.config)).state_dict()
    weights: dict[str, Tensor] = {}
    for ours, value in model.state_dict().items():
        if ".grouping.query." in ours:
            value = value * model.config.assignment_scale
        names = names_in("huggingface", ours)
        for name, part in zip(names, value.chunk(len(names)) if len(names) > 1 else [value], strict=False):
            if theirs[name].numel() != part.numel():
                raise MisuseError(
                    f"group_tokens {model.config.group_tokens} differ from output_groups {model.config.output_groups}: "
                    f"in Hugging Face's GroupViTModel they are one for all but the last ({name})"
                )
            weights[name] = part.detach().cpu().reshape(theirs[name].shape).clone()
    if lost := theirs.keys() - weights.keys():
        raise CocuError(f"no weights for {_listed(lost)}: this version of transformers has another GroupViTModel")
    return weights


def _filled(model: GroupViT, theirs: Mapping[str, Tensor], layout: Layout, source: Path) -> GroupViT:
    """The model with their tensors put in; every one of theirs must have its place."""
    state, missing, misshapen, used = model.state_dict(), [], [], set(CONSTANTS)
    for ours, value in state.items():
        names = names_in(layout, ours)
        used.update(names)
        absent = [name for name in names if name not in theirs]
        if absent or not names:
            missing += [name for name in absent if name not in OPTIONAL]
            continue
        parts = [theirs[name] for name in names]
        joined = parts[0] if len(parts) == 1 else torch.cat(parts)
        if not _same_but_for_axes_of_one(joined, value):
            misshapen.append(f"{' + '.join(names)} is {list(joined.shape)} where {list(value.shape)} is expected")
            continue
        state[ours] = joined.reshape(value.shape).to(value.dtype)
    left_over = theirs.keys() - used
    faults = [
        f"{what} {_listed(names)}"
        for what, names in (("missing:", missing), ("left over:", left_over), ("of another shape:", misshapen))
        if names
    ]
    if faults:
        raise CocuError(f"{source}: not the weights of a GroupViT of these sizes; {'; '.join(faults)}")
    model.load_state_dict(state)
    return model.eval()


def _same_but_for_axes_of_one(theirs: Tensor, ours: Tensor) -> bool:
    """Whether shapes agree, but for axes of length 1 and a grid that is one axis there and two here."""
    shapes = [ours.shape, ours.flatten(0, 1).shape] if ours.ndim == 3 else [ours.shape]
    return [n for n in theirs.shape if n != 1] in [[n for n in shape if n != 1] for shape in shapes]


def _listed(names: Any) -> str:
    """The first few names in order, and how many more there are."""
    names = sorted(names)
    more = len(names) - NAMED_AT_MOST
    return ", ".join(names[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def _short(error: Exception) -> str:
    """An error's text on one line."""
    return " ".join(str(error).split())[:200]


def _read_config(folder_or_name: str | Path) -> Any:
    """The configuration by transformers, which knows the defaults of keys that a file leaves out."""
    from transformers import GroupViTConfig as HuggingFaceConfig

    if Path(folder_or_name).is_dir() and not (Path(folder_or_name) / "config.json").is_file():
        raise MisuseError(f"{folder_or_name}: has no config.json; give a folder saved by save_pretrained")
    try:
        # Not by AutoConfig, which runs code that the folder brings.
        values, _ = HuggingFaceConfig.get_config_dict(folder_or_name)
        if values.get("model_type") == HuggingFaceConfig.model_type:
            return HuggingFaceConfig.from_dict(values)
    except (OSError, ValueError) as error:
        raise MisuseError(f"{folder_or_name}: no GroupViT on the disk nor on the hub ({_short(error)})") from error
    raise MisuseError(f"{folder_or_name}: is a model of type {values.get('model_type')}, not groupvit")


def _weights_file(folder_or_name: str | Path) -> Path:
    """The file of weights, downloaded if need be: safetensors, or the older pytorch_model.bin."""
    from transformers.utils import cached_file

    reason: Exception | None = None
    for name in ("model.safetensors", "pytorch_model.bin"):
        try:
            if (file := cached_file(folder_or_name, name)) is not None:
                return Path(file)
        except OSError as error:
            reason = reason or error
    raise MisuseError(f"{folder_or_name}: has no model.safetensors ({_short(reason or OSError())})")


# What GroupViT has only one of here: value by part and key of Hugging Face's configuration.
FIXED = {
    "vision_config": {
        **{"hidden_act": "gelu", "layer_norm_eps": 1e-5, "dropout": 0.0, "attention_dropout": 0.0},
        **{"num_channels": 3, "assign_eps": 1.0, "assign_mlp_ratio": [0.5, 4]},
    },
    "text_config": {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "dropout": 0.0, "attention_dropout": 0.0},
}


def _own_config(config: Any, source: str) -> GroupViTConfig:
    """Our configuration of theirs. Raises MisuseError for a value that this model does not have."""
    vision, text = config.vision_config, config.text_config
    for part, keys in FIXED.items():
        widened = {"intermediate_size": 4 * getattr(config, part).hidden_size}
        for key, value in (keys | widened).items():
            theirs = getattr(getattr(config, part), key)
            if (list(theirs) if isinstance(theirs, tuple) else theirs) != value:
                raise MisuseError(f"{source}: {part}.{key} is {theirs!r}; here it is always {value!r}")
    # 2 is what old files say, and means the highest id as well.
    if text.eos_token_id not in (2, text.vocab_size - 1):
        raise MisuseError(
            f"{source}: text_config.eos_token_id is {text.eos_token_id}; here the highest id, "
            f"{text.vocab_size - 1}, ends a text"
        )
    for key in ("image_size", "patch_size"):
        if not isinstance(getattr(vision, key), int):
            raise MisuseError(
                f"{source}: vision_config.{key} is {getattr(vision, key)}; here images and patches are square"
            )
    return GroupViTConfig(
        image_size=vision.image_size,
        patch_size=vision.patch_size,
        width=vision.hidden_size,
        heads=vision.num_attention_heads,
        depths=tuple(vision.depths),
        group_tokens=tuple(vision.num_group_tokens[:-1]),
        output_groups=tuple(vision.num_output_groups[: len(vision.depths) - 1]),
        text=TextConfig(
            vocabulary=text.vocab_size,
            context_length=text.max_position_embeddings,
            width=text.hidden_size,
            layers=text.num_hidden_layers,
            heads=text.num_attention_heads,
        ),
        projection_hidden=config.projection_intermediate_dim,
        projection_width=config.projection_dim,
    )


def huggingface_config(config: GroupViTConfig) -> Any:
    """The configuration of transformers' GroupViTModel of these sizes."""
    from transformers import GroupViTConfig as HuggingFaceConfig

    text = config.text
    return HuggingFaceConfig(
        vision_config=FIXED["vision_config"]
        | {
            "image_size": config.image_size,
            "patch_size": config.patch_size,
            "hidden_size": config.width,
            "intermediate_size": 4 * config.width,
            "num_attention_heads": config.heads,
            "num_hidden_layers": sum(config.depths),
            "depths": list(config.depths),
            "num_group_tokens": [*config.group_tokens, 0],
            "num_output_groups": [*config.output_groups, config.output_groups[-1]],
        },
        text_config=FIXED["text_config"]
        | {
            "vocab_size": text.vocabulary,
            "max_position_embeddings": text.context_length,
            "hidden_size": text.width,
            "intermediate_size": 4 * text.width,
            "num_hidden_layers": text.layers,
            "num_attention_heads": text.heads,
            "bos_token_id": text.vocabulary - 2,
            "eos_token_id": text.vocabulary - 1,
        },
        projection_dim=config.projection_width,
        projection_intermediate_dim=config.projection_hidden,
    )


def _original_weights(path: Path) -> dict[str, Tensor]:
    """The tensors under "model" in a release file; classes of other libraries that it names become inert stand-ins."""
    try:
        strangers = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        with torch.serialization.safe_globals([(_stand_in(name), name) for name in strangers]):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise MisuseError(f"{path}: no such file") from None
    except (ValueError, RuntimeError, OSError, pickle.UnpicklingError) as error:
        raise CocuError(
            f"{path}: cannot be read as weights alone ({_short(error)}); where it is trusted, load it with the torch "
            'that wrote it and save its "model" entry alone, as torch.save({"model": ...})'
        ) from error
    weights = checkpoint.get("model") if isinstance(checkpoint, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise CocuError(f'{path}: holds no weights under "model"; is it a file of the GroupViT release?')
    return weights


def _stand_in(name: str) -> type:
    """A class that takes any arguments and any state and does nothing with them."""

    def take_nothing(self: Any, *_: Any, **__: Any) -> None: ...

    def make(cls: type, *_: Any, **__: Any) -> Any:
        return object.__new__(cls)

    return type(name.rpartition(".")[2], (), {"__new__": make, "__init__": take_nothing, "__setstate__": take_nothing})


def _original_config(weights: Mapping[str, Tensor], heads: int | None, path: Path) -> GroupViTConfig:
    """The sizes, read from the shapes of the weights."""

    def shape(name: str) -> torch.Size:
        if name not in weights:
            raise CocuError(f"{path}: not the weights of a GroupViT; missing: {name}")
        return weights[name].shape

    def count(prefix: str) -> int:
        numbers = [int(name.removeprefix(prefix).split(".")[0]) for name in weights if name.startswith(prefix)]
        return max(numbers, default=-1) + 1

    width, _, patch, _ = shape("img_encoder.patch_embed.proj.weight")
    patches = shape("img_encoder.pos_embed")[1]
    vocabulary, text_width = shape("text_encoder.token_embedding.weight")
    hidden, outputs = shape("img_projector.linear_hidden.0.weight")[0], shape("img_projector.linear_out.weight")[0]
    stages = [f"img_encoder.layers.{stage}" for stage in range(count("img_encoder.layers."))]
    return GroupViTConfig(
        image_size=round(patches**0.5) * patch,
        patch_size=patch,
        width=width,
        heads=heads or max(width // 64, 1),
        depths=tuple(count(f"{stage}.blocks.") for stage in stages),
        group_tokens=tuple(shape(f"{stage}.group_token")[1] for stage in stages[:-1]),
        output_groups=tuple(shape(f"{stage}.downsample.mlp_inter.fc2.weight")[0] for stage in stages[:-1]),
        text=TextConfig(
            vocabulary=vocabulary,
            context_length=shape("text_encoder.positional_embedding")[0],
            width=text_width,
            layers=count("text_encoder.transformer.resblocks."),
            heads=max(text_width // 64, 1),
        ),
        projection_hidden=hidden,
        projection_width=outputs,
    )


EXPORTS.add("groupvit", save_huggingface)
