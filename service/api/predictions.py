"""What a program is answered about images: the published fields by their published names, and what they leave out."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from core.imaging.heatmaps import encode_heatmap, encode_png, overlay_heatmap
from core.imaging.scale import Scale
from core.labels import Malignancy
from core.results import Analysis, PooledOpinion, Prediction, RgbImage, ScopeLevel

_UNKNOWN_SCALE = "The scale is unknown: neither the file nor the request states it."


@dataclass(frozen=True, slots=True)
class Probabilities:
    """Both add up to 1."""

    benign: float
    malignant: float


@dataclass(frozen=True, slots=True)
class PatchBreakdown:
    """The patches on either side of the threshold."""

    benign_patches: int
    malignant_patches: int


@dataclass(frozen=True, slots=True)
class ClassProbability:
    """One class of the network, such as a subtype, and its probability."""

    name: str
    probability: float


@dataclass(frozen=True, slots=True)
class QualityFinding:
    """One problem of an image in words; a note says how its file was read."""

    kind: Literal["unreadable", "warning", "note"]
    message: str


@dataclass(frozen=True, slots=True)
class ImageQuality:
    """What was measured on the image before the network saw it."""

    sharpness: float
    tissue_fraction: float
    findings: tuple[QualityFinding, ...]


@dataclass(frozen=True, slots=True)
class ImageScope:
    """How unlike the training images the image is; there is no opinion on one that is `out` of scope."""

    level: ScopeLevel
    score: float
    limit_unusual: float
    limit_out: float
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImageScale:
    """The scale with which the image was analysed."""

    um_per_px: float | None
    note: str


@dataclass(frozen=True, slots=True)
class HeatmapFiles:
    """Where the network finds evidence, base64: a PNG over the image, and a TIFF of logits as 32-bit floats."""

    overlay_png: str
    logits_tiff: str


@dataclass(frozen=True, slots=True)
class ImagePrediction:
    """What the model says of one image; without an opinion, `prediction` is null and `reason` says why.

    A file of a folder that cannot be read has an `error`.
    """

    filename: str
    error: str | None = None
    prediction: Malignancy | None = None
    confidence: float | None = None  # the probability of the predicted side
    probabilities: Probabilities | None = None
    num_patches: int | None = None
    patch_breakdown: PatchBreakdown | None = None
    processing_time_seconds: float | None = None
    label: str | None = None
    classes: tuple[ClassProbability, ...] | None = None
    threshold: float | None = None  # on the malignant probability
    reason: str | None = None
    quality: ImageQuality | None = None
    scope: ImageScope | None = None
    scale: ImageScale | None = None
    model_version: str | None = None
    heatmap: HeatmapFiles | None = None
    research_use_only: Literal[True] = True


@dataclass(frozen=True, slots=True)
class Aggregate:
    """The mean over the images with an opinion; without any, `prediction` is null. Not a diagnosis."""

    prediction: Malignancy | None
    confidence: float | None
    probabilities: Probabilities | None


@dataclass(frozen=True, slots=True)
class ImageBreakdown:
    """The images on either side of the threshold; those without an opinion are in neither."""

    benign_images: int
    malignant_images: int


@dataclass(frozen=True, slots=True)
class FolderPredictions:
    """What the model says of several images of one patient.

    The published name `aggregated_diagnosis` is kept for existing clients. It is no diagnosis.
    """

    aggregated_diagnosis: Aggregate
    num_images: int
    image_breakdown: ImageBreakdown
    individual_predictions: tuple[ImagePrediction, ...]
    processing_time_seconds: float
    threshold: float | None
    model_version: str | None
    research_use_only: Literal[True] = True


@dataclass(frozen=True, slots=True, eq=False)
class Analysed:
    """The analysis of one image of a request, with the image where its heat map is asked for."""

    analysis: Analysis
    model_version: str
    seconds: float
    scale: Scale | None
    overlaid: RgbImage | None = None


def describe_image(filename: str, analysed: Analysed) -> ImagePrediction:
    """Return what is answered about one image."""
    analysis, prediction = analysed.analysis, analysed.analysis.prediction
    described = ImagePrediction(
        filename,
        processing_time_seconds=analysed.seconds,
        reason=analysis.reason,
        quality=_quality(analysis),
        scope=_scope(analysis),
        scale=describe_scale(analysed.scale),
        model_version=analysed.model_version,
    )
    if prediction is None:
        return described
    return replace(
        described,
        prediction=prediction.malignancy,
        confidence=prediction.confidence,
        probabilities=_probabilities(prediction.malignant_probability),
        num_patches=prediction.patches,
        patch_breakdown=PatchBreakdown(prediction.benign_patches, prediction.malignant_patches),
        label=prediction.label,
        classes=_classes(prediction),
        threshold=prediction.threshold,
        heatmap=_heatmap(analysed),
    )


def describe_folder(
    entries: Sequence[ImagePrediction], predictions: Sequence[Prediction], version: str | None, seconds: float
) -> FolderPredictions:
    """Return what is answered about a folder; `predictions` are those of the images with an opinion."""
    opinion = (
        PooledOpinion.of((one.malignant_probability, one.threshold) for one in predictions) if predictions else None
    )
    malignant = sum(one.malignancy == "malignant" for one in predictions)
    return FolderPredictions(
        aggregated_diagnosis=_aggregate(opinion),
        num_images=len(entries),
        image_breakdown=ImageBreakdown(len(predictions) - malignant, malignant),
        individual_predictions=tuple(entries),
        processing_time_seconds=seconds,
        threshold=opinion.threshold if opinion else None,
        model_version=version,
    )


def describe_scale(scale: Scale | None) -> ImageScale:
    """Return the scale of an image, and who stated it."""
    if scale is None:
        return ImageScale(None, _UNKNOWN_SCALE)
    return ImageScale(
        scale.um_per_px, "As stated in the request." if scale.source == "typed" else "As the file states."
    )


def _aggregate(opinion: PooledOpinion | None) -> Aggregate:
    if opinion is None:
        return Aggregate(None, None, None)
    return Aggregate(opinion.malignancy, opinion.confidence, _probabilities(opinion.malignant_probability))


def _probabilities(malignant: float) -> Probabilities:
    return Probabilities(benign=1 - malignant, malignant=malignant)


def _classes(prediction: Prediction) -> tuple[ClassProbability, ...]:
    pairs = zip(prediction.label_set.classes, prediction.probabilities, strict=True)
    return tuple(ClassProbability(name, probability) for name, probability in pairs)


def _quality(analysis: Analysis) -> ImageQuality:
    found = analysis.quality
    findings = tuple(QualityFinding(one.kind, one.message) for one in found.findings)
    return ImageQuality(found.sharpness, found.tissue_fraction, findings)


def _scope(analysis: Analysis) -> ImageScope | None:
    scope = analysis.scope
    return ImageScope(scope.level, scope.score, scope.limit_unusual, scope.limit_out, scope.reasons) if scope else None


def _heatmap(analysed: Analysed) -> HeatmapFiles | None:
    if analysed.overlaid is None or analysed.analysis.heatmap is None:
        return None
    overlay = encode_png(overlay_heatmap(analysed.overlaid, analysed.analysis.heatmap))
    return HeatmapFiles(_base64(overlay), _base64(encode_heatmap(analysed.analysis.heatmap)))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
