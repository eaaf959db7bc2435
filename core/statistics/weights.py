"""Weights of images with which every patient counts the same, however many images there are of them."""

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float64]  # one for each image


def share_among_patients(patient_ids: NDArray[np.str_]) -> Weights:
    """Return the share of each image: every patient has the same, and all images together have 1."""
    _, patient, images = np.unique(patient_ids, return_inverse=True, return_counts=True)
    return np.asarray(1 / images[patient] / len(images))


def weigh_patients(patient_ids: NDArray[np.str_]) -> Weights:
    """Return weights with which every patient counts the same; 1 on average."""
    return share_among_patients(patient_ids) * len(patient_ids)


def weigh_patients_in_classes(classes: NDArray[np.int64], patient_ids: NDArray[np.str_]) -> Weights:
    """Return weights with which all classes, and the patients within each, count the same; 1 on average."""
    labels = np.unique(classes)
    weights = np.zeros(len(classes))
    for label in labels:
        of_class = classes == label
        weights[of_class] = share_among_patients(patient_ids[of_class])
    return weights * len(weights) / len(labels)
