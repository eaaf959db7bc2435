"""Build the card of a run: threshold, temperature, and metrics with intervals."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from core.card import Card, Metric, TrainedScale, TrainingData
from core.data.datasets import LabelledImage
from core.fitting.config import FitConfig
from core.statistics.calibration import (
    PredictionSource,
    fit_abstention,
    fit_temperature,
    sensitivity_threshold,
    youden_threshold,
)
from core.statistics.predictions import BinaryPredictions, ClassPredictions, auc_estimate
from training.runs.plan import Part, RunPlan

_MAIN_MAGNIFICATION = "100X"
_HIGH_SENSITIVITY = 0.95  # of the second threshold on the card; every patient weighs the same
_RISK = 0.1  # accepted share of images whose true label is not among the opinions
_RESEARCH = "Research use only: no decision about a patient may rest on it."
DATASET_NAMES = {"breakhis": "BreaKHis", "bach": "BACH", "idc": "IDC", "binary": "a folder of images"}


def build_card(plan: RunPlan, config: FitConfig, code_version: str, *, demonstration: bool) -> Card:
    """Return the card of a network that has not been evaluated yet."""
    train = plan.trained_on
    patients = tuple(sorted({image.patient_id for image in train}))
    datasets = ", ".join(DATASET_NAMES[name] for name in sorted({image.dataset for image in train}))
    return Card(
        name=config.name,
        label_set=config.label_set,
        branches=config.branches,
        head=config.head,
        input_policy=config.input_policy,
        mean=config.mean,
        std=config.std,
        fusion=config.fusion,
        magnification=config.magnification,
        stain=config.stain,
        scale=trained_scale(train, config.working_um_per_px),
        views=config.views,
        training_data=TrainingData(datasets, len(train), len(patients), patients, _about_data(plan, config)),
        config=config.flat(),
        code_version=code_version,
        demonstration=demonstration,
        note=_note(config, len(patients), demonstration=demonstration),
    )


def trained_scale(images: Sequence[LabelledImage], working_um_per_px: float | None) -> TrainedScale | None:
    """Return the scales of training images and the working scale; None if images were used as they are."""
    known = [image.um_per_px for image in images if image.um_per_px is not None]
    if working_um_per_px is None or not known:
        return None
    return TrainedScale(min(known), max(known), working_um_per_px)


def card_of_part(card: Card, part: Part) -> Card:
    """Return the card of a fold's network, which was trained on fewer patients than the checkpoint."""
    patients = tuple(sorted({image.patient_id for image in part.train}))
    data = replace(card.training_data, images=len(part.train), patients=len(patients), patient_ids=patients)
    return replace(card, training_data=data)


def with_temperature(card: Card, held_out: ClassPredictions, source: PredictionSource) -> Card:
    """Fit the temperature to predictions made without one, and return the card with it."""
    judged = held_out.binary()
    return replace(card, temperature=fit_temperature(judged, source=source)) if _has_both(judged) else card


def with_figures(card: Card, held_out: ClassPredictions, plan: RunPlan, sensitivity: float = 0.0) -> Card:
    """Fit the threshold to predictions at the card's temperature, measure them, and return the card with both.

    The card also gets a threshold of high sensitivity. With a `sensitivity` the first threshold is the highest one that
    reaches it on these images, otherwise Youden's. If the held-out patients are all benign or all malignant, as in a
    quick test, there is nothing to fit or to measure, and the card says so.
    """
    judged = held_out.binary()
    if not _has_both(judged):
        return replace(card, locked_on="nothing: the patients held out are all benign or all malignant")
    main = judged.only(held_out.magnifications == _MAIN_MAGNIFICATION)
    measured = [
        (f"AUC by image at {_MAIN_MAGNIFICATION}", main, ""),
        ("AUC by image", judged, ""),
        ("AUC by accession number", judged.by_patient(), "mean of "),
    ]
    protocol = f"{plan.words}, interval by resampling patients"
    metrics = [
        _auc(name, part, f"{protocol}; {how}{_extent(main if part is main else judged)}")
        for name, part, how in measured
        # In IDC every patient has malignant patches, so no patient is benign.
        if _has_both(part)
    ]
    main = main if _has_both(main) else judged
    if sensitivity:
        threshold = sensitivity_threshold(main, sensitivity, source=plan.source)
        condition = f", for a sensitivity of at least {sensitivity:.1%} there"
    else:
        threshold, condition = youden_threshold(main, source=plan.source), ""
    return replace(
        card,
        threshold=_clip_threshold(threshold),
        sensitive_threshold=_clip_threshold(
            sensitivity_threshold(main, _HIGH_SENSITIVITY, source=plan.source, by_patient=True)
        ),
        locked_on=f"{plan.words}; {_extent(main)}{condition}",
        abstention=fit_abstention(main, _RISK, source=plan.source),
        metrics=tuple(metrics),
    )


def _has_both(judged: BinaryPredictions) -> bool:
    return bool(judged.malignant.any() and not judged.malignant.all())


def _clip_threshold(threshold: float) -> float:
    """Keep a threshold away from 0 and 1, where every image would get the same prediction."""
    return float(np.clip(threshold, 1e-6, 1 - 1e-6))


def _auc(name: str, judged: BinaryPredictions, protocol: str) -> Metric:
    estimate = auc_estimate(judged)
    return Metric(name, estimate.value, estimate.low, estimate.high, protocol)


def _extent(judged: BinaryPredictions) -> str:
    return f"{len(judged.malignant)} images of {len(set(judged.patient_ids))} patients"


def _about_data(plan: RunPlan, config: FitConfig) -> str:
    generated = f"; beside them {config.generated.images} generated images" if config.generated else ""
    return f"patient: number without letters{generated}; {plan.words}"


def _note(config: FitConfig, patients: int, *, demonstration: bool) -> str:
    start = "from pretrained weights" if config.pretrained else "from scratch"
    model = f"Demonstration model, trained {start} on {patients} patients. " if demonstration else ""
    return f"{model}{_RESEARCH}{' ' if config.note else ''}{config.note}"
