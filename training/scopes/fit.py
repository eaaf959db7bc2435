"""Fit what a checkpoint keeps of its training images, with limits from patients who were held out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from core.card import ScopeReference
from core.network.classifier import Classifier
from core.pipeline import check_image, cut_normalised_patches
from core.results import RgbImage
from core.scope.appearance import measure_appearance
from core.scope.recording import measure_recording
from core.scope.reference import (
    DescriptionSpace,
    MeasureRange,
    TrainingReference,
    Values,
    bounded_score,
    describe_image,
    describe_places,
)
from core.statistics.weights import share_among_patients

FALSE_ALARMS = 0.02  # share of held-out images, every patient with the same weight, that may be declared out of scope
UNUSUAL = 0.10
LEAST_PATIENTS = 5
_COMPONENTS = 64
_SHRINKAGE = 0.02  # towards the mean variance; more than this hides the directions in which tissue hardly varies
_TYPICAL = 0.95  # the quantile at which layers and measures are made comparable
_PLACES = 24  # kept of each image
_LEAST_LIMIT = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredImage:
    """What the reference needs to know of one image."""

    patient_id: str
    measures: Values
    layers: tuple[Values, ...]
    places: NDArray[np.float32]  # some of them, places x features
    recording: Values | None  # None if it is too small


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """Images with the images of other patients that they are compared with, both measured by one network."""

    known: tuple[MeasuredImage, ...]
    images: tuple[MeasuredImage, ...]


def measure_image(
    image: RgbImage, patient_id: str, classifier: Classifier, um_per_px: float | None = None
) -> MeasuredImage | str:
    """Measure an image as in serving, or return the reason why it cannot be analysed."""
    quality = check_image(image, classifier.card, um_per_px)
    if not quality.readable:
        return "; ".join(finding.message for finding in quality.findings if finding.kind == "unreadable")
    cut = cut_normalised_patches(image, classifier, um_per_px)
    features = classifier.features(cut.patches)
    places = features.reshape(-1, features.shape[-1])
    chosen = np.random.default_rng(0).permutation(len(places))[:_PLACES]
    layers = tuple(describe_image(features, classifier.reference_widths))
    recording = measure_recording(image)
    return MeasuredImage(patient_id, measure_appearance(cut.pixels), layers, places[chosen], recording)


def leave_one_out(images: Sequence[MeasuredImage]) -> Iterable[HeldOut]:
    """Yield each patient's images with those of all others; right if the network's layers were not trained on them."""
    for patient in sorted({image.patient_id for image in images}):
        known = tuple(image for image in images if image.patient_id != patient)
        yield HeldOut(known, tuple(image for image in images if image.patient_id == patient))


def fit_scope(
    images: Sequence[MeasuredImage], held_out: Iterable[HeldOut], widths: Sequence[int], protocol: str
) -> tuple[TrainingReference, ScopeReference]:
    """Return the reference of these images with its limits, and what the card says of it.

    Raises:
        ValueError: If there are images of too few patients.
    """
    patients = len({image.patient_id for image in images})
    if patients < LEAST_PATIENTS:
        raise ValueError(f"a scope needs images of at least {LEAST_PATIENTS} patients, but there are {patients}")
    tried = [_measure_distances(_fit(part.known, widths), part.images, widths) for part in held_out]
    distances = np.concatenate([one.images for one in tried])
    places = np.concatenate([one.places for one in tried])
    persons = np.concatenate([one.patients for one in tried])
    weights = share_among_patients(persons)
    typical = np.array([_quantile(column, weights, 1 - _TYPICAL) for column in distances.T])
    scores = (distances / typical).max(axis=1)
    limit = _quantile(scores, weights, FALSE_ALARMS)
    scores, units = scores / limit, typical * limit
    unusual = min(1.0, _quantile(scores, weights, UNUSUAL))
    counts = [count for one in tried for count in one.counts]
    place_weights = np.repeat(weights / np.array(counts), counts)
    place_units = [_quantile(column, place_weights, FALSE_ALARMS) for column in places.T]
    reference = _with_units(_fit(images, widths), units.tolist(), place_units)
    about = ScopeReference(
        limit_unusual=unusual,
        limit_out=1.0,
        false_alarms=float(weights[scores >= 1].sum()),
        unusual=float(weights[scores >= unusual].sum()),
        images=len(images),
        patients=patients,
        protocol=protocol,
        patient_scores=tuple(float(scores[persons == person].mean()) for person in np.unique(persons)),
    )
    return replace(reference, limit_unusual=unusual, limit_out=1.0), about


def score_altered(
    known: Sequence[MeasuredImage], altered: Mapping[str, Sequence[MeasuredImage]], reference: TrainingReference
) -> Mapping[str, Mapping[str, float]]:
    """Return for each alteration the mean score of each patient's images, compared with all others' unaltered ones.

    Scores are in the units of the reference, which was fitted to the unaltered images: from 1 on, out of scope.
    """
    units = np.array([*(space.unit for space in reference.layers), reference.measures.unit, _recording_unit(reference)])
    scores: dict[str, dict[str, float]] = {name: {} for name in altered}
    for part in leave_one_out(known):
        fitted, patient = _fit(part.known, reference.widths), part.images[0].patient_id
        for name, images in altered.items():
            own = [image for image in images if image.patient_id == patient]
            if own:
                distances = _measure_distances(fitted, own, reference.widths).images
                scores[name][patient] = float((distances / units).max(axis=1).mean())
    return scores


@dataclass(frozen=True, slots=True, eq=False)
class _Tried:
    """Distances of held-out images and places: rows x layers, for images with two more columns.

    These are the measures and the recording, which is 0 if it is not compared.
    """

    images: Values
    patients: NDArray[np.str_]
    places: Values
    counts: tuple[int, ...]  # places of each image


def _measure_distances(reference: TrainingReference, images: Sequence[MeasuredImage], widths: Sequence[int]) -> _Tried:
    rows, places = [], []
    for image in images:
        layers = [space.distances(one[None])[0] for space, one in zip(reference.layers, image.layers, strict=True)]
        recording = reference.recording_distance(image.recording) or 0.0
        rows.append([*layers, np.abs(reference.measures.distances(image.measures)).max(), recording])
        described = describe_places(image.places, widths)
        places.append(np.stack([s.distances(one) for s, one in zip(reference.places, described, strict=True)], axis=1))
    bounded = [[bounded_score(float(value)) for value in row] for row in rows]
    persons = np.array([image.patient_id for image in images], np.str_)
    counts = tuple(len(image.places) for image in images)
    return _Tried(np.array(bounded), persons, np.concatenate(places), counts)


def _fit(images: Sequence[MeasuredImage], widths: Sequence[int]) -> TrainingReference:
    """Fit the spaces and the range, all units 1; every patient has the same weight."""
    weights = share_among_patients(np.array([image.patient_id for image in images], np.str_))
    layers = tuple(
        _fit_space(np.stack([image.layers[number] for image in images]), weights) for number in range(len(widths))
    )
    described = [describe_places(image.places, widths) for image in images]
    counts = [len(image.places) for image in images]
    place_weights = np.repeat(weights / np.array(counts), counts)
    places = tuple(
        _fit_space(np.concatenate([one[number] for one in described]), place_weights) for number in range(len(widths))
    )
    measures = np.stack([image.measures for image in images])
    recordings = [image.recording for image in images if image.recording is not None]
    recording = _fit_space(np.stack(recordings), weights) if len(recordings) == len(images) else None
    return TrainingReference(layers, places, MeasureRange(measures.min(axis=0), measures.max(axis=0)), recording)


def _fit_space(described: Values, weights: Values) -> DescriptionSpace:
    mean = weights @ described
    scale = np.sqrt(weights @ (described - mean) ** 2) + 1e-3
    scaled = (described - mean) / scale
    values, vectors = np.linalg.eigh((scaled * weights[:, None]).T @ scaled)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    width = len(values)
    count = min(_COMPONENTS, width)
    total = float(values.sum()) / width
    rest = float(values[count:].mean()) if count < width else 0.0
    shrunk = values[:count] * (1 - _SHRINKAGE) + _SHRINKAGE * total
    return DescriptionSpace(
        mean, scale, vectors[:, :count].T, shrunk, max(rest * (1 - _SHRINKAGE) + _SHRINKAGE * total, 1e-6)
    )


def _with_units(reference: TrainingReference, units: Sequence[float], places: Sequence[float]) -> TrainingReference:
    *of_layers, of_measures, of_recording = (float(unit) for unit in units)
    return replace(
        reference,
        layers=tuple(space.with_unit(unit) for space, unit in zip(reference.layers, of_layers, strict=True)),
        places=tuple(space.with_unit(float(unit)) for space, unit in zip(reference.places, places, strict=True)),
        measures=replace(reference.measures, unit=of_measures),
        recording=reference.recording and reference.recording.with_unit(of_recording),
    )


def _recording_unit(reference: TrainingReference) -> float:
    return reference.recording.unit if reference.recording else 1.0


def _quantile(scores: Values, weights: Values, share: float) -> float:
    """Return the lowest limit that at most this share of the weight reaches; it lies between two scores."""
    order = np.argsort(-scores)
    ranked, reached = scores[order], np.cumsum(weights[order])
    within = int((reached <= share + 1e-9).sum())
    if within == 0:
        return max(float(ranked[0]) * 1.001, _LEAST_LIMIT)
    below = ranked[min(within, len(ranked) - 1)]
    return max(float(ranked[within - 1] + below) / 2, _LEAST_LIMIT)
