"""An evaluation as a reader may see it: without the images that are also pictures of cases they have not finished.

Everything is computed anew from the other images. Otherwise the difference between a figure and the listed images would
tell the label of a hidden one.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from core.identifiers import fold_identifier
from core.labels import BINARY
from core.statistics.evaluate import EvaluationDetails, build_evaluation, try_threshold
from core.statistics.evaluation import Evaluation, TriedThreshold
from core.statistics.predictions import BinaryPredictions, ClassPredictions
from db.values.evaluations import EvaluatedImage


def evaluate_images(images: Sequence[EvaluatedImage], evaluation: Evaluation) -> Evaluation:
    """Measure some images of an evaluation in the same way as all of them were measured.

    The ablation is left out: it was measured with all images.
    """
    shown = {image.position for image in images}
    about = EvaluationDetails(
        model_name=evaluation.model_name,
        model_version=evaluation.model_version,
        dataset=evaluation.dataset,
        split=evaluation.split,
        protocol=evaluation.protocol,
        threshold=evaluation.threshold,
        temperature=evaluation.temperature,
        locked_on=evaluation.locked_on,
        demonstration=evaluation.demonstration,
        warnings=evaluation.warnings,
        excluded=evaluation.excluded,
        scope=evaluation.scope,
        notes=tuple(note for note in evaluation.notes if note.position is None or note.position in shown),
    )
    in_order = sorted(images, key=lambda image: image.position)
    return build_evaluation(_predictions(in_order, evaluation), about, abstention=evaluation.abstention)


def show_figures_only(evaluation: Evaluation) -> Evaluation:
    """Return an evaluation without anything about a single patient."""
    return replace(evaluation, groups=tuple(group for group in evaluation.groups if group.kind != "patient"))


def predictions_of(images: Sequence[EvaluatedImage]) -> BinaryPredictions:
    """Return the malignant probabilities of images with truth and patient."""
    return BinaryPredictions.of(
        [image.malignant for image in images],
        [image.malignant_probability for image in images],
        [fold_identifier(image.patient_id) for image in images],
    )


def try_on_images(images: Sequence[EvaluatedImage], threshold: float) -> TriedThreshold:
    """Return what another threshold would give on these images."""
    return try_threshold(predictions_of(images), threshold)


def _predictions(images: Sequence[EvaluatedImage], evaluation: Evaluation) -> ClassPredictions:
    label_set = evaluation.label_set
    names = [image.label if label_set != BINARY else BINARY.classes[image.malignant] for image in images]
    return ClassPredictions(
        label_set,
        np.array([label_set.classes.index(name) for name in names], np.int64),
        np.array([image.probabilities for image in images], np.float64),
        np.array([image.patient_id for image in images], np.str_),
        np.array([image.magnification for image in images], np.str_),
        np.array([image.label for image in images], np.str_),
    )
