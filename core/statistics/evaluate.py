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

MOST_POINTS = 400

_OF_PATIENTS = (figure_names.PATIENT_RECOGNITION_RATE, figure_names.CLASS_RECOGNITION_RATE)


def curves(judged: Judged, threshold: float) -> tuple[Curve, ...]:
    """Draw ROC and precision-recall (where both sides occur), reliability and risk-coverage curves."""
    ranked = (_roc(judged), _precision_recall(judged)) if 0 < judged.malignant.mean() < 1 else ()
    return (*ranked, _reliability(judged), _risk_coverage(judged, threshold))


def _called_above(judged: Judged) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Count malignant and benign images at or above each probability that occurs, highest first."""
    order = np.argsort(-judged.probabilities, kind="stable")
    last = np.append(np.diff(judged.probabilities[order]) != 0, True)
    malignant = judged.malignant[order]
    return np.cumsum(malignant)[last].astype(np.float64), np.cumsum(~malignant)[last].astype(np.float64)


def _roc(judged: Judged) -> Curve:
    right, wrong = _called_above(judged)
    x, y = np.append(0, wrong / wrong[-1]), np.append(0, right / right[-1])
    # Points on a straight line between their neighbours draw nothing.
    corner = np.ones(len(x), bool)
    corner[1:-1] = (np.diff(x)[1:] * np.diff(y)[:-1] - np.diff(x)[:-1] * np.diff(y)[1:]) != 0
    return _curve("roc", x[corner], y[corner])


def _precision_recall(judged: Judged) -> Curve:
    right, wrong = _called_above(judged)
    return _curve("precision_recall", np.append(0, right / right[-1]), np.append(1, right / (right + wrong)))


def _reliability(judged: Judged) -> Curve:
    """Give each bin's mean probability, its share of malignant images, and how many images it holds."""
    _, place, count = np.unique(calibration_bins(judged.probabilities), return_inverse=True, return_counts=True)
    mean = np.bincount(place, judged.probabilities) / count
    share = np.bincount(place, judged.malignant) / count
    return Curve("reliability", _floats(mean), _floats(share), tuple(int(n) for n in count))


def _risk_coverage(judged: Judged, threshold: float) -> Curve:
    """Give the share of wrong calls among the surest images, for every share of images kept.

    Surest are those farthest from the threshold, on its own side of the scale from 0 to 1. A threshold at an end of
    the scale leaves no room on that side: an image there is as unsure as one can be.
    """
    p = judged.probabilities
    called = p >= threshold
    room = np.where(called, 1 - threshold, threshold)
    sureness = np.divide(np.abs(p - threshold), room, out=np.zeros_like(p), where=room > 0)
    order = np.argsort(-sureness, kind="stable")
    last = np.append(np.diff(sureness[order]) != 0, True)
    kept = np.arange(1, len(p) + 1)
    risk = np.cumsum((called != judged.malignant)[order]) / kept
    return _curve("risk_coverage", (kept / len(p))[last], risk[last])


def _curve(kind: CurveKind, x: NDArray[np.float64], y: NDArray[np.float64]) -> Curve:
    chosen = np.unique(np.linspace(0, len(x) - 1, min(len(x), MOST_POINTS)).round().astype(np.int64))
    return Curve(kind, _floats(x[chosen]), _floats(y[chosen]))


def _floats(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


class _Tallies:
    """The tallies of images and of patients' mean probabilities, over the same patients."""

    def __init__(self, judgements: Judgements, threshold: float) -> None:
        by_patient = judgements.by_patient()
        self._images = _tallies(judgements, threshold)
        self._patients = _tallies(by_patient, threshold)
        self.counts: dict[Unit, int] = {"image": len(judgements.labels), "patient": len(by_patient.labels)}

    def columns(self, weights: Weights) -> list[tuple[Unit, Column]]:
        """Compute all figures of samples of patients, each with its unit."""
        found: list[tuple[Unit, Column]] = []
        for tally in self._images:
            found += [("patient" if c.name in _OF_PATIENTS else "image", c) for c in tally.columns(weights)]
        for tally in self._patients:
            # With one probability per patient a recognition rate would be the accuracy again.
            found += [("patient", c) for c in tally.columns(weights) if c.name not in _OF_PATIENTS]
        return found

    def values(self, weights: Weights) -> NDArray[np.float64]:
        """Give the figures alone, samples x figures."""
        return np.stack([column.values for _, column in self.columns(weights)], axis=1)


def _tallies(judgements: Judgements, threshold: float) -> Sequence[BinaryTally | ClassTally]:
    binary = BinaryTally(judgements.binary(), threshold)
    return (binary, ClassTally(judgements, threshold)) if len(judgements.label_set.classes) > 2 else (binary,)


def measure(judgements: Judgements, threshold: float, *, seed: int = 0) -> tuple[Figure, ...]:
    """Give all figures by image and by patient (mean probability), with intervals that resample patients.

    A figure that these images leave undefined (an AUC of malignant images only) is left out.
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
    """Give what can be said of images of one kind: the share called rightly and the mean malignant probability."""
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


@dataclass(frozen=True, slots=True)
class About:
    """What an evaluation says of itself beside its figures."""

    model_name: str
    model_version: str
    dataset: str
    split: str
    protocol: str
    threshold: float  # on the malignant probability, locked before these images were judged
    temperature: float
    locked_on: str
    demonstration: bool = False
    warnings: tuple[Caution, ...] = ()
    excluded: tuple[ImageLeftOut, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1 or not self.temperature > 0:
            raise ValueError(f"threshold in 0..1 and temperature above 0, got {self.threshold} and {self.temperature}")


def build_evaluation(
    judgements: Judgements,
    about: About,
    *,
    ablation: Sequence[AblationRow] = (),
    abstention: Abstention | None = None,
    seed: int = 0,
) -> Evaluation:
    """Measure everything there is to measure, by image and by patient.

    A figure that these images leave undefined (an AUC of malignant images only) is left out. Of a locked abstention
    the coverage and error kept are those on these images.
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
    found = [_confusion(BINARY.classes, truth, called, judged.patient_ids)]
    if len(judgements.label_set.classes) > 2:
        classes, labels = judgements.label_set.classes, judgements.labels
        found.append(_confusion(classes, labels, judgements.called(threshold), judgements.patient_ids))
    return tuple(found)


def _confusion(
    classes: tuple[str, ...], truth: NDArray[np.int64], called: NDArray[np.int64], patient_ids: NDArray[np.str_]
) -> Confusion:
    size = len(classes)
    cell = truth * size + called
    patients, place = np.unique(patient_ids, return_inverse=True)
    # A patient counts once in each cell where it has an image.
    seen = np.unique(cell * len(patients) + place) // len(patients)
    return Confusion(classes, _rows(np.bincount(cell, minlength=size**2)), _rows(np.bincount(seen, minlength=size**2)))


def _rows(cells: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    size = round(len(cells) ** 0.5)
    return tuple(tuple(int(n) for n in row) for row in cells.reshape(size, size))


def _groups(judgements: Judgements, threshold: float, seed: int) -> tuple[Group, ...]:
    """Measure each magnification in full, each subtype by its share of right calls, and each patient."""
    judged = judgements.binary()
    wrong = (judged.probabilities >= threshold) != judged.malignant
    kinds: tuple[tuple[GroupKind, NDArray[np.str_]], ...] = (
        ("magnification", judgements.magnifications),
        ("subtype", judgements.subtypes),
        ("patient", judgements.patient_ids),
    )
    found = []
    for kind, names in kinds:
        for name in np.unique(names[names != ""]):
            chosen = names == name
            part = judgements.only(chosen)
            patients = len(np.unique(part.patient_ids))
            figures = _figures_of(kind, part, threshold, seed)
            found.append(Group(kind, str(name), int(chosen.sum()), patients, int(wrong[chosen].sum()), figures))
    return tuple(found)


def _figures_of(kind: GroupKind, part: Judgements, threshold: float, seed: int) -> tuple[Figure, ...]:
    if kind == "magnification":
        return measure(part, threshold, seed=seed)
    return measure_shares(part, threshold, seed=seed)
