"""How well scores rank one side above the other, for many weighted samples of patients at once."""

import numpy as np
from numpy.typing import NDArray

from core.measures.bootstrap import Weights

_CELLS_AT_ONCE = 2_000_000  # of images x samples; 16 MB each for a handful of arrays


class Ranking:
    """Scores of positive and negative images, sorted once and measured for any weights of their patients.

    Weights are samples x patients; patients in the order of `np.unique`. An image counts as often as its patient.
    """

    def __init__(self, positive: NDArray[np.bool_], scores: NDArray[np.float64], patient_ids: NDArray[np.str_]) -> None:
        place = np.unique(patient_ids, return_inverse=True)[1]
        order = np.argsort(-scores, kind="stable")
        self._scores, self._positive, self._place = scores[order], positive[order], place[order]
        self._above, self._below = np.unique(place[positive]), np.unique(place[~positive])
        self._wins = self._count_wins()

    def _count_wins(self) -> NDArray[np.float64]:
        """Count, for each pair of patients, in how many pairs of images the positive one ranks higher; ties half."""
        positives = self._scores[self._positive]
        rows = np.searchsorted(self._above, self._place[self._positive])
        wins = np.empty((len(self._above), len(self._below)))
        if wins.size == 0:
            return wins
        negative_scores, negative_place = self._scores[~self._positive], self._place[~self._positive]
        by_patient = np.argsort(negative_place, kind="stable")
        starts = np.searchsorted(negative_place[by_patient], self._below)
        for column, chosen in enumerate(np.split(by_patient, starts[1:])):
            other = negative_scores[chosen][::-1]  # ascending: stable sorting kept the order within a patient
            lower = np.searchsorted(other, positives, "left") + np.searchsorted(other, positives, "right")
            wins[:, column] = np.bincount(rows, lower / 2, len(self._above))
        return wins

    def auc(self, weights: Weights) -> NDArray[np.float64]:
        """Give each sample's AUC; nan where it has no positive or no negative image.

        A pair of images counts as often as both their patients, so the AUC is a bilinear form of the weights.
        """
        won = np.einsum("sn,sn->s", weights[:, self._above] @ self._wins, weights[:, self._below])
        positives = self._total(weights, self._positive)
        negatives = self._total(weights, ~self._positive)
        return quotient(won, positives * negatives)

    def average_precision(self, weights: Weights) -> NDArray[np.float64]:
        """Give each sample's mean precision over its positive images; nan without any.

        The area under the precision-recall curve as steps, as scikit-learn defines `average_precision_score`.
        """
        found = np.full(len(weights), np.nan)
        if not len(self._above):
            return found
        # Equal scores are called together: a positive image is judged at the last image of its score.
        everyone_until = np.searchsorted(-self._scores, -self._scores[self._positive], "right") - 1
        own_scores = -self._scores[self._positive]
        own_until = np.searchsorted(own_scores, own_scores, "right") - 1
        at_once = max(1, _CELLS_AT_ONCE // len(self._scores))
        for start in range(0, len(weights), at_once):
            part = np.ascontiguousarray(weights[start : start + at_once].T)
            called = np.cumsum(part[self._place], axis=0)[everyone_until]
            own = part[self._place[self._positive]]
            hits = np.cumsum(own, axis=0)
            total = hits[-1].copy()
            precision = np.divide(hits[own_until], called, out=np.zeros_like(called), where=called > 0)
            found[start : start + at_once] = quotient(np.einsum("is,is->s", own, precision), total)
        return found

    def _total(self, weights: Weights, chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        counts = np.bincount(self._place[chosen], minlength=weights.shape[1]).astype(np.float64)
        return np.asarray(weights @ counts)


def quotient(upper: NDArray[np.float64], lower: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide; nan where the divisor is 0."""
    undefined = np.full(np.broadcast_shapes(upper.shape, lower.shape), np.nan)
    return np.asarray(np.divide(upper, lower, out=undefined, where=lower != 0))
