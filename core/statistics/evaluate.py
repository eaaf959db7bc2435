"""Turn predictions of labelled images into an evaluation: metrics with intervals, matrices, curves and groups."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.card import Abstention
from core.labels import BINARY
from core.statistics import confusion_matrices, figure_names
from core.statistics.calibration import evaluate_abstention
from core.statistics.cautions import Caution, ImageLeftOut, ImageNote
from core.statistics.evaluation import (
    AblationRow,
    Confusion,
    Curve,
    CurveKind,
    Evaluation,
    Figure,
    Group,
    GroupKind,
    ScopeCounts,
    TriedThreshold,
    Unit,
)
from core.statistics.predictions import BinaryPredictions, ClassPredictions
from core.statistics.resampling import Weights, bca_intervals, divide
from core.statistics.tallies import BinaryTally, ClassTally, Column, calibration_bins, count_calls

MOST_POINTS = 400  # of a curve; more cannot be seen

_OF_PATIENTS = (figure_names.PATIENT_RECOGNITION_RATE, figure_names.CLASS_RECOGNITION_RATE)


@dataclass(frozen=True, slots=True)
class EvaluationDetails:
    """The description of an evaluation: model, images, protocol and what was locked beforehand."""

    model_name: str
    model_version: str
    dataset: str
    split: str
    protocol: str
    threshold: float  # on the malignant probability, locked before this evaluation
    temperature: float
    locked_on: str
    demonstration: bool = False
    warnings: tuple[Caution, ...] = ()
    excluded: tuple[ImageLeftOut, ...] = ()
    notes: tuple[ImageNote, ...] = ()
    scope: ScopeCounts | None = None

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1 or not self.temperature > 0:
            raise ValueError(
                "the threshold must lie between 0 and 1 and the temperature above 0, "
                f"got {self.threshold} and {self.temperature}"
            )


def build_evaluation(
    predictions: ClassPredictions,
    about: EvaluationDetails,
    *,
    ablation: Sequence[AblationRow] = (),
    abstention: Abstention | None = None,
    seed: int = 0,
) -> Evaluation:
    """Compute metrics, matrices, curves and groups, by image and by patient.

    A metric that is undefined on these images (the AUC of malignant images only) is omitted. A locked abstention is
    returned with its coverage and error on these images.
    """
    return Evaluation(
        model_name=about.model_name,
        model_version=about.model_version,
        dataset=about.dataset,
        split=about.split,
        protocol=about.protocol,
        label_set=predictions.label_set,
        images=len(predictions.labels),
        patients=len(np.unique(predictions.patient_ids)),
        threshold=about.threshold,
        temperature=about.temperature,
        locked_on=about.locked_on,
        figures=compute_metrics(predictions, about.threshold, seed=seed),
        confusions=_confusions(predictions, about.threshold),
        curves=compute_curves(predictions.binary(), about.threshold),
        groups=_groups(predictions, about.threshold, seed),
        abstention=abstention
        and evaluate_abstention(predictions.binary(), abstention, f"{about.split}: {about.protocol}"),
        scope=about.scope,
        ablation=tuple(ablation),
        excluded=about.excluded,
        notes=about.notes,
        warnings=about.warnings,
        demonstration=about.demonstration,
    )


def try_threshold(predictions: BinaryPredictions, threshold: float, *, seed: int = 0) -> TriedThreshold:
    """Count the calls at a threshold, and return the rates that depend on it, with intervals from resampling patients.

    A rate that is undefined on these images is omitted.
    """
    calls = count_calls(predictions, threshold)

    def measure(weights: Weights) -> NDArray[np.float64]:
        counts = (weights @ calls).reshape(-1, 2, 2)
        recalls = confusion_matrices.recalls(counts)
        precision = confusion_matrices.precisions(counts)[:, 1]
        return np.stack([recalls[:, 1], recalls[:, 0], precision, confusion_matrices.accuracy(counts)], axis=1)

    intervals = bca_intervals(measure, predictions.strata(), seed=seed)
    figures = tuple(
        Figure(name, interval.value, interval.low, interval.high, "image", len(predictions.malignant))
        for name, interval in zip(figure_names.THRESHOLD_RATES, intervals, strict=True)
        if np.isfinite(interval.value)
    )
    return TriedThreshold(threshold, _binary_confusion(predictions, threshold), figures)


def _binary_confusion(predictions: BinaryPredictions, threshold: float) -> Confusion:
    called = (predictions.probabilities >= threshold).astype(np.int64)
    return _confusion(BINARY.classes, predictions.malignant.astype(np.int64), called, predictions.patient_ids)


def _confusions(predictions: ClassPredictions, threshold: float) -> tuple[Confusion, ...]:
    confusions = [_binary_confusion(predictions.binary(), threshold)]
    if len(predictions.label_set.classes) > 2:
        classes, labels = predictions.label_set.classes, predictions.labels
        confusions.append(_confusion(classes, labels, predictions.called(threshold), predictions.patient_ids))
    return tuple(confusions)


def _confusion(
    classes: tuple[str, ...], truth: NDArray[np.int64], called: NDArray[np.int64], patient_ids: NDArray[np.str_]
) -> Confusion:
    size = len(classes)
    cell = truth * size + called
    patients, index = np.unique(patient_ids, return_inverse=True)
    # A patient counts once in each cell in which it has an image.
    patient_cells = np.unique(cell * len(patients) + index) // len(patients)
    return Confusion(
        classes, _rows(np.bincount(cell, minlength=size**2)), _rows(np.bincount(patient_cells, minlength=size**2))
    )


def _rows(cells: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    size = round(len(cells) ** 0.5)
    return tuple(tuple(int(n) for n in row) for row in cells.reshape(size, size))


def _groups(predictions: ClassPredictions, threshold: float, seed: int) -> tuple[Group, ...]:
    """Compute all metrics of each magnification, and the shares of each subtype and each patient."""
    binary = predictions.binary()
    wrong = (binary.probabilities >= threshold) != binary.malignant
    kinds: tuple[tuple[GroupKind, NDArray[np.str_]], ...] = (
        ("magnification", predictions.magnifications),
        ("subtype", predictions.subtypes),
        ("patient", predictions.patient_ids),
    )
    groups = []
    for kind, names in kinds:
        for name in np.unique(names[names != ""]):
            mask = names == name
            part = predictions.only(mask)
            patients = len(np.unique(part.patient_ids))
            figures = _figures_of(kind, part, threshold, seed)
            groups.append(Group(kind, str(name), int(mask.sum()), patients, int(wrong[mask].sum()), figures))
    return tuple(groups)


def _figures_of(kind: GroupKind, part: ClassPredictions, threshold: float, seed: int) -> tuple[Figure, ...]:
    if kind == "magnification":
        return compute_metrics(part, threshold, seed=seed)
    return compute_shares(part, threshold, seed=seed)


def compute_metrics(predictions: ClassPredictions, threshold: float, *, seed: int = 0) -> tuple[Figure, ...]:
    """Return all metrics by image and by patient (mean probability), with intervals from resampling patients.

    A metric that is undefined on these images (the AUC of malignant images only) is omitted.
    """
    tallies = _Tallies(predictions, threshold)
    strata = predictions.binary().strata()
    named = [(unit, column.name) for unit, column in tallies.columns(np.ones((1, len(strata))))]
    intervals = bca_intervals(tallies.values, strata, seed=seed)
    return tuple(
        Figure(name, i.value, i.low, i.high, unit, tallies.counts[unit])
        for (unit, name), i in zip(named, intervals, strict=True)
        if np.isfinite(i.value)
    )


def compute_shares(predictions: ClassPredictions, threshold: float, *, seed: int = 0) -> tuple[Figure, ...]:
    """Return the metrics that are defined even for one class: the share of correct calls and the mean probability."""
    binary = predictions.binary()
    index = np.unique(binary.patient_ids, return_inverse=True)[1]
    named = [
        (figure_names.ACCURACY, (binary.probabilities >= threshold) == binary.malignant),
        (figure_names.MALIGNANT_PROBABILITY, binary.probabilities),
    ]
    if len(predictions.label_set.classes) > 2:
        named.append((figure_names.CLASS_ACCURACY, predictions.called(threshold) == predictions.labels))
    sums = np.stack([np.bincount(index, values) for _, values in named], axis=1)
    images = np.bincount(index).astype(np.float64)
    intervals = bca_intervals(lambda w: divide(w @ sums, (w @ images)[:, None]), binary.strata(), seed=seed)
    return tuple(
        Figure(name, i.value, i.low, i.high, "image", len(index)) for (name, _), i in zip(named, intervals, strict=True)
    )


class _Tallies:
    """Tallies by image and by patient (mean probability), over the same patients."""

    def __init__(self, predictions: ClassPredictions, threshold: float) -> None:
        by_patient = predictions.by_patient()
        self._images = _tallies(predictions, threshold)
        self._patients = _tallies(by_patient, threshold)
        self.counts: dict[Unit, int] = {"image": len(predictions.labels), "patient": len(by_patient.labels)}

    def columns(self, weights: Weights) -> list[tuple[Unit, Column]]:
        """Compute all metrics of samples of patients, each with its unit."""
        columns: list[tuple[Unit, Column]] = []
        for tally in self._images:
            columns += [("patient" if c.name in _OF_PATIENTS else "image", c) for c in tally.columns(weights)]
        for tally in self._patients:
            # With one probability per patient, the recognition rate equals the accuracy.
            columns += [("patient", c) for c in tally.columns(weights) if c.name not in _OF_PATIENTS]
        return columns

    def values(self, weights: Weights) -> NDArray[np.float64]:
        """Compute the metrics alone, samples x metrics."""
        return np.stack([column.values for _, column in self.columns(weights)], axis=1)


def _tallies(predictions: ClassPredictions, threshold: float) -> Sequence[BinaryTally | ClassTally]:
    binary = BinaryTally(predictions.binary(), threshold)
    return (binary, ClassTally(predictions, threshold)) if len(predictions.label_set.classes) > 2 else (binary,)


def compute_curves(predictions: BinaryPredictions, threshold: float) -> tuple[Curve, ...]:
    """Return ROC and precision-recall (if both malignancies occur), reliability and risk-coverage curves."""
    ranked = (_roc(predictions), _precision_recall(predictions)) if 0 < predictions.malignant.mean() < 1 else ()
    return (*ranked, _reliability(predictions), _risk_coverage(predictions, threshold))


def _called_above(predictions: BinaryPredictions) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Count malignant and benign images at or above each distinct probability, highest first."""
    order = np.argsort(-predictions.probabilities, kind="stable")
    last = np.append(np.diff(predictions.probabilities[order]) != 0, True)
    malignant = predictions.malignant[order]
    return np.cumsum(malignant)[last].astype(np.float64), np.cumsum(~malignant)[last].astype(np.float64)


def _roc(predictions: BinaryPredictions) -> Curve:
    hits, false_alarms = _called_above(predictions)
    x, y = np.append(0, false_alarms / false_alarms[-1]), np.append(0, hits / hits[-1])
    # Points on a straight line between their neighbours do not change the curve.
    corner = np.ones(len(x), bool)
    corner[1:-1] = (np.diff(x)[1:] * np.diff(y)[:-1] - np.diff(x)[:-1] * np.diff(y)[1:]) != 0
    return _curve("roc", x[corner], y[corner])


def _precision_recall(predictions: BinaryPredictions) -> Curve:
    hits, false_alarms = _called_above(predictions)
    return _curve("precision_recall", np.append(0, hits / hits[-1]), np.append(1, hits / (hits + false_alarms)))


def _reliability(predictions: BinaryPredictions) -> Curve:
    """Return the mean probability, the share of malignant images and the number of images of each bin."""
    _, index, count = np.unique(calibration_bins(predictions.probabilities), return_inverse=True, return_counts=True)
    mean = np.bincount(index, predictions.probabilities) / count
    share = np.bincount(index, predictions.malignant) / count
    return Curve("reliability", _floats(mean), _floats(share), tuple(int(n) for n in count))


def _risk_coverage(predictions: BinaryPredictions, threshold: float) -> Curve:
    """Return the share of wrong calls among the most certain images, for every coverage (share of images).

    Certainty is the distance from the threshold relative to the largest distance on that side of it. If the
    threshold lies at an end of the scale from 0 to 1, an image at that end has certainty 0.
    """
    p = predictions.probabilities
    called = p >= threshold
    largest = np.where(called, 1 - threshold, threshold)
    certainty = np.divide(np.abs(p - threshold), largest, out=np.zeros_like(p), where=largest > 0)
    order = np.argsort(-certainty, kind="stable")
    last = np.append(np.diff(certainty[order]) != 0, True)
    covered = np.arange(1, len(p) + 1)
    risk = np.cumsum((called != predictions.malignant)[order]) / covered
    return _curve("risk_coverage", (covered / len(p))[last], risk[last])


def _curve(kind: CurveKind, x: NDArray[np.float64], y: NDArray[np.float64]) -> Curve:
    rows = np.unique(np.linspace(0, len(x) - 1, min(len(x), MOST_POINTS)).round().astype(np.int64))
    return Curve(kind, _floats(x[rows]), _floats(y[rows]))


def _floats(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
