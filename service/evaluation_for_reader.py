"""An evaluation as a reader may see it: without the images that are also pictures of cases they have not finished.

Everything is computed anew from the other images. Otherwise the difference between a figure and the listed images would
tell the label of a hidden one.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from core.labels import BINARY
from core.statistics.evaluate import EvaluationDetails, build_evaluation
from core.statistics.evaluation import Evaluation
from core.statistics.predictions import ClassPredictions
from db import store
from db.database import Sessions
from db.values.evaluations import EvaluatedImage, EvaluationRow


def evaluate_visible(
    sessions: Sessions, account_id: int, row: EvaluationRow, evaluation: Evaluation
) -> Evaluation | None:
    """Return an evaluation of the images that an account may see; None if it may see none of them.

    The ablation is left out: it was measured with all images.

    Raises:
        NotAllowedError: If this account may not see evaluations.
    """
    with sessions.read() as session:
        images = store.evaluations.evaluated_images(session, account_id, row.id, limit=max(1, row.images))
    return evaluate_images(images, evaluation) if images else None


def evaluate_images(images: Sequence[EvaluatedImage], evaluation: Evaluation) -> Evaluation:
    """Measure some images of an evaluation in the same way as all of them were measured."""
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
