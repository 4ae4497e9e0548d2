"""How much slower than the recipe's rate each parameter learns: by its part of the learner, and by its depth."""

from __future__ import annotations

from torch import nn

from files.errors import MisuseError
from training.models.layers import depths
from training.models.learner import Learner
from training.recipes import recipe as config

HEAD = "head"


def rate_factors(learner: nn.Module, settings: config.Optimizer) -> dict[nn.Parameter, float]:
    """What the rate is multiplied by, for every parameter: its part's, times layer_decay for each layer above it.

    In a tower of L layers: layer_decay ** (L + 1 - depth), as in BEiT (Bao et al., ICLR 2022); 1 outside of the towers.
    Raises MisuseError for a part that the learner does not have, and a decay over layers where it shows none.
    """
    rates: dict[str, float] = {str(part): rate for part, rate in settings.rates.items()}
    towers = learner.towers_by_name() if isinstance(learner, Learner) else {}
    if unknown := [part for part in rates if part not in (*towers, HEAD)]:
        raise MisuseError(f"optimizer.rates: {unknown[0]}: this learner's parts are {', '.join((*towers, HEAD))}")
    found = dict.fromkeys(learner.parameters(), rates.get(HEAD, 1.0))
    for name, tower in towers.items():
        depth, top = depths(tower)
        if settings.layer_decay != 1 and top == 1:
            raise MisuseError(
                f"optimizer.layer_decay {settings.layer_decay:g}: {name} of this learner has no layers that are known; "
                f"give it a rate of its own, optimizer.rates.{name}"
            )
        rate = rates.get(name, 1.0)
        for inside, parameter in tower.named_parameters():
            found[parameter] = rate * settings.layer_decay ** (top - depth[inside])
    return found
