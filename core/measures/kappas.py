"""Agreement beyond chance of ordered grades and of several readers, for many samples of cases at once."""

import numpy as np
from numpy.typing import NDArray

from core.measures.bootstrap import Weights
from core.measures.confusions import Counts
from core.measures.ranking import quotient


def weighted_kappa(counts: Counts) -> NDArray[np.float64]:
    """Give the kappa in which a gap of two grades weighs four times one (Cohen, Psychol. Bull. 1968).

    Counts are samples x grades x grades, in the order of the grades.
    """
    grades = np.arange(counts.shape[1])
    penalty = ((grades[:, None] - grades) ** 2).astype(np.float64)
    total = counts.sum(axis=(1, 2))
    by_chance = counts.sum(axis=2)[:, :, None] * counts.sum(axis=1)[:, None, :]
    return 1 - quotient((counts * penalty).sum(axis=(1, 2)) * total, (by_chance * penalty).sum(axis=(1, 2)))


def fleiss_kappa(weights: Weights, votes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give the kappa of several readers (Fleiss, Psychol. Bull. 1971) for samples x cases.

    `votes` are cases x labels: how many readers gave each; two or more a case. Where their number differs, each
    case counts as much as another (Gwet, Handbook of Inter-Rater Reliability, 2014, section 2.4).
    """
    readers = votes.sum(axis=1)
    alike = (votes * (votes - 1)).sum(axis=1) / (readers * (readers - 1))
    cases = weights.sum(axis=1)
    observed = quotient(weights @ alike, cases)
    shares = quotient(weights @ (votes / readers[:, None]), cases[:, None])
    by_chance = (shares**2).sum(axis=1)
    return quotient(observed - by_chance, 1 - by_chance)
