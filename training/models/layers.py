"""The layers of a tower, in order: what learns slower the deeper it lies, and what forgets its activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

# Classes of layers, by name: ours and timm's, open_clip's, those of transformers, and timm's convolutional ones.
LAYERS = {
    *("Block", "ResidualAttentionBlock", "CustomResidualAttentionBlock"),
    *("BertLayer", "RobertaLayer", "XLMRobertaLayer", "T5Block"),
    *("ConvNeXtBlock", "InvertedResidual", "DepthwiseSeparableConv", "Bottleneck", "MobileOneBlock"),
}
# What names a parameter that stands before the layers, among those that are its tower's own.
FIRST = ("emb", "token", "pos")


def layers(module: nn.Module) -> list[nn.Module]:
    """The layers in a module, in the order in which they were made; those within another left out."""
    found: list[nn.Module] = []
    for child in module.children():
        found += [child] if type(child).__name__ in LAYERS else layers(child)
    return found


def depths(tower: nn.Module) -> tuple[dict[str, int], int]:
    """Depth of every parameter of a tower by name, and that of the highest.

    0: what comes before the first of L layers. 1 to L: of the layers, and of what stands between two of them, which
    goes with the one before. L + 1: norms and projections at the end.
    """
    found: dict[str, int] = {}
    seen, top = 0, len(layers(tower)) + 1

    def visit(module: nn.Module, prefix: str) -> None:
        nonlocal seen
        if type(module).__name__ in LAYERS:
            seen += 1
            found.update({prefix + name: seen for name, _ in module.named_parameters()})
            return
        before = seen
        for name, child in module.named_children():
            visit(child, f"{prefix}{name}.")
        for name, _ in module.named_parameters(recurse=False):
            first = any(part in name for part in FIRST)
            found[prefix + name] = before if first else top if seen == top - 1 else seen

    visit(tower, "")
    return found, top


def forget_activations(module: nn.Module) -> int:
    """Let every layer compute its activations again for the gradient instead of keeping them; says how many do.

    Gradients stay the same, random numbers included. A layer with batch norm keeps its own: it would count the pictures
    twice.
    """
    changed = 0
    for layer in layers(module):
        if not any(isinstance(part, _BatchNorm) for part in layer.modules()):
            layer.forward = _again(layer.forward)
            changed += 1
    return changed


def _again(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def forgetful(*given: Any, **named: Any) -> Any:
        return checkpoint(forward, *given, use_reentrant=False, **named)

    return forgetful
