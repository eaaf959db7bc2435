"""Domain-adversarial training: features hide the laboratory by gradient reversal (Ganin et al., JMLR 2016)."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from core.data.datasets import LabelledImage
from core.data.stated_scales import with_stated_scales
from core.fitting.augmentation import training_patch
from core.fitting.config import FitConfig
from core.fitting.images import Draw
from core.fitting.pixel_cache import open_pixels
from core.fitting.sampling import TARGETS, Places, make_generator
from core.labels import BINARY
from core.results import Patches

_WIDTH = 256  # of the hidden layer
_STEEPNESS = 10.0  # of the rise, as in the paper


class _Reversal(torch.autograd.Function):
    """The identity, with reversed gradients."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, values: Tensor) -> Tensor:
        """Return the values unchanged."""
        return values.view_as(values)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> Tensor:
        """Return the negated gradient."""
        return -gradients[0]


def reverse_gradients(values: Tensor) -> Tensor:
    """Return the values unchanged; their gradients are negated, so layers before them learn the opposite."""
    reversed_: Tensor = _Reversal.apply(values)
    return reversed_


class DomainHead(nn.Module):
    """Classifies from the fused features whether an image belongs to the target set."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, 1))

    def losses(self, fused: Tensor, own: int) -> Tensor:
        """Return the loss of every image; the first `own` are training images, the others target images."""
        logits = self.layers(reverse_gradients(fused)).squeeze(1).float()
        targets = (torch.arange(len(fused), device=fused.device) >= own).float()
        return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def domain_weight(weight: float, progress: float) -> float:
    """Return the weight of the domain loss at a progress of 0 to 1 of the run; it rises as in the paper."""
    return weight * (2 / (1 + math.exp(-_STEEPNESS * progress)) - 1)


class TargetImages:
    """Unlabelled images of the target set; every training image of a batch is paired with one of them."""

    def __init__(self, paths: Sequence[Path], config: FitConfig, folder: Path | None) -> None:
        # An image must have a label and a patient; these are never read.
        images = [LabelledImage(path, "benign", "target", "", BINARY.name) for path in paths]
        if config.working_um_per_px is not None:
            images = with_stated_scales(images)
        self._pixels = open_pixels(images, config, folder)
        self._config = config

    def patches(self, draw: Draw, chosen: Places, phase: int, number: int) -> Patches:
        """Return one random augmented patch for each of the chosen positions of a batch."""
        patches = []
        for place in chosen:
            rng = make_generator(self._config.seed, TARGETS, phase, number, draw.first + int(place))
            image = self._pixels.images[int(rng.integers(len(self._pixels.images)))]
            patches.append(training_patch(image, self._pixels.policy, self._config, rng))
        return np.stack(patches)
