"""Fit temperature and thresholds of a model to the cases of a site, and cross-validate what that changes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.statistics.calibration import fit_temperature, sensitivity_threshold, soften, youden_threshold
from core.statistics.predictions import BinaryPredictions
from core.statistics.resampling import Interval, Ranking, Weights, bca_intervals, divide

LEAST_CASES, LEAST_OF_EACH = 30, 5
_MOST_FOLDS = 50
_SENSITIVITY = 0.95
_SMALLEST_PROBABILITY = 1e-6

Values = NDArray[np.float64]  # one of each case


class TooFewCasesError(Exception):
    """There are too few cases to fit anything; the message says how many are still needed."""


@dataclass(frozen=True, slots=True)
class LocalCase:
    """One case of a site: what it is, and what the model said of each of its images."""

    malignant: bool
    probabilities: tuple[float, ...]  # malignant, of its images


@dataclass(frozen=True, slots=True)
class SiteFigures:
    """How well a model does on the cases of a site; each label weighs the same in the log loss."""

    auc: Interval
    log_loss: Interval
    sensitivity: Interval
    specificity: Interval


@dataclass(frozen=True, slots=True)
class SiteFit:
    """What was fitted to all cases, and the figures without it and with it.

    The latter are of cases that were held out, but for the AUC: that is of the fit to all cases.
    """

    temperature: float  # divides the log-odds of an image
    threshold: float
    sensitive_threshold: float
    benign: int
    malignant: int
    before: SiteFigures
    after: SiteFigures
    gain: Interval  # by how much the log loss is lower


def describe_missing(cases: Sequence[LocalCase]) -> str | None:
    """Return in words how many more cases are needed; None if there are enough."""
    malignant = sum(case.malignant for case in cases)
    counts = ((LEAST_OF_EACH - malignant, "malignant"), (LEAST_OF_EACH - (len(cases) - malignant), "benign"))
    of_labels = [(count, label) for count, label in counts if count > 0]
    at_least = sum(count for count, _ in of_labels)
    needed = max(LEAST_CASES - len(cases), at_least)
    if needed <= 0:
        return None
    whole = f"{needed} more {'case' if needed == 1 else 'cases'}"
    parts = " and ".join(f"{count} {label}" for count, label in of_labels)
    if not parts:
        return whole
    return f"{whole}: {parts}" if at_least == needed else f"{whole}, including {parts}"


def fit_to_site(cases: Sequence[LocalCase], threshold: float) -> SiteFit:
    """Fit a model, which has this threshold now, to the cases of a site.

    Raises:
        TooFewCasesError: If there are fewer than 30 cases, or fewer than 5 of either label.
    """
    if (missing := describe_missing(cases)) is not None:
        raise TooFewCasesError(f"still needed: {missing}")
    ordered = sorted(cases, key=lambda case: case.malignant)
    truth = np.array([case.malignant for case in ordered])
    before = _case_means(ordered, 1.0)
    held_out, called = _cross_validate(ordered, truth)
    whole = _fit(ordered, truth)
    # One temperature hardly changes the order of cases; those of different folds together would look like a loss.
    rankings = [Ranking(truth, row, _names(len(truth))) for row in (before, _case_means(ordered, whole[0]))]
    figures = _measure(truth, rankings, np.stack([before, held_out]), np.stack([before >= threshold, called]))
    counts = int((~truth).sum()), int(truth.sum())
    return SiteFit(*whole, *counts, SiteFigures(*figures[:4]), SiteFigures(*figures[4:8]), figures[8])


def _cross_validate(cases: Sequence[LocalCase], truth: NDArray[np.bool_]) -> tuple[Values, NDArray[np.bool_]]:
    """Return each case's probability and whether it is called malignant, as fitted to the cases of other folds."""
    # The cases are ordered by label, so every fold has its share of both.
    fold = np.arange(len(cases)) % min(len(cases), _MOST_FOLDS)
    probabilities, called = np.empty(len(cases)), np.empty(len(cases), bool)
    for number in range(fold.max() + 1):
        out = fold == number
        temperature, threshold, _ = _fit(
            [case for case, is_out in zip(cases, out, strict=True) if not is_out], truth[~out]
        )
        probabilities[out] = _case_means([case for case, is_out in zip(cases, out, strict=True) if is_out], temperature)
        called[out] = probabilities[out] >= threshold
    return probabilities, called


def _fit(cases: Sequence[LocalCase], truth: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Return the temperature by image, each case weighing the same, and the two thresholds by case."""
    images = [
        (case.malignant, p, name)
        for case, name in zip(cases, _names(len(cases)), strict=True)
        for p in case.probabilities
    ]
    temperature = fit_temperature(BinaryPredictions.of(*zip(*images, strict=True)))
    judged = BinaryPredictions(truth, _case_means(cases, temperature), _names(len(cases)))
    return temperature, youden_threshold(judged), sensitivity_threshold(judged, _SENSITIVITY)


def _case_means(cases: Sequence[LocalCase], temperature: float) -> Values:
    return np.array([soften(np.array(case.probabilities), temperature).mean() for case in cases])


def _names(count: int) -> NDArray[np.str_]:
    """Name cases so that their order is that of the names."""
    return np.array([f"{number:08d}" for number in range(count)], np.str_)


def _measure(
    truth: NDArray[np.bool_], rankings: Sequence[Ranking], probabilities: NDArray[np.float64], called: NDArray[np.bool_]
) -> list[Interval]:
    """Return four figures before, four after, and by how much the log loss is lower; cases are resampled."""
    likelihoods = np.where(truth, probabilities, 1 - probabilities)
    losses = -np.log(np.maximum(likelihoods, _SMALLEST_PROBABILITY))

    def measure(weights: Weights) -> NDArray[np.float64]:
        columns = []
        for ranking, loss, positive in zip(rankings, losses, called, strict=True):
            of_labels = [_mean(weights, loss, mask) for mask in (truth, ~truth)]
            columns += [ranking.auc(weights), (of_labels[0] + of_labels[1]) / 2]
            columns += [_mean(weights, positive * 1.0, truth), _mean(weights, ~positive * 1.0, ~truth)]
        return np.stack([*columns, columns[1] - columns[5]], axis=1)

    return list(bca_intervals(measure, truth.astype(np.int64)))


def _mean(weights: Weights, values: Values, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    return divide(weights[:, mask] @ values[mask], weights[:, mask].sum(axis=1))
