"""From the bytes of an image to its analysis. Read this first."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from core.card import Card
from core.imaging.decode import decode_image
from core.imaging.patches import cut_patches, fit_boxes, pad_to_patch, stitch
from core.imaging.quality import assess_quality
from core.imaging.scale import known_um_per_px
from core.imaging.working_scale import (
    describe_unusual_scale,
    find_scale_findings,
    resample,
    resample_map,
    working_factor,
)
from core.results import (
    OUT_OF_SCOPE,
    Analysis,
    Box,
    Embedding,
    Evidence,
    Heatmap,
    JudgedScope,
    NoResultError,
    PatchEmbeddings,
    Patches,
    PatchFeatures,
    PatchFindings,
    Prediction,
    Probabilities,
    Quality,
    RgbImage,
    Scope,
    scope_level,
)
from core.statistics.calibration import soften

_SHORTEST = 1e-6  # of an embedding that has a direction


class ScopeJudge(Protocol):
    """What the pipeline needs to tell whether an image is like the training images."""

    def judge(self, recorded: RgbImage, image: RgbImage, features: PatchFeatures) -> JudgedScope:
        """Judge an image as it was recorded, and at the working scale in its own colours with its patches' features."""


class PatchClassifier(Protocol):
    """What the pipeline needs from a classifier; tests pass a small fake."""

    @property
    def card(self) -> Card:
        """How images become patches and probabilities become an opinion."""

    def normalise(self, image: RgbImage) -> RgbImage:
        """Bring the colours of an image to the training set's."""

    @property
    def scope(self) -> ScopeJudge | None:
        """What knows how unlike the training images an image is; None without a reference of these."""

    def examine(self, patches: Patches, *, evidence: bool) -> PatchFindings:
        """Return the probabilities of every patch and, from the same forward pass, its features and its evidence."""


class MagnificationClassifier(PatchClassifier, Protocol):
    """A classifier for images of any magnification; what the worker needs."""

    def at(self, magnification: str | None) -> PatchClassifier:
        """Return the same classifier for images of one magnification; None for an unknown magnification."""

    def with_card(self, card: Card) -> "MagnificationClassifier":
        """Return a classifier with the same network and another card."""


@dataclass(frozen=True, slots=True, eq=False)
class CutImage:
    """The patches of an image, and how their maps return to it.

    Sizes are heights and widths: `size` of the image, `inner` of the image at the working scale, and `area` of what its
    patches cover, which is larger than `inner` where the image was mirrored to fill a patch.
    """

    patches: Patches
    pixels: RgbImage  # at the working scale, in the image's own colours
    size: tuple[int, int]
    inner: tuple[int, int]
    area: tuple[int, int]
    _boxes: tuple[Box, ...]  # in pixels of the area

    @property
    def boxes(self) -> tuple[Box, ...]:
        """Where the patches are, in pixels of the image itself; a mirrored part is outside every image."""
        down, across = (own / inner for own, inner in zip(self.size, self.inner, strict=True))
        height, width = self.size
        return tuple(
            (
                round(left * across),
                round(top * down),
                min(width, round(right * across)),
                min(height, round(bottom * down)),
            )
            for left, top, right, bottom in self._boxes
        )

    def lay_back(self, maps: Evidence) -> Heatmap:
        """Return one map of the size of the image from those of its patches (patches x side x side); units stay."""
        height, width = self.inner
        return resample_map(stitch(maps, self._boxes, *self.area)[:height, :width], *self.size)


def analyse(
    data: bytes,
    classifier: PatchClassifier,
    *,
    heatmap: bool = True,
    stored: bool = False,
    um_per_px: float | None = None,
    judge_scope: bool = True,
) -> Analysis:
    """Decode, check, classify and explain one image.

    Args:
        data: The bytes of its file.
        classifier: The network with its card.
        heatmap: Whether to explain it.
        stored: Whether this program wrote the file.
        um_per_px: Its scale, if that is known otherwise than from the file, whose own statement it replaces.
        judge_scope: Whether to ask how like the training images it is; generated tissue is like none of them.

    Raises:
        UnreadableImageError: If the bytes cannot be decoded as an image.
        ValueError: If the scale is none of a microscope image.
    """
    decoded = decode_image(data, stored=stored)
    scale = known_um_per_px(um_per_px, decoded.scale)
    return analyse_image(
        decoded.pixels,
        classifier,
        heatmap=heatmap,
        notes=decoded.notes,
        um_per_px=scale,
        judge_scope=judge_scope,
    )


def analyse_image(
    image: RgbImage,
    classifier: PatchClassifier,
    *,
    heatmap: bool = True,
    notes: Sequence[str] = (),
    um_per_px: float | None = None,
    judge_scope: bool = True,
) -> Analysis:
    """Check, classify and explain one decoded image; `notes` say how its file was read, `um_per_px` is its scale."""
    card = classifier.card
    height, width = image.shape[:2]
    quality = check_image(image, card, um_per_px).with_notes(notes)
    if not quality.readable:
        return Analysis(height, width, quality, reason=_unreadable_reason(quality))
    cut = cut_normalised_patches(image, classifier, um_per_px)
    try:
        found = classifier.examine(cut.patches, evidence=heatmap)
    except NoResultError as error:
        return Analysis(height, width, quality, reason=str(error))
    judged = classifier.scope.judge(image, cut.pixels, found.features) if classifier.scope and judge_scope else None
    scope = _heed_scale(judged.scope, describe_unusual_scale(um_per_px, card.scale)) if judged else None
    looks = judged.scope.level if judged else None
    places = cut.lay_back(judged.places) if judged and heatmap else None
    if scope is not None and scope.level == "out":
        reason = _reason_without_opinion(scope)
        return Analysis(height, width, quality, reason=reason, scope=scope, looks=looks, scope_map=places)
    stitched = None if found.evidence is None else cut.lay_back(found.evidence)
    prediction = pool_patches(found.probabilities, card)
    embedding = None if found.embeddings is None else pool_embeddings(found.embeddings)
    return Analysis(
        height, width, quality, prediction, stitched, scope=scope, looks=looks, scope_map=places, embedding=embedding
    )


def cut_normalised_patches(image: RgbImage, classifier: PatchClassifier, um_per_px: float | None = None) -> CutImage:
    """Bring an image to the working scale, normalise its stain, and cut it into patches by the card's input policy.

    An image smaller than a patch is mirrored to fill one.
    """
    policy, scale = classifier.card.input_policy, classifier.card.scale
    resampled = resample(image, working_factor(um_per_px, scale.working if scale else None))
    padded = pad_to_patch(classifier.normalise(resampled), policy)
    area = (padded.shape[0], padded.shape[1])
    boxes = fit_boxes(*area, policy)
    return CutImage(
        cut_patches(padded, boxes, policy.input_side),
        resampled,
        (image.shape[0], image.shape[1]),
        (resampled.shape[0], resampled.shape[1]),
        area,
        tuple(boxes),
    )


def check_image(image: RgbImage, card: Card, um_per_px: float | None = None) -> Quality:
    """Assess an image for the network of this card: its quality as it is, its scale, and its size at the working scale.

    An image of unknown scale has no `um_per_px`.
    """
    quality = assess_quality(image, card.quality_limits)
    findings = find_scale_findings(image.shape[0], image.shape[1], card, um_per_px)
    return replace(quality, findings=(*quality.findings, *findings)) if findings else quality


def pool_patches(probabilities: Probabilities, card: Card) -> Prediction:
    """Average the probabilities of an image's patches, and count the patches on either side of the threshold."""
    own = _fit_to_site(probabilities, card)
    malignant = own[:, list(card.label_set.malignant_indices)].sum(axis=1)
    malignant_patches = int((malignant >= card.threshold).sum())
    mean = _fit_to_site(probabilities.mean(axis=0, dtype=np.float64)[None], card)[0]
    return Prediction(
        label_set=card.label_set,
        probabilities=tuple(float(p) for p in np.clip(mean / mean.sum(), 0, 1)),
        threshold=card.threshold,
        benign_patches=len(probabilities) - malignant_patches,
        malignant_patches=malignant_patches,
    )


def _fit_to_site(probabilities: NDArray[np.floating], card: Card) -> NDArray[np.floating]:
    """Return rows of probabilities at the site's temperature; the classes of either malignancy keep their shares."""
    if card.site is None:
        return probabilities
    malignant = np.isin(np.arange(probabilities.shape[1]), card.label_set.malignant_indices)
    before = probabilities[:, malignant].sum(axis=1, dtype=np.float64)
    after = soften(np.clip(before, 0, 1), card.site.temperature)
    factors = np.where(malignant, _share(after, before)[:, None], _share(1 - after, 1 - before)[:, None])
    return np.asarray(probabilities * factors)


def _share(after: NDArray[np.float64], before: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(after, before, out=np.zeros_like(after), where=before > 0)


def pool_embeddings(embeddings: PatchEmbeddings) -> Embedding | None:
    """Average the embeddings of an image's patches and bring them to length 1; None if that is no number."""
    mean = embeddings.mean(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(mean))
    return (mean / length).astype(np.float16) if np.isfinite(length) and length > _SHORTEST else None


def _heed_scale(scope: Scope, problem: str | None) -> Scope:
    """Return the scope of an image, at least unusual if there is a problem with its scale."""
    if problem is None:
        return scope
    score = max(scope.score, scope.limit_unusual)
    level = scope_level(score, scope.limit_unusual, scope.limit_out)
    return replace(scope, level=level, score=score, reasons=(*scope.reasons, problem))


def _reason_without_opinion(scope: Scope) -> str:
    return f"{OUT_OF_SCOPE}: {'; '.join(scope.reasons)}." if scope.reasons else f"{OUT_OF_SCOPE}."


def _unreadable_reason(quality: Quality) -> str:
    return "; ".join(finding.message for finding in quality.findings if finding.kind == "unreadable")
