"""What training makes small: cross-entropy or focal loss of single images, and the weights of their classes."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from core.fit_config import Loss


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
