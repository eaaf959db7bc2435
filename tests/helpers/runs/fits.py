"""A tiny network and the numbers of a tiny run, for every test that trains."""

from pathlib import Path

import torch

from core.card import InputPolicy
from core.data.datasets import LabelledImage
from core.fitting.build import build_network
from core.fitting.config import FitConfig, Optimiser, Phase, Sampling
from core.network.hybrid import HybridNetwork

CONFIG = FitConfig(
    name="tiny",
    branches=("test_efficientnet", "test_vit"),
    head="additive",
    input_policy=InputPolicy("patches", input_side=32, patch_side=32, stride=32),
    mean=(0.8, 0.65, 0.76),
    std=(0.13, 0.17, 0.12),
    phases=(Phase("all", 2, "all", 1e-3),),
    sampling=Sampling("patients", 2),
    optimiser=Optimiser(weight_decay=0.01, clip=2.0),
    batch_size=4,
    averaging=0.9,
)
HEAD_THEN_LAST_THEN_ALL = (
    Phase("head", 2, "head", 1e-2, cached=2, schedule="constant"),
    Phase("last", 2, "last:1", 1e-3, backbone_rate=1e-4),
    Phase("all", 2, "all", 1e-3, schedule="plateau"),
)


def tiny_network(config: FitConfig) -> HybridNetwork:
    """Build the network of a run from the run's seed."""
    torch.manual_seed(config.seed)
    return build_network(config)


def weights_of(network: HybridNetwork) -> torch.Tensor:
    """Give all weights and statistics as one row."""
    return torch.cat([value.detach().double().flatten() for value in network.state_dict().values()])


def images_of(counts: dict[tuple[str, str], int]) -> list[LabelledImage]:
    """Name images of (patient, label) that are nowhere on disk."""
    return [
        LabelledImage(Path(f"{patient}-{label}-{number}.png"), label, patient, "100X", "breakhis")
        for (patient, label), count in counts.items()
        for number in range(count)
    ]
