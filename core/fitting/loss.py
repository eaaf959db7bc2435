"""The training loss: cross-entropy or focal loss, class weights, and the module that computes it for a batch."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from core.fitting.adversarial import DomainHead
from core.fitting.batches import TrainingBatch
from core.fitting.config import FitConfig, Loss
from core.fitting.images import UNKNOWN
from core.fitting.loading import autocast
from core.network.hybrid import HybridNetwork

# The magnification is easy to predict and only meant to guide the features.
_AUXILIARY_WEIGHT = 0.5


def class_weights(labels: NDArray[np.int64], classes: int, loss: Loss) -> Tensor:
    """Return equal class weights, or balanced ones, which give every class present the same total weight.

    Balanced weights are images / (classes present * images of the class), as in scikit-learn; a class without images
    has weight 0.
    """
    if loss.class_weights == "none":
        return torch.ones(classes)
    counts = np.bincount(labels, minlength=classes)
    weights = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return torch.tensor(np.where(counts > 0, weights, 0.0), dtype=torch.float32)


def image_losses(logits: Tensor, labels: Tensor, weights: Tensor, loss: Loss) -> Tensor:
    """Return the weighted loss of every image; their sum divided by the sum of the weights is the mean as in torch.

    The focal loss (Lin et al., ICCV 2017) is (1 - p)^gamma times the cross-entropy, with p the probability of the
    true class; its mean is taken in the same way, so gamma 0 is cross-entropy.
    """
    losses = functional.cross_entropy(logits, labels, weight=weights, reduction="none", label_smoothing=loss.smoothing)
    if loss.kind == "focal":
        true_probabilities = logits.softmax(dim=1).gather(1, labels.unsqueeze(1)).squeeze(1)
        # The base is kept above zero: the gradient of 0^gamma is not finite for gamma below 1.
        losses = (1 - true_probabilities).clamp_min(1e-8) ** loss.gamma * losses
    return losses


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over the images of a step, over its batches and all processes, by which losses are divided."""

    weight: float
    images: int
    known_magnifications: int


class Objective(nn.Module):
    """The loss of a network, and of its domain head if there is one, on a batch."""

    def __init__(
        self, network: HybridNetwork, class_weights: Tensor, config: FitConfig, domain: DomainHead | None
    ) -> None:
        super().__init__()
        self.network = network
        self.domain = domain
        self.register_buffer("class_weights", class_weights, persistent=False)
        self._config = config

    def forward(self, batch: TrainingBatch, totals: Totals, domain_weight: float) -> Tensor:
        """Return the contribution of this batch to the loss of the step."""
        own = len(batch.labels)
        with autocast(self._config, batch.labels.device):
            pooled = self._pooled(batch)
            dropped = [drop_channels(part[:own], self._config.dropout) for part in pooled]
            logits = self.network.logits_of(dropped, batch.magnifications)
            auxiliary = self.network.auxiliary(dropped)
        loss = image_losses(logits.float(), batch.labels, self._weights(), self._config.loss).sum() / totals.weight
        if auxiliary is not None:
            magnification_losses = functional.cross_entropy(
                auxiliary.float(), batch.magnifications, ignore_index=UNKNOWN, reduction="sum"
            )
            loss = loss + _AUXILIARY_WEIGHT * magnification_losses / max(1, totals.known_magnifications)
        if self.domain is not None:
            domains = self.domain.losses(self.network.fusion(pooled).float(), own)
            loss = loss + domain_weight * domains.sum() / (2 * totals.images)
        return loss

    def _pooled(self, batch: TrainingBatch) -> list[Tensor]:
        if batch.images is None:
            return list(batch.pooled)
        return self.network.pooled(self.network.features(batch.images))

    def _weights(self) -> Tensor:
        return self.get_buffer("class_weights")


def drop_channels(pooled: Tensor, chance: float) -> Tensor:
    """Drop whole channels at random (of images x channels, or images x tokens x channels)."""
    if not chance:
        return pooled
    shape = pooled.shape if pooled.ndim == 2 else (len(pooled), 1, pooled.shape[2])
    return pooled * functional.dropout(pooled.new_ones(shape), chance)
