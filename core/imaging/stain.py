"""Normalise the colours of an image to a target: Reinhard by colour statistics, Macenko by stain vectors."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from core.card import StainTarget, Triple
from core.imaging.quality import tissue_fraction
from core.results import RgbImage

StainMatrix = tuple[Triple, Triple]  # haematoxylin, eosin; optical density of R, G, B, unit length

_LEAST_TISSUE = 0.01  # fraction of pixels; below it there is only glass, and no stain to measure

# OpenCV stores 8-bit LAB as L * 255 / 100, a + 128, b + 128; the published targets are in these units.
_LAB_SCALE = np.array([2.55, 1, 1])
_LAB_OFFSET = np.array([0.0, 128, 128])
# The sRGB transfer curve (IEC 61966-2-1) at each grey level.
_SRGB = np.arange(256) / 255
_LINEAR_LIGHT = np.where(_SRGB <= 0.04045, _SRGB / 12.92, ((_SRGB + 0.055) / 1.055) ** 2.4).astype(np.float32)

_LAB_BAND_PIXELS = 1_000_000  # converted at once; floats of a whole large image would take gigabytes
_LEAST_DEVIATION = 1.0  # grey level; dividing by less would amplify rounding noise into colour

# Constants of Macenko 2009, as shared by its open implementations.
_LIGHT = 240.0  # transmitted light, grey levels
_ANGLE_PERCENT = 1.0
_CONCENTRATION_PERCENT = 99.0
_DENSITIES = -np.log((np.arange(256) + 1) / _LIGHT).astype(np.float32)  # optical density of each grey level
_PALEST_LEVEL = int((_DENSITIES >= 0.15).sum()) - 1  # paler pixels, with a density under 0.15, are glass
# Sparser samples shift the vectors enough to swap two stains that absorb nearly the same red.
_MOST_SAMPLES = 400_000
_BINS = 8192
_BAND = 32  # rows at a time: floats of a whole large image would take gigabytes and overflow the CPU cache
_LEAST_ANGLE = 0.05  # radians between the stain vectors; a smaller angle means one stain or none
_LEAST_CONCENTRATION = 0.05
_REFERENCE_STAINS: StainMatrix = ((0.5626, 0.7201, 0.4062), (0.2159, 0.8012, 0.5581))
_REFERENCE_CONCENTRATIONS = (1.9705, 1.0308)


@dataclass(frozen=True, slots=True)
class Reinhard:
    """Means and standard deviations in OpenCV 8-bit LAB, over the whole image, background included.

    Reinhard et al., "Color Transfer between Images", IEEE Computer Graphics and Applications 21(5), 2001;
    in CIELAB, as is usual for histology.
    """

    means: Triple
    deviations: Triple

    def __post_init__(self) -> None:
        if min(self.deviations) <= 0:
            raise ValueError(f"deviations must be above 0, got {self.deviations}")

    @classmethod
    def fit(cls, image: RgbImage) -> Self:
        """Measure an image's colours as the target.

        Raises:
            ValueError: If the image has no tissue.
        """
        _require_tissue(image)
        means, deviations = _lab_statistics(image)
        return cls(_triple(means), _triple(np.maximum(deviations, _LEAST_DEVIATION)))

    def transform(self, image: RgbImage) -> RgbImage:
        """Normalise an image to the target; return an image without tissue unchanged."""
        if tissue_fraction(image) < _LEAST_TISSUE:
            return image
        means, deviations = _lab_statistics(image)
        scale = self.deviations / np.maximum(deviations, _LEAST_DEVIATION)
        shift = self.means - means * scale
        # y8 = x8 * scale + shift, written for OpenCV's float LAB so that no copy of the image is made.
        shift = (shift + _LAB_OFFSET * (scale - 1)) / _LAB_SCALE
        change = np.column_stack([np.diag(scale), shift])
        out = np.empty_like(image)
        for rows in _lab_bands(image):
            rgb = cv2.cvtColor(cv2.transform(_to_lab(image[rows]), change), cv2.COLOR_LAB2RGB)
            out[rows] = _to_levels(np.asarray(rgb, dtype=np.float32), 255)
        return out


@dataclass(frozen=True, slots=True)
class Macenko:
    """Stain vectors and the 99th percentiles of their concentrations.

    Macenko et al., "A method for normalizing histology slides for quantitative analysis", ISBI 2009.
    The defaults are the reference values that the paper's open implementations share.
    """

    stain_matrix: StainMatrix = _REFERENCE_STAINS
    concentrations: tuple[float, float] = _REFERENCE_CONCENTRATIONS

    def __post_init__(self) -> None:
        if min(self.concentrations) <= 0:
            raise ValueError(f"concentrations must be above 0, got {self.concentrations}")

    @classmethod
    def fit(cls, image: RgbImage) -> Self:
        """Measure an image's stains as the target.

        Raises:
            ValueError: If the image has no tissue, or fewer than two stains.
        """
        _require_tissue(image)
        estimate = _find_stains(image)
        if estimate is None:
            raise ValueError("this image does not show two distinct stains")
        stains, (first, second) = estimate
        return cls((_triple(stains[:, 0]), _triple(stains[:, 1])), (float(first), float(second)))

    def transform(self, image: RgbImage) -> RgbImage:
        """Normalise an image to the target; return an image without tissue or with fewer than two stains unchanged."""
        estimate = _find_stains(image) if tissue_fraction(image) >= _LEAST_TISSUE else None
        if estimate is None:
            return image
        stains, concentrations = estimate
        target = np.array(self.stain_matrix).T * (self.concentrations / concentrations)
        # Unmixing, scaling and remixing are one linear step from optical density to optical density.
        mixing = -target @ np.linalg.pinv(stains)
        normalised = np.empty_like(image)
        for top in range(0, len(image), _BAND):
            exponents = cv2.transform(_to_densities(image[top : top + _BAND]), mixing)
            normalised[top : top + _BAND] = _to_levels(cv2.exp(exponents), _LIGHT)
        return normalised


def make_stain_normaliser(target: StainTarget | None) -> Callable[[RgbImage], RgbImage]:
    """Return the function that normalises an image to a card's target; without a target, it changes nothing."""
    if target is None:
        return _unchanged
    if target.method == "reinhard":
        return Reinhard(target.means, target.deviations).transform
    stains = target.stain_matrix or _REFERENCE_STAINS
    return Macenko(stains, target.concentrations or _REFERENCE_CONCENTRATIONS).transform


def _unchanged(image: RgbImage) -> RgbImage:
    return image


def _require_tissue(image: RgbImage) -> None:
    if tissue_fraction(image) < _LEAST_TISSUE:
        raise ValueError("an image without tissue has no colours to use as a target")


def _to_lab(image: RgbImage) -> NDArray[np.float32]:
    """Convert to CIELAB in 32-bit floats: L 0..100, a and b around 0."""
    # From linear light: OpenCV's direct conversion from sRGB interpolates a coarse table, up to 20 grey levels off.
    return np.asarray(cv2.cvtColor(cv2.LUT(image, _LINEAR_LIGHT), cv2.COLOR_LRGB2LAB), dtype=np.float32)


def _lab_bands(image: RgbImage) -> list[slice]:
    """Split an image into bands of rows."""
    rows = max(1, _LAB_BAND_PIXELS // image.shape[1])
    return [slice(top, min(top + rows, len(image))) for top in range(0, len(image), rows)]


def _lab_statistics(image: RgbImage) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return means and standard deviations in OpenCV's 8-bit LAB units."""
    bands = _lab_bands(image)
    statistics = [cv2.meanStdDev(_to_lab(image[rows])) for rows in bands]
    shares = [(rows.stop - rows.start) / len(image) for rows in bands]
    means = sum((share * mean[:, 0] for share, (mean, _) in zip(shares, statistics, strict=True)), np.zeros(3))
    squares = sum((share * (m**2 + d**2)[:, 0] for share, (m, d) in zip(shares, statistics, strict=True)), np.zeros(3))
    deviations = np.sqrt(np.maximum(squares - means**2, 0))
    return means * _LAB_SCALE + _LAB_OFFSET, deviations * _LAB_SCALE


def _find_stains(image: RgbImage) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Estimate the stain matrix (3 x 2) and the two concentrations, or None without two stains."""
    # Both axes are strided, so that a large image is sampled evenly; up to the limit every pixel is used.
    step = math.ceil(math.sqrt(image.shape[0] * image.shape[1] / _MOST_SAMPLES))
    sample = np.ascontiguousarray(image[::step, ::step])
    densities = _to_densities(sample)
    dense = cv2.inRange(sample, (0,) * 3, (_PALEST_LEVEL,) * 3)
    tissue = densities.reshape(-1, 3).take(np.flatnonzero(dense), axis=0)
    plane = _main_plane(tissue)
    if plane is None:
        return None
    across, along = (tissue @ plane).T
    low, high = _percentiles(np.arctan2(along, across), 0, (_ANGLE_PERCENT, 100 - _ANGLE_PERCENT))
    if high - low < _LEAST_ANGLE:
        return None
    ends = plane @ np.array([[np.cos(low), np.cos(high)], [np.sin(low), np.sin(high)]])
    # Haematoxylin absorbs more red than eosin does.
    stains = ends if ends[0, 0] > ends[0, 1] else ends[:, ::-1]
    amounts = cv2.transform(densities, np.linalg.pinv(stains))
    concentrations = np.concatenate([_percentiles(amounts, stain, (_CONCENTRATION_PERCENT,)) for stain in (0, 1)])
    return (stains, concentrations) if concentrations.min() >= _LEAST_CONCENTRATION else None


def _percentiles(values: cv2.typing.MatLike, channel: int, percents: tuple[float, ...]) -> NDArray[np.float64]:
    """Return percentiles of one channel from a fine histogram.

    Half a bin is far less than a grey level, and counting takes a quarter of the time of sorting.
    """
    low, high, _, _ = cv2.minMaxLoc(values.reshape(-1))
    span = max(high - low, 1e-6) * 1.0001  # the upper end of a histogram is exclusive
    counts = np.cumsum(cv2.calcHist([values], [channel], None, [_BINS], [low, low + span]), dtype=np.float64)
    reached = np.searchsorted(counts, counts[-1] * np.array(percents) / 100)
    return np.asarray(low + (reached + 0.5) * span / _BINS, dtype=np.float64)


def _main_plane(densities: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Return the plane (3 x 2, second then first axis) that best fits the optical densities, or None."""
    if len(densities) < 3:
        return None
    means = np.array(cv2.mean(densities.reshape(-1, 1, 3))[:3])
    # In 64 bits the plain second moment is precise enough, and takes two thirds of the time of centring first.
    moment = np.asarray(cv2.mulTransposed(densities, aTa=True, dtype=cv2.CV_64F)) / len(densities)
    _, vectors = np.linalg.eigh(moment - np.outer(means, means))
    first = vectors[:, 2] * np.sign(vectors[:, 2].sum() or 1.0)  # densities lie around +90 degrees, not -90
    return np.column_stack([vectors[:, 1], first]).astype(np.float32)


def _to_densities(image: RgbImage) -> NDArray[np.float32]:
    return np.asarray(cv2.LUT(image, _DENSITIES), dtype=np.float32)


def _to_levels(values: cv2.typing.MatLike, white: float) -> RgbImage:
    """Scale to grey levels, rounded and clipped at 255; no value may be negative."""
    return np.asarray(cv2.convertScaleAbs(values, alpha=white), dtype=np.uint8)


def _triple(values: NDArray[np.float64]) -> Triple:
    first, second, third = (float(value) for value in values)
    return first, second, third
