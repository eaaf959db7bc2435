"""Make the batches of a step: patches for the whole network, or cached features for its head."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from core.fitting.adversarial import TargetImages
from core.fitting.config import FitConfig
from core.fitting.distributed import own_share
from core.fitting.feature_cache import Features
from core.fitting.images import Draw, TrainingImages
from core.fitting.loading import make_ahead, standardise
from core.fitting.sampling import Places
from core.results import Patches


@dataclass(frozen=True, slots=True, eq=False)
class TrainingBatch:
    """The part of a batch for this process: images or pooled features, with labels and magnifications.

    Target images, if there are any, follow the others and have no label.
    """

    labels: Tensor
    magnifications: Tensor
    images: Tensor | None = None
    pooled: Sequence[Tensor] = ()


class BatchSource(Protocol):
    """A source of the batches of an epoch."""

    def batches(self, draws: Sequence[Draw], phase: int, number: int) -> Iterator[TrainingBatch]:
        """Yield the part of every draw for this process, in order."""


class PatchSource:
    """Augmented patches, made for every batch."""

    def __init__(
        self, images: TrainingImages, targets: TargetImages | None, config: FitConfig, device: torch.device
    ) -> None:
        self._images = images
        self._targets = targets
        self._config = config
        self._device = device

    def batches(self, draws: Sequence[Draw], phase: int, number: int) -> Iterator[TrainingBatch]:
        """Yield the part of every draw for this process, prepared ahead in threads."""

        def make(draw: Draw) -> Patches:
            places = _own_places(draw)
            own = self._images.patches(draw, places, phase, number)
            if self._targets is None:
                return own
            return np.concatenate([own, self._targets.patches(draw, places, phase, number)])

        for draw, patches in zip(draws, make_ahead(make, draws), strict=True):
            labels, magnifications = _labels_and_magnifications(self._images, draw, self._device)
            yield TrainingBatch(labels, magnifications, images=standardise(patches, self._config, self._device))


class FeatureSource:
    """Cached features of several copies of every image; their row is image * copies + copy."""

    def __init__(self, images: TrainingImages, features: Features, copies: int) -> None:
        self._images = images
        self._features = features
        self._copies = copies

    def batches(self, draws: Sequence[Draw], phase: int, number: int) -> Iterator[TrainingBatch]:
        """Yield the part of every draw for this process."""
        for draw in draws:
            places = _own_places(draw)
            rows = draw.images[places] * self._copies + draw.copies[places]
            labels, magnifications = _labels_and_magnifications(self._images, draw, self._features.device)
            yield TrainingBatch(labels, magnifications, pooled=self._features.take(rows))


def _own_places(draw: Draw) -> Places:
    return own_share(np.arange(len(draw)))


def _labels_and_magnifications(images: TrainingImages, draw: Draw, device: torch.device) -> tuple[Tensor, Tensor]:
    places = _own_places(draw)
    labels = torch.from_numpy(images.labels[draw.images[places]])
    return labels.to(device), torch.from_numpy(draw.magnifications[places]).to(device)
