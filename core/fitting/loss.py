"""The training loss: cross-entropy or focal loss, class weights, and the module that computes it from a batch."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from core.fitting.adversarial import DomainHead
from core.fitting.batches import Batch
from core.fitting.config import FitConfig, Loss
from core.fitting.images import UNKNOWN
from core.fitting.loading import autocast
from core.network.hybrid import HybridNetwork

# The magnification is easily told, and only meant to steer the features.
_AUXILIARY_WEIGHT = 0.5


def class_weights(labels: NDArray[np.int64], classes: int, loss: Loss) -> Tensor:
    """Weigh every class alike, or by the inverse of its share, so that all classes present weigh the same in sum.

    Balanced weights are images / (classes present * images of the class), as in scikit-learn; a class
    without images weighs nothing.
    """
    if loss.class_weights == "none":
        return torch.ones(classes)
    counts = np.bincount(labels, minlength=classes)
    weights = len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return torch.tensor(np.where(counts > 0, weights, 0.0), dtype=torch.float32)


def image_losses(logits: Tensor, labels: Tensor, weights: Tensor, loss: Loss) -> Tensor:
    """Give the weighted loss of every image; over the sum of their weights it is the mean that torch reports.

    The focal loss (Lin et al., ICCV 2017) is (1 - p)^gamma times the cross-entropy, with p the probability of the
    right class; its mean is taken in the same way, so gamma 0 is cross-entropy.
    """
    losses = functional.cross_entropy(logits, labels, weight=weights, reduction="none", label_smoothing=loss.smoothing)
    if loss.kind == "focal":
        right = logits.softmax(dim=1).gather(1, labels.unsqueeze(1)).squeeze(1)
        # The base is kept off zero: the gradient of 0^gamma is not a number for gamma below 1.
        losses = (1 - right).clamp_min(1e-8) ** loss.gamma * losses
    return losses


@dataclass(frozen=True, slots=True)
class Totals:
    """What the images of a step add up to, over its batches and all processes; losses are divided by these."""

    weight: float
    images: int
    known_magnifications: int


class Objective(nn.Module):
    """The loss of a network (and, against another laboratory's images, of its domain head) on a batch."""

    def __init__(
        self, network: HybridNetwork, class_weights: Tensor, config: FitConfig, domain: DomainHead | None
    ) -> None:
        super().__init__()
        self.network = network
        self.domain = domain
        self.register_buffer("class_weights", class_weights, persistent=False)
        self._config = config

    def forward(self, batch: Batch, totals: Totals, domain_weight: float) -> Tensor:
        """Give this batch's share of the step's loss."""
        own = len(batch.labels)
        with autocast(self._config, batch.labels.device):
            pooled = self._pooled(batch)
            dropped = [drop_channels(part[:own], self._config.dropout) for part in pooled]
            logits = self.network.logits_of(dropped, batch.magnifications)
            auxiliary = self.network.auxiliary(dropped)
        loss = image_losses(logits.float(), batch.labels, self._weights(), self._config.loss).sum() / totals.weight
        if auxiliary is not None:
            told = functional.cross_entropy(
                auxiliary.float(), batch.magnifications, ignore_index=UNKNOWN, reduction="sum"
            )
            loss = loss + _AUXILIARY_WEIGHT * told / max(1, totals.known_magnifications)
        if self.domain is not None:
            domains = self.domain.losses(self.network.fusion(pooled).float(), own)
            loss = loss + domain_weight * domains.sum() / (2 * totals.images)
        return loss

    def _pooled(self, batch: Batch) -> list[Tensor]:
        if batch.images is None:
            return list(batch.pooled)
        return self.network.pooled(self.network.features(batch.images))

    def _weights(self) -> Tensor:
        return self.get_buffer("class_weights")


def drop_channels(pooled: Tensor, chance: float) -> Tensor:
    """Silence whole channels (of images x channels, or images x tokens x channels)."""
    if not chance:
        return pooled
    shape = pooled.shape if pooled.ndim == 2 else (len(pooled), 1, pooled.shape[2])
    return pooled * functional.dropout(pooled.new_ones(shape), chance)
