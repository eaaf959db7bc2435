"""From a batch to the loss that is made small, as one module, so that several processes can share it."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from core.fit.adversarial import DomainHead
from core.fit.batches import Batch
from core.fit.loading import autocast
from core.fit.losses import image_losses
from core.fit.training_images import UNKNOWN
from core.fit_config import FitConfig
from core.network import HybridNetwork

# The magnification is easily told, and only meant to steer the features.
_AUXILIARY_WEIGHT = 0.5


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
