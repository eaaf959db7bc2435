"""From the bytes of an image to its analysis. Read this first."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from core.card import Card
from core.imaging.decode import decode_image
from core.imaging.patches import cut_patches, find_size_problem, fit_boxes, pad_to_patch, stitch
from core.imaging.quality import assess_quality
from core.results import (
    Analysis,
    Box,
    Evidence,
    Heatmap,
    NoResultError,
    Patches,
    Prediction,
    Probabilities,
    Quality,
    RgbImage,
)


class PatchClassifier(Protocol):
    """What the pipeline needs from a classifier; tests pass a ten-line fake."""

    @property
    def card(self) -> Card:
        """How images become patches and probabilities become an opinion."""

    def normalise(self, image: RgbImage) -> RgbImage:
        """Bring the colours of an image to the training set's."""

    def classify(self, patches: Patches) -> Probabilities:
        """Return the probabilities of every patch."""

    def explain(self, patches: Patches) -> tuple[Probabilities, Evidence]:
        """Return the probabilities of every patch and, from the same forward pass, its evidence."""


class MagnificationClassifier(PatchClassifier, Protocol):
    """A classifier for images of any magnification; what the worker needs."""

    def at(self, magnification: str | None) -> PatchClassifier:
        """Return the same classifier for images of one magnification; None for an unknown magnification."""


def analyse(data: bytes, classifier: PatchClassifier, *, heatmap: bool = True, stored: bool = False) -> Analysis:
    """Decode, check, classify and explain one image; `stored` is for files that this program wrote.

    Raises:
        UnreadableImageError: If the bytes cannot be decoded as an image.
    """
    decoded = decode_image(data, stored=stored)
    return analyse_image(decoded.pixels, classifier, heatmap=heatmap, notes=decoded.notes)


def analyse_image(
    image: RgbImage, classifier: PatchClassifier, *, heatmap: bool = True, notes: Sequence[str] = ()
) -> Analysis:
    """Check, classify and explain one decoded image; `notes` say how its file was read."""
    card = classifier.card
    height, width = image.shape[:2]
    quality = check_image(image, card).with_notes(notes)
    if not quality.readable:
        return Analysis(height, width, quality, reason=_unreadable_reason(quality))
    patches, boxes, padded_size = cut_normalised_patches(image, classifier)
    try:
        probabilities, evidence = classifier.explain(patches) if heatmap else (classifier.classify(patches), None)
    except NoResultError as error:
        return Analysis(height, width, quality, reason=str(error))
    stitched: Heatmap | None = None
    if evidence is not None:
        stitched = stitch(evidence, boxes, *padded_size)[:height, :width]
    return Analysis(height, width, quality, pool_patches(probabilities, card), stitched)


def cut_normalised_patches(image: RgbImage, classifier: PatchClassifier) -> tuple[Patches, list[Box], tuple[int, int]]:
    """Normalise the stain of an image and cut it into patches by the card's input policy.

    Returns:
        The patches, their boxes, and the height and width of the area that the boxes cover. An image smaller than a
        patch is mirrored to fill one, so this area may be larger than the image.
    """
    policy = classifier.card.input_policy
    padded = pad_to_patch(classifier.normalise(image), policy)
    height, width = padded.shape[:2]
    boxes = fit_boxes(height, width, policy)
    return cut_patches(padded, boxes, policy.input_side), boxes, (height, width)


def check_image(image: RgbImage, card: Card) -> Quality:
    """Assess an image for the network of this card: its quality, and whether it is large enough for a patch."""
    quality = assess_quality(image, card.quality_limits)
    finding = find_size_problem(image.shape[0], image.shape[1], card.input_policy)
    return replace(quality, findings=(*quality.findings, finding)) if finding else quality


def pool_patches(probabilities: Probabilities, card: Card) -> Prediction:
    """Average the probabilities of an image's patches, and count the patches on either side of the threshold."""
    mean = probabilities.mean(axis=0, dtype=np.float64)
    malignant = probabilities[:, list(card.label_set.malignant_indices)].sum(axis=1)
    malignant_patches = int((malignant >= card.threshold).sum())
    return Prediction(
        label_set=card.label_set,
        probabilities=tuple(float(p) for p in np.clip(mean / mean.sum(), 0, 1)),
        threshold=card.threshold,
        benign_patches=len(probabilities) - malignant_patches,
        malignant_patches=malignant_patches,
    )


def _unreadable_reason(quality: Quality) -> str:
    return "; ".join(finding.message for finding in quality.findings if finding.kind == "unreadable")
