"""Confidence intervals by resampling patients, and the ranking metrics of all resamples at once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
_LEVEL = 0.95
# A metric that is undefined in a larger share of the resamples has no meaningful interval.
_UNDEFINED_LIMIT = 0.01
_ROWS_AT_ONCE = 2000  # patients left out in one call
_CELLS_AT_ONCE = 2_000_000  # of images x samples; 16 MB each for a handful of arrays
_DIGITS = 12
_SMALLEST_DIVISOR = 1e-3

Weights = NDArray[np.float64]  # samples x patients: how often each patient counts; patients in sorted order
Measure = Callable[[Weights], NDArray[np.float64]]  # -> samples x metrics; nan where a metric is undefined


@dataclass(frozen=True, slots=True)
class Interval:
    """A metric and its 95% confidence interval; None if resampling cannot give one."""

    value: float  # nan where undefined
    low: float | None
    high: float | None

    def __neg__(self) -> "Interval":
        return Interval(-self.value, None if self.high is None else -self.high, None if self.low is None else -self.low)


def resample_patients(
    strata: NDArray[np.int64], rounds: int, seed: int, copies: NDArray[np.int64] | None = None
) -> Weights:
    """Draw patients with replacement within each stratum, as many as it has.

    `copies` is the number of identical patients that each column stands for.
    """
    rng = np.random.default_rng(seed)
    weights = np.empty((rounds, len(strata)))
    alike = np.ones(len(strata), np.int64) if copies is None else copies
    for stratum in np.unique(strata):
        mask = strata == stratum
        size = int(alike[mask].sum())
        weights[:, mask] = rng.multinomial(size, alike[mask] / size, rounds)
    return weights


def bca_intervals(
    measure: Measure,
    strata: NDArray[np.int64],
    *,
    rounds: int = RESAMPLES,
    seed: int = 0,
    copies: NDArray[np.int64] | None = None,
) -> tuple[Interval, ...]:
    """Return every metric with its bias-corrected and accelerated interval (Efron, JASA 1987).

    The acceleration comes from leaving out one patient at a time, weighted by stratum as for several samples
    (Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 5.3).
    A metric that is undefined, the same in every resample, or undefined in more than 1% of them has no interval.

    Args:
        measure: Computes the metrics of samples from how often each patient counts.
        strata: The stratum of each patient; strata are resampled separately.
        rounds: Number of resamples.
        seed: Seed of the resampling; equal seeds give equal intervals.
        copies: Number of identical patients that each column stands for; one by default.
    """
    alike = np.ones(len(strata), np.int64) if copies is None else copies
    values = measure(alike[None].astype(np.float64))[0]
    resampled = measure(resample_patients(strata, rounds, seed, alike))
    acceleration = _acceleration(measure, strata, alike)
    return tuple(
        _interval(float(value), column, float(a))
        for value, column, a in zip(values, resampled.T, acceleration, strict=True)
    )


def _acceleration(measure: Measure, strata: NDArray[np.int64], copies: NDArray[np.int64]) -> NDArray[np.float64]:
    jackknifed = np.concatenate([measure(rows) for rows in _leave_one_out(copies)])
    cubes, squares = np.zeros(jackknifed.shape[1]), np.zeros(jackknifed.shape[1])
    for stratum in np.unique(strata):
        part, alike = jackknifed[strata == stratum], copies[strata == stratum, None]
        size = int(alike.sum())
        if size < 2:  # a single patient of a stratum is in every resample
            continue
        influence = np.nan_to_num(((part * alike).sum(axis=0) / size - part) * (size - 1) / size)
        cubes += (alike * influence**3).sum(axis=0)
        squares += (alike * influence**2).sum(axis=0)
    spread = 6 * squares**1.5  # 0 also where the squares are too small
    return np.divide(cubes, spread, out=np.zeros_like(cubes), where=spread > 0)


def _leave_one_out(copies: NDArray[np.int64]) -> Iterator[Weights]:
    for start in range(0, len(copies), _ROWS_AT_ONCE):
        rows = np.arange(start, min(start + _ROWS_AT_ONCE, len(copies)))
        yield (copies - (rows[:, None] == np.arange(len(copies)))).astype(np.float64)


def _interval(value: float, resampled: NDArray[np.float64], acceleration: float) -> Interval:
    # Equal samples summed in another order differ in the last digits, but must count as equal.
    defined = np.round(resampled[np.isfinite(resampled)], _DIGITS)
    enough = len(defined) >= (1 - _UNDEFINED_LIMIT) * len(resampled)
    if not np.isfinite(value) or not enough or np.ptp(defined) == 0:
        return Interval(value, None, None)
    normal = NormalDist()
    centre = round(value, _DIGITS)
    below = float((np.sum(defined < centre) + np.sum(defined <= centre)) / (2 * len(defined)))
    if not 0 < below < 1:  # the value lies outside all resamples, so its bias cannot be corrected
        return Interval(value, None, None)
    bias = normal.inv_cdf(below)
    shares = []
    for tail in ((1 - _LEVEL) / 2, (1 + _LEVEL) / 2):
        z = bias + normal.inv_cdf(tail)
        # The acceleration is at most 1/6, so this stays above 0 for 2,000 resamples.
        shares.append(normal.cdf(bias + z / max(1 - acceleration * z, _SMALLEST_DIVISOR)))
    low, high = np.quantile(defined, shares)
    # With very few patients a corrected interval may miss its own value; it is widened to contain it.
    return Interval(value, min(float(low), value), max(float(high), value))


class Ranking:
    """Scores of positive and negative images, sorted once, with ranking metrics for any weights of the patients.

    Weights are samples x patients, with patients in the order of `np.unique`. An image counts as often as its patient.
    """

    def __init__(self, positive: NDArray[np.bool_], scores: NDArray[np.float64], patient_ids: NDArray[np.str_]) -> None:
        patient = np.unique(patient_ids, return_inverse=True)[1]
        order = np.argsort(-scores, kind="stable")
        self._scores, self._positive, self._patient = scores[order], positive[order], patient[order]
        self._above, self._below = np.unique(patient[positive]), np.unique(patient[~positive])
        self._wins = self._count_wins()

    def _count_wins(self) -> NDArray[np.float64]:
        """Count for each pair of patients the image pairs in which the positive one ranks higher; ties count half."""
        positives = self._scores[self._positive]
        rows = np.searchsorted(self._above, self._patient[self._positive])
        wins = np.empty((len(self._above), len(self._below)))
        if wins.size == 0:
            return wins
        negative_scores, negative_place = self._scores[~self._positive], self._patient[~self._positive]
        by_patient = np.argsort(negative_place, kind="stable")
        starts = np.searchsorted(negative_place[by_patient], self._below)
        for column, images in enumerate(np.split(by_patient, starts[1:])):
            other = negative_scores[images][::-1]  # ascending: stable sorting kept the order within a patient
            lower = np.searchsorted(other, positives, "left") + np.searchsorted(other, positives, "right")
            wins[:, column] = np.bincount(rows, lower / 2, len(self._above))
        return wins

    def auc(self, weights: Weights) -> NDArray[np.float64]:
        """Return the AUC of each sample; nan if it has no positive or no negative image.

        A pair of images counts as often as both their patients, so the AUC is a bilinear form of the weights.
        """
        won = np.einsum("sn,sn->s", weights[:, self._above] @ self._wins, weights[:, self._below])
        positives = self._total(weights, self._positive)
        negatives = self._total(weights, ~self._positive)
        return divide(won, positives * negatives)

    def average_precision(self, weights: Weights) -> NDArray[np.float64]:
        """Return the mean precision of each sample over its positive images; nan without any.

        This is the area under the stepwise precision-recall curve, as in scikit-learn's `average_precision_score`.
        """
        precisions = np.full(len(weights), np.nan)
        if not len(self._above):
            return precisions
        # Equal scores are called together: precision is taken at the last image with the score.
        all_until = np.searchsorted(-self._scores, -self._scores[self._positive], "right") - 1
        own_scores = -self._scores[self._positive]
        own_until = np.searchsorted(own_scores, own_scores, "right") - 1
        at_once = max(1, _CELLS_AT_ONCE // len(self._scores))
        for start in range(0, len(weights), at_once):
            part = np.ascontiguousarray(weights[start : start + at_once].T)
            called = np.cumsum(part[self._patient], axis=0)[all_until]
            own = part[self._patient[self._positive]]
            hits = np.cumsum(own, axis=0)
            total = hits[-1].copy()
            precision = np.divide(hits[own_until], called, out=np.zeros_like(called), where=called > 0)
            precisions[start : start + at_once] = divide(np.einsum("is,is->s", own, precision), total)
        return precisions

    def _total(self, weights: Weights, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        counts = np.bincount(self._patient[mask], minlength=weights.shape[1]).astype(np.float64)
        return np.asarray(weights @ counts)


def divide(upper: NDArray[np.float64], lower: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return upper / lower; nan where the divisor is 0."""
    undefined = np.full(np.broadcast_shapes(upper.shape, lower.shape), np.nan)
    return np.asarray(np.divide(upper, lower, out=undefined, where=lower != 0))
