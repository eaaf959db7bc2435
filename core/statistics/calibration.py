"""Fit the temperature, the threshold and the abstention that turn a network's outputs into an opinion.

All are fitted to predictions for patients that the network has not seen, never to those it is tested on.
"""

from dataclasses import replace
from math import ceil
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.card import Abstention
from core.statistics.predictions import BinaryPredictions
from core.statistics.weights import weigh_patients_in_classes

PredictionSource = Literal["out of fold", "validation", "test"]

# Beyond these, a fit on a few dozen patients reflects its outliers rather than the network.
_TEMPERATURES = np.geomspace(0.25, 8.0, 201)
_SMALLEST_PROBABILITY = 1e-6


class FittedOnTestError(ValueError):
    """A fit was requested on the predictions that would then evaluate it."""


def fit_temperature(predictions: BinaryPredictions, source: PredictionSource = "validation") -> float:
    """Return the temperature under which the log-odds fit the truth best (Guo et al., ICML 2017).

    Every patient has the same weight, and so have benign and malignant, as in training.

    Raises:
        FittedOnTestError: If the predictions come from a test set.
    """
    _refuse_test(source, "a temperature")
    p = np.clip(predictions.probabilities, _SMALLEST_PROBABILITY, 1 - _SMALLEST_PROBABILITY)
    signed = np.log(p / (1 - p)) * np.where(predictions.malignant, 1, -1)
    weights = weigh_patients_in_classes(predictions.malignant.astype(np.int64), predictions.patient_ids)
    losses = [float((weights * np.logaddexp(0, -signed / t)).sum()) for t in _TEMPERATURES]
    return float(_TEMPERATURES[int(np.argmin(losses))])


def soften(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Return probabilities whose log-odds are divided by a temperature."""
    if temperature == 1:
        return probabilities
    p = np.clip(probabilities, _SMALLEST_PROBABILITY, 1 - _SMALLEST_PROBABILITY)
    return np.asarray(1 / (1 + ((1 - p) / p) ** (1 / temperature)))


def youden_threshold(predictions: BinaryPredictions, source: PredictionSource = "validation") -> float:
    """Return the threshold with the largest sensitivity + specificity - 1 (Youden, Cancer 1950).

    It lies halfway between two neighbouring probabilities, so that neither is on the edge.

    Raises:
        FittedOnTestError: If the predictions come from a test set.
        ValueError: If there is no malignant or no benign image.
    """
    _refuse_test(source, "a threshold")
    _check_malignancies(predictions, benign=True)
    candidates = _midpoints(predictions)
    if not len(candidates):
        return 0.5
    gain = _share_above(predictions, predictions.malignant, candidates) - _share_above(
        predictions, ~predictions.malignant, candidates
    )
    return float(candidates[int(np.argmax(gain))])


def sensitivity_threshold(
    predictions: BinaryPredictions, target: float, source: PredictionSource = "validation", *, by_patient: bool = False
) -> float:
    """Return the highest threshold at which at least the target share of malignant images is called malignant.

    With `by_patient` it is the mean of the shares of the patients, so that each weighs the same. The threshold lies
    halfway between two neighbouring probabilities, as Youden's does.

    Raises:
        FittedOnTestError: If the predictions come from a test set.
        ValueError: If no image is malignant, or the target is not above 0 and at most 1.
    """
    _refuse_test(source, "a threshold")
    if not 0 < target <= 1:
        raise ValueError(f"the target sensitivity must be above 0 and at most 1, got {target}")
    _check_malignancies(predictions, benign=False)
    # Below the smallest probability every image is called malignant; 0 itself is not a valid threshold.
    lowest = max(float(predictions.probabilities.min()) / 2, _SMALLEST_PROBABILITY)
    candidates = np.append(lowest, _midpoints(predictions))
    masks = [predictions.malignant]
    if by_patient:
        patients = np.unique(predictions.patient_ids[predictions.malignant])
        masks = [predictions.malignant & (predictions.patient_ids == patient) for patient in patients]
    shares = [_share_above(predictions, mask, candidates) for mask in masks]
    reaches_target = np.mean(shares, axis=0) >= target - 1e-12
    return float(candidates[reaches_target].max(initial=lowest))


def fit_abstention(predictions: BinaryPredictions, risk: float, source: PredictionSource = "validation") -> Abstention:
    """Return the quantile under which the set of opinions misses the truth for at most a share `risk` of images.

    Split conformal prediction (Vovk et al., 2005) with the score 1 - probability of the true malignancy. Coverage and
    error are those of each patient's images under the quantile of all other patients. The guarantee holds on average
    for images of similar patients; images of one patient are correlated.

    Raises:
        FittedOnTestError: If the predictions come from a test set.
        ValueError: If the risk is not between 0 and 1.
    """
    _refuse_test(source, "an abstention")
    if not 0 < risk < 1:
        raise ValueError(f"the risk must lie between 0 and 1, got {risk}")
    scores = np.where(predictions.malignant, 1 - predictions.probabilities, predictions.probabilities)
    patients = np.unique(predictions.patient_ids)
    has_opinion, is_wrong = np.zeros(len(scores), bool), np.zeros(len(scores), bool)
    for patient in patients:
        of_patient = predictions.patient_ids == patient
        quantile = _conformal_quantile(scores[~of_patient], risk)
        has_opinion[of_patient] = give_opinion(predictions.probabilities[of_patient], quantile)
        is_wrong[of_patient] = has_opinion[of_patient] & (scores[of_patient] > quantile)
    protocol = f"{source}, one patient left out at a time: {len(scores)} images of {len(patients)} patients"
    coverage, error = _coverage_and_error(has_opinion, is_wrong)
    return Abstention(risk, _conformal_quantile(scores, risk), coverage, error, protocol)


def evaluate_abstention(predictions: BinaryPredictions, locked: Abstention, protocol: str) -> Abstention:
    """Return a locked abstention with its coverage and error on other images; its quantile stays."""
    has_opinion = give_opinion(predictions.probabilities, locked.quantile)
    scores = np.where(predictions.malignant, 1 - predictions.probabilities, predictions.probabilities)
    coverage, error = _coverage_and_error(has_opinion, has_opinion & (scores > locked.quantile))
    return replace(locked, coverage=coverage, error=error, protocol=protocol)


def give_opinion(malignant_probabilities: NDArray[np.float64], quantile: float) -> NDArray[np.bool_]:
    """Return for which images exactly one of benign and malignant is within the quantile."""
    return np.asarray((1 - malignant_probabilities <= quantile) != (malignant_probabilities <= quantile))


def _coverage_and_error(has_opinion: NDArray[np.bool_], is_wrong: NDArray[np.bool_]) -> tuple[float, float]:
    count = int(has_opinion.sum())
    return count / len(has_opinion), float(is_wrong.sum() / count) if count else 0.0


def _conformal_quantile(scores: NDArray[np.float64], risk: float) -> float:
    rank = ceil((len(scores) + 1) * (1 - risk))
    # With too few images only the set of both malignancies keeps the guarantee.
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else 1.0


def _midpoints(predictions: BinaryPredictions) -> NDArray[np.float64]:
    values = np.unique(predictions.probabilities)
    return np.asarray((values[1:] + values[:-1]) / 2)


def _share_above(
    predictions: BinaryPredictions, mask: NDArray[np.bool_], thresholds: NDArray[np.float64]
) -> NDArray[np.float64]:
    scores = np.sort(predictions.probabilities[mask])
    return np.asarray((len(scores) - np.searchsorted(scores, thresholds, "left")) / len(scores))


def _refuse_test(source: PredictionSource, what: str) -> None:
    if source == "test":
        raise FittedOnTestError(
            f"{what} may not be fitted to test predictions, because the same images would then evaluate it: "
            "fit it to out-of-fold or validation predictions and lock it in the card"
        )


def _check_malignancies(predictions: BinaryPredictions, *, benign: bool) -> None:
    if not predictions.malignant.any() or (benign and predictions.malignant.all()):
        raise ValueError(f"a threshold needs {'both malignant and benign' if benign else 'malignant'} images")
