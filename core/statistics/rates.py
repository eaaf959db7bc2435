"""Proportions and medians of few observations with their intervals, and kappas of several readers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from core.statistics.confusion_matrices import Counts
from core.statistics.resampling import Weights, divide

_LEVEL = 0.95
_TAIL = (1 - _LEVEL) / 2
_Z = NormalDist().inv_cdf((1 + _LEVEL) / 2)
_FEW_VALUES = 1000  # of which the interval of the median is found by adding up integers


def weighted_kappa(counts: Counts) -> NDArray[np.float64]:
    """Return the quadratically weighted kappa (Cohen, Psychol. Bull. 1968).

    Counts are samples x grades x grades, in the order of the grades.
    """
    grades = np.arange(counts.shape[1])
    penalty = ((grades[:, None] - grades) ** 2).astype(np.float64)
    total = counts.sum(axis=(1, 2))
    by_chance = counts.sum(axis=2)[:, :, None] * counts.sum(axis=1)[:, None, :]
    return 1 - divide((counts * penalty).sum(axis=(1, 2)) * total, (by_chance * penalty).sum(axis=(1, 2)))


def fleiss_kappa(weights: Weights, votes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the kappa of several readers (Fleiss, Psychol. Bull. 1971); weights are samples x cases.

    `votes` are cases x labels: the number of readers who gave each label, at least two per case. Cases with different
    numbers of readers count the same (Gwet, Handbook of Inter-Rater Reliability, 2014, section 2.4).
    """
    readers = votes.sum(axis=1)
    alike = (votes * (votes - 1)).sum(axis=1) / (readers * (readers - 1))
    cases = weights.sum(axis=1)
    observed = divide(weights @ alike, cases)
    shares = divide(weights @ (votes / readers[:, None]), cases[:, None])
    by_chance = (shares**2).sum(axis=1)
    return divide(observed - by_chance, 1 - by_chance)


@dataclass(frozen=True, slots=True)
class Rate:
    """A proportion, `hits` of `n`, with its 95% confidence interval."""

    hits: int
    n: int
    low: float  # 0..1
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.hits <= self.n:
            raise ValueError(f"{self.hits} of {self.n} is not a proportion")

    @property
    def value(self) -> float:
        """The proportion, 0..1; nan if n is 0."""
        return self.hits / self.n if self.n else math.nan


@dataclass(frozen=True, slots=True)
class Median:
    """A median with its 95% confidence interval; None if there are too few values for one."""

    value: float  # nan without values
    n: int
    low: float | None
    high: float | None


def wilson_interval(hits: int, n: int) -> Rate:
    """Return a proportion with its score interval (Wilson, J. Am. Stat. Assoc. 1927), which is 0 to 1 if n is 0."""
    if n == 0:
        return Rate(hits, n, 0, 1)
    share, spread = hits / n, _Z**2 / n
    middle = share + spread / 2
    half = _Z * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    # At the ends the formula gives exactly 0 and 1, except for rounding.
    low = 0.0 if hits == 0 else (middle - half) / (1 + spread)
    high = 1.0 if hits == n else (middle + half) / (1 + spread)
    return Rate(hits, n, low, high)


def median_of(values: Sequence[float] | NDArray[np.float64]) -> Median:
    """Return the median with an interval between two of the values.

    The number of values below the true median is binomial with chance 1/2, whatever their distribution; fewer than
    six values have no interval (Conover, Practical Nonparametric Statistics, 1999, section 3.2).
    """
    n = len(values)
    if not n:
        return Median(math.nan, 0, None, None)
    ordered = np.sort(np.asarray(values, np.float64))
    middle = float(ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    place = _values_outside(n)
    if place == 0:
        return Median(middle, n, None, None)
    return Median(middle, n, float(ordered[place - 1]), float(ordered[n - place]))


def _values_outside(n: int) -> int:
    """Return how many of `n` values lie beyond either end of the interval of their median, the end included."""
    if n > _FEW_VALUES:
        # Most pages import this module, and only many values need SciPy, which takes longer than all else they import.
        from scipy.special import bdtr  # noqa: PLC0415

        # Within a millionth of the sum below, which would take hours for a million values.
        place = math.ceil(n / 2 - _Z * math.sqrt(n) / 2) - 2
        while bdtr(place, n, 0.5) <= _TAIL:
            place += 1
        return place
    below, place = 1, 0  # ways to have at most `place` values below the median
    ways = 1
    while below * 40 <= 2**n:  # 2.5% on either side; integers stay exact for any n
        place += 1
        ways = ways * (n - place + 1) // place
        below += ways
    return place
