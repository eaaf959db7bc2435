"""Sums by patient, from which a few matrix products give the metrics of any weighted sample of patients."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.statistics import confusion_matrices, figure_names
from core.statistics.predictions import BinaryPredictions, ClassPredictions
from core.statistics.resampling import Ranking, Weights, divide

# Bins hold equal numbers of images: of bins of equal width most would be nearly empty, and their gaps noise.
MOST_BINS = 15
_FEWEST_IN_A_BIN = 10
_SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)  # as scikit-learn's log_loss clips


@dataclass(frozen=True, slots=True)
class Column:
    """One metric of many samples; nan where it is undefined."""

    name: str
    values: NDArray[np.float64]


class BinaryTally:
    """The metrics of benign against malignant."""

    def __init__(self, predictions: BinaryPredictions, threshold: float) -> None:
        patient = np.unique(predictions.patient_ids, return_inverse=True)[1]
        truth, p = predictions.malignant.astype(np.int64), predictions.probabilities
        called = (p >= threshold).astype(np.int64)
        self._counts = count_calls(predictions, threshold)
        self._shares = recognition_rates(patient, truth == called)
        self._losses = _sum_by_patient(patient, [(p - truth) ** 2, -np.log(_clip(np.where(truth, p, 1 - p)))])
        self._gaps = _sum_gaps(patient, p, truth)
        self._ranking = Ranking(predictions.malignant, p, predictions.patient_ids)

    def columns(self, weights: Weights) -> list[Column]:
        """Compute the binary metrics, in the order of `figure_names.BINARY_FIGURES`."""
        counts = (weights @ self._counts).reshape(-1, 2, 2)
        total = counts.sum(axis=(1, 2))
        recalls = confusion_matrices.recalls(counts)
        brier, log_loss = divide(weights @ self._losses, total[:, None]).T
        values = (
            confusion_matrices.accuracy(counts),
            recalls.mean(axis=1),
            self._ranking.auc(weights),
            self._ranking.average_precision(weights),
            confusion_matrices.precisions(counts)[:, 1],
            recalls[:, 1],
            recalls[:, 0],
            confusion_matrices.f1s(counts)[:, 1],
            confusion_matrices.mcc(counts),
            confusion_matrices.kappa(counts),
            brier,
            divide(np.abs(weights @ self._gaps).sum(axis=1), total),
            log_loss,
            divide(weights @ self._shares, weights.sum(axis=1)),
        )
        return [Column(name, column) for name, column in zip(figure_names.BINARY_FIGURES, values, strict=True)]


class ClassTally:
    """The metrics of more than two classes."""

    def __init__(self, predictions: ClassPredictions, threshold: float) -> None:
        self._classes = predictions.label_set.classes
        patient = np.unique(predictions.patient_ids, return_inverse=True)[1]
        truth, p = predictions.labels, predictions.probabilities
        called = predictions.called(threshold)
        rows = np.arange(len(truth))
        hits = np.zeros_like(p)
        hits[rows, truth] = 1
        self._counts = _count_cells(patient, [truth, called], len(self._classes))
        self._shares = recognition_rates(patient, truth == called)
        self._losses = _sum_by_patient(patient, [((p - hits) ** 2).sum(axis=1), -np.log(_clip(p[rows, truth]))])
        self._gaps = _sum_gaps(patient, p[rows, called], (truth == called).astype(np.int64))
        self._rankings = [
            Ranking(truth == label, p[:, label], predictions.patient_ids) for label in range(len(self._classes))
        ]

    def columns(self, weights: Weights) -> list[Column]:
        """Compute the metrics over all classes, then those of each class against the rest."""
        counts = (weights @ self._counts).reshape(-1, len(self._classes), len(self._classes))
        total = counts.sum(axis=(1, 2))
        recalls, precisions, f1s = (
            confusion_matrices.recalls(counts),
            confusion_matrices.precisions(counts),
            confusion_matrices.f1s(counts),
        )
        brier, log_loss = divide(weights @ self._losses, total[:, None]).T
        accuracy = confusion_matrices.accuracy(counts)
        overall = [
            Column(figure_names.CLASS_ACCURACY, accuracy),
            Column(figure_names.MACRO_RECALL, confusion_matrices.macro(recalls, counts)),
            Column(figure_names.MACRO_PRECISION, confusion_matrices.macro(precisions, counts)),
            Column(figure_names.MACRO_F1, confusion_matrices.macro(f1s, counts)),
            Column(figure_names.MICRO_F1, accuracy),
            Column(figure_names.MACRO_AUC, _mean_defined([r.auc(weights) for r in self._rankings])),
            Column(figure_names.MACRO_PR_AUC, _mean_defined([r.average_precision(weights) for r in self._rankings])),
            Column(figure_names.CLASS_MCC, confusion_matrices.mcc(counts)),
            Column(figure_names.CLASS_KAPPA, confusion_matrices.kappa(counts)),
            Column(figure_names.CLASS_BRIER, brier),
            Column(figure_names.CLASS_ECE, divide(np.abs(weights @ self._gaps).sum(axis=1), total)),
            Column(figure_names.CLASS_LOG_LOSS, log_loss),
            Column(figure_names.CLASS_RECOGNITION_RATE, divide(weights @ self._shares, weights.sum(axis=1))),
        ]
        by_class = (
            (figure_names.PRECISION, precisions),
            (figure_names.RECALL, recalls),
            (figure_names.SPECIFICITY, confusion_matrices.specificities(counts)),
            (figure_names.F1, f1s),
        )
        return overall + [
            Column(figure_names.of_class(name, label), values[:, position])
            for position, label in enumerate(self._classes)
            for name, values in by_class
        ]


def count_calls(predictions: BinaryPredictions, threshold: float) -> NDArray[np.float64]:
    """Count each patient's images by truth and call at a threshold: patients x 4, patients in sorted order."""
    patient = np.unique(predictions.patient_ids, return_inverse=True)[1]
    called = (predictions.probabilities >= threshold).astype(np.int64)
    return _count_cells(patient, [predictions.malignant.astype(np.int64), called], 2)


def recognition_rates(patient: NDArray[np.int64], correct: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the share of each patient's images that are called correctly."""
    return np.bincount(patient, correct) / np.bincount(patient)


def calibration_bins(probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the bin of each probability: at most 15 of equal size, each of at least ten; equal ones share a bin."""
    bins = min(MOST_BINS, max(1, len(probabilities) // _FEWEST_IN_A_BIN))
    edges = np.unique(np.quantile(probabilities, np.arange(1, bins) / bins))
    return np.searchsorted(edges, probabilities, "right").astype(np.int64)


def _count_cells(patient: NDArray[np.int64], columns: Sequence[NDArray[np.int64]], classes: int) -> NDArray[np.float64]:
    """Count each patient's images by truth and call: patients x (classes * classes)."""
    truth, called = columns
    patients = int(patient.max()) + 1
    cells = classes * classes
    flat = np.bincount(patient * cells + truth * classes + called, minlength=patients * cells)
    return flat.reshape(patients, cells).astype(np.float64)


def _sum_by_patient(patient: NDArray[np.int64], columns: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.stack([np.bincount(patient, column) for column in columns], axis=1)


def _sum_gaps(patient: NDArray[np.int64], p: NDArray[np.float64], truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sum probability minus truth by patient and bin; the bins are those of all images."""
    bins = calibration_bins(p)
    patients, size = int(patient.max()) + 1, int(bins.max()) + 1
    sums = np.bincount(patient * size + bins, p - truth, patients * size)
    return np.asarray(sums, np.float64).reshape(patients, size)


def _clip(p: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(p, _SMALLEST_PROBABILITY, 1 - _SMALLEST_PROBABILITY)


def _mean_defined(rows: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    stacked = np.stack(rows)
    defined = np.isfinite(stacked)
    return divide(np.where(defined, stacked, 0).sum(axis=0), defined.sum(axis=0).astype(np.float64))
