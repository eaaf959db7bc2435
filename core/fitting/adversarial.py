"""Hides from the features which laboratory an image comes from, by gradient reversal (Ganin et al., JMLR 2016)."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from core.data.datasets import LabelledImage
from core.fitting.augmentation import training_patch
from core.fitting.config import FitConfig
from core.fitting.images import Draw
from core.fitting.pixel_cache import open_pixels
from core.fitting.sampling import TARGETS, Places, generator
from core.labels import BINARY
from core.results import Patches

_WIDTH = 256
_STEEPNESS = 10.0  # of the rise, as in the paper


class _Reversal(torch.autograd.Function):
    """Passes values on as they are, and gradients back turned round."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, values: Tensor) -> Tensor:
        """Give the values."""
        return values.view_as(values)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> Tensor:
        """Turn the gradient round."""
        return -gradients[0]


def reverse_gradients(values: Tensor) -> Tensor:
    """Give the values; what is learnt behind them is unlearnt before them."""
    reversed_: Tensor = _Reversal.apply(values)
    return reversed_


class DomainHead(nn.Module):
    """Guesses from fused features whether an image is one of the target's."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, 1))

    def losses(self, fused: Tensor, own: int) -> Tensor:
        """Give the loss of every image, of which the first `own` are the run's and the others the target's."""
        guesses = self.layers(reverse_gradients(fused)).squeeze(1).float()
        targets = (torch.arange(len(fused), device=fused.device) >= own).float()
        return functional.binary_cross_entropy_with_logits(guesses, targets, reduction="none")


def domain_weight(weight: float, progress: float) -> float:
    """Give the weight of the domain loss, which rises over the run (0 to 1) as in the paper."""
    return weight * (2 / (1 + math.exp(-_STEEPNESS * progress)) - 1)


class TargetImages:
    """Unlabelled images of the target; every image of a batch has one of them beside it."""

    def __init__(self, paths: Sequence[Path], config: FitConfig, folder: Path | None) -> None:
        # An image has to have a label and a patient; nothing reads these.
        images = [LabelledImage(path, "benign", "target", "", BINARY.name) for path in paths]
        self._pixels = open_pixels(images, config, folder)
        self._config = config

    def patches(self, draw: Draw, chosen: Places, phase: int, number: int) -> Patches:
        """Draw, cut and change one patch beside each of the chosen positions of a batch."""
        patches = []
        for place in chosen:
            rng = generator(self._config.seed, TARGETS, phase, number, draw.first + int(place))
            image = self._pixels.images[int(rng.integers(len(self._pixels.images)))]
            patches.append(training_patch(image, self._pixels.policy, self._config, rng))
        return np.stack(patches)
