"""What a phase means for a network: which parts learn, at which rates, by which optimiser."""

import math
from collections.abc import Iterator

from torch import nn, optim

from core.fitting.config import Optimiser, Phase
from core.network.hybrid import HybridNetwork


def begin_phase(network: HybridNetwork, phase: Phase) -> None:
    """Freeze and free the parts of a network as a phase asks; `set_modes` follows before every epoch."""
    network.requires_grad_(phase.last_blocks < 0)
    for parameter in network.head_parameters():
        parameter.requires_grad_()
    for block in _free_blocks(network, phase):
        block.requires_grad_()


def set_modes(network: HybridNetwork, phase: Phase) -> None:
    """Let what learns behave as in training; frozen parts keep their batch statistics and drop nothing."""
    network.train()
    if phase.last_blocks >= 0:
        network.branches.eval()
    for block in _free_blocks(network, phase):
        block.train()


def moving_names(network: HybridNetwork) -> list[str]:
    """Name the weights and statistics that change in a phase; to be asked while the modes are set."""
    names = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    for prefix, module in network.named_modules():
        if module.training:
            names += [f"{prefix}.{name}" if prefix else name for name, _ in module.named_buffers(recurse=False)]
    kept = network.state_dict().keys()
    return [name for name in names if name in kept]


def build_optimiser(network: HybridNetwork, beside: nn.Module | None, phase: Phase, how: Optimiser) -> optim.Optimizer:
    """Build the optimiser of a phase: one group for the head (and what learns beside the network), one for blocks.

    Every group has its own `rate`, which the schedule is a share of.
    """
    head = network.head_parameters() + list(beside.parameters() if beside else ())
    known = {id(parameter) for parameter in head}
    free = [p for p in network.parameters() if p.requires_grad and id(p) not in known]
    groups = [{"params": head, "rate": phase.learning_rate}]
    if free:
        groups.append({"params": free, "rate": phase.backbone_rate or phase.learning_rate})
    decay = how.weight_decay
    match how.kind:
        case "adamw":
            return optim.AdamW(groups, lr=phase.learning_rate, weight_decay=decay, fused=True)
        case "adam":
            return optim.Adam(groups, lr=phase.learning_rate, weight_decay=decay, fused=True)
        case "rmsprop":
            return optim.RMSprop(groups, lr=phase.learning_rate, weight_decay=decay)


def rate_share(phase: Phase, step: int, steps: int, reductions: int) -> float:
    """Give the share of its rate at which a step (from 0) of a phase is taken.

    A linear rise over the warm-up, times a cosine that ends at zero, or the reductions of a plateau.
    """
    rise = min(1.0, (step + 1) / max(1.0, phase.warm_up * steps))
    match phase.schedule:
        case "cosine":
            return rise * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        case "plateau":
            return rise * phase.plateau_factor**reductions
        case "constant":
            return rise


def _free_blocks(network: HybridNetwork, phase: Phase) -> Iterator[nn.Module]:
    """Give the blocks of every branch that learn where not all or none do.

    Raises:
        ValueError: If a branch has fewer blocks than the phase frees.
    """
    if phase.last_blocks <= 0:
        return
    for blocks in network.blocks():
        if len(blocks) < phase.last_blocks:
            raise ValueError(f"phase {phase.name!r} frees {phase.last_blocks} blocks; a branch has {len(blocks)}")
        yield from blocks[-phase.last_blocks :]
