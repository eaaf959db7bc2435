"""Intervals of figures by resampling patients, all resamples at once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
_LEVEL = 0.95
# A figure that so many resamples leave undefined has no interval worth showing.
_UNDEFINED_LIMIT = 0.01
_ROWS_AT_ONCE = 2000
_DIGITS = 12
_SMALLEST_DIVISOR = 1e-3

Weights = NDArray[np.float64]  # samples x patients: how often each patient counts; patients in sorted order
Measure = Callable[[Weights], NDArray[np.float64]]  # -> samples x figures; nan where a figure is undefined


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and its 95 % interval; None where resampling cannot give one."""

    value: float  # nan where undefined
    low: float | None
    high: float | None


def draw_patients(
    strata: NDArray[np.int64], rounds: int, seed: int, copies: NDArray[np.int64] | None = None
) -> Weights:
    """Draw patients with replacement, each stratum as often as it is large; `copies` of a patient are as many alike."""
    rng = np.random.default_rng(seed)
    weights = np.empty((rounds, len(strata)))
    alike = np.ones(len(strata), np.int64) if copies is None else copies
    for stratum in np.unique(strata):
        chosen = strata == stratum
        size = int(alike[chosen].sum())
        weights[:, chosen] = rng.multinomial(size, alike[chosen] / size, rounds)
    return weights


def bca(
    measure: Measure,
    strata: NDArray[np.int64],
    *,
    rounds: int = RESAMPLES,
    seed: int = 0,
    copies: NDArray[np.int64] | None = None,
) -> tuple[Interval, ...]:
    """Give every figure with its bias-corrected and accelerated interval (Efron, JASA 1987).

    The acceleration comes from leaving out one patient at a time, weighed by stratum as for several samples
    (Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 5.3).
    A figure that is undefined, the same in every resample, or undefined in more than 1 % of them has no interval.

    Args:
        measure: Computes the figures of samples from how often each patient counts.
        strata: The stratum of each patient; each is resampled apart.
        rounds: Number of resamples.
        seed: Of the resampling; the same gives the same interval.
        copies: How many patients each column stands for, where many are alike; one if left out.
    """
    alike = np.ones(len(strata), np.int64) if copies is None else copies
    values = measure(alike[None].astype(np.float64))[0]
    drawn = measure(draw_patients(strata, rounds, seed, alike))
    acceleration = _acceleration(measure, strata, alike)
    return tuple(
        _interval(float(value), column, float(a))
        for value, column, a in zip(values, drawn.T, acceleration, strict=True)
    )


def _acceleration(measure: Measure, strata: NDArray[np.int64], copies: NDArray[np.int64]) -> NDArray[np.float64]:
    left_out = np.concatenate([measure(rows) for rows in _leave_one_out(copies)])
    cubes, squares = np.zeros(left_out.shape[1]), np.zeros(left_out.shape[1])
    for stratum in np.unique(strata):
        part, alike = left_out[strata == stratum], copies[strata == stratum, None]
        size = int(alike.sum())
        if size < 2:  # a patient alone in its stratum is in every resample
            continue
        influence = np.nan_to_num(((part * alike).sum(axis=0) / size - part) * (size - 1) / size)
        cubes += (alike * influence**3).sum(axis=0)
        squares += (alike * influence**2).sum(axis=0)
    return np.divide(cubes, 6 * squares**1.5, out=np.zeros_like(cubes), where=squares > 0)


def _leave_one_out(copies: NDArray[np.int64]) -> Iterator[Weights]:
    for start in range(0, len(copies), _ROWS_AT_ONCE):
        rows = np.arange(start, min(start + _ROWS_AT_ONCE, len(copies)))
        yield (copies - (rows[:, None] == np.arange(len(copies)))).astype(np.float64)


def _interval(value: float, drawn: NDArray[np.float64], acceleration: float) -> Interval:
    # The same sample summed in another order differs in the last digits; it has to count as equal.
    defined = np.round(drawn[np.isfinite(drawn)], _DIGITS)
    enough = len(defined) >= (1 - _UNDEFINED_LIMIT) * len(drawn)
    if not np.isfinite(value) or not enough or np.ptp(defined) == 0:
        return Interval(value, None, None)
    normal = NormalDist()
    centre = round(value, _DIGITS)
    below = float((np.sum(defined < centre) + np.sum(defined <= centre)) / (2 * len(defined)))
    if not 0 < below < 1:  # the figure lies outside all resamples: no correction for bias can be made
        return Interval(value, None, None)
    bias = normal.inv_cdf(below)
    shares = []
    for tail in ((1 - _LEVEL) / 2, (1 + _LEVEL) / 2):
        z = bias + normal.inv_cdf(tail)
        # The acceleration is 1/6 at most, so that this stays above 0 for 2,000 resamples.
        shares.append(normal.cdf(bias + z / max(1 - acceleration * z, _SMALLEST_DIVISOR)))
    low, high = np.quantile(defined, shares)
    # Of very few patients a corrected interval may miss its own figure, which nobody could read.
    return Interval(value, min(float(low), value), max(float(high), value))
