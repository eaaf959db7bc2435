"""How well probabilities rank malignant above benign, with intervals that resample patients."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Judged:
    """Malignant probabilities beside the truth and the patient they come from, in one order."""

    malignant: NDArray[np.bool_]
    probabilities: NDArray[np.float64]
    patient_ids: NDArray[np.str_]

    def __post_init__(self) -> None:
        if not len(self.malignant) == len(self.probabilities) == len(self.patient_ids):
            raise ValueError("truth, probabilities and patients must be of one length")

    @classmethod
    def of(cls, malignant: Sequence[bool], probabilities: Sequence[float], patient_ids: Sequence[str]) -> "Judged":
        """Make arrays of three lists in one order."""
        return cls(np.array(malignant, bool), np.array(probabilities, np.float64), np.array(patient_ids, np.str_))

    def only(self, chosen: NDArray[np.bool_]) -> "Judged":
        """Keep the chosen ones."""
        return Judged(self.malignant[chosen], self.probabilities[chosen], self.patient_ids[chosen])

    def by_patient(self) -> "Judged":
        """Average each patient's probabilities; a patient is malignant if any image is."""
        patients, place = np.unique(self.patient_ids, return_inverse=True)
        mean = np.bincount(place, weights=self.probabilities) / np.bincount(place)
        return Judged(np.bincount(place, weights=self.malignant) > 0, mean, patients)


def auc(malignant: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> float:
    """Give the chance that a malignant one ranks above a benign one; ties count half.

    This is the Mann-Whitney form of the area under the ROC curve (Hanley and McNeil, Radiology 1982).

    Raises:
        ValueError: If there is nothing malignant or nothing benign.
    """
    positives = int(malignant.sum())
    negatives = len(malignant) - positives
    if positives == 0 or negatives == 0:
        raise ValueError("an AUC needs both malignant and benign")
    _, place, count = np.unique(probabilities, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    return (float(ranks[malignant].sum()) - positives * (positives + 1) / 2) / (positives * negatives)


def auc_estimate(judged: Judged, *, seed: int = 0) -> Estimate:
    """Give the AUC with the interval of resampled patients.

    Images of one patient are much alike, so resampling images would promise too narrow an interval.
    Benign and malignant patients are resampled apart: a draw without benign patients has no AUC.
    """
    rng = np.random.default_rng(seed)
    patients = judged.by_patient()
    rows = {patient: np.flatnonzero(judged.patient_ids == patient) for patient in patients.patient_ids}
    strata = [patients.patient_ids[patients.malignant], patients.patient_ids[~patients.malignant]]
    drawn = []
    for _ in range(_RESAMPLES):
        chosen = np.concatenate([rows[p] for stratum in strata for p in rng.choice(stratum, len(stratum))])
        drawn.append(auc(judged.malignant[chosen], judged.probabilities[chosen]))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Estimate(auc(judged.malignant, judged.probabilities), float(low), float(high))
