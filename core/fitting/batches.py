"""Turns drawn images into what a step works on: patches for the whole network, or cached features for its head."""

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
from core.fitting.loading import made_ahead, standardised
from core.fitting.sampling import Places
from core.results import Patches


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """This process's part of a batch: images or pooled features, with what is known of them.

    Where there are target images they stand behind the others and have no label.
    """

    labels: Tensor
    magnifications: Tensor
    images: Tensor | None = None
    pooled: Sequence[Tensor] = ()


class Source(Protocol):
    """Where the batches of an epoch come from."""

    def batches(self, draws: Sequence[Draw], phase: int, number: int) -> Iterator[Batch]:
        """Give this process's part of every draw, in order."""


class PatchSource:
    """Changed patches, made anew every time."""

    def __init__(
        self, images: TrainingImages, targets: TargetImages | None, config: FitConfig, device: torch.device
    ) -> None:
        self._images = images
        self._targets = targets
        self._config = config
        self._device = device

    def batches(self, draws: Sequence[Draw], phase: int, number: int) -> Iterator[Batch]:
        """Give this process's part of every draw, made ahead in threads."""

        def make(draw: Draw) -> Patches:
            places = _own_places(draw)
            own = self._images.patches(draw, places, phase, number)
            if self._targets is None:
                return own
            return np.concatenate([own, self._targets.patches(draw, places, phase, number)])

        for draw, patches in zip(draws, made_ahead(make, draws), strict=True):
            known = _known(self._images, draw, self._device)
            yield Batch(*known, images=standardised(patches, self._config, self._device))


class FeatureSource:
    """Cached features of some copies of every image: row image * copies + copy."""

    def __init__(self, images: TrainingImages, features: Features, copies: int) -> None:
        self._images = images
        self._features = features
        self._copies = copies

    def batches(self, draws: Sequence[Draw], phase: int, number: int) -> Iterator[Batch]:
        """Give this process's part of every draw."""
        for draw in draws:
            places = _own_places(draw)
            rows = draw.images[places] * self._copies + draw.copies[places]
            yield Batch(*_known(self._images, draw, self._features.device), pooled=self._features.take(rows))


def _own_places(draw: Draw) -> Places:
    return own_share(np.arange(len(draw)))


def _known(images: TrainingImages, draw: Draw, device: torch.device) -> tuple[Tensor, Tensor]:
    places = _own_places(draw)
    labels = torch.from_numpy(images.labels[draw.images[places]])
    return labels.to(device), torch.from_numpy(draw.magnifications[places]).to(device)
