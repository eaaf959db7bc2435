"""Predicted probabilities with the true label of each image, from which every metric of a model is computed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.identifiers import fold_identifier, unify_identifiers
from core.labels import LabelSet
from core.statistics.resampling import Ranking, bca_intervals


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric and its 95% confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class BinaryPredictions:
    """Malignant probability, truth and patient of each image, in one order; a patient has one spelling."""

    malignant: NDArray[np.bool_]
    probabilities: NDArray[np.float64]
    patient_ids: NDArray[np.str_]

    def __post_init__(self) -> None:
        if not len(self.malignant) == len(self.probabilities) == len(self.patient_ids):
            raise ValueError("truth, probabilities and patients must have the same length")
        if not np.isfinite(self.probabilities).all():
            raise ValueError("a probability is not a finite number")
        object.__setattr__(self, "patient_ids", unify_patient_ids(self.patient_ids))

    @classmethod
    def of(
        cls, malignant: Sequence[bool], probabilities: Sequence[float], patient_ids: Sequence[str]
    ) -> "BinaryPredictions":
        """Convert three lists in one order to arrays."""
        return cls(np.array(malignant, bool), np.array(probabilities, np.float64), np.array(patient_ids, np.str_))

    def only(self, chosen: NDArray[np.bool_]) -> "BinaryPredictions":
        """Return the chosen images."""
        return BinaryPredictions(self.malignant[chosen], self.probabilities[chosen], self.patient_ids[chosen])

    def by_patient(self) -> "BinaryPredictions":
        """Average each patient's probabilities; a patient is malignant if any image is."""
        patients, patient = np.unique(self.patient_ids, return_inverse=True)
        mean = np.bincount(patient, weights=self.probabilities) / np.bincount(patient)
        return BinaryPredictions(np.bincount(patient, weights=self.malignant) > 0, mean, patients)

    def strata(self) -> NDArray[np.int64]:
        """Return the stratum of each patient, in sorted order: only benign, only malignant, or both.

        Resampling patients within each stratum always gives a sample with benign and with malignant images.
        """
        patients, patient = np.unique(self.patient_ids, return_inverse=True)
        malignant = np.bincount(patient, self.malignant, len(patients)) > 0
        benign = np.bincount(patient, ~self.malignant, len(patients)) > 0
        return (benign + 2 * malignant).astype(np.int64)


@dataclass(frozen=True, slots=True)
class ClassPredictions:
    """Probabilities of all classes and the true class of each image, in one order.

    Magnifications and subtypes are spelled as in the dataset, "" where there are none; a patient has one spelling.
    """

    label_set: LabelSet
    labels: NDArray[np.int64]  # images; indices of the label set's classes
    probabilities: NDArray[np.float64]  # images x classes
    patient_ids: NDArray[np.str_]
    magnifications: NDArray[np.str_]
    subtypes: NDArray[np.str_]

    def __post_init__(self) -> None:
        n, classes = len(self.labels), len(self.label_set.classes)
        if any(len(column) != n for column in (self.patient_ids, self.magnifications, self.subtypes)):
            raise ValueError("labels, patients, magnifications and subtypes must have the same length")
        if self.probabilities.shape != (n, classes):
            raise ValueError(f"{n} images and {classes} classes, but probabilities of shape {self.probabilities.shape}")
        if n == 0:
            raise ValueError("nothing to evaluate: no image has a prediction")
        if self.labels.min() < 0 or self.labels.max() >= classes:
            raise ValueError(f"labels must be indices of the {classes} classes of {self.label_set.name}")
        off = np.abs(self.probabilities.sum(axis=1) - 1).max()
        if not (off <= 1e-3 and self.probabilities.min() >= 0):  # negated, so that nan fails too
            raise ValueError("probabilities must lie between 0 and 1 and add up to 1 for every image")
        object.__setattr__(self, "patient_ids", unify_patient_ids(self.patient_ids))

    def binary(self) -> BinaryPredictions:
        """Return the summed probability of the malignant classes."""
        malignant = list(self.label_set.malignant_indices)
        probabilities = np.minimum(self.probabilities[:, malignant].sum(axis=1), 1.0)
        return BinaryPredictions(np.isin(self.labels, malignant), probabilities, self.patient_ids)

    def only(self, chosen: NDArray[np.bool_]) -> "ClassPredictions":
        """Return the chosen images."""
        return ClassPredictions(
            self.label_set,
            self.labels[chosen],
            self.probabilities[chosen],
            self.patient_ids[chosen],
            self.magnifications[chosen],
            self.subtypes[chosen],
        )

    def called(self, threshold: float) -> NDArray[np.int64]:
        """Return the class displayed for each image: the most probable one of the called malignancy."""
        same_side = (self.binary().probabilities >= threshold)[:, None] == self._malignant()[None, :]
        return np.asarray(np.where(same_side, self.probabilities, -1.0).argmax(axis=1), np.int64)

    def by_patient(self) -> "ClassPredictions":
        """Average each patient's probabilities.

        A patient with any malignant image is malignant; the label is the most frequent class of that malignancy.
        """
        patients, patient = np.unique(self.patient_ids, return_inverse=True)
        size = (len(patients), len(self.label_set.classes))
        count = np.bincount(patient * size[1] + self.labels, minlength=size[0] * size[1]).reshape(size)
        side = np.asarray(count[:, self._malignant()].any(axis=1))[:, None] == self._malignant()[None, :]
        sums = np.stack([np.bincount(patient, p) for p in self.probabilities.T], axis=1)
        nothing = np.full(size[0], "")
        mean = sums / np.bincount(patient)[:, None]
        label = np.asarray(np.where(side, count, -1).argmax(axis=1), np.int64)
        return ClassPredictions(self.label_set, label, mean, patients, nothing, nothing)

    def _malignant(self) -> NDArray[np.bool_]:
        return np.isin(np.arange(len(self.label_set.classes)), self.label_set.malignant_indices)


def unify_patient_ids(patient_ids: NDArray[np.str_]) -> NDArray[np.str_]:
    """Return the patient of each image in one spelling: 'P1' and 'P1 ' are resampled as one person."""
    names = np.unique(patient_ids)
    if len({fold_identifier(str(name)) for name in names}) == len(names):
        return patient_ids
    return np.array(unify_identifiers([str(one) for one in patient_ids]), np.str_)


def auc(malignant: NDArray[np.bool_], probabilities: NDArray[np.float64]) -> float:
    """Return the probability that a malignant image ranks above a benign one; ties count half.

    This is the Mann-Whitney form of the area under the ROC curve (Hanley and McNeil, Radiology 1982).

    Raises:
        ValueError: If there is no malignant or no benign image.
    """
    positives = int(malignant.sum())
    negatives = len(malignant) - positives
    if positives == 0 or negatives == 0:
        raise ValueError("an AUC needs both malignant and benign images")
    _, inverse, count = np.unique(probabilities, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[inverse]
    return (float(ranks[malignant].sum()) - positives * (positives + 1) / 2) / (positives * negatives)


def auc_estimate(predictions: BinaryPredictions, *, seed: int = 0) -> Estimate:
    """Return the AUC with its interval by resampling patients; without an interval, both bounds are the value.

    Images of one patient are correlated, so resampling images would give too narrow an interval.

    Raises:
        ValueError: If there is no malignant or no benign image.
    """
    value = auc(predictions.malignant, predictions.probabilities)
    ranking = Ranking(predictions.malignant, predictions.probabilities, predictions.patient_ids)
    (interval,) = bca_intervals(lambda weights: ranking.auc(weights)[:, None], predictions.strata(), seed=seed)
    return Estimate(
        value, value if interval.low is None else interval.low, value if interval.high is None else interval.high
    )
