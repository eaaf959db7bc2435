"""Splits labelled images by patient, so that nobody is trained and judged on the same person."""

from collections.abc import Sequence

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from core.datasets import LabelledImage

Fold = tuple[list[LabelledImage], list[LabelledImage]]  # train, validation


def patient_folds(images: Sequence[LabelledImage], folds: int, seed: int) -> list[Fold]:
    """Deal the patients to folds, each with its share of benign and malignant images.

    Raises:
        ValueError: If there are too few patients for every part to hold both benign and malignant.
    """
    malignant = np.array([image.malignancy == "malignant" for image in images])
    patients = np.array([image.patient_id for image in images])
    for kind, chosen in (("benign", ~malignant), ("malignant", malignant)):
        if (found := len(set(patients[chosen]))) < folds:
            raise ValueError(f"{folds} folds need {folds} {kind} patients, there are {found}")
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    parts = [
        ([images[i] for i in train], [images[i] for i in validation])
        for train, validation in splitter.split(malignant, malignant, patients)
    ]
    for train, validation in parts:
        check_apart(train, validation)
        if len({image.malignancy for image in validation}) < 2:
            raise ValueError(f"a fold has no benign or no malignant images with {folds} folds and seed {seed}")
    return parts


def check_apart(train: Sequence[LabelledImage], validation: Sequence[LabelledImage]) -> None:
    """Make sure that no patient is on both sides of a split.

    Raises:
        ValueError: If one is; it names them.
    """
    both = {image.patient_id for image in train} & {image.patient_id for image in validation}
    if both:
        raise ValueError(f"patients in train and in validation: {', '.join(sorted(both))}")
