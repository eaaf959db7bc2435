"""Small networks with random weights, and their cards, for tests that need the real thing quickly."""

from dataclasses import replace
from pathlib import Path

import torch

from core.card import Card, InputPolicy
from core.labels import BINARY
from core.network.checkpoint import save_checkpoint
from core.network.classifier import Classifier
from core.network.hybrid import HybridNetwork, build_hybrid_network

SMALL_CARD = Card(
    name="small test network",
    label_set=BINARY,
    branches=("test_efficientnet", "test_vit"),
    head="additive",
    input_policy=InputPolicy("patches", input_side=160, patch_side=224, stride=224),
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    demonstration=True,
)


def small_network(card: Card = SMALL_CARD, seed: int = 0) -> HybridNetwork:
    """Build the network of a card with seeded random weights."""
    torch.manual_seed(seed)
    return build_hybrid_network(card)


def small_classifier(seed: int = 0, **changes: object) -> Classifier:
    """Build a classifier of the small card with some of its fields changed."""
    card = replace(SMALL_CARD, **changes)  # type: ignore[arg-type]
    return Classifier(small_network(card, seed), card, "0" * 12)


def small_checkpoint(path: Path, card: Card = SMALL_CARD) -> str:
    """Save a small random checkpoint and give its sha256."""
    return save_checkpoint(path, small_network(card), card)
