"""Solve the head instead of training it: logistic regression over the mean features of each image.

Few patients do not determine a thousand weights, so these are shrunk towards zero. The solution is unique: there is no
seed, no number of steps and no learning rate to choose.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler
from torch import nn

from core.network.hybrid import HybridNetwork
from core.statistics.weights import weigh_patients_in_classes

_INNER_FOLDS = 5
_ITERATIONS = 5000

Vectors = NDArray[np.float64]  # images x channels


@dataclass(frozen=True, slots=True)
class SolvedHead:
    """The log-odds of the second class are `weights` times the features, plus `bias`; `loss` is on these images."""

    weights: NDArray[np.float64]
    bias: float
    shrinkage: float
    loss: float

    def log_odds(self, features: Vectors) -> NDArray[np.float64]:
        """Return the log-odds of the second class for each image."""
        return np.asarray(features @ self.weights + self.bias)


def solve_head(
    features: Vectors, classes: NDArray[np.int64], patient_ids: Sequence[str], shrinkages: Sequence[float]
) -> SolvedHead:
    """Fit a logistic regression; of several shrinkages, choose the one with the least loss on folds of the patients.

    Both classes have the same weight, and so has every patient within a class.

    Raises:
        ValueError: If all images belong to one class.
    """
    if len(np.unique(classes)) < 2:
        raise ValueError("training needs images of at least two classes")
    patients = np.array(patient_ids)
    shrinkage = shrinkages[0] if len(shrinkages) == 1 else _choose(features, classes, patients, shrinkages)
    return _solve(features, classes, patients, shrinkage)


def put_in(network: HybridNetwork, solved: SolvedHead) -> None:
    """Make the solution the head of a network for two classes."""
    layer = network.head
    assert isinstance(layer, nn.Linear)  # noqa: S101 - a config with a shrinkage has no other head
    half = torch.from_numpy(solved.weights / 2).to(layer.weight)
    with torch.no_grad():
        layer.weight.copy_(torch.stack([-half, half]))
        layer.bias.copy_(torch.tensor([-solved.bias / 2, solved.bias / 2]))


def _solve(features: Vectors, classes: NDArray[np.int64], patients: NDArray[np.str_], shrinkage: float) -> SolvedHead:
    weights = weigh_patients_in_classes(classes, patients)
    scaler = StandardScaler().fit(features, sample_weight=weights)
    # By channel, so that one shrinkage means the same for narrow and wide networks.
    regression = LogisticRegression(C=1 / (shrinkage * features.shape[1]), max_iter=_ITERATIONS)
    regression.fit(scaler.transform(features), classes, sample_weight=weights)
    # One layer over the features as they are: the scaling goes into its weights.
    coefficients = regression.coef_[0] / scaler.scale_
    bias = float(regression.intercept_[0] - coefficients @ scaler.mean_)
    solved = SolvedHead(coefficients, bias, shrinkage, 0.0)
    return SolvedHead(coefficients, bias, shrinkage, _mean_loss(solved, features, classes, weights))


def _choose(
    features: Vectors, classes: NDArray[np.int64], patients: NDArray[np.str_], shrinkages: Sequence[float]
) -> float:
    few = min(len(np.unique(patients[classes == label])) for label in np.unique(classes))
    if few < 2:
        return max(shrinkages)
    weights = weigh_patients_in_classes(classes, patients)
    folds = StratifiedGroupKFold(min(_INNER_FOLDS, few), shuffle=True, random_state=0)
    losses = np.zeros(len(shrinkages))
    for train, held_out in folds.split(features, classes, patients):
        if len(np.unique(classes[train])) < 2:
            continue
        for place, shrinkage in enumerate(shrinkages):
            solved = _solve(features[train], classes[train], patients[train], shrinkage)
            share = float(weights[held_out].sum())
            losses[place] += share * _mean_loss(solved, features[held_out], classes[held_out], weights[held_out])
    return shrinkages[int(np.argmin(losses))]


def _mean_loss(
    solved: SolvedHead, features: Vectors, classes: NDArray[np.int64], weights: NDArray[np.float64]
) -> float:
    signed = solved.log_odds(features) * np.where(classes == 1, 1, -1)
    return float(np.average(np.logaddexp(0, -signed), weights=weights))
