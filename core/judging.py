"""Turns judged images into an evaluation: figures with intervals, matrices, curves and groups."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.calibration import judge_abstention
from core.card import Abstention
from core.cautions import Caution, ImageLeftOut
from core.evaluation import AblationRow, Confusion, Evaluation, Figure, Group, GroupKind
from core.labels import BINARY
from core.measures.curves import curves
from core.measures.measuring import measure, measure_shares
from core.metrics import Judgements


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
