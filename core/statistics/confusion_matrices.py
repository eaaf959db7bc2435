"""Figures of confusion matrices, for many samples at once: counts are samples x truth x called."""

import numpy as np
from numpy.typing import NDArray

from core.statistics.resampling import quotient

Counts = NDArray[np.float64]


def accuracy(counts: Counts) -> NDArray[np.float64]:
    """Give the share of images called rightly."""
    return quotient(_right(counts).sum(axis=1), counts.sum(axis=(1, 2)))


def recalls(counts: Counts) -> NDArray[np.float64]:
    """Give for each class (samples x classes) the share of its images that are called so; nan for an absent class."""
    return quotient(_right(counts), counts.sum(axis=2))


def precisions(counts: Counts) -> NDArray[np.float64]:
    """Give for each class the share of images called so that are; nan for a class never called."""
    return quotient(_right(counts), counts.sum(axis=1))


def specificities(counts: Counts) -> NDArray[np.float64]:
    """Give for each class the share of other classes' images that are not called so."""
    everyone = counts.sum(axis=(1, 2))[:, None]
    others = everyone - counts.sum(axis=2)
    return quotient(others - counts.sum(axis=1) + _right(counts), others)


def f1s(counts: Counts) -> NDArray[np.float64]:
    """Give for each class the harmonic mean of precision and recall; nan for one neither present nor called."""
    return quotient(2 * _right(counts), counts.sum(axis=1) + counts.sum(axis=2))


def macro(by_class: NDArray[np.float64], counts: Counts) -> NDArray[np.float64]:
    """Average over the classes that occur in each sample's truth; an undefined value there counts 0."""
    present = counts.sum(axis=2) > 0
    return quotient(np.where(present, np.nan_to_num(by_class), 0).sum(axis=1), present.sum(axis=1).astype(np.float64))


def mcc(counts: Counts) -> NDArray[np.float64]:
    """Give Matthews' correlation of truth and call (Gorodkin, Comput. Biol. Chem. 2004, for several classes)."""
    total, right, truth, called = _margins(counts)
    upper = right * total - (truth * called).sum(axis=1)
    squares = (total**2 - (truth**2).sum(axis=1)) * (total**2 - (called**2).sum(axis=1))
    return quotient(upper, np.sqrt(squares))


def kappa(counts: Counts) -> NDArray[np.float64]:
    """Give the agreement of truth and call beyond chance (Cohen, Educ. Psychol. Meas. 1960)."""
    total, right, truth, called = _margins(counts)
    by_chance = (truth * called).sum(axis=1)
    return quotient(right * total - by_chance, total**2 - by_chance)


def _right(counts: Counts) -> NDArray[np.float64]:
    return np.diagonal(counts, axis1=1, axis2=2)


def _margins(counts: Counts) -> tuple[NDArray[np.float64], ...]:
    """Give all images, the right ones, and those of each class by truth and by call."""
    return counts.sum(axis=(1, 2)), _right(counts).sum(axis=1), counts.sum(axis=2), counts.sum(axis=1)
