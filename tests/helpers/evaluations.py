"""Evaluations in a database with previews and maps in its files, for the tests of the pages."""

from dataclasses import replace
from functools import cache

import numpy as np

from core.card import Abstention
from core.imaging.heatmaps import encode_png
from core.labels import LabelSet
from core.statistics.cautions import Caution, ImageLeftOut, ImageNote
from core.statistics.evaluate import EvaluationDetails, build_evaluation
from core.statistics.evaluation import Evaluation
from core.statistics.predictions import ClassPredictions
from db import store
from db.database import Sessions
from db.files import Files
from db.values.evaluations import EvaluatedImage, NewEvaluation
from tests.helpers.judgements import made_judgements

ABOUT = EvaluationDetails(
    model_name="telltale",
    model_version="3f9a1c22b0e4",
    dataset="breakhis",
    split="test",
    protocol="patient-wise, test patients of a run",
    threshold=0.4,
    temperature=1.2,
    locked_on="validation, 11 patients",
    warnings=(Caution("trained on", "2 of 12 patients were trained on: these figures flatter"),),
    excluded=(ImageLeftOut("benign/blank.png", "there is no tissue in this image"),),
    notes=(ImageNote("slides/000.png", "only the first of 2 pages is used", position=0),),
)
ABSTENTION = Abstention(0.1, 0.7, 0.8, 0.05, "validation")


@cache
def made(label_set: LabelSet, seed: int = 0, images: int = 60) -> ClassPredictions:
    """Draw judgements of twelve patients."""
    return made_judgements(label_set, images, patients=12, seed=seed)


@cache
def made_evaluation(label_set: LabelSet, seed: int = 0) -> Evaluation:
    """Measure them once for all tests."""
    return build_evaluation(made(label_set, seed), ABOUT, abstention=ABSTENTION)


def made_images(label_set: LabelSet, files: Files | None = None, seed: int = 0) -> list[EvaluatedImage]:
    """Give the rows behind a made evaluation; with files, each with a preview and a map of its own."""
    judgements = made(label_set, seed)
    judged, called = judgements.binary(), judgements.called(ABOUT.threshold)
    rows = zip(judgements.labels, called, judged.malignant, judged.probabilities, strict=True)
    found = [
        EvaluatedImage(
            position=place,
            name=f"slides/{place:03}.png",
            patient_id=str(judgements.patient_ids[place]),
            magnification=str(judgements.magnifications[place]),
            label=label_set.classes[label],
            predicted=label_set.classes[call],
            malignant=bool(malignant),
            called_malignant=bool(p >= ABOUT.threshold),
            malignant_probability=float(p),
            probabilities=tuple(float(one) for one in judgements.probabilities[place]),
        )
        for place, (label, call, malignant, p) in enumerate(rows)
    ]
    return found if files is None else [_pictured(image, files) for image in found]


def add_evaluation(sessions: Sessions, evaluation: Evaluation, images: list[EvaluatedImage]) -> int:
    """Store an evaluation as training.evaluate does."""
    row = NewEvaluation(
        evaluation.model_name,
        evaluation.model_version,
        evaluation.dataset,
        evaluation.split,
        "evaluations/1",
        evaluation.to_json(),
    )
    with sessions.begin() as session:
        return store.evaluations.add_evaluation(session, row, images)


def _pictured(image: EvaluatedImage, files: Files) -> EvaluatedImage:
    pixels = np.full((24, 32, 3), 255 - image.position, np.uint8)
    grey = np.tile(np.linspace(0, 250, 32, dtype=np.uint8), (24, 1)) + np.uint8(image.position % 5)
    return replace(image, preview_sha256=files.put(encode_png(pixels)), heatmap_sha256=files.put(encode_png(grey)))
