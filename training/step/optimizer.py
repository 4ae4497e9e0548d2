"""AdamW with the paper's groups, and a step that is not taken where the gradient is not finite."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from training.recipes import recipe as config


def build_optimizer(learner: nn.Module, settings: config.Optimizer) -> torch.optim.AdamW:
    """AdamW over the two groups of `parameter_groups`; its rate is set at every step."""
    decayed, others = parameter_groups(learner)
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    # Fused, on the CPU too: quicker, and it can leave a step out without asking the host (`GuardedStep`).
    return torch.optim.AdamW(groups, lr=0.0, betas=settings.betas, eps=settings.eps, fused=True)


def parameter_groups(learner: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Parameters with weight decay and those without: norms, biases and logit scales, all that is no matrix.

    Position embeddings and group tokens are matrices and decay, as in GroupViT's release.
    """
    trained = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    return [p for p in trained if p.ndim >= 2], [p for p in trained if p.ndim < 2]


class GuardedStep:
    """The optimizer step, with clipping; one whose loss or gradient is not finite changes nothing at all.

    That is decided on the device and nobody waits for it. All ranks decide alike, as they have the same loss and,
    averaged, the same gradient.
    """

    def __init__(self, learner: nn.Module, optimizer: torch.optim.AdamW, clip: float) -> None:
        self.optimizer, self.clip = optimizer, clip
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        # Of batch norm: the forward pass has changed them by the time that the loss is known.
        self._buffers = list(learner.buffers())
        self._saved: Sequence[Tensor] = ()

    def begin(self) -> None:
        """Before the forward pass."""
        self.optimizer.zero_grad(set_to_none=True)
        self._saved = [buffer.clone() for buffer in self._buffers]

    def end(self, loss: Tensor, rate: float) -> tuple[Tensor, Tensor]:
        """After the backward pass: the step. Returns the norm of the gradient, and whether it was taken (bool)."""
        norm = clip_grad_norm_(self.parameters, self.clip)
        finite = torch.isfinite(norm) & torch.isfinite(loss)
        for buffer, saved in zip(self._buffers, self._saved, strict=True):
            buffer.copy_(torch.where(finite, buffer, saved))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # What torch's GradScaler sets on a fused optimizer: with found_inf at 1 its kernel leaves all as it is.
        self.optimizer.grad_scale = None  # type: ignore[attr-defined]
        self.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
        self.optimizer.step()
        return norm, finite


class Verdict:
    """Whether a step was taken, and its loss: tensors on the device, on their way to the CPU."""

    def __init__(self, step: int, keys: Sequence[str], finite: Tensor, loss: Tensor) -> None:
        self.step, self.keys = step, keys
        self._values = torch.stack([finite.float(), loss.float()]).to("cpu", non_blocking=True)
        self._arrived = torch.cuda.Event() if finite.is_cuda else None
        if self._arrived:
            self._arrived.record()

    def read(self) -> tuple[bool, float]:
        """Whether the step was taken, and the loss; waits until they have arrived."""
        if self._arrived:
            self._arrived.synchronize()
        finite, loss = self._values.tolist()
        return bool(finite), loss
