"""Check an image before any network sees it: is it sharp, with enough tissue, and stained with H&E?"""

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from core.card import QualityLimits
from core.imaging.limits import MIN_SIDE
from core.results import Quality, QualityFinding, RgbImage

_BACKGROUND = 220  # grey level; a pixel is glass when R, G and B are all above it (the hybrid's authors)
_BLANK_TISSUE = 0.01
_BLANK_CONTRAST = 8.0  # standard deviation of grey; the faintest of 240 BreaKHis images has 14
_FLAT_CONTRAST = 3.0

# Mean blue and red above green, in grey levels, over the darkest quarter of the tissue. Haematoxylin and
# eosin both take most of the green. The minima over 240 BreaKHis images are 8 and 1; grey has 0 and 0,
# brown immunostain about -30 blue, a blue sky about -8 red. Pale stroma is left out: it takes on the tint of the lamp.
_LEAST_BLUE = 4.0
_LEAST_RED = -3.0
_COLOUR_SAMPLES = 20_000


class _Measures(NamedTuple):
    sharpness: float
    contrast: float
    tissue_fraction: float


def assess_quality(image: RgbImage, limits: QualityLimits | None = None) -> Quality:
    """Measure an image and describe its problems in words.

    A too small, blank or flat image is unreadable, which stops the analysis. Blurred, sparse and not H&E-like are
    warnings shown with the result, because half of the real 400X images are below the published limit.
    Without `limits` the published limits apply.
    """
    measures = _measure(image)
    findings = _unreadable(image, measures) or _warnings(image, measures, limits or QualityLimits())
    return Quality(measures.sharpness, measures.tissue_fraction, findings)


def tissue_mask(image: RgbImage) -> NDArray[np.uint8]:
    """Mark tissue with 255 and background with 0; background has R, G and B all above 220."""
    glass = cv2.inRange(image, (_BACKGROUND + 1,) * 3, (255,) * 3)
    return np.asarray(cv2.bitwise_not(glass), dtype=np.uint8)


def tissue_fraction(image: RgbImage) -> float:
    """Return the fraction of pixels that are tissue, 0..1."""
    mask = tissue_mask(image)
    return cv2.countNonZero(mask) / mask.size


def _measure(image: RgbImage) -> _Measures:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    _, contrast = cv2.meanStdDev(grey)
    # Exact in 16 bits: the kernel (0 1 0 / 1 -4 1 / 0 1 0) on 8-bit grey stays within +-1020.
    _, deviation = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
    return _Measures(float(deviation[0, 0]) ** 2, float(contrast[0, 0]), tissue_fraction(image))


def _unreadable(image: RgbImage, measures: _Measures) -> tuple[QualityFinding, ...]:
    height, width = image.shape[:2]
    messages = []
    if min(height, width) < MIN_SIDE:
        messages.append(f"too small ({width} x {height}, at least {MIN_SIDE} px a side)")
    if measures.tissue_fraction < _BLANK_TISSUE and measures.contrast < _BLANK_CONTRAST:
        messages.append(f"blank (tissue {_percent(measures.tissue_fraction)}, contrast {measures.contrast:.1f})")
    elif measures.contrast < _FLAT_CONTRAST:
        messages.append(f"flat (contrast {measures.contrast:.1f}, minimum {_FLAT_CONTRAST:g} grey levels)")
    return tuple(QualityFinding("unreadable", message) for message in messages)


def _warnings(image: RgbImage, measures: _Measures, limits: QualityLimits) -> tuple[QualityFinding, ...]:
    messages = []
    if measures.sharpness < limits.sharpness:
        messages.append(f"blurred ({math.floor(measures.sharpness)}, limit {limits.sharpness:g})")
    if measures.tissue_fraction < limits.tissue_fraction:
        share, limit = _percent(measures.tissue_fraction), _percent(limits.tissue_fraction)
        messages.append(f"sparse (tissue {share}, limit {limit})")
    red, blue = stain_cast(image)
    if not is_like_he(red, blue):
        messages.append(f"not H&E-like (in dark tissue, red is {red:+.0f} and blue {blue:+.0f} relative to green)")
    return tuple(QualityFinding("warning", message) for message in messages)


def is_like_he(red: float, blue: float) -> bool:
    """Return whether a cast of the dark tissue, as of `stain_cast`, is one of haematoxylin and eosin."""
    return blue >= _LEAST_BLUE and red >= _LEAST_RED


def stain_cast(image: RgbImage) -> tuple[float, float]:
    """Return how far red and blue are above green, on average, in the darkest quarter of the tissue."""
    step = max(1, math.isqrt(image.shape[0] * image.shape[1] // _COLOUR_SAMPLES))
    sample = image[::step, ::step].reshape(-1, 3)
    tissue = sample[(sample <= _BACKGROUND).any(axis=1)].astype(np.int32)
    if not len(tissue):
        return 0.0, 0.0
    brightness = tissue.sum(axis=1)
    darkest = np.partition(brightness, len(brightness) // 4)[len(brightness) // 4]
    red, green, blue = tissue[brightness <= darkest].mean(axis=0)
    return float(red - green), float(blue - green)


def _percent(fraction: float) -> str:
    # Rounded down, so that nothing below its limit is shown as equal to it.
    return f"{math.floor(100 * fraction + 1e-9)}%"
