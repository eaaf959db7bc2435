"""All figures of judged images with their intervals, by image and by patient."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.evaluation import Figure, Unit
from core.measures import figures
from core.measures.bootstrap import Weights, bca
from core.measures.ranking import quotient
from core.measures.tallies import BinaryTally, ClassTally, Column
from core.metrics import Judgements

_OF_PATIENTS = (figures.PATIENT_RECOGNITION_RATE, figures.CLASS_RECOGNITION_RATE)


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
        (figures.ACCURACY, (judged.probabilities >= threshold) == judged.malignant),
        (figures.MALIGNANT_PROBABILITY, judged.probabilities),
    ]
    if len(judgements.label_set.classes) > 2:
        named.append((figures.CLASS_ACCURACY, judgements.called(threshold) == judgements.labels))
    sums = np.stack([np.bincount(place, values) for _, values in named], axis=1)
    images = np.bincount(place).astype(np.float64)
    intervals = bca(lambda w: quotient(w @ sums, (w @ images)[:, None]), judged.strata(), seed=seed)
    return tuple(
        Figure(name, i.value, i.low, i.high, "image", len(place)) for (name, _), i in zip(named, intervals, strict=True)
    )
