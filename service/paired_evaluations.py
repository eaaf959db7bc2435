"""Compares two stored evaluations on the images that both judged."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.statistics.comparison import AccuracyComparison, Comparison, compare, compare_accuracy
from core.statistics.predictions import Judged
from db import store
from db.database import Sessions
from db.values.evaluations import EvaluatedImage, EvaluationRow


@dataclass(frozen=True, slots=True)
class Paired:
    """The paired differences of two evaluations in AUC and accuracy, or in `problem` why there are none."""

    comparison: Comparison | None
    problem: str = ""
    only_first: int = 0  # images that the other did not judge
    only_second: int = 0
    accuracy: AccuracyComparison | None = None  # benign against malignant, each at its own locked threshold


def compare_stored(sessions: Sessions, first: EvaluationRow, second: EvaluationRow) -> Paired:
    """Compare the AUC and accuracy of two evaluations, image by image; images are the same by name and patient."""
    if first.dataset != second.dataset:
        return Paired(None, f"the images are not the same: {first.dataset} and {second.dataset}")
    with sessions.read() as session:
        one = store.evaluations.evaluated_images(session, first.id, limit=max(1, first.images))
        other = store.evaluations.evaluated_images(session, second.id, limit=max(1, second.images))
    return compare_images(one, other)


def compare_images(first: Sequence[EvaluatedImage], second: Sequence[EvaluatedImage]) -> Paired:
    """Compare on the images that both lists hold."""
    one, other = ({(image.name, image.patient_id): image for image in images} for images in (first, second))
    if len(one) < len(first) or len(other) < len(second):
        return Paired(None, "some images bear the same name and patient, so that they cannot be told apart")
    both = sorted(one.keys() & other.keys())
    alone = len(one) - len(both), len(other) - len(both)
    if not both:
        return Paired(None, "no image was judged by both", *alone)
    if any(one[key].malignant != other[key].malignant for key in both):
        return Paired(None, "the two do not agree on the truth of the images", *alone)
    pair = [one[key] for key in both], [other[key] for key in both]
    judged = _judged(pair[0]), _judged(pair[1])
    try:
        found = compare(*judged)
    except ValueError as error:
        return Paired(None, str(error), *alone)
    return Paired(found, "", *alone, compare_accuracy(*judged, (_called(pair[0]), _called(pair[1]))))


def _called(images: Sequence[EvaluatedImage]) -> NDArray[np.bool_]:
    return np.array([image.called_malignant for image in images], np.bool_)


def _judged(images: Sequence[EvaluatedImage]) -> Judged:
    return Judged.of(
        [image.malignant for image in images],
        [image.malignant_probability for image in images],
        [image.patient_id for image in images],
    )
