"""Made judgements for the tests of figures: patients whose images are alike, as real ones are."""

import numpy as np

from core.labels import LabelSet
from core.statistics.predictions import ClassPredictions


def made_judgements(label_set: LabelSet, images: int = 400, patients: int = 40, seed: int = 0) -> ClassPredictions:
    """Draw probabilities that lean to the truth, each patient with its own lean; rounded, so that some are equal."""
    rng = np.random.default_rng(seed)
    classes = len(label_set.classes)
    of_patient = rng.permutation(np.arange(patients) % classes)
    # Every patient has an image.
    person = np.append(np.arange(patients), rng.integers(0, patients, images - patients))
    labels = of_patient[person]
    logits = rng.normal(0, 1, (images, classes)) + 1.2 * np.eye(classes)[labels]
    odds = np.exp(np.round(logits + rng.normal(0, 0.7, (patients, classes))[person], 1))
    return ClassPredictions(
        label_set,
        labels,
        odds / odds.sum(axis=1, keepdims=True),
        np.array([f"patient {number:04}" for number in person]),
        np.array(["40X", "100X", "200X", "400X"])[rng.integers(0, 4, images)],
        np.array(label_set.classes)[labels],
    )
