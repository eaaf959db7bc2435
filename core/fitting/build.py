"""Build the network that a training configuration describes."""

from collections.abc import Mapping
from pathlib import Path

from core.fitting.config import FitConfig
from core.network.hybrid import HybridNetwork, build_hybrid_network


def build_network(config: FitConfig, weight_files: Mapping[str, Path] | None = None) -> HybridNetwork:
    """Build the network that a run starts from, pretrained or initialised from torch's current seed."""
    return build_hybrid_network(config, pretrained=config.pretrained, weight_files=weight_files)
