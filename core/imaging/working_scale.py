"""Bring an image of known scale to the working scale of a network, and its maps back; say what this costs.

An image of unknown scale is used as it is. All that looks at images shares these functions: serving, evaluation,
comparison of sets, and training.
"""

import cv2
import numpy as np

from core.card import Card, TrainedScale
from core.imaging.limits import MAX_PIXELS
from core.imaging.patches import find_size_problem
from core.results import Heatmap, QualityFinding, RgbImage

_SAME = 0.02  # an image this close to the working scale is left alone: resampling would only blur it
_MUCH_ENLARGED = 2.0
# At a working scale of 0.2 µm, a nucleus of 8 µm is then 5 pixels wide in the image: nothing that a network has learned
# from can be seen in it.
_MOST_ENLARGED = 8.0


def working_factor(um_per_px: float | None, working: float | None) -> float:
    """Return how many times larger an image becomes; 1 if a scale is unknown, or if they are nearly the same."""
    if um_per_px is None or working is None:
        return 1.0
    factor = um_per_px / working
    return 1.0 if abs(factor - 1) <= _SAME else factor


def working_size(height: int, width: int, factor: float) -> tuple[int, int]:
    """Return the height and width of an image that becomes so many times larger."""
    return max(1, round(height * factor)), max(1, round(width * factor))


def resample(image: RgbImage, factor: float) -> RgbImage:
    """Return an image that many times larger; the same one if the factor is 1."""
    height, width = working_size(image.shape[0], image.shape[1], factor)
    if (height, width) == image.shape[:2]:
        return image
    # Area averaging keeps what is small when shrinking, but looks blocky when enlarging.
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, (width, height), interpolation=method).astype(image.dtype, copy=False)


def resample_map(heatmap: Heatmap, height: int, width: int) -> Heatmap:
    """Return a map in the size of another image of the same field; it keeps its units and its mean."""
    if heatmap.shape == (height, width):
        return heatmap
    method = cv2.INTER_AREA if height * width < heatmap.size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(heatmap, (width, height), interpolation=method), np.float32)


def find_scale_findings(height: int, width: int, card: Card, um_per_px: float | None) -> tuple[QualityFinding, ...]:
    """Return what is to be said of the size and scale of an image for the network of this card; pixels are not needed.

    The memory that resampling and patches would take is bounded here: what needs more is unreadable.
    """
    if card.scale is None:
        return _listed(find_size_problem(height, width, card.input_policy))
    working = card.scale.working
    if um_per_px is None:
        text = f"the scale of this image is unknown; the model assumes {working:.2f} µm per pixel"
        # A network that judges the scope says it as a reason why the image is unusual, and it is said once.
        note = None if card.scope else QualityFinding("note", text)
        return (*_listed(find_size_problem(height, width, card.input_policy)), *_listed(note))
    factor = working_factor(um_per_px, working)
    tall, wide = working_size(height, width, factor)
    if factor > _MOST_ENLARGED or tall * wide > MAX_PIXELS:
        return (QualityFinding("unreadable", _refusal(um_per_px, working, factor)),)
    return (
        *_warn_of_scale(um_per_px, card.scale, factor),
        *_listed(find_size_problem(tall, wide, card.input_policy, working)),
    )


def describe_unusual_scale(um_per_px: float | None, scale: TrainedScale | None) -> str | None:
    """Return what is unusual about a scale: that it is unknown, or outside that of the training images; else None."""
    if scale is None:
        return None
    if um_per_px is None:
        return f"its scale is unknown; if it is not {scale.working:.2f} µm per pixel, the model's answer could differ"
    if scale.low * (1 - _SAME) <= um_per_px <= scale.high * (1 + _SAME):
        return None
    return (
        f"its scale of {um_per_px:.3g} µm per pixel is outside that of the model's training images "
        f"({scale.low:.3g} to {scale.high:.3g})"
    )


def _listed(finding: QualityFinding | None) -> tuple[QualityFinding, ...]:
    return (finding,) if finding else ()


def _refusal(um_per_px: float, working: float, factor: float) -> str:
    return (
        f"its pixels of {um_per_px:.3g} µm would have to be enlarged {factor:.3g} times for this model, which works at "
        f"{working:.3g} µm per pixel; "
        + ("the image has too little detail for that" if factor > _MOST_ENLARGED else "that needs too much memory")
    )


def _warn_of_scale(um_per_px: float, scale: TrainedScale, factor: float) -> tuple[QualityFinding, ...]:
    outside = describe_unusual_scale(um_per_px, scale)
    messages = [outside] if outside else []
    if factor > _MUCH_ENLARGED:
        messages.append(
            f"enlarged {factor:.3g} times to the model's {scale.working:.3g} µm per pixel: fine detail is missing"
        )
    return tuple(QualityFinding("warning", message) for message in messages)
