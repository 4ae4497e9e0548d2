"""AdamW with the paper's groups, and a step that is not taken where the gradient is not finite."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from training.recipes import recipe as config
from training.step.rates import rate_factors


def build_optimizer(learner: nn.Module, settings: config.Optimizer) -> torch.optim.AdamW:
    """AdamW over the two groups of `parameter_groups`, parted by their rates; the rate is set at every step.

    A group's `factor` is what multiplies the rate (training/step/rates.py).
    """
    factors = rate_factors(learner, settings)
    groups = []
    decayed = parameter_groups(learner, settings.decay_scales)
    for parameters, decay in zip(decayed, (settings.weight_decay, 0.0), strict=True):
        for factor in dict.fromkeys(factors[parameter] for parameter in parameters) or [1.0]:
            some = [parameter for parameter in parameters if factors[parameter] == factor]
            groups.append({"params": some, "weight_decay": decay, "factor": factor})
    # Fused, on the CPU too: quicker, and it can leave a step out without asking the host (`GuardedStep`).
    return torch.optim.AdamW(groups, lr=0.0, betas=settings.betas, eps=settings.eps, fused=True)


def parameter_groups(learner: nn.Module, scales: bool = False) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Parameters with weight decay and those without: norms, biases and logit scales, all that is no matrix.

    Position embeddings and group tokens are matrices and decay, as in GroupViT's release. scales: what has no dimension
    decays, too: there the release leaves out what has just one.
    """
    trained = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    left = (1,) if scales else (0, 1)
    return [p for p in trained if p.ndim not in left], [p for p in trained if p.ndim in left]


class GuardedStep:
    """The optimizer step, with clipping; one whose loss or gradient is not finite changes nothing at all.

    That is decided on the device and nobody waits for it. All ranks decide alike, as they have the same loss and,
    averaged, the same gradient. scaler: of the loss in half precision with few exponents; a step that it finds too
    large is one that is not finite.
    """

    def __init__(
        self,
        learner: nn.Module,
        optimizer: torch.optim.AdamW,
        clip: float,
        scaler: torch.amp.GradScaler | None = None,
    ) -> None:
        self.optimizer, self.clip = optimizer, clip
        self.scaler = scaler if scaler and scaler.is_enabled() else None
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        # Of batch norm: the forward pass has changed them by the time that the loss is known.
        self._buffers = list(learner.buffers())
        self._saved: Sequence[Tensor] = ()

    def begin(self) -> None:
        """Before the forward pass."""
        self.optimizer.zero_grad(set_to_none=True)
        self._saved = [buffer.clone() for buffer in self._buffers]

    def scale(self, device: torch.device) -> Tensor | None:
        """What the gradient of the loss is to be multiplied by before it goes back; None: by nothing."""
        return self.scaler.scale(torch.ones((), device=device)) if self.scaler else None

    def end(self, loss: Tensor, rate: float) -> tuple[Tensor, Tensor]:
        """After the backward pass: the step. Returns the norm of the gradient, and whether it was taken (bool)."""
        if self.scaler:
            self.scaler.unscale_(self.optimizer)
        norm = clip_grad_norm_(self.parameters, self.clip)
        finite = torch.isfinite(norm) & torch.isfinite(loss)
        for buffer, saved in zip(self._buffers, self._saved, strict=True):
            buffer.copy_(torch.where(finite, buffer, saved))
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("factor", 1.0)
        # What torch's GradScaler sets on a fused optimizer: with found_inf at 1 its kernel leaves all as it is.
        self.optimizer.grad_scale = None  # type: ignore[attr-defined]
        self.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
        self.optimizer.step()
        if self.scaler:
            self.scaler.update()
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
