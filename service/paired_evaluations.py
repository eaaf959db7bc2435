"""Paired comparison of two stored evaluations, on the images that both contain."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.identifiers import fold_identifier
from core.statistics.comparison import AccuracyComparison, Comparison, compare_accuracy, compare_auc
from db.values.evaluations import EvaluatedImage, EvaluationRow
from service.evaluation_for_reader import predictions_of
from service.visible_evaluations import VisibleEvaluations


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """The paired differences of two evaluations in AUC and accuracy; without them, `problem` says why."""

    comparison: Comparison | None
    problem: str = ""
    only_first: int = 0  # images that only this evaluation contains
    only_second: int = 0
    accuracy: AccuracyComparison | None = None  # benign versus malignant, each at its own locked threshold


def compare_stored(evaluations: VisibleEvaluations, first: EvaluationRow, second: EvaluationRow) -> PairedComparison:
    """Compare the AUC and accuracy of two evaluations; images are matched by name and patient.

    Images that the account may not see yet are left out.
    """
    if first.dataset != second.dataset:
        return PairedComparison(
            None, f"the evaluations are of different datasets: {first.dataset} and {second.dataset}"
        )
    return compare_images(evaluations.all_images(first), evaluations.all_images(second))


def compare_images(first: Sequence[EvaluatedImage], second: Sequence[EvaluatedImage]) -> PairedComparison:
    """Compare two evaluations on the images that both lists contain."""
    one, other = (
        {(image.name, fold_identifier(image.patient_id)): image for image in images} for images in (first, second)
    )
    if len(one) < len(first) or len(other) < len(second):
        return PairedComparison(None, "some images cannot be matched because they share the same name and patient")
    both = sorted(one.keys() & other.keys())
    unmatched = len(one) - len(both), len(other) - len(both)
    if not both:
        return PairedComparison(None, "the evaluations have no image in common", *unmatched)
    if any(one[key].malignant != other[key].malignant for key in both):
        return PairedComparison(None, "the evaluations use different labels for the same images", *unmatched)
    pair = [one[key] for key in both], [other[key] for key in both]
    predictions = predictions_of(pair[0]), predictions_of(pair[1])
    try:
        comparison = compare_auc(*predictions)
    except ValueError as error:
        return PairedComparison(None, str(error), *unmatched)
    accuracy = compare_accuracy(*predictions, (_called_malignant(pair[0]), _called_malignant(pair[1])))
    return PairedComparison(comparison, "", *unmatched, accuracy)


def _called_malignant(images: Sequence[EvaluatedImage]) -> NDArray[np.bool_]:
    return np.array([image.called_malignant for image in images], np.bool_)
