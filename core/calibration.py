"""Fits what turns a network's outputs into an opinion: a temperature and a threshold."""

import numpy as np

from core.metrics import Judged

# Beyond these a fit on a few dozen patients says more of its outliers than of the network.
_TEMPERATURES = np.geomspace(0.25, 8.0, 201)
_SMALLEST_PROBABILITY = 1e-6


def fit_temperature(judged: Judged) -> float:
    """Give the temperature under which the log-odds fit the truth best (Guo et al., ICML 2017).

    Every patient weighs the same, and benign as much as malignant, as in training.
    """
    p = np.clip(judged.probabilities, _SMALLEST_PROBABILITY, 1 - _SMALLEST_PROBABILITY)
    signed = np.log(p / (1 - p)) * np.where(judged.malignant, 1, -1)
    weights = _even_weights(judged)
    losses = [float((weights * np.logaddexp(0, -signed / t)).sum()) for t in _TEMPERATURES]
    return float(_TEMPERATURES[int(np.argmin(losses))])


def youden_threshold(judged: Judged) -> float:
    """Give the threshold of the largest sensitivity + specificity - 1 (Youden, Cancer 1950).

    It lies halfway between two neighbouring probabilities, so that neither is on the edge.
    """
    values = np.unique(judged.probabilities)
    between = (values[1:] + values[:-1]) / 2
    if not len(between):
        return 0.5
    called = judged.probabilities[:, None] >= between[None, :]
    gain = called[judged.malignant].mean(axis=0) - called[~judged.malignant].mean(axis=0)
    return float(between[int(np.argmax(gain))])


def _even_weights(judged: Judged) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    _, place, count = np.unique(judged.patient_ids, return_inverse=True, return_counts=True)
    weights = 1.0 / count[place]
    for side in (judged.malignant, ~judged.malignant):
        weights[side] /= weights[side].sum()
    return weights
