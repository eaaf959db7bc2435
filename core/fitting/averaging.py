"""Average weights: a running average during training, and the mean of networks trained from one start."""

import copy
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from core.fitting import distributed
from core.fitting.freezing import changing_names
from core.network.hybrid import HybridNetwork

# The average starts with a short memory; otherwise the random initial weights would dominate it for long.
_FIRST_MEMORY = 10


class MovingWeights:
    """The weights and statistics that change in a phase, of the trained network and of its running average."""

    def __init__(self, trained: HybridNetwork, averaged: HybridNetwork) -> None:
        """Look up the tensors; the phase must have begun and its modes must be set.

        The lookup is done once: a network has thousands of names, and the epochs of a head are short.
        """
        names = changing_names(trained)
        values, means = trained.state_dict(), averaged.state_dict()
        self.trained = {name: values[name] for name in names}
        self.averaged = {name: means[name] for name in names}
        weights = {name for name, _ in trained.named_parameters()}
        self._statistics = [name for name in names if name not in weights and values[name].dtype.is_floating_point]

    def average(self, averaging: float, steps: int) -> None:
        """Update the average after `steps` steps of the run; `averaging` is the memory, as a share."""
        _move(self.averaged.values(), self.trained.values(), min(averaging, steps / (_FIRST_MEMORY + steps)))

    def agree(self) -> None:
        """Average the statistics over all processes; the weights are equal already."""
        for state in (self.trained, self.averaged):
            for name in self._statistics:
                distributed.average_over_processes(state[name])


def average_networks(members: Sequence[HybridNetwork]) -> HybridNetwork:
    """Average the weights of networks that were trained from one start.

    The mean is more accurate than its members at the cost of one (Wortsman et al., ICML 2022).
    """
    mean = copy.deepcopy(members[0])
    for number, member in enumerate(members):
        _move(mean.state_dict().values(), member.state_dict().values(), number / (number + 1))
    return mean


@torch.no_grad()
def _move(means: Iterable[Tensor], values: Iterable[Tensor], memory: float) -> None:
    for mean, value in zip(means, values, strict=True):
        if mean.dtype.is_floating_point:
            mean.lerp_(value, 1 - memory)
        else:
            mean.copy_(value)
