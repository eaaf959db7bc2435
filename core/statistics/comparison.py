"""Compare two models on the same images, so that what is hard for both cancels out."""

from dataclasses import dataclass
from math import exp, fsum, lgamma, log, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from core.statistics.predictions import BinaryPredictions
from core.statistics.resampling import RESAMPLES, Interval, Measure, Ranking, bca_intervals, divide, resample_patients


@dataclass(frozen=True, slots=True)
class Comparison:
    """A difference in AUC, first minus second, with its interval by resampling patients.

    `p_delong` assumes independent images, which those of one patient are not; `p_patients` is the one to quote.
    """

    difference: float
    low: float | None
    high: float | None
    p_delong: float
    p_patients: float
    n: int  # images


@dataclass(frozen=True, slots=True)
class AccuracyComparison:
    """A difference in accuracy, first minus second; `p_mcnemar` assumes independent images."""

    difference: float
    low: float | None
    high: float | None
    p_mcnemar: float
    p_patients: float
    n: int  # images


def compare_auc(first: BinaryPredictions, second: BinaryPredictions, seed: int = 0) -> Comparison:
    """Compare the AUC of two models on the same images in the same order.

    Raises:
        ValueError: If the images differ, or fewer than two are malignant or fewer than two benign.
    """
    _check_paired(first, second)
    p_delong = delong_p_value(first.malignant, first.probabilities, second.probabilities)
    one, other = (Ranking(j.malignant, j.probabilities, j.patient_ids) for j in (first, second))
    interval, p_patients = _paired_interval(lambda w: (one.auc(w) - other.auc(w))[:, None], first, seed)
    return Comparison(interval.value, interval.low, interval.high, p_delong, p_patients, len(first.malignant))


def compare_accuracy(
    first: BinaryPredictions,
    second: BinaryPredictions,
    called: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    seed: int = 0,
) -> AccuracyComparison:
    """Compare the share of images that two models call correctly; `called` are the images each calls malignant.

    Raises:
        ValueError: If the images differ.
    """
    _check_paired(first, second)
    right = [calls == first.malignant for calls in called]
    patient = np.unique(first.patient_ids, return_inverse=True)[1]
    gain = np.bincount(patient, right[0].astype(np.float64) - right[1])
    images = np.bincount(patient).astype(np.float64)
    interval, p_patients = _paired_interval(lambda w: divide(w @ gain, w @ images)[:, None], first, seed)
    p = mcnemar_p_value(int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum()))
    return AccuracyComparison(interval.value, interval.low, interval.high, p, p_patients, len(patient))


def delong_p_value(malignant: NDArray[np.bool_], first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the two-sided p-value of equal AUC (DeLong et al., Biometrics 1988; by ranks, Sun and Xu, IEEE SPL 2014).

    Raises:
        ValueError: If fewer than two images are malignant or fewer than two benign.
    """
    positives, negatives = int(malignant.sum()), int((~malignant).sum())
    if min(positives, negatives) < 2:
        raise ValueError(
            f"DeLong's test needs two of each malignancy, got {positives} malignant and {negatives} benign"
        )
    of_positives, of_negatives = [], []
    for scores in (first, second):
        ranks = _midranks(scores)
        # For each image, the share of the other malignancy's images that it outranks.
        of_positives.append((ranks[malignant] - _midranks(scores[malignant])) / negatives)
        of_negatives.append(1 - (ranks[~malignant] - _midranks(scores[~malignant])) / positives)
    difference = float(of_positives[0].mean() - of_positives[1].mean())
    variance = sum(float(np.var(v[0] - v[1], ddof=1)) / len(v[0]) for v in (of_positives, of_negatives))
    if variance <= 0:
        return 1.0 if difference == 0 else 0.0
    return 2 * NormalDist().cdf(-abs(difference) / sqrt(variance))


def mcnemar_p_value(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p-value of equal accuracy from the images that only one model calls correctly.

    Source: McNemar, Psychometrika 1947; the binomial form.
    """
    discordant = only_first + only_second
    most = lgamma(discordant + 1) - discordant * log(2)
    chances = (exp(most - lgamma(k + 1) - lgamma(discordant - k + 1)) for k in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * fsum(chances))


def _midranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, inverse, count = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[inverse])


def _paired_interval(measure: Measure, predictions: BinaryPredictions, seed: int) -> tuple[Interval, float]:
    strata = predictions.strata()
    (interval,) = bca_intervals(measure, strata, seed=seed)
    resampled = measure(resample_patients(strata, RESAMPLES, seed))[:, 0]
    # The share of differences of the other sign counts the observed sample itself, so it is never exactly 0.
    tails = [(1 + np.sum(side)) / (RESAMPLES + 1) for side in (resampled <= 0, resampled >= 0)]
    return interval, float(min(1.0, 2 * min(tails)))


def _check_paired(first: BinaryPredictions, second: BinaryPredictions) -> None:
    is_paired = len(first.malignant) == len(second.malignant) and bool(
        np.array_equal(first.malignant, second.malignant) and np.array_equal(first.patient_ids, second.patient_ids)
    )
    if not is_paired:
        raise ValueError("a paired comparison needs the same images in the same order")
