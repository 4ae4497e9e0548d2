"""The activation of published weights, which their architecture's name does not always tell."""

from __future__ import annotations

from pathlib import Path

from files.saying import say

QUICK = "-quickgelu"  # ends names of architectures


def wants_quick_gelu(model: str, pretrained: str | None) -> bool:
    """Whether these weights, a tag of open_clip's, were trained with QuickGELU (x * sigmoid(1.702 x)).

    OpenAI's were, and open_clip builds a plain ViT-B-16 with GELU under them, which it only warns of. What a file holds
    nothing tells but the architecture: where there is one of each activation, it is said which is taken.
    """
    import open_clip

    if pretrained and Path(pretrained).is_file():
        if model + QUICK in open_clip.list_models():
            say(
                f"{pretrained}: taken for weights with GELU; where they are OpenAI's, MetaCLIP's or DFN's, which were "
                f"trained with QuickGELU, name the model {model}{QUICK}"
            )
        return False
    return bool(pretrained and (open_clip.get_pretrained_cfg(model, pretrained) or {}).get("quick_gelu"))
