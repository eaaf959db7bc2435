"""Turn predictions of labelled images into an evaluation: metrics with intervals, matrices, curves and groups."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.card import Abstention
from core.labels import BINARY
from core.statistics import figure_names
from core.statistics.calibration import judge_abstention
from core.statistics.cautions import Caution, ImageLeftOut
from core.statistics.evaluation import (
    AblationRow,
    Confusion,
    Curve,
    CurveKind,
    Evaluation,
    Figure,
    Group,
    GroupKind,
    Unit,
)
from core.statistics.predictions import Judged, Judgements
from core.statistics.resampling import Weights, bca, quotient
from core.statistics.tallies import BinaryTally, ClassTally, Column, calibration_bins

MOST_POINTS = 400  # of a curve; more cannot be seen

_OF_PATIENTS = (figure_names.PATIENT_RECOGNITION_RATE, figure_names.CLASS_RECOGNITION_RATE)


@dataclass(frozen=True, slots=True)
class About:
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

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1 or not self.temperature > 0:
            raise ValueError(
                "the threshold must lie between 0 and 1 and the temperature above 0, "
                f"got {self.threshold} and {self.temperature}"
            )


def build_evaluation(
    judgements: Judgements,
    about: About,
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
        label_set=judgements.label_set,
        images=len(judgements.labels),
        patients=len(np.unique(judgements.patient_ids)),
        threshold=about.threshold,
        temperature=about.temperature,
        locked_on=about.locked_on,
        figures=measure(judgements, about.threshold, seed=seed),
        confusions=_confusions(judgements, about.threshold),
        curves=curves(judgements.binary(), about.threshold),
        groups=_groups(judgements, about.threshold, seed),
        abstention=abstention and judge_abstention(judgements.binary(), abstention, f"{about.split}: {about.protocol}"),
        ablation=tuple(ablation),
        excluded=about.excluded,
        warnings=about.warnings,
        demonstration=about.demonstration,
    )


def _confusions(judgements: Judgements, threshold: float) -> tuple[Confusion, ...]:
    judged = judgements.binary()
    truth, called = judged.malignant.astype(np.int64), (judged.probabilities >= threshold).astype(np.int64)
    confusions = [_confusion(BINARY.classes, truth, called, judged.patient_ids)]
    if len(judgements.label_set.classes) > 2:
        classes, labels = judgements.label_set.classes, judgements.labels
        confusions.append(_confusion(classes, labels, judgements.called(threshold), judgements.patient_ids))
    return tuple(confusions)


def _confusion(
    classes: tuple[str, ...], truth: NDArray[np.int64], called: NDArray[np.int64], patient_ids: NDArray[np.str_]
) -> Confusion:
    size = len(classes)
    cell = truth * size + called
    patients, place = np.unique(patient_ids, return_inverse=True)
    # A patient counts once in each cell in which it has an image.
    patient_cells = np.unique(cell * len(patients) + place) // len(patients)
    return Confusion(
        classes, _rows(np.bincount(cell, minlength=size**2)), _rows(np.bincount(patient_cells, minlength=size**2))
    )


def _rows(cells: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    size = round(len(cells) ** 0.5)
    return tuple(tuple(int(n) for n in row) for row in cells.reshape(size, size))


def _groups(judgements: Judgements, threshold: float, seed: int) -> tuple[Group, ...]:
    """Compute all metrics of each magnification, and the shares of each subtype and each patient."""
    judged = judgements.binary()
    wrong = (judged.probabilities >= threshold) != judged.malignant
    kinds: tuple[tuple[GroupKind, NDArray[np.str_]], ...] = (
        ("magnification", judgements.magnifications),
        ("subtype", judgements.subtypes),
        ("patient", judgements.patient_ids),
    )
    groups = []
    for kind, names in kinds:
        for name in np.unique(names[names != ""]):
            mask = names == name
            part = judgements.only(mask)
            patients = len(np.unique(part.patient_ids))
            figures = _figures_of(kind, part, threshold, seed)
            groups.append(Group(kind, str(name), int(mask.sum()), patients, int(wrong[mask].sum()), figures))
    return tuple(groups)


def _figures_of(kind: GroupKind, part: Judgements, threshold: float, seed: int) -> tuple[Figure, ...]:
    if kind == "magnification":
        return measure(part, threshold, seed=seed)
    return measure_shares(part, threshold, seed=seed)


def measure(judgements: Judgements, threshold: float, *, seed: int = 0) -> tuple[Figure, ...]:
    """Return all metrics by image and by patient (mean probability), with intervals from resampling patients.

    A metric that is undefined on these images (the AUC of malignant images only) is omitted.
    """
    tallies = _Tallies(judgements, threshold)
    strata = judgements.binary().strata()
    named = [(unit, column.name) for unit, column in tallies.columns(np.ones((1, len(strata))))]
    intervals = bca(tallies.values, strata, seed=seed)
    return tuple(
        Figure(name, i.value, i.low, i.high, unit, tallies.counts[unit])
        for (unit, name), i in zip(named, intervals, strict=True)
        if np.isfinite(i.value)
    )


def measure_shares(judgements: Judgements, threshold: float, *, seed: int = 0) -> tuple[Figure, ...]:
    """Return the metrics that are defined even for one class: the share of correct calls and the mean probability."""
    judged = judgements.binary()
    place = np.unique(judged.patient_ids, return_inverse=True)[1]
    named = [
        (figure_names.ACCURACY, (judged.probabilities >= threshold) == judged.malignant),
        (figure_names.MALIGNANT_PROBABILITY, judged.probabilities),
    ]
    if len(judgements.label_set.classes) > 2:
        named.append((figure_names.CLASS_ACCURACY, judgements.called(threshold) == judgements.labels))
    sums = np.stack([np.bincount(place, values) for _, values in named], axis=1)
    images = np.bincount(place).astype(np.float64)
    intervals = bca(lambda w: quotient(w @ sums, (w @ images)[:, None]), judged.strata(), seed=seed)
    return tuple(
        Figure(name, i.value, i.low, i.high, "image", len(place)) for (name, _), i in zip(named, intervals, strict=True)
    )


class _Tallies:
    """Tallies by image and by patient (mean probability), over the same patients."""

    def __init__(self, judgements: Judgements, threshold: float) -> None:
        by_patient = judgements.by_patient()
        self._images = _tallies(judgements, threshold)
        self._patients = _tallies(by_patient, threshold)
        self.counts: dict[Unit, int] = {"image": len(judgements.labels), "patient": len(by_patient.labels)}

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


def _tallies(judgements: Judgements, threshold: float) -> Sequence[BinaryTally | ClassTally]:
    binary = BinaryTally(judgements.binary(), threshold)
    return (binary, ClassTally(judgements, threshold)) if len(judgements.label_set.classes) > 2 else (binary,)


def curves(judged: Judged, threshold: float) -> tuple[Curve, ...]:
    """Return ROC and precision-recall (if both malignancies occur), reliability and risk-coverage curves."""
    ranked = (_roc(judged), _precision_recall(judged)) if 0 < judged.malignant.mean() < 1 else ()
    return (*ranked, _reliability(judged), _risk_coverage(judged, threshold))


def _called_above(judged: Judged) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Count malignant and benign images at or above each distinct probability, highest first."""
    order = np.argsort(-judged.probabilities, kind="stable")
    last = np.append(np.diff(judged.probabilities[order]) != 0, True)
    malignant = judged.malignant[order]
    return np.cumsum(malignant)[last].astype(np.float64), np.cumsum(~malignant)[last].astype(np.float64)


def _roc(judged: Judged) -> Curve:
    hits, false_alarms = _called_above(judged)
    x, y = np.append(0, false_alarms / false_alarms[-1]), np.append(0, hits / hits[-1])
    # Points on a straight line between their neighbours do not change the curve.
    corner = np.ones(len(x), bool)
    corner[1:-1] = (np.diff(x)[1:] * np.diff(y)[:-1] - np.diff(x)[:-1] * np.diff(y)[1:]) != 0
    return _curve("roc", x[corner], y[corner])


def _precision_recall(judged: Judged) -> Curve:
    hits, false_alarms = _called_above(judged)
    return _curve("precision_recall", np.append(0, hits / hits[-1]), np.append(1, hits / (hits + false_alarms)))


def _reliability(judged: Judged) -> Curve:
    """Return the mean probability, the share of malignant images and the number of images of each bin."""
    _, place, count = np.unique(calibration_bins(judged.probabilities), return_inverse=True, return_counts=True)
    mean = np.bincount(place, judged.probabilities) / count
    share = np.bincount(place, judged.malignant) / count
    return Curve("reliability", _floats(mean), _floats(share), tuple(int(n) for n in count))


def _risk_coverage(judged: Judged, threshold: float) -> Curve:
    """Return the share of wrong calls among the most certain images, for every coverage (share of images).

    Certainty is the distance from the threshold relative to the largest distance on that side of it. If the
    threshold lies at an end of the scale from 0 to 1, an image at that end has certainty 0.
    """
    p = judged.probabilities
    called = p >= threshold
    largest = np.where(called, 1 - threshold, threshold)
    certainty = np.divide(np.abs(p - threshold), largest, out=np.zeros_like(p), where=largest > 0)
    order = np.argsort(-certainty, kind="stable")
    last = np.append(np.diff(certainty[order]) != 0, True)
    covered = np.arange(1, len(p) + 1)
    risk = np.cumsum((called != judged.malignant)[order]) / covered
    return _curve("risk_coverage", (covered / len(p))[last], risk[last])


def _curve(kind: CurveKind, x: NDArray[np.float64], y: NDArray[np.float64]) -> Curve:
    rows = np.unique(np.linspace(0, len(x) - 1, min(len(x), MOST_POINTS)).round().astype(np.int64))
    return Curve(kind, _floats(x[rows]), _floats(y[rows]))


def _floats(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
