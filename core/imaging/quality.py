"""What can be said of an image before any network sees it: sharp, enough tissue, H&E at all."""

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from core.card import QualityLimits
from core.results import Finding, Quality, RgbImage

_BACKGROUND = 220  # grey levels; glass when R, G and B all lie above it (the hybrid's authors)
_SMALLEST_SIDE = 32  # px
_BLANK_TISSUE = 0.01
_BLANK_CONTRAST = 8.0  # standard deviation of grey; the faintest of 240 BreaKHis images has 14
_FLAT_CONTRAST = 3.0

# Mean blue and red above green, in grey levels, over the darkest quarter of the tissue. Haematoxylin and
# eosin both take most of the green. Of 240 BreaKHis images the least are 8 and 1; grey has 0 and 0, brown
# immunostain about -30 blue, a blue sky about -8 red. Pale stroma is left out: it takes on the tint of the lamp.
_LEAST_BLUE = 4.0
_LEAST_RED = -3.0
_COLOUR_SAMPLES = 20_000


class _Contents(NamedTuple):
    sharpness: float
    contrast: float
    tissue_fraction: float


def assess_quality(image: RgbImage, limits: QualityLimits | None = None) -> Quality:
    """Measure an image and say in words what is wrong with it.

    Too small, blank or flat is unreadable and stops the analysis. Blurred, sparse and not H&E-like are
    warnings that stand beside the result, because half of the real 400X images lie under the published limit.
    Without limits the published ones hold.
    """
    found = _measure(image)
    findings = _unreadable(image, found) or _warnings(image, found, limits or QualityLimits())
    return Quality(found.sharpness, found.tissue_fraction, findings)


def tissue_mask(image: RgbImage) -> NDArray[np.uint8]:
    """Mark tissue with 255 and background with 0; background has R, G and B all above 220."""
    glass = cv2.inRange(image, (_BACKGROUND + 1,) * 3, (255,) * 3)
    return np.asarray(cv2.bitwise_not(glass), dtype=np.uint8)


def tissue_fraction(image: RgbImage) -> float:
    """Measure the part of the pixels that is tissue, 0..1."""
    mask = tissue_mask(image)
    return cv2.countNonZero(mask) / mask.size


def _measure(image: RgbImage) -> _Contents:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    _, contrast = cv2.meanStdDev(grey)
    # Exact in 16 bits: the kernel (0 1 0 / 1 -4 1 / 0 1 0) on 8-bit grey stays within +-1020.
    _, deviation = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
    return _Contents(float(deviation[0, 0]) ** 2, float(contrast[0, 0]), tissue_fraction(image))


def _unreadable(image: RgbImage, found: _Contents) -> tuple[Finding, ...]:
    height, width = image.shape[:2]
    messages = []
    if min(height, width) < _SMALLEST_SIDE:
        messages.append(f"too small ({width} x {height}, at least {_SMALLEST_SIDE} px a side)")
    if found.tissue_fraction < _BLANK_TISSUE and found.contrast < _BLANK_CONTRAST:
        messages.append(f"blank (tissue {_percent(found.tissue_fraction)}, contrast {found.contrast:.1f})")
    elif found.contrast < _FLAT_CONTRAST:
        messages.append(f"flat (contrast {found.contrast:.1f}, at least {_FLAT_CONTRAST:g} grey levels)")
    return tuple(Finding("unreadable", message) for message in messages)


def _warnings(image: RgbImage, found: _Contents, limits: QualityLimits) -> tuple[Finding, ...]:
    messages = []
    if found.sharpness < limits.sharpness:
        messages.append(f"blurred ({math.floor(found.sharpness)}, limit {limits.sharpness:g})")
    if found.tissue_fraction < limits.tissue_fraction:
        share, limit = _percent(found.tissue_fraction), _percent(limits.tissue_fraction)
        messages.append(f"sparse (tissue {share}, limit {limit})")
    red, blue = _stain_cast(image)
    if blue < _LEAST_BLUE or red < _LEAST_RED:
        messages.append(f"not H&E-like (dark tissue: red {red:+.0f} and blue {blue:+.0f} against green)")
    return tuple(Finding("warning", message) for message in messages)


def _stain_cast(image: RgbImage) -> tuple[float, float]:
    """Measure how far red and blue lie above green, on average, in the darkest quarter of the tissue."""
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
    return f"{math.floor(100 * fraction + 1e-9)} %"
