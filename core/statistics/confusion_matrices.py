"""Metrics of confusion matrices, for many samples at once; counts are samples x truth x called."""

import numpy as np
from numpy.typing import NDArray

from core.statistics.resampling import divide

Counts = NDArray[np.float64]


def accuracy(counts: Counts) -> NDArray[np.float64]:
    """Return the share of images called correctly."""
    return divide(_correct(counts).sum(axis=1), counts.sum(axis=(1, 2)))


def recalls(counts: Counts) -> NDArray[np.float64]:
    """Return for each class the share of its images called so (samples x classes); nan for an absent class."""
    return divide(_correct(counts), counts.sum(axis=2))


def precisions(counts: Counts) -> NDArray[np.float64]:
    """Return for each class the share of images called so that belong to it; nan for a class never called."""
    return divide(_correct(counts), counts.sum(axis=1))


def specificities(counts: Counts) -> NDArray[np.float64]:
    """Return for each class the share of the other classes' images that are not called so."""
    total = counts.sum(axis=(1, 2))[:, None]
    others = total - counts.sum(axis=2)
    return divide(others - counts.sum(axis=1) + _correct(counts), others)


def f1s(counts: Counts) -> NDArray[np.float64]:
    """Return for each class the harmonic mean of precision and recall; nan for one neither present nor called."""
    return divide(2 * _correct(counts), counts.sum(axis=1) + counts.sum(axis=2))


def macro(by_class: NDArray[np.float64], counts: Counts) -> NDArray[np.float64]:
    """Average over the classes that occur in each sample's truth; an undefined value counts as 0."""
    present = counts.sum(axis=2) > 0
    return divide(np.where(present, np.nan_to_num(by_class), 0).sum(axis=1), present.sum(axis=1).astype(np.float64))


def mcc(counts: Counts) -> NDArray[np.float64]:
    """Return Matthews' correlation of truth and call (Gorodkin, Comput. Biol. Chem. 2004, for several classes)."""
    total, correct, truth, called = _margins(counts)
    upper = correct * total - (truth * called).sum(axis=1)
    squares = (total**2 - (truth**2).sum(axis=1)) * (total**2 - (called**2).sum(axis=1))
    return divide(upper, np.sqrt(squares))


def kappa(counts: Counts) -> NDArray[np.float64]:
    """Return the agreement of truth and call beyond chance (Cohen, Educ. Psychol. Meas. 1960)."""
    total, correct, truth, called = _margins(counts)
    by_chance = (truth * called).sum(axis=1)
    return divide(correct * total - by_chance, total**2 - by_chance)


def _correct(counts: Counts) -> NDArray[np.float64]:
    return np.diagonal(counts, axis1=1, axis2=2)


def _margins(counts: Counts) -> tuple[NDArray[np.float64], ...]:
    """Return the numbers of all images, of correct ones, and of each class by truth and by call."""
    return counts.sum(axis=(1, 2)), _correct(counts).sum(axis=1), counts.sum(axis=2), counts.sum(axis=1)
