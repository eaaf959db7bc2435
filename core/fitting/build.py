"""Build the network that a training configuration describes."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from core.network.hybrid import HybridNetwork, network_of

if TYPE_CHECKING:
    from core.fitting.config import FitConfig


def build_network(config: "FitConfig", weight_files: Mapping[str, Path] | None = None) -> HybridNetwork:
    """Build the network that a run starts from, of torch's current seed or pretrained."""
    return network_of(config, pretrained=config.pretrained, weight_files=weight_files)
