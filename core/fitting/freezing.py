"""Apply a phase to a network: which parts learn, at which learning rates, with which optimiser."""

import math
from collections.abc import Iterator

from torch import nn, optim

from core.fitting.config import Optimiser, Phase
from core.network.hybrid import HybridNetwork


def begin_phase(network: HybridNetwork, phase: Phase) -> None:
    """Freeze and unfreeze the parts of a network for a phase; call `set_modes` before every epoch."""
    network.requires_grad_(phase.last_blocks < 0)
    for parameter in network.head_parameters():
        parameter.requires_grad_()
    for block in _unfrozen_blocks(network, phase):
        block.requires_grad_()


def set_modes(network: HybridNetwork, phase: Phase) -> None:
    """Set learning parts to training mode; frozen parts keep their batch statistics and have no dropout."""
    network.train()
    if phase.last_blocks >= 0:
        network.branches.eval()
    for block in _unfrozen_blocks(network, phase):
        block.train()


def changing_names(network: HybridNetwork) -> list[str]:
    """Return the names of the weights and statistics that change in a phase; its modes must be set."""
    names = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    for prefix, module in network.named_modules():
        if module.training:
            names += [f"{prefix}.{name}" if prefix else name for name, _ in module.named_buffers(recurse=False)]
    stored = network.state_dict().keys()
    return [name for name in names if name in stored]


def build_optimiser(network: HybridNetwork, beside: nn.Module | None, phase: Phase, how: Optimiser) -> optim.Optimizer:
    """Build the optimiser of a phase: one group for the head (and the module `beside` the network), one for blocks.

    Every group has its own `rate`, which the schedule multiplies.
    """
    head = network.head_parameters() + list(beside.parameters() if beside else ())
    head_ids = {id(parameter) for parameter in head}
    unfrozen = [p for p in network.parameters() if p.requires_grad and id(p) not in head_ids]
    groups = [{"params": head, "rate": phase.learning_rate}]
    if unfrozen:
        groups.append({"params": unfrozen, "rate": phase.backbone_rate or phase.learning_rate})
    decay = how.weight_decay
    match how.kind:
        case "adamw":
            return optim.AdamW(groups, lr=phase.learning_rate, weight_decay=decay, fused=True)
        case "adam":
            return optim.Adam(groups, lr=phase.learning_rate, weight_decay=decay, fused=True)
        case "rmsprop":
            return optim.RMSprop(groups, lr=phase.learning_rate, weight_decay=decay)


def rate_share(phase: Phase, step: int, steps: int, reductions: int) -> float:
    """Return the factor of the learning rate for a step (from 0) of a phase.

    It is a linear rise over the warm-up, times a cosine that ends at zero or the reductions of a plateau.
    """
    rise = min(1.0, (step + 1) / max(1.0, phase.warm_up * steps))
    match phase.schedule:
        case "cosine":
            return rise * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        case "plateau":
            return rise * phase.plateau_factor**reductions
        case "constant":
            return rise


def _unfrozen_blocks(network: HybridNetwork, phase: Phase) -> Iterator[nn.Module]:
    """Yield the blocks that learn in every branch, if neither all nor none do.

    Raises:
        ValueError: If a branch has fewer blocks than the phase unfreezes.
    """
    if phase.last_blocks <= 0:
        return
    for blocks in network.blocks():
        if len(blocks) < phase.last_blocks:
            raise ValueError(
                f"phase {phase.name!r} unfreezes {phase.last_blocks} blocks, but a branch has only {len(blocks)}"
            )
        yield from blocks[-phase.last_blocks :]
